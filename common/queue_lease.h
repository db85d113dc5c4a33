/* SPDX-License-Identifier: MIT
 *
 * Renewing leases that may have run out: only of what is still pending under the caller's name.
 * queue_renew() takes each entry back from whoever has it; this asks and renews in one step, so
 * what another worker has taken over in the meantime stays its own.
 */
#ifndef COMMON_QUEUE_LEASE_H
#define COMMON_QUEUE_LEASE_H

#include <stddef.h>

#include "common/err.h"
#include "common/queue.h"
#include "common/queue_script.h"
#include "common/redis.h"

/* `script`: zero it first; it belongs to the owner of the connection. Those that are not ours any
 * more are moved to the front of `entries`; how many there are. A stream without its group has
 * none. */
enum err_code queue_renew_own(struct redis *redis, struct queue_script *script,
                              const struct queue_stream *streams, const char *consumer,
                              struct queue_entry *entries, size_t count, size_t *ret_lost,
                              struct err *e) MUST_CHECK;

#endif
