/* SPDX-License-Identifier: MIT
 *
 * STARTTLS for the mailer; see mail_tls.h. What went wrong is pieced together from OpenSSL's and
 * libesmtp's callbacks: libesmtp itself says only that a session has ended.
 */
#include "worker/mail_tls.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/x509v3.h>

#include "common/mem.h"
#include "worker/authorities.h"

struct mail_tls {
    SSL_CTX *context;
    /* Of the last session: */
    bool not_offered;
    bool asked; /* STARTTLS was sent */
    bool begun; /* the handshake */
    bool done;
    size_t answer_len;
    char answer[512]; /* to STARTTLS, in clear, with all that came behind it */
    char problem[150];
};

/* libesmtp keeps what came in clear behind the 220, and takes it for answers to what it says within
 * TLS: whoever is in between could have a mail seem sent. So it must be the one reply and no more
 * (RFC 3207, 4.2). */
static bool is_one_reply(const char *answer, size_t len)
{
    const char *end = memchr(answer, '\n', len);

    while (end && end - answer >= 4 && answer[3] == '-') { /* a line that another follows */
        len -= (size_t)(end + 1 - answer);
        answer = end + 1;
        end = memchr(answer, '\n', len);
    }
    return end && end + 1 == answer + len;
}

/* Called for each certificate of a chain; the first that fails ends the handshake. */
static int note_certificate(int is_valid, X509_STORE_CTX *store)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct mail_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    if (!is_one_reply(tls->answer, tls->answer_len)) {
        (void)snprintf(tls->problem, sizeof tls->problem,
                       "more than the answer to STARTTLS came in clear: somebody is in between");
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    if (!is_valid)
        (void)snprintf(tls->problem, sizeof tls->problem,
                       "its certificate is not valid (%.60s): see SMTP_URL, SMTP_CA_FILE and the "
                       "clock",
                       X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
    return is_valid;
}

static void note_handshake(const SSL *ssl, int where, int value)
{
    struct mail_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    (void)value;
    if (where & SSL_CB_HANDSHAKE_START)
        tls->begun = true;
    if (where & SSL_CB_HANDSHAKE_DONE)
        tls->done = true;
}

/* libesmtp compares names again, and knows no addresses: OpenSSL has compared them better. */
static void note_event(smtp_session_t session, int event, void *context, ...)
{
    struct mail_tls *tls = context;
    va_list args;

    (void)session;
    va_start(args, context);
    if (event == SMTP_EV_EXTNA_STARTTLS)
        tls->not_offered = true;
    if (event == SMTP_EV_WRONG_PEER_CERTIFICATE && tls->done)
        *va_arg(args, int *) = 1;
    va_end(args);
}

/* What goes over the wire; of it the one command and its answer alone. */
static void note_line(const char *text, int len, int writing, void *context)
{
    struct mail_tls *tls = context;

    if (writing == SMTP_CB_WRITING && len >= 8 && memcmp(text, "STARTTLS", 8) == 0)
        tls->asked = true;
    if (writing == SMTP_CB_READING && tls->asked && !tls->begun) {
        size_t room = sizeof tls->answer - tls->answer_len;
        size_t count = (size_t)len < room ? (size_t)len : room; /* too long is too much */

        memcpy(tls->answer + tls->answer_len, text, count);
        tls->answer_len += count;
    }
}

static bool prepare(struct mail_tls *tls, const char *host, const char *ca_file)
{
    X509_VERIFY_PARAM *verify = SSL_CTX_get0_param(tls->context);

    SSL_CTX_set_app_data(tls->context, tls);
    SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, note_certificate);
    SSL_CTX_set_info_callback(tls->context, note_handshake);
    return SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION) &&
           SSL_CTX_set_max_proto_version(tls->context, TLS1_2_VERSION) &&
           authorities_load(tls->context, ca_file) &&
           (X509_VERIFY_PARAM_set1_ip_asc(verify, host) ||
            X509_VERIFY_PARAM_set1_host(verify, host, 0));
}

struct mail_tls *mail_tls_new(const char *host, const char *ca_file)
{
    struct mail_tls *tls = mem_alloc(sizeof *tls);

    tls->context = SSL_CTX_new(TLS_client_method());
    if (tls->context && prepare(tls, host, ca_file))
        return tls;
    mail_tls_free(tls);
    return NULL;
}

void mail_tls_free(struct mail_tls *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->context);
    mem_free(tls);
}

bool mail_tls_enable(struct mail_tls *tls, smtp_session_t session)
{
    tls->not_offered = tls->asked = tls->begun = tls->done = false;
    tls->problem[0] = '\0';
    tls->answer_len = 0;
    return smtp_set_eventcb(session, note_event, tls) &&
           smtp_set_monitorcb(session, note_line, tls, 0) &&
           smtp_starttls_enable(session, Starttls_REQUIRED) &&
           smtp_starttls_set_ctx(session, tls->context);
}

const char *mail_tls_problem(const struct mail_tls *tls)
{
    if (tls->done)
        return NULL;
    if (*tls->problem)
        return tls->problem;
    if (tls->not_offered)
        return "it offers no STARTTLS: see host and port of SMTP_URL";
    if (tls->begun)
        return "the TLS handshake failed: it must speak TLS 1.2";
    if (tls->asked)
        return "it refused STARTTLS";
    return NULL;
}
