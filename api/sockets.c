/* SPDX-License-Identifier: MIT
 *
 * Descriptors behind civetweb's back; see sockets.h. Linux only.
 */
#include "api/sockets.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"

enum { DESCRIPTORS_MAX = 4096, DRAIN_MAX = 4 * 1024 * 1024 };

int socket_find_listener(int port)
{
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        struct sockaddr_in at = {0};
        socklen_t len = sizeof at;
        int listens = 0;
        socklen_t listens_len = sizeof listens;

        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_len) == 0 && listens &&
            getsockname(fd, (struct sockaddr *)&at, &len) == 0 && at.sin_family == AF_INET &&
            ntohs(at.sin_port) == port)
            return fd;
    }
    return -1;
}

void socket_tell_listening(const char *listen, int port)
{
    size_t len = strcspn(listen, ":,");
    bool is_port_alone = listen[len] != ':';
    char address[80];

    (void)snprintf(address, sizeof address, "%.*s:%d", is_port_alone ? 7 : (int)len,
                   is_port_alone ? "0.0.0.0" : listen, port);
    log_info("listening", L_STR("address", address));
}

int socket_try_listen(const char *address)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    const char *colon = strrchr(address, ':');
    char host[INET_ADDRSTRLEN];
    int64_t port;
    int fd;
    int on = 1;
    int code = 0;

    if (!colon || !text_to_int(colon + 1, 0, UINT16_MAX, &port) ||
        !text_format(host, sizeof host, "%.*s", (int)(colon - address), address) ||
        inet_pton(AF_INET, host, &at.sin_addr) != 1)
        return EINVAL;
    at.sin_port = htons((uint16_t)port);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 1) != 0)
        code = errno;
    (void)close(fd);
    return code;
}

int socket_find_peer(const char *address, int port)
{
    struct in_addr wanted;

    if (inet_pton(AF_INET, address, &wanted) != 1)
        return -1;
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        struct sockaddr_in at = {0};
        socklen_t len = sizeof at;

        if (getpeername(fd, (struct sockaddr *)&at, &len) == 0 && at.sin_family == AF_INET &&
            ntohs(at.sin_port) == port && at.sin_addr.s_addr == wanted.s_addr)
            return fd;
    }
    return -1;
}

void socket_refuse_new(int listener)
{
    struct sock_filter drop_all[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog program = {.len = 1, .filter = drop_all};

    (void)setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

bool socket_has_waiting(int listener)
{
    struct pollfd pfd = {.fd = listener, .events = POLLIN};

    return poll(&pfd, 1, 0) > 0 && (pfd.revents & POLLIN);
}

void socket_wake_listener(int listener) { (void)shutdown(listener, SHUT_RDWR); }

int socket_readable(int fd)
{
    int bytes = 0;

    return ioctl(fd, FIONREAD, &bytes) == 0 ? bytes : 0;
}

void socket_drain(int fd, int64_t timeout_us)
{
    int64_t end_us = clock_mono_us() + timeout_us;
    char scrap[4096];
    ssize_t total = 0;

    (void)shutdown(fd, SHUT_WR);
    while (total < DRAIN_MAX) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        int64_t left_us = end_us - clock_mono_us();
        ssize_t got;

        if (left_us <= 0 || poll(&pfd, 1, (int)(left_us / US_PER_MS) + 1) <= 0)
            return;
        got = recv(fd, scrap, sizeof scrap, MSG_DONTWAIT);
        if (got <= 0)
            return;
        total += got;
    }
}
