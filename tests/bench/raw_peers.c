/* SPDX-License-Identifier: MIT
 *
 * What stands at the other ends of a payment and of its mail while the way between them is
 * measured: a gateway that grants each charge, and a mail server that takes each mail. They do no
 * more than answer, so that what is measured is Till; what they are sent the sandbox checks, in the
 * tests. Prints the gateway's port and the mail server's, serves until standard input ends, then
 * prints how many charges and mails there were.
 *
 *   raw_peers THREADS
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <civetweb.h>

#include "common/buf.h"
#include "common/text.h"

enum { FORM_MAX = 8 * 1024, THREADS_MAX = 64, LINE_MAX_BYTES = 4096 };

static atomic_long charges;
static atomic_long mails;

/* ---- gateway: POST /v1/payment_intents as in Stripe's API, with confirm=true ---- */

static int grant(struct mg_connection *conn)
{
    char form[FORM_MAX];
    char amount[32] = "";
    char currency[8] = "";
    char payment[64] = "";
    char body[512];
    int len = mg_read(conn, form, sizeof form);

    if (len <= 0 || mg_get_var(form, (size_t)len, "amount", amount, sizeof amount) <= 0 ||
        mg_get_var(form, (size_t)len, "currency", currency, sizeof currency) <= 0 ||
        mg_get_var(form, (size_t)len, "metadata[payment_id]", payment, sizeof payment) <= 0) {
        mg_send_http_error(conn, 400, "%s", "no charge");
        return 400;
    }
    len = snprintf(body, sizeof body,
                   "{\"id\":\"pi_%s\",\"object\":\"payment_intent\",\"amount\":%s,"
                   "\"currency\":\"%s\",\"status\":\"succeeded\","
                   "\"metadata\":{\"payment_id\":\"%s\"}}",
                   payment, amount, currency, payment);
    (void)atomic_fetch_add(&charges, 1);
    mg_printf(conn,
              "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
              "Connection: close\r\n\r\n%s",
              len, body);
    return 200;
}

/* ---- mail server: as much of RFC 5321 as a client that is never refused asks for ---- */

static void reply(FILE *client, const char *line)
{
    (void)fputs(line, client);
    (void)fflush(client);
}

static void take_text(FILE *client)
{
    char line[LINE_MAX_BYTES];

    reply(client, "354 go on\r\n");
    while (fgets(line, sizeof line, client) && strcmp(line, ".\r\n") != 0)
        continue;
    (void)atomic_fetch_add(&mails, 1);
    reply(client, "250 taken\r\n");
}

static void take_mails(FILE *client)
{
    char line[LINE_MAX_BYTES];

    reply(client, "220 raw.example\r\n");
    while (fgets(line, sizeof line, client)) {
        if (text_starts(line, "QUIT")) {
            reply(client, "221 bye\r\n");
            return;
        }
        if (text_starts(line, "DATA"))
            take_text(client);
        else
            reply(client, "250 raw.example\r\n");
    }
}

static void *serve_mail(void *context)
{
    int listener = *(const int *)context;

    for (;;) {
        int fd = accept(listener, NULL, NULL);
        FILE *client = fd >= 0 ? fdopen(fd, "r+") : NULL;

        if (!client)
            return NULL;
        take_mails(client);
        (void)fclose(client);
    }
}

/* Returns its port, or 0. */
static int listen_for_mail(int *ret_listener)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof at;

    *ret_listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(*ret_listener, (struct sockaddr *)&at, sizeof at) || listen(*ret_listener, 128) ||
        getsockname(*ret_listener, (struct sockaddr *)&at, &size))
        return 0;
    return ntohs(at.sin_port);
}

int main(int argc, char **argv)
{
    static const struct mg_callbacks callbacks = {.begin_request = grant};
    const char *options[] = {"listening_ports", "127.0.0.1:0", "num_threads",
                             argc == 2 ? argv[1] : "", NULL};
    struct mg_server_port port = {0};
    struct mg_context *gateway;
    pthread_t thread;
    int64_t threads;
    int listener;
    int mail_port;
    char scrap;

    if (argc != 2 || !text_to_int(argv[1], 1, THREADS_MAX, &threads)) {
        (void)fprintf(stderr, "usage: raw_peers THREADS\n");
        return 2;
    }
    gateway = mg_start(&callbacks, NULL, options);
    mail_port = listen_for_mail(&listener);
    if (!gateway || mg_get_server_ports(gateway, 1, &port) != 1 || mail_port == 0)
        return 1;
    for (int64_t i = 0; i < threads; i++)
        if (pthread_create(&thread, NULL, serve_mail, &listener) != 0)
            return 1;
    (void)printf("%d %d\n", port.port, mail_port);
    (void)fflush(stdout);
    while (read(STDIN_FILENO, &scrap, 1) > 0)
        continue;
    (void)printf("%ld %ld\n", atomic_load(&charges), atomic_load(&mails));
    mg_stop(gateway);
    return 0;
}
