/* SPDX-License-Identifier: MIT
 *
 * Redis as the transport of jobs: every key and every command of Till stands in queue.c, and
 * PROTOCOL.md tells the same to producers in other languages.
 *
 * A queue is three streams, one a priority: till:{QUEUE}:high, :normal, :low; the group of the
 * workers is "till". A durable job is an entry {job: UUID}; a fast one is {task, args, kwargs, id,
 * headers, traceparent, expires}.
 * An entry leaves the stream when it is acknowledged, so XLEN counts waiting and running ones.
 */
#ifndef COMMON_QUEUE_H
#define COMMON_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/job.h"
#include "common/redis.h"

enum {
    QUEUE_ENTRY_SIZE = 48, /* of a stream entry id, "1732212345678-0" */
    QUEUE_PAYLOAD_MAX = 512 * 1024,
};

#define QUEUE_GROUP "till"

/* One stream of one queue. */
struct queue_stream {
    char queue[JOB_NAME_MAX + 1];
    enum job_priority priority;
    char key[JOB_NAME_MAX + 24];
};

struct queue_stream queue_stream_of(const char *queue, enum job_priority priority);
const char *queue_priority_name(enum job_priority priority);

/* Puts the ids of any number of durable jobs into the stream, pipelined, a thousand in a round
 * trip. Does not say which were added when it fails: a second push is harmless, since a duplicate
 * dies at the claim. */
enum err_code queue_push(struct redis *redis, const struct queue_stream *stream,
                         const struct uuid *ids, size_t count, struct err *e) MUST_CHECK;

/* ---- workers ---- */

/* What one stream entry says. Owned; queue_delivery_release() frees it. */
struct queue_delivery {
    size_t stream; /* index into the streams that were read */
    char entry[QUEUE_ENTRY_SIZE];
    bool taken_over; /* it came from a worker that is gone */
    enum {
        DELIVERY_DURABLE,
        DELIVERY_FAST,
        DELIVERY_UNDECODABLE,
        DELIVERY_GONE, /* deleted while it was pending: acknowledge, nothing else is known */
    } kind;
    struct uuid id;    /* of the job; for FAST and UNDECODABLE made from the entry when not given */
    char *task;        /* FAST */
    char *args;        /* FAST, JSON array; NULL: none */
    char *kwargs;      /* FAST, JSON object; NULL: none */
    char *headers;     /* FAST, JSON, or NULL */
    char *traceparent; /* FAST, or NULL */
    bool trace_dropped; /* FAST: there was one that cannot be read */
    int64_t expires_us; /* FAST: wall time after which it is not run; 0: none */
    char *payload;      /* UNDECODABLE: the fields, byte for byte, as netstrings */
    size_t payload_len;
    char *reason; /* UNDECODABLE */
};

struct queue_deliveries {
    struct queue_delivery *items; /* owned */
    size_t count;
};

/* The id of a fast job that was given none: the same for whoever looks at the entry. */
struct uuid queue_fast_id(const struct queue_stream *stream, const char *entry);

/* What an entry of the stream `key` says, into a delivery that is empty. False: the answer is none
 * that Redis gives. Whatever producers have written is a delivery, UNDECODABLE at worst. */
bool queue_delivery_decode(const redisReply *reply, const char *key,
                           struct queue_delivery *delivery);
void queue_delivery_release(struct queue_delivery *delivery);
void queue_deliveries_release(struct queue_deliveries *deliveries);

/* What XREADGROUP answered, [[key, [entry, ...]], ...], or nil. For the other files of the queue.
 */
enum err_code queue_decode_read(const redisReply *reply, const struct queue_stream *streams,
                                size_t count, struct queue_deliveries *ret_deliveries,
                                struct err *e) MUST_CHECK;

/* Makes the group of each stream, at its beginning; one that exists is left as it is. A key that
 * holds no stream is renamed and told by ERR_UNAVAILABLE: call again. */
enum err_code queue_create_groups(struct redis *redis, const struct queue_stream *streams,
                                  size_t count, struct err *e) MUST_CHECK;

/* Reads at most `max` new entries from each stream, waiting up to `block_ms` for the first (0: not
 * at all). Nothing there is ERR_OK with count 0. On NOGROUP (the data is gone) it makes the groups
 * anew and answers count 0; on WRONGTYPE it does what queue_create_groups() does. */
enum err_code queue_read(struct redis *redis, const struct queue_stream *streams, size_t count,
                         const char *consumer, int max, int block_ms,
                         struct queue_deliveries *ret_deliveries, struct err *e) MUST_CHECK;

/* Two reads in one round trip, neither of which waits: at most max[0] of each of the first count[0]
 * streams, and at most max[1] of each of the count[1] that follow. What one of them brought comes
 * even where the other has failed. */
enum err_code queue_read_both(struct redis *redis, const struct queue_stream *streams,
                              const size_t count[2], const int max[2], const char *consumer,
                              struct queue_deliveries *ret_deliveries, struct err *e) MUST_CHECK;

/* What a former process of the same consumer name left unacknowledged, up to `max` of one stream,
 * after entry `cursor` ("0" first, then the last one got). */
enum err_code queue_read_own(struct redis *redis, const struct queue_stream *streams, size_t stream,
                             const char *consumer, int max, const char *cursor,
                             struct queue_deliveries *ret_deliveries, struct err *e) MUST_CHECK;

/* Takes over at most `max` entries of one stream that nobody has renewed for `lease_ms`. `cursor`
 * ("0-0" first, QUEUE_ENTRY_SIZE bytes) is moved on and is "0-0" again at the end. */
enum err_code queue_take_over(struct redis *redis, const struct queue_stream *streams,
                              size_t stream, const char *consumer, int max, int64_t lease_ms,
                              char *cursor, struct queue_deliveries *ret_deliveries,
                              struct err *e) MUST_CHECK;

/* Redis' id of this connection, and how another connection ends a queue_read() that waits on it: it
 * returns with nothing read and loses no entry, as cutting the socket would. */
enum err_code queue_client_id(struct redis *redis, int64_t *ret_client, struct err *e) MUST_CHECK;
enum err_code queue_unblock(struct redis *redis, int64_t client, struct err *e) MUST_CHECK;

/* One entry that is held or done: its stream and id. */
struct queue_entry {
    size_t stream;
    char entry[QUEUE_ENTRY_SIZE];
};

/* Renews the lease of held entries (XCLAIM JUSTID: idle time back to 0). */
enum err_code queue_renew(struct redis *redis, const struct queue_stream *streams,
                          const char *consumer, const struct queue_entry *entries, size_t count,
                          struct err *e) MUST_CHECK;

/* Acknowledges and deletes, together. Entries that are gone already do no harm. */
enum err_code queue_ack(struct redis *redis, const struct queue_stream *streams,
                        const struct queue_entry *entries, size_t count, struct err *e) MUST_CHECK;

/* ---- names and heartbeats of worker processes ---- */

enum { QUEUE_WORKER_NAME_SIZE = 96 };

/* Takes the first free name "host:N" for the holder of `token`, or the one that this token holds
 * already; `io_name`, unless "", is tried before any. The name is held for `lease_ms` from its last
 * heartbeat. */
enum err_code queue_worker_register(struct redis *redis, const char *host, const char *token,
                                    int64_t lease_ms, char io_name[QUEUE_WORKER_NAME_SIZE],
                                    struct err *e) MUST_CHECK;

/* Holds the name and publishes `report`, a JSON object. ERR_CONFLICT: the name is another's now. */
enum err_code queue_worker_heartbeat(struct redis *redis, const char *name, const char *token,
                                     int64_t lease_ms, const char *report,
                                     struct err *e) MUST_CHECK;

/* Gives the name back at a clean end. */
enum err_code queue_worker_leave(struct redis *redis, const char *name, const char *token,
                                 struct err *e) MUST_CHECK;

struct queue_worker {
    char name[QUEUE_WORKER_NAME_SIZE];
    bool is_alive; /* its lease has not run out */
    char *report;  /* JSON object of its last heartbeat; owned; NULL when it has expired */
};

struct queue_workers {
    struct queue_worker *items; /* owned */
    size_t count;
};

void queue_workers_release(struct queue_workers *workers);

/* All workers seen within the last day of Redis' time, sorted by name. */
enum err_code queue_list_workers(struct redis *redis, struct queue_workers *ret_workers,
                                 struct err *e) MUST_CHECK;

/* Those of these names, in their order. Who has never been seen is not alive and has no report. */
enum err_code queue_find_workers(struct redis *redis, char *const *names, size_t count,
                                 struct queue_workers *ret_workers, struct err *e) MUST_CHECK;

/* Whether Redis takes heartbeats: one that is out of memory, cannot save, or is a replica can be
 * read, and shows living workers as gone. */
enum err_code queue_check_writable(struct redis *redis, struct err *e) MUST_CHECK;

/* ---- figures ---- */

/* When an entry was added, from its id: wall time of Redis; 0 when it is no id. */
int64_t queue_entry_time_us(const char *entry);

struct queue_depth {
    int64_t waiting;   /* entries that no worker has got */
    int64_t pending;   /* delivered, not acknowledged */
    int64_t oldest_us; /* wall time (Redis') of the oldest waiting entry; 0: none */
};

enum err_code queue_measure(struct redis *redis, const struct queue_stream *stream,
                            struct queue_depth *ret_depth, struct err *e) MUST_CHECK;
/* When the entry was added that workers got last, whatever has become of it; 0: none yet. */
enum err_code queue_last_delivered(struct redis *redis, const struct queue_stream *stream,
                                   int64_t *ret_wall_us, struct err *e) MUST_CHECK;

/* The oldest entry of each stream that no worker has got, "" where nothing waits. One command when
 * all of them are empty, so it may be asked often. */
enum err_code queue_first_waiting(struct redis *redis, const struct queue_stream *streams,
                                  size_t count, char (*ret_entries)[QUEUE_ENTRY_SIZE],
                                  struct err *e) MUST_CHECK;

/* Redis' own wall time, so that its entry ids can be compared with PostgreSQL's times. */
enum err_code queue_server_time(struct redis *redis, int64_t *ret_wall_us,
                                struct err *e) MUST_CHECK;

/* The server behind the queues, by its own INFO. Text that it does not tell is "". */
struct queue_server {
    char version[32];
    char mode[32];     /* standalone, cluster, sentinel */
    char role[32];     /* master, slave */
    char eviction[32]; /* maxmemory_policy: anything but noeviction may lose entries */
    int64_t uptime_s;
    int64_t clients;
    int64_t blocked_clients;
    int64_t memory_bytes;
    int64_t memory_max_bytes; /* 0: no limit */
    int64_t commands_per_s;
    bool appends;     /* appendonly yes */
    int64_t saved_us; /* wall time of the last snapshot; 0: not told */
};
enum err_code queue_server_info(struct redis *redis, struct queue_server *ret_server,
                                struct err *e) MUST_CHECK;

/* Pings. */
enum err_code queue_ping(struct redis *redis, struct err *e) MUST_CHECK;

#endif
