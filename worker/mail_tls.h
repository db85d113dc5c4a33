/* SPDX-License-Identifier: MIT
 *
 * STARTTLS for the sessions of one mailer, and why it did not come about. What libesmtp 1.1 as
 * packaged needs: an SSL_CTX of ours in each session, TLS 1.2 at most (its own one is used after it
 * was freed, and TLS 1.3's session tickets hang it). It sends neither password nor mail where
 * STARTTLS is required and fails.
 */
#ifndef WORKER_MAIL_TLS_H
#define WORKER_MAIL_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/ssl.h>
/* libesmtp.h declares what concerns these two only after them. */
#include <auth-client.h>
#include <libesmtp.h>

struct mail_tls;

/* `host`: whose certificate must be shown. `ca_file` passed authorities_check(). NULL: no memory.
 */
struct mail_tls *mail_tls_new(const char *host, const char *ca_file);
void mail_tls_free(struct mail_tls *tls);

/* Requires STARTTLS of this session, which must end before the next one is enabled. */
bool mail_tls_enable(struct mail_tls *tls, smtp_session_t session);

/* Why the last session got no TLS, for people; NULL when it did, or never came that far. */
const char *mail_tls_problem(const struct mail_tls *tls);

#endif
