/* SPDX-License-Identifier: MIT
 *
 * The text of a mail, made without any I/O: headers (RFC 5322), encoded words (RFC 2047),
 * multipart/alternative (RFC 2046) with quoted-printable parts (RFC 2045). Nothing that a customer
 * wrote can end a header or begin another.
 */
#ifndef WORKER_MAIL_MESSAGE_H
#define WORKER_MAIL_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "common/buf.h"
#include "common/err.h"

struct mail_address {
    char address[256]; /* local@domain, printable ASCII without blanks */
    char name[256];    /* UTF-8, or "" */
};

struct mail_parts {
    const struct mail_address *from;
    const struct mail_address *to;
    const char *subject;     /* UTF-8 */
    const char *message_id;  /* without < >, at most 320 */
    const char *traceparent; /* its trace is told in X-Till-Trace-Id; NULL or no such: none */
    const json_t *headers;   /* of job_headers_outgoing(): stand there as they are; NULL: none */
    int64_t date_us;         /* wall time */
    const char *text;        /* UTF-8, lines end with \n */
    const char *html;        /* NULL: the mail is plain text alone */
};

/* "Name <a@b>" or "a@b". ERR_INVALID when it is no address that SMTP without extensions carries, or
 * the name is not UTF-8 or has control characters. */
enum err_code mail_address_parse(const char *text, struct mail_address *ret_address,
                                 struct err *e) MUST_CHECK;
bool mail_address_is_valid(const char *address);

/* The whole message with CRLF line ends, into `out`. ERR_INVALID when it would be too long,
 * ERR_INTERNAL when the message id is none. */
enum err_code mail_compose(const struct mail_parts *parts, struct buf *out,
                           struct err *e) MUST_CHECK;

/* Adds UTF-8 text as HTML text. */
void mail_add_html(struct buf *out, const char *text);

#endif
