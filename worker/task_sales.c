/* SPDX-License-Identifier: MIT
 *
 * reports.tasks.daily_sales([day]): the sales of a day, yesterday's by the clock of TILL_TIME_ZONE,
 * go to all staff: in one transaction, a row and a job for each who has none for that day yet. So
 * however often it runs, each gets one mail a day.
 *
 * reports.tasks.send_daily_sales(day, user id): one of these mails, in plain text. At least once,
 * like every mail, with a Message-ID made from the job's id.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/payment.h"
#include "common/upkeep.h"
#include "worker/mailer.h"
#include "worker/task_mail.h"

enum { MAIL_MAX = 64 * 1024 };

/* ---- who gets it ---- */

/* PostgreSQL would take "yesterday" for a day, and it would be right. */
static bool is_day(const char *text)
{
    char time[CLOCK_TEXT_SIZE];
    int64_t ignored;

    return strlen(text) == SALES_DAY_SIZE - 1 &&
           text_format(time, sizeof time, "%sT00:00:00Z", text) && clock_parse(time, &ignored);
}

static enum err_code find_day(const struct task_run *run, char day[SALES_DAY_SIZE], struct err *e)
{
    const char *given = task_arg_text(run, 0);
    const char *tick = task_header(run, "tick");
    char now[CLOCK_TEXT_SIZE];
    int64_t ignored;

    if (given && (!is_day(given) || !text_format(day, SALES_DAY_SIZE, "%s", given)))
        return err_set(e, ERR_INVALID, "daily_sales takes a day as 2026-11-21, or nothing");
    if (given)
        return ERR_OK;
    /* The planned time, so that a run that comes late reports the day that it was meant for. */
    clock_format(clock_wall_us(), now);
    return sales_day_before(run->db, tick && clock_parse(tick, &ignored) ? tick : now,
                            run->conf->time_zone, day, e);
}

static enum task_outcome run_daily_sales(struct task_run *run, struct err *e)
{
    char day[SALES_DAY_SIZE];
    int64_t mails = 0;
    struct buf result;

    if (find_day(run, day, e) || task_begin(run, e) || sales_report_start(run->db, day, &mails, e))
        return task_outcome_of(e);
    buf_init(&result, 100);
    buf_addf(&result, "{\"day\":\"%s\",\"mails\":%" PRId64 "}", day, mails);
    run->result = result.data;
    return TASK_DONE;
}

const struct task task_daily_sales = {.name = "reports.tasks.daily_sales",
                                      .queue = "default",
                                      .max_attempts = 10,
                                      .soft_limit_s = 40,
                                      .hard_limit_s = 60,
                                      .run = run_daily_sales};

/* ---- the mail ---- */

static void add_total(struct buf *out, const struct sales_total *total)
{
    char currency[4] = "";

    (void)snprintf(currency, sizeof currency, "%s", total->currency);
    for (char *p = currency; *p; p++)
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
    buf_addf(out, "  Paid orders: %" PRId64 "  %s %s\n", total->orders, total->gross, currency);
    if (total->refunds > 0)
        buf_addf(out, "  Refunded:    %" PRId64 "  %s %s\n", total->refunds, total->refunded,
                 currency);
    buf_addf(out, "  Sales:       %s %s, %" PRId64 " items\n\n", total->net, currency,
             total->items);
}

static void write_text(const struct sales_report *report, const char *day, const char *zone,
                       struct buf *out)
{
    buf_addf(out, "Hello %s,\n\nthe sales of %s (%s):\n\n", report->name, day, zone);
    for (size_t i = 0; i < report->totals_count; i++)
        add_total(out, &report->totals[i]);
    if (report->totals_count == 0)
        buf_add_str(out, "  Nothing was sold.\n\n");
    buf_addf(out, "  Orders placed: %" PRId64 "\n", report->placed);
    if (report->products_count > 0)
        buf_add_str(out, "\nMost sold:\n\n");
    for (size_t i = 0; i < report->products_count; i++)
        buf_addf(out, "  %" PRId64 " x %s\n", report->products[i].items, report->products[i].name);
}

static enum err_code compose(const struct task_run *run, const struct sales_report *report,
                             const char *day, const char *message_id, struct buf *out,
                             struct err *e)
{
    AUTO_VALUE(buf_release) struct buf text;
    struct mail_address to = {0};
    char subject[64];

    buf_init(&text, MAIL_MAX);
    write_text(report, day, run->conf->time_zone, &text);
    (void)snprintf(subject, sizeof subject, "Sales of %s", day);
    if (text.overflow || !text_format(to.address, sizeof to.address, "%s", report->email))
        return err_set(e, ERR_INVALID, "the report of %s is too long", day);
    return mail_compose(&(struct mail_parts){.from = mailer_from(run->mailer),
                                             .to = &to,
                                             .subject = subject,
                                             .message_id = message_id,
                                             .traceparent = run->traceparent,
                                             .headers = run->headers_out,
                                             .date_us = clock_wall_us(),
                                             .text = text.data},
                        out, e);
}

static enum task_outcome send(struct task_run *run, const struct sales_report *report,
                              const char *day, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf message;
    char message_id[320];

    buf_init(&message, MAIL_MAX * 4);
    (void)snprintf(message_id, sizeof message_id, "sales-%s.%s@%s", day, run->id.text,
                   strrchr(mailer_from(run->mailer)->address, '@') + 1);
    if (compose(run, report, day, message_id, &message, e))
        return TASK_FAIL;
    return task_send_mail(run, report->email, message_id, message.data, e);
}

static enum task_outcome run_send(struct task_run *run, struct err *e)
{
    AUTO_VALUE(sales_report_release) struct sales_report report = {0};
    const char *day = task_arg_text(run, 0);
    int64_t user_id;

    if (!day || !is_day(day) || !task_arg_int(run, 1, 1, INT64_MAX, &user_id)) {
        (void)err_set(e, ERR_INVALID, "send_daily_sales takes a day and the id of a user");
        return TASK_FAIL;
    }
    if (sales_report_read(run->db, day, run->conf->time_zone, user_id, &report, e))
        return task_outcome_of(e);
    if (!report.email) { /* left since: nothing to tell */
        run->result = mem_dup("{\"status\":\"not_staff\"}");
        return TASK_DONE;
    }
    return send(run, &report, day, e);
}

const struct task task_send_daily_sales = {.name = TASK_SEND_DAILY_SALES,
                                           .queue = QUEUE_MAIL,
                                           .max_attempts = 20,
                                           .soft_limit_s = 120,
                                           .hard_limit_s = 150,
                                           .run = run_send};
