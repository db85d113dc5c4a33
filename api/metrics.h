/* SPDX-License-Identifier: MIT
 *
 * Figures of this process for Prometheus, at /metrics. Labels are bounded: routes by their
 * patterns, statuses that we give, nothing that a client can choose.
 */
#ifndef API_METRICS_H
#define API_METRICS_H

#include <stdint.h>

struct request;
struct reply;

#define METRICS_COUNTERS(X)                                                                        \
    X(CACHE_HIT, "cache_hits_total", "Answers that were kept.")                                    \
    X(CACHE_MEMORY, "cache_memory_hits_total", "Those of them that came out of memory.")           \
    X(CACHE_SHARED, "cache_shared_total", "Those of them that another request was making.")        \
    X(CACHE_MISS, "cache_misses_total", "Answers that were made and could have been kept.")        \
    X(CACHE_FAILED, "cache_failures_total", "Times that Redis could not be asked for an answer.")  \
    X(REPLICA_READ, "replica_reads_total", "Answers that the replica gave.")                       \
    X(REPLICA_BEHIND, "replica_behind_total", "Reads that the replica was too far behind for.")    \
    X(REPLICA_FAILED, "replica_failures_total", "Reads that the replica could not make.")          \
    X(LOOKUPS, "lookups_total", "Look-ups of who asks, each for all that waited for one.")         \
    X(CACHE_ROWS, "cache_row_hits_total",                                                          \
      "Kept answers that showed the rows as they were, of an older version of the catalogue.")     \
    X(ROW_LOOKUPS, "row_lookups_total", "Look-ups of rows, each for all that waited for one.")     \
    X(LEASED, "leased_total", "Answers for which an earlier look-up stood.")                       \
    X(LEASE_WAITS, "lease_waits_total", "Writes whose answers waited for the leases of others.")   \
    X(BACKENDS_WAITED, "backends_waited_total",                                                    \
      "Requests that waited for a free connection to the database.")                               \
    X(THROTTLED, "throttled_total", "Requests refused with 429.")                                  \
    X(REFUSED, "admission_refused_total", "Checkouts refused because we are too far behind.")

enum metrics_counter {
#define X(name, metric, help) METRIC_##name,
    METRICS_COUNTERS(X)
#undef X
        METRICS_COUNT
};

void metrics_add(enum metrics_counter counter);

/* Counts an answer and how long it took. */
void metrics_note(const struct request *req, const struct reply *reply);

#endif
