/* SPDX-License-Identifier: MIT
 *
 * Tasks for trying, measuring and breaking a system: noop, sleep, stubborn, fail, talk, snooze,
 * crash.
 */
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "common/clock.h"
#include "worker/task.h"

static enum task_outcome run_noop(struct task_run *run, struct err *e)
{
    (void)run;
    (void)e;
    return TASK_DONE;
}

const struct task task_noop = {.name = "till.tasks.noop",
                               .queue = "default",
                               .fast = true,
                               .max_attempts = 10,
                               .soft_limit_s = 10,
                               .hard_limit_s = 20,
                               .run = run_noop};

/* The only task that sleeps: it stands for work that takes long. */
static enum task_outcome run_sleep(struct task_run *run, struct err *e)
{
    const json_t *arg = json_array_get(run->args, 0);
    double seconds = json_number_value(arg);
    int64_t until_us;

    if (!json_is_number(arg) || seconds < 0 || seconds > 3600) {
        (void)err_set(e, ERR_INVALID, "sleep takes a number of seconds from 0 to 3600");
        return TASK_FAIL;
    }
    until_us = clock_mono_us() + (int64_t)(seconds * (double)US_PER_S);
    if (until_us > run->deadline_us) {
        (void)err_set(e, ERR_TIMEOUT, "the soft time limit is shorter than the sleep");
        return TASK_FAIL;
    }
    if (task_sleep_until(run, until_us))
        return TASK_DONE;
    (void)err_set(e, ERR_TIMEOUT, "the sleep was interrupted");
    return TASK_RETRY;
}

const struct task task_sleep = {.name = "till.tasks.sleep",
                                .queue = "default",
                                .max_attempts = 10,
                                .soft_limit_s = 3600,
                                .hard_limit_s = 3660,
                                .run = run_sleep};

/* Sleeps as long as it is told, whatever its limits are and whoever revokes it: a handler as it
 * should not be. */
static enum task_outcome run_stubborn(struct task_run *run, struct err *e)
{
    int64_t ms = 0;
    struct timespec until;

    if (!task_arg_int(run, 0, 0, 3600 * 1000, &ms)) {
        (void)err_set(e, ERR_INVALID, "stubborn takes a number of milliseconds");
        return TASK_FAIL;
    }
    until = clock_timespec(clock_mono_us() + ms * US_PER_MS);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
    return TASK_DONE;
}

const struct task task_stubborn = {.name = "till.tasks.stubborn",
                                   .queue = "default",
                                   .max_attempts = 3,
                                   .soft_limit_s = 4,
                                   .hard_limit_s = 8,
                                   .run = run_stubborn};

/* [message, times]: fails the first `times` attempts, or all of them. */
static enum task_outcome run_fail(struct task_run *run, struct err *e)
{
    const char *message = task_arg_text(run, 0);
    int64_t times = INT64_MAX;

    if (json_array_size(run->args) > 1 && !task_arg_int(run, 1, 0, INT32_MAX, &times)) {
        (void)err_set(e, ERR_INVALID, "fail takes a text and how many attempts fail");
        return TASK_FAIL;
    }
    if (run->attempt > times)
        return TASK_DONE;
    (void)err_set(e, ERR_UNAVAILABLE, "%.180s", message ? message : "failed as it was told to");
    return TASK_RETRY;
}

const struct task task_fail = {.name = "till.tasks.fail",
                               .queue = "default",
                               .max_attempts = 5,
                               .soft_limit_s = 10,
                               .hard_limit_s = 20,
                               .run = run_fail};

static void sleep_until(int64_t until_us)
{
    for (struct timespec until = clock_timespec(until_us);
         clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR;)
        ;
}

/* Says [lines, seconds between them] from within its transaction, and fails for good when a third
 * argument says why. */
static enum task_outcome run_talk(struct task_run *run, struct err *e)
{
    double pause = json_number_value(json_array_get(run->args, 1));
    int64_t lines;

    if (!task_arg_int(run, 0, 0, 1000000, &lines) || pause < 0 ||
        (double)lines * pause > (double)task_time_left_us(run) / (double)US_PER_S) {
        (void)err_set(e, ERR_INVALID, "talk takes lines and seconds, within its time limit");
        return TASK_FAIL;
    }
    if (task_begin(run, e))
        return task_outcome_of(e);
    for (int64_t i = 1; i <= lines; i++) {
        task_log(run, i % 2 ? JOB_LOG_INFO : JOB_LOG_WARNING, "line %lld of %lld", (long long)i,
                 (long long)lines);
        task_progress(run, i, lines, "talking");
        if (pause > 0)
            sleep_until(clock_mono_us() + (int64_t)(pause * (double)US_PER_S));
    }
    if (!task_arg_text(run, 2))
        return TASK_DONE;
    (void)err_set(e, ERR_INVALID, "%.180s", task_arg_text(run, 2));
    return TASK_FAIL;
}

const struct task task_talk = {.name = "till.tasks.talk",
                               .queue = "default",
                               .max_attempts = 3,
                               .soft_limit_s = 60,
                               .hard_limit_s = 90,
                               .run = run_talk};

/* Puts itself off: [seconds, times], and then is done. */
static enum task_outcome run_snooze(struct task_run *run, struct err *e)
{
    double seconds = json_number_value(json_array_get(run->args, 0));
    int64_t times;

    if (!json_is_number(json_array_get(run->args, 0)) || seconds <= 0 || seconds > 86400 ||
        !task_arg_int(run, 1, 0, INT32_MAX, &times)) {
        (void)err_set(e, ERR_INVALID, "snooze takes seconds, up to 86400, and how many times");
        return TASK_FAIL;
    }
    run->retry_after_us = (int64_t)(seconds * (double)US_PER_S);
    return run->snoozes < times ? TASK_SNOOZE : TASK_DONE;
}

const struct task task_snooze = {.name = "till.tasks.snooze",
                                 .queue = "default",
                                 .fast = true,
                                 .max_attempts = 2,
                                 .soft_limit_s = 10,
                                 .hard_limit_s = 20,
                                 .run = run_snooze};

/* Ends its own process, as a bug in a task would: [signal number]. */
static enum task_outcome run_crash(struct task_run *run, struct err *e)
{
    int64_t number = SIGSEGV;

    if (json_array_size(run->args) > 0 && !task_arg_int(run, 0, 1, SIGRTMAX, &number)) {
        (void)err_set(e, ERR_INVALID, "crash takes the number of a signal");
        return TASK_FAIL;
    }
    (void)signal((int)number, SIG_DFL);
    (void)raise((int)number);
    (void)err_set(e, ERR_INTERNAL, "survived signal %d", (int)number);
    return TASK_FAIL;
}

const struct task task_crash = {.name = "till.tasks.crash",
                                .queue = "default",
                                .max_attempts = 3,
                                .soft_limit_s = 2,
                                .hard_limit_s = 4,
                                .run = run_crash};
