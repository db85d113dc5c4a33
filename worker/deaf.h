/* SPDX-License-Identifier: MIT
 *
 * Whether a consumer is deaf: pure decisions, told by counters and by what waits. Deaf is who has
 * room, asks for the entries of a stream, gets nothing for DEAF_AFTER_US, and the same entry waits
 * there all the while. A stream that is not asked (paused, limited, out of turn) tells nothing.
 *
 * Looking costs a command of Redis, so it is done only after DEAF_ASK_US without anything read, and
 * not more often than that.
 */
#ifndef WORKER_DEAF_H
#define WORKER_DEAF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/queue.h"
#include "worker/process.h"

#define DEAF_ASK_US INT64_C(5000000)
#define DEAF_AFTER_US INT64_C(10000000) /* twice the longest blocked read */

struct deaf;

struct deaf *deaf_new(size_t stream_count);
void deaf_free(struct deaf *deaf);

/* What the fetch thread has read so far: anything new clears every suspicion. */
void deaf_note(struct deaf *deaf, const struct process_asked *asked, int64_t now_us);

/* There is no room, or nothing is to be read: what was seen tells nothing. */
void deaf_forget(struct deaf *deaf, int64_t now_us);

/* Whether to look now what waits; it counts as done. */
bool deaf_should_ask(struct deaf *deaf, int64_t now_us);

/* `entries`: the first that waits in each stream, "" for none. True: deaf, on *ret_stream. It
 * begins anew then. */
bool deaf_judge(struct deaf *deaf, const struct process_asked *asked,
                char (*entries)[QUEUE_ENTRY_SIZE], int64_t now_us, size_t *ret_stream);

/* Whether it was judged deaf and nothing has been read, nor found gone, since. */
bool deaf_is_suspect(const struct deaf *deaf);

#endif
