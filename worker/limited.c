/* SPDX-License-Identifier: MIT
 *
 * Reading and awaiting queues with a limit; see limited.h.
 *
 * A wait that reads (XREADGROUP) would take an entry past the limit, so waiting is looking (XREAD)
 * after the last entry known. It is done in two steps: first note what is last in each stream, then
 * let a round look for work, and only if that finds none, wait for what comes after.
 */
#include "worker/limited.h"

#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "worker/turns.h"

enum {
    FULL_MS = 1000,    /* a place that nobody told of is found after this */
    FULL_AGAIN_MS = 5, /* between questions while other queues keep the rounds going */
    SLOT_MS = 1000,
    /* Redis ends a BLOCK whose time is over at its next tick (hz 10): so much too late. The last of
     * the time to a token is slept here, in steps in which nobody hears of other queues' entries.
     */
    TICK_MS = 100,
    STEP_MS = 10,
};

struct limited_queue {
    bool has_limit;
    bool is_full;
    bool lacks_slot; /* it was not asked in the last round, since no slot is free */
    struct limit limit;
    int64_t again_us; /* monotonic: not worth asking before */
    uint64_t reads;
};

struct limited {
    struct process *process;
    struct queue_script script;
    struct limited_queue *queues; /* owned: one for each that may ever be */
    struct queue_watch *watches;  /* owned: what was noted, `last` included */
    struct queue_watch *wanted;   /* owned: what the next wait is for */
    size_t watch_count;
    bool is_noted; /* `watches` were noted, and nothing new has been seen since */
};

struct limited *limited_new(struct process *process)
{
    struct limited *limited = mem_alloc(sizeof *limited);

    limited->process = process;
    limited->queues = mem_array(QUEUE_LIST_MAX, sizeof limited->queues[0]);
    limited->watches = mem_array(PROCESS_STREAMS_MAX, sizeof limited->watches[0]);
    limited->wanted = mem_array(PROCESS_STREAMS_MAX, sizeof limited->wanted[0]);
    return limited;
}

void limited_free(struct limited *limited)
{
    if (!limited)
        return;
    mem_free(limited->queues);
    mem_free(limited->watches);
    mem_free(limited->wanted);
    mem_free(limited);
}

void limited_refresh(struct limited *limited)
{
    struct process *process = limited->process;

    for (size_t q = 0; q < process_queue_count(process); q++) {
        struct limited_queue queue = {.reads = limited->queues[q].reads};

        queue.has_limit =
            limit_board_queue(process->limits, process->queues.items[q].name, &queue.limit);
        limited->queues[q] = queue;
    }
    limited->is_noted = false;
}

bool limited_has(const struct limited *limited, size_t queue)
{
    return limited->queues[queue].has_limit;
}

bool limited_any(const struct limited *limited)
{
    const struct process *process = limited->process;

    for (size_t q = 0; q < process_queue_count(process); q++)
        if (limited->queues[q].has_limit && !atomic_load(&process->closed[q * JOB_PRIORITY_COUNT]))
            return true;
    return false;
}

bool limited_may_ask(struct limited *limited, size_t queue)
{
    struct limited_queue *q = &limited->queues[queue];

    q->lacks_slot = q->limit.concurrency && pool_slots_free(limited->process->pool) == 0;
    return !q->lacks_slot && clock_mono_us() >= q->again_us;
}

/* The queue's streams in the order of this read. */
static void order_streams(const struct limited *limited, size_t queue,
                          struct queue_stream streams[JOB_PRIORITY_COUNT],
                          size_t indexes[JOB_PRIORITY_COUNT])
{
    size_t order[TURNS_PRIORITIES];

    turns_priorities(limited->queues[queue].reads, order);
    for (size_t p = 0; p < JOB_PRIORITY_COUNT; p++) {
        indexes[p] = queue * JOB_PRIORITY_COUNT + order[p];
        streams[p] = limited->process->streams[indexes[p]];
    }
}

enum err_code limited_read(struct limited *limited, struct redis *redis, size_t queue, int max,
                           struct queue_deliveries *ret_deliveries, struct err *e)
{
    struct limited_queue *q = &limited->queues[queue];
    struct queue_stream streams[JOB_PRIORITY_COUNT];
    size_t indexes[JOB_PRIORITY_COUNT];
    const struct queue_read_order order = {
        .streams = streams, .consumer = limited->process->name, .limit = &q->limit};
    struct queue_gate gate = {0};
    int slots = pool_slots_free(limited->process->pool);
    int64_t wait_us;
    enum err_code rc;

    if (q->limit.concurrency && max > slots)
        max = slots;
    *ret_deliveries = (struct queue_deliveries){0};
    if (max <= 0)
        return ERR_OK;
    order_streams(limited, queue, streams, indexes);
    rc = queue_read_limited(redis, &limited->script, &order, max, ret_deliveries, &gate, e);
    for (size_t i = 0; i < ret_deliveries->count; i++)
        ret_deliveries->items[i].stream = indexes[ret_deliveries->items[i].stream];
    if (rc)
        return rc;
    q->reads += ret_deliveries->count > 0;
    q->is_full = gate.is_full;
    wait_us = gate.is_full ? FULL_AGAIN_MS * US_PER_MS : 0;
    if (gate.wait_us > wait_us)
        wait_us = gate.wait_us;
    q->again_us = clock_mono_us() + wait_us;
    return ERR_OK;
}

/* ---- waiting ---- */

/* A queue that gives nothing now is awaited by its places, the others by their entries. */
static size_t list_wanted(struct limited *limited, const size_t *open, size_t open_count)
{
    int64_t now_us = clock_mono_us();
    size_t count = 0;

    for (size_t i = 0; i < open_count; i++) {
        const struct limited_queue *q = &limited->queues[open[i] / JOB_PRIORITY_COUNT];
        bool is_closed = q->has_limit && (q->is_full || q->again_us > now_us);

        if (is_closed && open[i] % JOB_PRIORITY_COUNT != 0)
            continue; /* one watch for all three */
        limited->wanted[count++] = (struct queue_watch){
            .stream = limited->process->streams[open[i]], .is_place = is_closed};
    }
    return count;
}

static bool is_noted(const struct limited *limited, size_t count)
{
    if (!limited->is_noted || count != limited->watch_count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (limited->watches[i].is_place != limited->wanted[i].is_place ||
            strcmp(limited->watches[i].stream.key, limited->wanted[i].stream.key) != 0)
            return false;
    return true;
}

static enum err_code note(struct limited *limited, struct redis *redis, size_t count, struct err *e)
{
    enum err_code rc = queue_watch_from_now(redis, limited->wanted, count, e);

    if (rc)
        return rc;
    memcpy(limited->watches, limited->wanted, count * sizeof limited->watches[0]);
    limited->watch_count = count;
    limited->is_noted = true;
    return ERR_OK;
}

/* Places may have become free: full queues are worth asking again. */
static void ask_full_again(struct limited *limited)
{
    for (size_t q = 0; q < process_queue_count(limited->process); q++)
        if (limited->queues[q].is_full)
            limited->queues[q].again_us = 0;
}

/* How long to wait for entries: less than `block_ms` where the next token, or another look at a
 * full queue, is due before. */
static int64_t bounded(const struct limited *limited, int64_t block_ms)
{
    int64_t now_us = clock_mono_us();

    for (size_t q = 0; q < process_queue_count(limited->process); q++) {
        const struct limited_queue *queue = &limited->queues[q];
        int64_t left_ms = queue->is_full ? FULL_MS
                          : queue->again_us > now_us
                              ? (queue->again_us - now_us + US_PER_MS - 1) / US_PER_MS
                              : block_ms;

        if (queue->has_limit && left_ms < block_ms)
            block_ms = left_ms;
    }
    return block_ms > 0 ? block_ms : 1;
}

static bool lacks_slot(const struct limited *limited)
{
    for (size_t q = 0; q < process_queue_count(limited->process); q++)
        if (limited->queues[q].has_limit && limited->queues[q].lacks_slot)
            return true;
    return false;
}

enum err_code limited_wait(struct limited *limited, struct redis *redis, const size_t *open,
                           size_t open_count, int block_ms, struct err *e)
{
    bool is_new = false;
    int64_t wait_ms;
    enum err_code rc;
    size_t count;

    if (lacks_slot(limited)) { /* nothing can run, so nothing is missed */
        pool_wait_slot(limited->process->pool, SLOT_MS * US_PER_MS);
        return ERR_OK;
    }
    count = list_wanted(limited, open, open_count);
    if (!is_noted(limited, count)) {
        ask_full_again(limited);
        return note(limited, redis, count, e);
    }
    wait_ms = bounded(limited, block_ms);
    if (wait_ms <= TICK_MS && wait_ms < block_ms) {
        (void)process_pause(limited->process, (wait_ms < STEP_MS ? wait_ms : STEP_MS) * US_PER_MS);
        return ERR_OK;
    }
    if (wait_ms < block_ms)
        wait_ms -= TICK_MS;
    rc = queue_watch_wait(redis, limited->watches, count, (int)wait_ms, &is_new, e);
    if (!rc && is_new)
        limited->is_noted = false;
    ask_full_again(limited);
    return rc;
}
