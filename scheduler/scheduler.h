/* SPDX-License-Identifier: MIT
 *
 * The scheduler's loop: lead, or wait to lead; then do what is due and sleep until the next thing
 * is. One thread. What it does would be safe in several schedulers at once; leading alone saves
 * work.
 */
#ifndef SCHEDULER_SCHEDULER_H
#define SCHEDULER_SCHEDULER_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/db.h"
#include "common/jobs_heal.h"
#include "common/redis.h"

struct scheduler {
    const struct conf *conf;
    struct db *db;
    struct redis *redis;
    bool leads;
    bool stopping;
    int64_t figures_at_us;  /* monotonic: when the figures are taken again */
    int64_t due_pause_us;   /* since nothing comes of looking at what is due; 0: something did */
    int64_t lines_at_us;    /* monotonic: when every line of a limit is looked at again */
    int64_t cancels_at_us;  /* monotonic: when cancels that nobody has finished are sought again */
    int64_t figures_minute; /* the one that they were last taken in */
    int64_t round_until_us; /* monotonic: see scheduler_has_time() */
    bool more_to_heal;      /* the last round had no time for all of it */
};

/* Whether a duty that finds more and more to do may go on in this round. Else it leaves the rest to
 * the next one: schedules, signals and other duties do not wait until a million jobs are dealt
 * with. Asked between batches, so that each round does one at least. */
bool scheduler_has_time(const struct scheduler *scheduler);

struct ticks;

/* Runs until TERM, INT or QUIT; gives the exit code. HUP reads the file of schedules again, into
 * `ticks`, which ticks_load() has filled. */
int scheduler_run(const struct conf *conf, struct ticks *ticks);

#endif
