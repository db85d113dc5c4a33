/* SPDX-License-Identifier: MIT
 *
 * What civetweb alone does: one handler that answers a constant with one write. The constant is
 * read from a file and sent as it is, head and all: an answer of ours, so that the client has the
 * same to read. Prints its port, serves until its standard input ends.
 *
 *   raw_http FILE THREADS
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <civetweb.h>

#include "common/buf.h"

enum { ANSWER_MAX = 1024 * 1024 };

static struct buf answer;

static int begin_request(struct mg_connection *conn)
{
    (void)mg_write(conn, answer.data, answer.len);
    return 200;
}

static bool read_answer(const char *path)
{
    FILE *file = fopen(path, "rb");
    char part[4096];
    size_t got;

    if (!file)
        return false;
    buf_init(&answer, ANSWER_MAX);
    while ((got = fread(part, 1, sizeof part, file)) > 0)
        buf_add(&answer, part, got);
    (void)fclose(file);
    return answer.len > 0 && !answer.overflow;
}

int main(int argc, char **argv)
{
    static const struct mg_callbacks callbacks = {.begin_request = begin_request};
    const char *options[] = {"listening_ports",
                             "127.0.0.1:0",
                             "num_threads",
                             argc == 3 ? argv[2] : "",
                             "enable_keep_alive",
                             "yes",
                             "keep_alive_timeout_ms",
                             "30000",
                             "tcp_nodelay",
                             "1",
                             NULL};
    struct mg_server_port port = {0};
    struct mg_context *server;
    char scrap;

    if (argc != 3 || !read_answer(argv[1])) {
        (void)fprintf(stderr, "usage: raw_http FILE THREADS\n");
        return 2;
    }
    server = mg_start(&callbacks, NULL, options);
    if (!server || mg_get_server_ports(server, 1, &port) != 1)
        return 1;
    (void)printf("%d\n", port.port);
    (void)fflush(stdout);
    while (read(STDIN_FILENO, &scrap, 1) > 0)
        continue;
    mg_stop(server);
    buf_release(&answer);
    return 0;
}
