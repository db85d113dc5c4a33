/* SPDX-License-Identifier: MIT
 *
 * Sending one mail over SMTP with libesmtp. One mailer a thread. libesmtp's own return value tells
 * nothing; what counts is the status of the message and of every recipient.
 */
#ifndef WORKER_MAILER_H
#define WORKER_MAILER_H

#include <stdint.h>

#include "common/err.h"
#include "worker/mail_message.h"

struct mailer;

enum mail_outcome {
    MAIL_SENT,
    MAIL_REFUSED, /* 5xx: the same mail to the same address stays refused */
    MAIL_DELAYED, /* 4xx: greylisted, full, busy: later, and not soon */
    MAIL_UNSENT,  /* no connection, or it ended before the mail was handed over */
    MAIL_UNKNOWN, /* it ended after that: the mail may have gone out */
};

/* Whether SMTP_URL and MAIL_FROM can be used. */
enum err_code mailer_check(const char *smtp_url, const char *mail_from, struct err *e) MUST_CHECK;

/* `smtp_url`: smtp[s]://[user:password@]host:port; smtps requires STARTTLS with a certificate that
 * is valid for the host, and only then are user and password sent. Both texts passed
 * mailer_check().
 */
struct mailer *mailer_open(const char *smtp_url, const char *mail_from);
void mailer_close(struct mailer *mailer);

/* The address that mails come from. */
const struct mail_address *mailer_from(const struct mailer *mailer);

/* Hands `message` (CRLF lines) over for one recipient. `e` says what the server said. */
enum mail_outcome mailer_send(struct mailer *mailer, const char *recipient, const char *message,
                              int64_t timeout_us, struct err *e);

#endif
