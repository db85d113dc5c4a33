/* SPDX-License-Identifier: MIT
 *
 * The other side of a client under test: a thread that takes TCP connections on a free port of
 * 127.0.0.1, one after the other, and gives each to `serve`, which closes nothing.
 *
 *   struct peer peer = {.serve = answer, .context = &script};
 *   peer_start(&peer);  ... connect to peer.port ...  peer_stop(&peer);
 */
#ifndef TESTS_UNIT_PEER_H
#define TESTS_UNIT_PEER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

struct peer {
    void (*serve)(int fd, void *context);
    void *context;
    int port;
    int fd; /* listens */
    pthread_t thread;
};

static inline void *peer_main(void *context)
{
    struct peer *peer = context;
    int fd;

    while ((fd = accept(peer->fd, NULL, NULL)) >= 0) {
        peer->serve(fd, peer->context);
        (void)close(fd);
    }
    return NULL;
}

static inline void peer_start(struct peer *peer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;

    (void)alarm(60); /* ends a test that waits for ever */
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(peer->fd, 0);
    cr_assert_eq(bind(peer->fd, (struct sockaddr *)&address, len), 0);
    cr_assert_eq(listen(peer->fd, 16), 0);
    cr_assert_eq(getsockname(peer->fd, (struct sockaddr *)&address, &len), 0);
    peer->port = ntohs(address.sin_port);
    cr_assert_eq(pthread_create(&peer->thread, NULL, peer_main, peer), 0);
}

/* Waits for the connection that is being served. */
static inline void peer_stop(struct peer *peer)
{
    (void)shutdown(peer->fd, SHUT_RDWR); /* ends the accept() */
    cr_assert_eq(pthread_join(peer->thread, NULL), 0);
    (void)close(peer->fd);
}

/* False when the client is gone. */
static inline bool peer_send(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* Reads on until `text` has `end` in it; false when the client is gone or the room is used up. */
static inline bool peer_read_until(int fd, char *text, size_t size, const char *end)
{
    size_t len = strlen(text);

    while (!strstr(text, end)) {
        ssize_t got = len + 1 < size ? recv(fd, text + len, size - 1 - len, 0) : 0;

        if (got <= 0)
            return false;
        len += (size_t)got;
        text[len] = '\0';
    }
    return true;
}

/* Says nothing more until the client gives up. */
static inline void peer_hang(int fd)
{
    char ignored[256];

    while (recv(fd, ignored, sizeof ignored, 0) > 0)
        ;
}

#endif
