/* SPDX-License-Identifier: MIT
 *
 * Writing the stream of events; see queue_events.h. common/PROTOCOL.md names its fields.
 */
#include "common/queue_events.h"

#include <stdio.h>

#include "common/auto.h"
#include "common/clock.h"

#define KEY "till:events"

static void begin_entry(struct redis_args *args, char max[24])
{
    redis_add(args, "XADD");
    redis_add(args, KEY);
    redis_add(args, "MAXLEN");
    redis_add(args, "~");
    redis_add_number(args, QUEUE_EVENTS_MAX, max);
    redis_add(args, "*");
}

static void add_field(struct redis_args *args, const char *name, const char *value)
{
    redis_add(args, name);
    redis_add(args, value);
}

static enum err_code append_event(struct redis *redis, const char *worker,
                                  const struct queue_event *event, struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    char at[CLOCK_TEXT_SIZE];
    char max[24];
    char attempt[24];
    char runtime[24];

    clock_format(event->at_us, at);
    begin_entry(&args, max);
    add_field(&args, "id", event->job.text);
    add_field(&args, "task", event->task);
    add_field(&args, "state", job_state_name(event->state));
    redis_add(&args, "attempt");
    redis_add_number(&args, event->attempt, attempt);
    add_field(&args, "worker", worker);
    add_field(&args, "at", at);
    redis_add(&args, "runtime_us");
    redis_add_number(&args, event->runtime_us, runtime);
    return redis_append(redis, &args, e);
}

static enum err_code append_skipped(struct redis *redis, const char *worker, uint64_t skipped,
                                    struct err *e)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    char at[CLOCK_TEXT_SIZE];
    char max[24];
    char number[24];

    clock_format(clock_wall_us(), at);
    begin_entry(&args, max);
    redis_add(&args, "skipped");
    redis_add_number(&args, (int64_t)skipped, number);
    add_field(&args, "worker", worker);
    add_field(&args, "at", at);
    return redis_append(redis, &args, e);
}

enum err_code queue_publish_events(struct redis *redis, const char *worker,
                                   const struct queue_event *events, size_t count, uint64_t skipped,
                                   struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        enum err_code rc = append_event(redis, worker, &events[i], e);

        if (rc)
            return rc;
    }
    if (skipped > 0) {
        enum err_code rc = append_skipped(redis, worker, skipped, e);

        if (rc)
            return rc;
        count++;
    }
    return redis_take_all(redis, count, e);
}
