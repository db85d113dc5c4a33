/* SPDX-License-Identifier: MIT
 *
 * What civetweb does not do with its sockets: it keeps their descriptors to itself, so they are
 * looked up among the open ones of this process.
 */
#ifndef API_SOCKETS_H
#define API_SOCKETS_H

#include <stdbool.h>
#include <stdint.h>

/* The socket that listens on `port`, or -1. */
int socket_find_listener(int port);

/* Logs where we listen: the first address of the setting, and the port, which may have been 0. */
void socket_tell_listening(const char *listen, int port);

/* What the system says to listening at "host:port", in IPv4: 0, an errno, or EINVAL when that is no
 * such address. */
int socket_try_listen(const char *address);

/* The connection from this client address and port, or -1. */
int socket_find_peer(const char *address, int port);

/* From now on no new connection is made; those that were made and wait for accept() stay. Asking
 * the kernel to drop new SYNs is the only way to end a listening socket without cutting them off.
 */
void socket_refuse_new(int listener);

/* Whether connections wait for accept(). */
bool socket_has_waiting(int listener);

/* Wakes whoever polls the listening socket. */
void socket_wake_listener(int listener);

/* Bytes that can be read at once; 0 also when the socket is broken. */
int socket_readable(int fd);

/* Says goodbye and throws away what still comes, so that our last answer is not overtaken by a
 * reset. Ends when the client closes, at `timeout_us` or after 4 MiB. */
void socket_drain(int fd, int64_t timeout_us);

#endif
