/* SPDX-License-Identifier: MIT
 *
 * Looking at a job's row with growing pauses until it is final; see wait.h. Changes nothing.
 */
#include "cli/wait.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/jobs_view.h"

#define PAUSE_FIRST_US (5 * US_PER_MS)
#define PAUSE_MAX_US (200 * US_PER_MS)
#define AWAY_MAX_US (30 * US_PER_S)

enum { LINE_MAX_BYTES = 2 * 1024 * 1024 };

static int print_end(struct cli *cli, const struct job_view *job)
{
    AUTO_VALUE(buf_release) struct buf line;

    buf_init(&line, LINE_MAX_BYTES);
    if (cli->json) {
        buf_addf(&line, "{\"id\":\"%s\",\"state\":\"%s\",\"attempt\":%d,\"result\":", job->id.text,
                 job_state_name(job->state), job->attempt);
        buf_add_str(&line, job->result ? job->result : "null");
        buf_add_str(&line, ",\"error\":");
        if (job->error && job->state != JOB_SUCCESS)
            buf_add_json(&line, job->error);
        else
            buf_add_str(&line, "null");
        buf_add_char(&line, '}');
    } else {
        const char *more = job->state == JOB_SUCCESS ? job->result : job->error;

        buf_add_str(&line, job_state_name(job->state));
        if (more && *more) {
            buf_add_char(&line, ' ');
            buf_add_text(&line, more);
        }
    }
    if (line.overflow)
        return cli_fail(&(struct err){.code = ERR_INTERNAL, .text = "the result is too long"});
    (void)puts(line.data);
    return job->state == JOB_SUCCESS ? EXIT_DONE : EXIT_FAILED;
}

void wait_pause(int64_t us)
{
    for (struct timespec until = clock_timespec(clock_mono_us() + us);
         clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR;)
        ;
}

bool wait_goes_on(enum err_code rc, int64_t *answered_us)
{
    if (!rc)
        *answered_us = clock_mono_us();
    return !rc || (err_is_transient(rc) && clock_mono_us() - *answered_us <= AWAY_MAX_US);
}

int wait_for_job(struct cli *cli, const struct uuid *id, int64_t timeout_s)
{
    int64_t deadline_us = clock_mono_us() + timeout_s * US_PER_S;
    int64_t answered_us = clock_mono_us();
    enum job_state state = JOB_PENDING;

    for (int64_t pause = PAUSE_FIRST_US;; pause = pause * 3 / 2) {
        AUTO_VALUE(job_detail_release) struct job_detail detail = {0};
        struct err e = {0};
        enum err_code rc = jobs_find(cli_db(cli), id, &detail, &e);
        int64_t left_us = deadline_us - clock_mono_us();

        if (!wait_goes_on(rc, &answered_us))
            return cli_fail(&e);
        if (!rc)
            state = detail.job.state;
        if (!rc && job_is_final(state))
            return print_end(cli, &detail.job);
        if (timeout_s && left_us <= 0) {
            (void)fprintf(stderr,
                          "till: job %s is still %s after %" PRId64 " s; it is not cancelled\n",
                          id->text, job_state_name(state), timeout_s);
            return EXIT_FAILED;
        }
        pause = pause < PAUSE_MAX_US ? pause : PAUSE_MAX_US;
        wait_pause(timeout_s && left_us < pause ? left_us : pause);
    }
}
