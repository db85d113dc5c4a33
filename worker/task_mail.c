/* SPDX-License-Identifier: MIT
 *
 * The outcome of a task that has sent a mail; see task_mail.h.
 */
#include "worker/task_mail.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/job.h"
#include "worker/mailer.h"

enum { DELAY_FACTOR = 150, DELAY_MAX_S = 4 * 3600 };

/* Who puts a mail off means minutes, not seconds: 150 times the usual wait, up to 4 hours. */
static int64_t delay_us(const struct task_run *run)
{
    const struct backoff backoff = {.jitter = BACKOFF_JITTER_NONE,
                                    .base_us = run->conf->retry_base_ms * US_PER_MS * DELAY_FACTOR,
                                    .max_us = DELAY_MAX_S * US_PER_S};

    return job_backoff_us(&backoff, run->attempt - run->snoozes, 0);
}

static char *result_of(const char *message_id)
{
    struct buf result;

    buf_init(&result, 1024);
    buf_add_str(&result, "{\"message_id\":");
    buf_add_json(&result, message_id);
    buf_add_char(&result, '}');
    return result.data;
}

enum task_outcome task_send_mail(struct task_run *run, const char *recipient,
                                 const char *message_id, const char *message, struct err *e)
{
    enum mail_outcome outcome;

    if (!task_may_call(run, run->mail_breaker))
        return TASK_SNOOZE;
    CRASH_POINT("mail.before");
    outcome = mailer_send(run->mailer, recipient, message, task_time_left_us(run), e);
    task_called(run->mail_breaker, "mail", outcome != MAIL_UNSENT && outcome != MAIL_UNKNOWN);
    switch (outcome) {
    case MAIL_SENT:
        CRASH_POINT("mail.sent");
        run->result = result_of(message_id);
        return TASK_DONE;
    case MAIL_REFUSED:
        return TASK_FAIL;
    case MAIL_DELAYED:
        run->retry_after_us = delay_us(run);
        return TASK_RETRY;
    case MAIL_UNSENT:
    case MAIL_UNKNOWN:
        break;
    }
    return TASK_RETRY;
}
