/* SPDX-License-Identifier: MIT
 *
 * The SMTP client; see mailer.h. What libesmtp 1.1 as packaged needs from its callers, beside what
 * mail_tls.h tells:
 *  - all five time-outs, in milliseconds, with the flag that allows values below RFC 2822's
 * minutes;
 *  - a server that answers: connect() inside it has no time-out, so one is tried before.
 * Not for sharing between threads.
 */
#include "worker/mailer.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/text.h"
#include "worker/authorities.h"
#include "worker/mail_tls.h"

enum {
    PORT_OF_TLS_ALONE = 465,
    CONNECT_LIMIT_MS = 5000,
    REACHED_LIFE_S = 60, /* so long a server that took a mail counts as reachable */
    REPLY_LIMIT_MS = 20000,
    REPLY_LIMIT_MIN_MS = 1000,
};

struct mailer {
    char *host;
    char *port;
    char *user; /* NULL: no authentication */
    char *password;
    char *ca_file;
    bool needs_tls;
    struct mail_tls *tls; /* made when first used */
    struct mail_address from;
    int64_t reached_us; /* monotonic: when the server last took a mail; 0: never */
};

/* ---- settings ---- */

/* The parts of the URL. Gives what is wrong with it, or NULL. */
static const char *parse_url(const char *url, struct mailer *mailer)
{
    static const char *const form =
        "SMTP_URL is not smtp://host:port or smtps://user:password@host:port";
    AUTO(mem_wipe_free) char *rest = NULL;
    char *host;
    char *at;
    char *colon;
    int64_t port;

    mailer->needs_tls = text_starts(url, "smtps://");
    if (!mailer->needs_tls && !text_starts(url, "smtp://"))
        return form;
    rest = mem_dup(url + (mailer->needs_tls ? 8 : 7));
    rest[strcspn(rest, "/?")] = '\0';
    at = strrchr(rest, '@');
    host = at ? at + 1 : rest;
    colon = strrchr(host, ':');
    if (colon)
        *colon = '\0';
    mailer->host = mem_dup(host);
    mailer->port = mem_dup(colon ? colon + 1 : mailer->needs_tls ? "587" : "25");
    if (at) {
        *at = '\0';
        colon = strchr(rest, ':');
        if (!colon)
            return form;
        if (!mailer->needs_tls)
            return "SMTP_URL would send its password in clear: write smtps:// (it requires "
                   "STARTTLS)";
        mailer->user = mem_dup_n(rest, (size_t)(colon - rest));
        mailer->password = mem_dup(colon + 1);
        text_percent_decode(mailer->user);
        text_percent_decode(mailer->password);
    }
    if (!*mailer->host || !text_to_int(mailer->port, 1, 65535, &port))
        return form;
    if (mailer->needs_tls && port == PORT_OF_TLS_ALONE)
        return "SMTP_URL names port 465, where TLS begins without STARTTLS, which is not spoken: "
               "take port 587";
    return NULL;
}

void mailer_close(struct mailer *mailer)
{
    if (!mailer)
        return;
    mail_tls_free(mailer->tls);
    mem_free(mailer->host);
    mem_free(mailer->port);
    mem_free(mailer->ca_file);
    mem_wipe_free(mailer->user);
    mem_wipe_free(mailer->password);
    mem_free(mailer);
}

struct mail_place mail_place_of(const struct conf *conf)
{
    return (struct mail_place){
        .url = conf->smtp_url, .ca_file = conf->smtp_ca_file, .from = conf->mail_from};
}

enum err_code mailer_check(const struct mail_place *place, struct err *e)
{
    struct mailer *mailer = mem_alloc(sizeof *mailer);
    const char *problem = parse_url(place->url, mailer);
    struct mail_address address;

    mailer_close(mailer);
    if (problem)
        return err_set(e, ERR_INVALID, "%s", problem);
    if (mail_address_parse(place->from, &address, e))
        return ERR_INVALID;
    return authorities_check("SMTP_CA_FILE", place->ca_file, e);
}

struct mailer *mailer_open(const struct mail_place *place)
{
    struct mailer *mailer = mem_alloc(sizeof *mailer);

    if (parse_url(place->url, mailer) || mail_address_parse(place->from, &mailer->from, NULL))
        abort(); /* mailer_check() was not asked: our own mistake */
    mailer->ca_file = mem_dup(place->ca_file);
    return mailer;
}

const struct mail_address *mailer_from(const struct mailer *mailer) { return &mailer->from; }

/* ---- connection ---- */

static bool connects(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct pollfd pfd = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof error;
    bool ok;

    if (fd < 0)
        return false;
    ok = connect(fd, address->ai_addr, address->ai_addrlen) == 0 ||
         (errno == EINPROGRESS && poll(&pfd, 1, CONNECT_LIMIT_MS) == 1 &&
          getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0);
    (void)close(fd);
    return ok;
}

static enum err_code probe(const struct mailer *mailer, struct err *e)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    bool reachable = false;
    int code = getaddrinfo(mailer->host, mailer->port, &hints, &list);

    if (code)
        return err_set_detail(e, ERR_UNAVAILABLE, gai_strerror(code),
                              "the mail server \"%.80s\" is not found", mailer->host);
    for (const struct addrinfo *a = list; a && !reachable; a = a->ai_next)
        reachable = connects(a);
    freeaddrinfo(list);
    if (!reachable)
        return err_set(e, ERR_UNAVAILABLE, "the mail server at %.80s:%s is not reachable",
                       mailer->host, mailer->port);
    return ERR_OK;
}

static bool was_reached_lately(const struct mailer *mailer)
{
    return mailer->reached_us && clock_mono_us() - mailer->reached_us < REACHED_LIFE_S * US_PER_S;
}

static bool require_tls(struct mailer *mailer, smtp_session_t session)
{
    if (!mailer->tls)
        mailer->tls = mail_tls_new(mailer->host, mailer->ca_file);
    return mailer->tls && mail_tls_enable(mailer->tls, session);
}

static int give_credentials(auth_client_request_t request, char **result, int fields, void *context)
{
    struct mailer *mailer = context;

    for (int i = 0; i < fields; i++) {
        if (request[i].flags & AUTH_USER)
            result[i] = mailer->user;
        else if (request[i].flags & AUTH_PASS)
            result[i] = mailer->password;
        else
            return 0;
    }
    return 1;
}

/* ---- one mail ---- */

/* What one transfer uses; everything in it is released together. */
struct transfer {
    smtp_session_t session;
    smtp_message_t message;
    smtp_recipient_t recipient;
    auth_context_t auth;
    const char *text;
    bool given;  /* the callback has handed the text out, and not yet said that it was all */
    bool handed; /* it has handed the text out at least once: the server may have the mail */
};

static void transfer_release(struct transfer *transfer)
{
    if (transfer->session)
        (void)smtp_destroy_session(transfer->session);
    if (transfer->auth)
        (void)auth_destroy_context(transfer->auth);
}

/* libesmtp asks for the text in pieces; there is one. With len NULL it wants to begin anew. */
static const char *give_text(void **buffer, int *len, void *context)
{
    struct transfer *transfer = context;

    (void)buffer;
    if (!len || transfer->given) {
        transfer->given = false;
        if (len)
            *len = 0;
        return NULL;
    }
    transfer->given = true;
    transfer->handed = true;
    *len = (int)strlen(transfer->text);
    return transfer->text;
}

static void set_timeouts(smtp_session_t session, int64_t timeout_us)
{
    int64_t each_ms = timeout_us / US_PER_MS;

    if (each_ms > REPLY_LIMIT_MS)
        each_ms = REPLY_LIMIT_MS;
    if (each_ms < REPLY_LIMIT_MIN_MS)
        each_ms = REPLY_LIMIT_MIN_MS;
    for (int which = Timeout_GREETING; which <= Timeout_DATA2; which++)
        (void)smtp_set_timeout(session, which | Timeout_OVERRIDE_RFC2822_MINIMUM, (long)each_ms);
}

static bool set_up(struct mailer *mailer, struct transfer *transfer, const char *recipient,
                   int64_t timeout_us)
{
    char server[300];

    if (!text_format(server, sizeof server, "%s:%s", mailer->host, mailer->port))
        return false;
    transfer->session = smtp_create_session();
    if (!transfer->session || !smtp_set_server(transfer->session, server))
        return false;
    set_timeouts(transfer->session, timeout_us);
    if (mailer->needs_tls && !require_tls(mailer, transfer->session))
        return false;
    if (mailer->user) {
        transfer->auth = auth_create_context();
        if (!transfer->auth ||
            !auth_set_mechanism_flags(transfer->auth, AUTH_PLUGIN_PLAIN, AUTH_PLUGIN_ANONYMOUS) ||
            !auth_set_interact_cb(transfer->auth, give_credentials, mailer) ||
            !smtp_auth_set_context(transfer->session, transfer->auth))
            return false;
    }
    transfer->message = smtp_add_message(transfer->session);
    if (!transfer->message || !smtp_set_reverse_path(transfer->message, mailer->from.address) ||
        !smtp_set_messagecb(transfer->message, give_text, transfer))
        return false;
    transfer->recipient = smtp_add_recipient(transfer->message, recipient);
    return transfer->recipient != NULL;
}

static enum mail_outcome refused_or_delayed(const smtp_status_t *status, const char *what,
                                            struct err *e)
{
    bool permanent = status->code >= 500;

    (void)err_set_detail(e, permanent ? ERR_INVALID : ERR_UNAVAILABLE, status->text,
                         "the mail server %s %s with status %d", permanent ? "refused" : "put off",
                         what, status->code);
    return permanent ? MAIL_REFUSED : MAIL_DELAYED;
}

/* RFC 4954, 6: it wants a password, or has not liked the one it got. libesmtp goes on without, so
 * that this is how the mail itself is answered; it says nothing about the mail. */
static bool is_about_password(const smtp_status_t *status)
{
    return status && (status->code == 530 || status->code == 534 || status->code == 535);
}

static enum mail_outcome judge_unanswered(const struct mailer *mailer,
                                          const struct transfer *transfer, struct err *e)
{
    const char *problem = mailer->tls ? mail_tls_problem(mailer->tls) : NULL;
    char text[128] = "";

    (void)smtp_strerror(smtp_errno(), text, sizeof text);
    if (transfer->handed) {
        (void)err_set_detail(e, ERR_TIMEOUT, text,
                             "the connection to the mail server ended during the transfer; the "
                             "mail may have gone out");
        return MAIL_UNKNOWN;
    }
    if (problem)
        (void)err_set_detail(e, ERR_UNAVAILABLE, text, "nothing was sent to the mail server: %s",
                             problem);
    (void)err_set_detail(e, ERR_UNAVAILABLE, text, "the mail server did not take the mail");
    return MAIL_UNSENT;
}

static enum mail_outcome judge(const struct mailer *mailer, const struct transfer *transfer,
                               struct err *e)
{
    const smtp_status_t *sent = smtp_message_transfer_status(transfer->message);
    const smtp_status_t *sender = smtp_reverse_path_status(transfer->message);
    const smtp_status_t *recipient = smtp_recipient_status(transfer->recipient);

    if (is_about_password(sender) || is_about_password(recipient) || is_about_password(sent)) {
        (void)err_set(e, ERR_DENIED, "the mail server %s",
                      mailer->user ? "refused the user and password of SMTP_URL"
                                   : "wants a user and a password, and SMTP_URL has none");
        return MAIL_UNSENT;
    }
    if (recipient && recipient->code >= 400)
        return refused_or_delayed(recipient, "the recipient", e);
    if (sender && sender->code >= 400)
        return refused_or_delayed(sender, "the sender", e);
    if (sent && sent->code >= 400)
        return refused_or_delayed(sent, "the mail", e);
    if (sent && sent->code == 250 && recipient && recipient->code / 100 == 2)
        return MAIL_SENT;
    return judge_unanswered(mailer, transfer, e);
}

enum mail_outcome mailer_send(struct mailer *mailer, const char *recipient, const char *message,
                              int64_t timeout_us, struct err *e)
{
    AUTO_VALUE(transfer_release) struct transfer transfer = {.text = message};
    enum mail_outcome outcome;

    if (!mail_address_is_valid(recipient)) {
        (void)err_set(e, ERR_INVALID, "\"%.80s\" is no address that can be written to", recipient);
        return MAIL_REFUSED;
    }
    if (!was_reached_lately(mailer) && probe(mailer, e))
        return MAIL_UNSENT;
    if (!set_up(mailer, &transfer, recipient, timeout_us)) {
        (void)err_set(e, ERR_UNAVAILABLE, "the mail could not be prepared for sending");
        return MAIL_UNSENT;
    }
    (void)smtp_start_session(transfer.session);
    outcome = judge(mailer, &transfer, e);
    mailer->reached_us = outcome == MAIL_SENT ? clock_mono_us() : 0;
    return outcome;
}
