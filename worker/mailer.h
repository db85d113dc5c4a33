/* SPDX-License-Identifier: MIT
 *
 * Sending one mail over SMTP with libesmtp. One mailer a thread. libesmtp's own return value tells
 * nothing; what counts is the status of the message and of every recipient.
 */
#ifndef WORKER_MAILER_H
#define WORKER_MAILER_H

#include <stdint.h>

#include "common/conf.h"
#include "common/err.h"
#include "worker/mail_message.h"

struct mailer;

enum mail_outcome {
    MAIL_SENT,
    MAIL_REFUSED, /* 5xx: the same mail to the same address stays refused */
    MAIL_DELAYED, /* 4xx: greylisted, full, busy: later, and not soon */
    MAIL_UNSENT,  /* no connection, no TLS, not logged in: the mail was not handed over */
    MAIL_UNKNOWN, /* it ended after that: the mail may have gone out */
};

/* Where mail goes, and whose it is. */
struct mail_place {
    const char *url;     /* SMTP_URL: smtp://host:port, or smtps://[user:password@]host:port */
    const char *ca_file; /* SMTP_CA_FILE: who may vouch for its certificate; "": the machine's */
    const char *from;    /* MAIL_FROM */
};

struct mail_place mail_place_of(const struct conf *conf);

/* Whether they can be used. */
enum err_code mailer_check(const struct mail_place *place, struct err *e) MUST_CHECK;

/* smtps requires STARTTLS with a certificate that is valid for the host, and only then are user and
 * password sent. `place` passed mailer_check(), and is copied. */
struct mailer *mailer_open(const struct mail_place *place);
void mailer_close(struct mailer *mailer);

/* The address that mails come from. */
const struct mail_address *mailer_from(const struct mailer *mailer);

/* Hands `message` (CRLF lines) over for one recipient. `e` says what the server said. */
enum mail_outcome mailer_send(struct mailer *mailer, const char *recipient, const char *message,
                              int64_t timeout_us, struct err *e);

#endif
