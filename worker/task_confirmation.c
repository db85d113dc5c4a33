/* SPDX-License-Identifier: MIT
 *
 * payments.tasks.send_order_confirmation_email(order id): tells the customer that an order is paid.
 *
 * At least once: the mail goes out before the job's end is committed, so a crash between the
 * server's 250 and our commit sends it again, with the same Message-ID (it is made from the job's
 * id), by which mail programs know the copy.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/confirmation.h"
#include "common/mem.h"
#include "common/money.h"
#include "common/payment.h"
#include "worker/mailer.h"
#include "worker/task_mail.h"

enum { MAIL_MAX = 512 * 1024 };

static void upper_currency(const struct confirmation *c, char out[4])
{
    (void)snprintf(out, 4, "%s", c->currency);
    for (char *p = out; *p; p++)
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
}

/* The texts of one line's amounts. */
struct line_text {
    char price[MONEY_TEXT_SIZE];
    char amount[MONEY_TEXT_SIZE];
};

static struct line_text line_text_of(const struct confirmation_line *line)
{
    struct line_text text = {0};

    money_format(line->price, text.price);
    money_format(line->price * line->quantity, text.amount);
    return text;
}

static void write_text(const struct confirmation *c, struct buf *out)
{
    char total[MONEY_TEXT_SIZE];
    char currency[4];

    upper_currency(c, currency);
    buf_addf(out, "Hello %s,\n\nthank you: your order %" PRId64 " is paid.\n\n", c->name,
             c->order_id);
    for (size_t i = 0; i < c->line_count; i++) {
        struct line_text text = line_text_of(&c->lines[i]);

        buf_addf(out, "  %" PRId64 " x %s at %s: %s %s\n", c->lines[i].quantity,
                 c->lines[i].product, text.price, text.amount, currency);
    }
    money_format(c->total, total);
    buf_addf(out, "\nTotal: %s %s\n", total, currency);
}

static void write_html(const struct confirmation *c, struct buf *out)
{
    char total[MONEY_TEXT_SIZE];
    char currency[4];

    upper_currency(c, currency);
    buf_add_str(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                     "<title>Your order is paid</title></head>\n<body>\n<p>Hello ");
    mail_add_html(out, c->name);
    buf_addf(out,
             ",</p>\n<p>thank you: your order %" PRId64 " is paid.</p>\n<table>\n"
             "<tr><th>Quantity</th><th>Product</th><th>Price</th><th>Amount</th></tr>\n",
             c->order_id);
    for (size_t i = 0; i < c->line_count; i++) {
        struct line_text text = line_text_of(&c->lines[i]);

        buf_addf(out, "<tr><td>%" PRId64 "</td><td>", c->lines[i].quantity);
        mail_add_html(out, c->lines[i].product);
        buf_addf(out, "</td><td>%s</td><td>%s %s</td></tr>\n", text.price, text.amount, currency);
    }
    money_format(c->total, total);
    buf_addf(out, "<tr><th colspan=\"3\">Total</th><th>%s %s</th></tr>\n</table>\n</body></html>\n",
             total, currency);
}

static enum err_code compose(const struct task_run *run, const struct confirmation *c,
                             const char *message_id, struct buf *out, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf text;
    AUTO_VALUE(buf_release) struct buf html;
    struct mail_address to = {0};
    char subject[64];

    buf_init(&text, MAIL_MAX);
    buf_init(&html, MAIL_MAX);
    write_text(c, &text);
    write_html(c, &html);
    (void)snprintf(subject, sizeof subject, "Your order %" PRId64 " is paid", c->order_id);
    if (text.overflow || html.overflow ||
        !text_format(to.address, sizeof to.address, "%s", c->email))
        return err_set(e, ERR_INVALID, "the confirmation of order %" PRId64 " is too long",
                       c->order_id);
    /* A name that does not fit or has control characters is left out; the address decides. */
    if (!text_format(to.name, sizeof to.name, "%s", c->name) || strpbrk(to.name, "\r\n\t"))
        to.name[0] = '\0';
    return mail_compose(&(struct mail_parts){.from = mailer_from(run->mailer),
                                             .to = &to,
                                             .subject = subject,
                                             .message_id = message_id,
                                             .traceparent = run->traceparent,
                                             .headers = run->headers_out,
                                             .date_us = clock_wall_us(),
                                             .text = text.data,
                                             .html = html.data},
                        out, e);
}

static enum task_outcome send(struct task_run *run, const struct confirmation *c, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf message;
    char message_id[320];

    buf_init(&message, MAIL_MAX * 2);
    (void)snprintf(message_id, sizeof message_id, "order-%" PRId64 ".%s@%s", c->order_id,
                   run->id.text, strrchr(mailer_from(run->mailer)->address, '@') + 1);
    if (compose(run, c, message_id, &message, e))
        return TASK_FAIL;
    return task_send_mail(run, c->email, message_id, message.data, e);
}

static enum task_outcome run_send_confirmation(struct task_run *run, struct err *e)
{
    AUTO_VALUE(confirmation_release) struct confirmation c = {0};
    int64_t order_id;

    if (!task_arg_int(run, 0, 1, INT64_MAX, &order_id)) {
        (void)err_set(e, ERR_INVALID, "send_order_confirmation_email takes the id of an order");
        return TASK_FAIL;
    }
    if (confirmation_read(run->db, order_id, &c, e))
        return task_outcome_of(e);
    if (strcmp(c.status, "paid") != 0 && strcmp(c.status, "refunded") != 0) {
        (void)err_set(e, ERR_INVALID, "order %" PRId64 " is %s: there is nothing to confirm",
                      order_id, c.status);
        return TASK_FAIL;
    }
    return send(run, &c, e);
}

const struct task task_send_confirmation = {.name = TASK_SEND_CONFIRMATION,
                                            .queue = QUEUE_MAIL,
                                            .max_attempts = 20,
                                            .soft_limit_s = 120,
                                            .hard_limit_s = 150,
                                            .run = run_send_confirmation};
