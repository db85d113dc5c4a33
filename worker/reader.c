/* SPDX-License-Identifier: MIT
 *
 * The rounds of reading; see reader.h. turns.c decides whom to ask for how much, this file asks.
 */
#include "worker/reader.h"

#include <string.h>

#include "common/mem.h"
#include "worker/limited.h"
#include "worker/turns.h"

_Static_assert((int)TURNS_PRIORITIES == (int)JOB_PRIORITY_COUNT, "a source is a stream");

struct reader {
    struct process *process;
    struct limited *limited; /* owned */
    struct turns *turns;     /* owned */
    size_t queue_count;      /* those that `turns` knows; others may have come since */
    size_t *open;            /* owned: indexes of the open streams */
    size_t open_count;
    struct queue_stream *streams; /* owned scratch: those of one command */
    size_t *indexes;              /* owned scratch: where they stand in process->streams */
};

struct reader *reader_new(struct process *process)
{
    struct reader *reader = mem_alloc(sizeof *reader);

    reader->process = process;
    reader->limited = limited_new(process);
    reader->open = mem_array(PROCESS_STREAMS_MAX, sizeof reader->open[0]);
    reader->streams = mem_array(PROCESS_STREAMS_MAX, sizeof reader->streams[0]);
    reader->indexes = mem_array(PROCESS_STREAMS_MAX, sizeof reader->indexes[0]);
    return reader;
}

void reader_free(struct reader *reader)
{
    if (!reader)
        return;
    limited_free(reader->limited);
    turns_free(reader->turns);
    mem_free(reader->open);
    mem_free(reader->streams);
    mem_free(reader->indexes);
    mem_free(reader);
}

void reader_refresh(struct reader *reader)
{
    const struct process *process = reader->process;
    struct turns_queue queues[QUEUE_LIST_MAX];

    limited_refresh(reader->limited);
    reader->queue_count = process_queue_count(process);
    reader->open_count = 0;
    for (size_t i = 0; i < reader->queue_count * JOB_PRIORITY_COUNT; i++)
        if (!process_is_quiet(process) && !atomic_load(&process->closed[i]))
            reader->open[reader->open_count++] = i;
    for (size_t q = 0; q < reader->queue_count; q++)
        queues[q] = (struct turns_queue){
            .weight = process->queues.items[q].weight,
            .is_closed =
                process_is_quiet(process) || atomic_load(&process->closed[q * TURNS_PRIORITIES]),
            .is_joint = limited_has(reader->limited, q),
        };
    turns_free(reader->turns);
    reader->turns = turns_new(queues, reader->queue_count, process->queues.is_weighted);
}

const size_t *reader_open(const struct reader *reader, size_t *ret_count)
{
    *ret_count = reader->open_count;
    return reader->open;
}

/* ---- asking ---- */

/* Moves what one command brought to the end of `into`. */
static void collect(struct queue_deliveries *take, struct queue_deliveries *into)
{
    if (take->count == 0)
        return;
    into->items = mem_resize(into->items, (into->count + take->count) * sizeof into->items[0]);
    for (size_t i = 0; i < take->count; i++)
        into->items[into->count++] = take->items[i];
    take->count = 0;
}

static size_t count_of(const struct queue_deliveries *deliveries, size_t stream)
{
    size_t count = 0;

    for (size_t i = 0; i < deliveries->count; i++)
        count += deliveries->items[i].stream == stream;
    return count;
}

/* Names the streams of an ask, from place `at` on. */
static void name_streams(struct reader *reader, const struct turns_ask *ask, size_t at)
{
    const struct process *process = reader->process;

    for (size_t i = 0; i < ask->count; i++) {
        reader->indexes[at + i] = ask->sources[i];
        reader->streams[at + i] = process->streams[ask->sources[i]];
        process_note_asked(process, ask->sources[i]);
    }
}

/* What the ask brought, whose streams are named from place `at` on. */
static void note_got(struct reader *reader, const struct turns_ask *ask, size_t at,
                     const struct queue_deliveries *got)
{
    for (size_t i = 0; i < ask->count; i++) {
        size_t found = count_of(got, at + i);

        turns_note(reader->turns, ask->sources[i], ask->max, (int)found);
        process_note_got(reader->process, ask->sources[i], found);
    }
}

static void keep(const struct reader *reader, struct queue_deliveries *got,
                 struct queue_deliveries *into)
{
    for (size_t i = 0; i < got->count; i++) /* from here on an index into process->streams */
        got->items[i].stream = reader->indexes[got->items[i].stream];
    collect(got, into);
}

/* Reads what the ask says and adds it to `into`. */
static enum err_code ask_streams(struct reader *reader, struct redis *redis,
                                 const struct turns_ask *ask, int block_ms,
                                 struct queue_deliveries *into, struct err *e)
{
    AUTO_VALUE(queue_deliveries_release) struct queue_deliveries got = {0};
    enum err_code rc;

    name_streams(reader, ask, 0);
    rc = queue_read(redis, reader->streams, ask->count, reader->process->name, ask->max, block_ms,
                    &got, e);
    if (rc)
        return rc;
    note_got(reader, ask, 0, &got);
    keep(reader, &got, into);
    return ERR_OK;
}

/* Likewise, in one round trip with what is to be asked next, should this bring nothing. */
static enum err_code ask_ahead(struct reader *reader, struct redis *redis,
                               const struct turns_ask *ask, const struct turns_ask *ahead,
                               struct queue_deliveries *into, struct err *e)
{
    AUTO_VALUE(queue_deliveries_release) struct queue_deliveries got = {0};
    const size_t counts[2] = {ask->count, ahead->count};
    const int max[2] = {ask->max, ahead->max};
    enum err_code rc;

    name_streams(reader, ask, 0);
    name_streams(reader, ahead, ask->count);
    rc = queue_read_both(redis, reader->streams, counts, max, reader->process->name, &got, e);
    if (!rc) {
        note_got(reader, ask, 0, &got);
        note_got(reader, ahead, ask->count, &got);
    }
    keep(reader, &got, into);
    return rc;
}

/* Likewise a queue with a limit. */
static enum err_code ask_limited(struct reader *reader, struct redis *redis, size_t source, int max,
                                 struct queue_deliveries *into, struct err *e)
{
    AUTO_VALUE(queue_deliveries_release) struct queue_deliveries got = {0};
    enum err_code rc =
        limited_read(reader->limited, redis, source / TURNS_PRIORITIES, max, &got, e);

    turns_note(reader->turns, source, max, (int)got.count);
    for (size_t i = 0; i < got.count; i++)
        process_note_got(reader->process, got.items[i].stream, 1);
    collect(&got, into);
    return rc;
}

static void skip_closed(struct reader *reader)
{
    for (size_t q = 0; q < reader->queue_count; q++)
        if (limited_has(reader->limited, q) && !limited_may_ask(reader->limited, q))
            turns_skip(reader->turns, q * TURNS_PRIORITIES);
}

/* One command or two that are sent together; *ret_over: what is left of the room is not worth more.
 */
static enum err_code ask_next(struct reader *reader, struct redis *redis,
                              const struct turns_ask *next, int room, struct queue_deliveries *into,
                              bool *ret_over, struct err *e)
{
    struct turns_ask ahead;
    enum err_code rc;

    *ret_over = false;
    if (limited_has(reader->limited, next->sources[0] / TURNS_PRIORITIES))
        return ask_limited(reader, redis, next->sources[0], next->max, into, e);
    if (!turns_ahead(reader->turns, room, next, &ahead))
        return ask_streams(reader, redis, next, 0, into, e);
    rc = ask_ahead(reader, redis, next, &ahead, into, e);
    *ret_over = (int)count_of(into, ahead.sources[0]) >= ahead.max;
    return rc;
}

enum err_code reader_read(struct reader *reader, struct redis *redis, int room,
                          struct queue_deliveries *ret_deliveries, struct err *e)
{
    struct turns_ask next;
    enum err_code rc = ERR_OK;
    int left = room;
    bool is_over = false;

    *ret_deliveries = (struct queue_deliveries){0};
    turns_begin(reader->turns);
    skip_closed(reader);
    while (!rc && !is_over && turns_next(reader->turns, left, &next)) {
        rc = ask_next(reader, redis, &next, left, ret_deliveries, &is_over, e);
        left = room - (int)ret_deliveries->count;
    }
    return rc;
}

enum err_code reader_wait(struct reader *reader, struct redis *redis, int block_ms,
                          struct queue_deliveries *ret_deliveries, struct err *e)
{
    struct turns_ask all = {.count = reader->open_count, .max = 1};

    *ret_deliveries = (struct queue_deliveries){0};
    if (limited_any(reader->limited))
        return limited_wait(reader->limited, redis, reader->open, reader->open_count, block_ms, e);
    memcpy(all.sources, reader->open, reader->open_count * sizeof all.sources[0]);
    return ask_streams(reader, redis, &all, block_ms, ret_deliveries, e);
}
