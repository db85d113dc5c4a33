/* SPDX-License-Identifier: MIT
 *
 * What civetweb alone does: one handler that answers a constant of a given size with as many header
 * bytes as an answer of ours has. Prints its port, serves until its standard input ends.
 *
 *   raw_http BODY_BYTES HEADER_BYTES THREADS
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <civetweb.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/text.h"

static struct buf answer;

static int begin_request(struct mg_connection *conn)
{
    (void)mg_write(conn, answer.data, answer.len);
    return 200;
}

static size_t number(const char *text)
{
    int64_t value;

    if (!text_to_int(text, 1, 1000000, &value))
        exit(2);
    return (size_t)value;
}

static void fill(char with, size_t count)
{
    AUTO(mem_free) char *text = mem_alloc(count + 1);

    memset(text, with, count);
    buf_add(&answer, text, count);
}

static void make_answer(size_t body, size_t header)
{
    static const char more[] = "X-Header: ";

    buf_init(&answer, body + header + 1024);
    buf_addf(&answer,
             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n", body);
    if (header > answer.len + sizeof more + 4) {
        buf_add_str(&answer, more);
        fill('x', header - answer.len - 4);
        buf_add_str(&answer, "\r\n");
    }
    buf_add_str(&answer, "\r\n");
    fill('y', body);
}

int main(int argc, char **argv)
{
    static const struct mg_callbacks callbacks = {.begin_request = begin_request};
    const char *options[] = {"listening_ports",
                             "127.0.0.1:0",
                             "num_threads",
                             argc == 4 ? argv[3] : "",
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

    if (argc != 4) {
        (void)fprintf(stderr, "usage: raw_http BODY_BYTES HEADER_BYTES THREADS\n");
        return 2;
    }
    make_answer(number(argv[1]), number(argv[2]));
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
