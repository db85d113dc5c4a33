/* SPDX-License-Identifier: MIT
 *
 * The SMTP client against a server that says what a case says, or hangs up: whether a mail went
 * out, did not, or may have, must never be mixed up.
 */
#include "worker/mailer.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/clock.h"
#include "tests/unit/peer.h"

#define MESSAGE                                                                                    \
    "From: <shop@example.com>\r\nTo: <jane@example.com>\r\nSubject: Paid\r\n"                      \
    "Message-ID: <1@example.com>\r\n\r\nHello\r\n.\r\n..dots\r\nBye\r\n"

AUTO_DEFINE(struct mailer *, mailer_close);

/* ---- the server ---- */

/* What it answers to each step; NULL: hangs up instead. */
struct script {
    const char *greeting;
    const char *ehlo;
    const char *mail;
    const char *rcpt;
    const char *data;
    const char *end; /* to the whole text */
    bool hang;       /* in place of every NULL: says nothing more */
    atomic_int mails;
    char text[4096]; /* as it came, with the line of the dot */
    char rcpt_line[512];
};

static const struct script good = {.greeting = "220 ready\r\n",
                                   .ehlo = "250 mail.example.com\r\n",
                                   .mail = "250 ok\r\n",
                                   .rcpt = "250 ok\r\n",
                                   .data = "354 go on\r\n",
                                   .end = "250 queued\r\n"};

static bool answer(int fd, const char *text, const struct script *script)
{
    if (text)
        return peer_send(fd, text, strlen(text));
    if (script->hang)
        peer_hang(fd);
    return false;
}

static bool take_text(int fd, struct script *script)
{
    script->text[0] = '\0';
    if (!answer(fd, script->data, script))
        return false;
    if (strncmp(script->data, "354", 3) != 0)
        return true;
    if (!peer_read_until(fd, script->text, sizeof script->text, "\r\n.\r\n"))
        return false;
    atomic_fetch_add(&script->mails, 1);
    return answer(fd, script->end, script);
}

static void serve(int fd, void *context)
{
    struct script *script = context;
    char line[512];

    if (!answer(fd, script->greeting, script))
        return;
    for (bool on = true; on;) {
        line[0] = '\0';
        if (!peer_read_until(fd, line, sizeof line, "\r\n"))
            return;
        if (strncmp(line, "EHLO", 4) == 0 || strncmp(line, "HELO", 4) == 0) {
            on = answer(fd, script->ehlo, script);
        } else if (strncmp(line, "MAIL", 4) == 0) {
            on = answer(fd, script->mail, script);
        } else if (strncmp(line, "RCPT", 4) == 0) {
            memcpy(script->rcpt_line, line, sizeof line);
            on = answer(fd, script->rcpt, script);
        } else if (strncmp(line, "DATA", 4) == 0) {
            on = take_text(fd, script);
        } else {
            (void)answer(fd, "221 bye\r\n", script);
            on = strncmp(line, "QUIT", 4) != 0;
        }
    }
}

/* ---- one mail ---- */

static struct mailer *open_mailer(const char *url, const char *from)
{
    return mailer_open(&(struct mail_place){.url = url, .ca_file = "", .from = from});
}

static enum mail_outcome send_mail(struct script *script, const char *recipient, struct err *e)
{
    struct peer peer = {.serve = serve, .context = script};
    AUTO(mailer_close) struct mailer *mailer = NULL;
    enum mail_outcome outcome;
    char url[64];

    peer_start(&peer);
    (void)snprintf(url, sizeof url, "smtp://127.0.0.1:%d", peer.port);
    mailer = open_mailer(url, "Till <shop@example.com>");
    outcome = mailer_send(mailer, recipient, MESSAGE, US_PER_S, e);
    peer_stop(&peer);
    return outcome;
}

static void expect_outcome(const char *name, struct script *script, enum mail_outcome expected)
{
    struct err e = {0};
    enum mail_outcome outcome = send_mail(script, "jane@example.com", &e);

    cr_expect_eq(outcome, expected, "%s: %d, not %d: %s (%s)", name, (int)outcome, (int)expected,
                 e.text, e.detail);
    cr_expect_eq(e.code != ERR_OK, expected != MAIL_SENT, "%s: %s", name, e.text);
}

Test(mailer_send, hands_the_mail_over_as_it_is)
{
    struct script script = good;
    struct err e = {0};

    cr_assert_eq(send_mail(&script, "jane@example.com", &e), MAIL_SENT, "%s", e.text);
    cr_expect_eq(atomic_load(&script.mails), 1);
    cr_expect_eq(strncmp(script.rcpt_line, "RCPT TO:<jane@example.com>", 26), 0, "%s",
                 script.rcpt_line);
    cr_expect_not_null(strstr(script.text, "Subject: Paid\r\n"));
    cr_expect_not_null(strstr(script.text, "\r\n\r\nHello\r\n..\r\n...dots\r\nBye\r\n.\r\n"),
                       "dots are doubled: %s", script.text);
}

/* The server may have queued it: a second copy is what the caller has to reckon with. */
Test(mailer_send, whatever_ends_after_the_text_may_have_gone_out)
{
    for (int hang = 0; hang < 2; hang++) {
        struct script script = good;

        script.end = NULL;
        script.hang = hang;
        expect_outcome(hang ? "hang after the text" : "gone after the text", &script, MAIL_UNKNOWN);
        cr_expect_eq(atomic_load(&script.mails), 1);
    }
}

static void expect_unsent(int step, bool hang)
{
    struct script script = good;
    const char **answers[] = {&script.greeting, &script.ehlo, &script.mail, &script.rcpt,
                              &script.data};
    char name[40];

    *answers[step] = NULL;
    script.hang = hang;
    (void)snprintf(name, sizeof name, "step %d", step);
    expect_outcome(name, &script, MAIL_UNSENT);
    cr_expect_eq(atomic_load(&script.mails), 0);
}

Test(mailer_send, whatever_ends_before_the_text_has_not_gone_out)
{
    for (int step = 0; step < 5; step++)
        expect_unsent(step, false);
}

Test(mailer_send, a_server_that_hangs_before_the_text_has_nothing)
{
    expect_unsent(0, true);
    expect_unsent(3, true);
}

Test(mailer_send, a_refusal_is_told_from_a_delay)
{
    for (int step = 0; step < 4; step++) {
        for (int permanent = 0; permanent < 2; permanent++) {
            struct script script = good;
            const char **answers[] = {&script.mail, &script.rcpt, &script.data, &script.end};
            char name[40];

            *answers[step] = permanent ? "550 no\r\n" : "451 later\r\n";
            (void)snprintf(name, sizeof name, "%s at step %d", *answers[step], step);
            expect_outcome(name, &script, permanent ? MAIL_REFUSED : MAIL_DELAYED);
        }
    }
}

Test(mailer_send, a_server_that_is_no_mail_server_has_nothing)
{
    struct script script = good;

    script.greeting = "HTTP/1.1 400 Bad Request\r\n\r\n";
    expect_outcome("HTTP", &script, MAIL_UNSENT);
    script = good;
    script.greeting = "554 not here\r\n";
    expect_outcome("554", &script, MAIL_UNSENT);
}

Test(mailer_send, asks_no_server_about_an_address_that_is_none)
{
    struct script script = good;
    struct err e = {0};

    cr_expect_eq(send_mail(&script, "jane@example.com>\r\nRCPT TO:<x@evil.example", &e),
                 MAIL_REFUSED);
    cr_expect_eq(e.code, ERR_INVALID);
    cr_expect_eq(atomic_load(&script.mails), 0);
}

Test(mailer_send, a_port_where_nobody_listens_is_unsent)
{
    struct peer peer = {.serve = serve};
    AUTO(mailer_close) struct mailer *mailer = NULL;
    struct err e = {0};
    char url[64];

    peer_start(&peer);
    peer_stop(&peer);
    (void)snprintf(url, sizeof url, "smtp://127.0.0.1:%d", peer.port);
    mailer = open_mailer(url, "shop@example.com");
    cr_expect_eq(mailer_send(mailer, "jane@example.com", MESSAGE, US_PER_S, &e), MAIL_UNSENT);
    cr_expect_eq(e.code, ERR_UNAVAILABLE);
}

/* ---- settings ---- */

static enum err_code check(const char *url, const char *from, struct err *e)
{
    return mailer_check(&(struct mail_place){.url = url, .ca_file = "", .from = from}, e);
}

Test(mailer_check, takes_urls_that_can_be_used)
{
    static const char *const valid[] = {"smtp://localhost", "smtp://127.0.0.1:2525",
                                        "smtps://mail.example.com",
                                        "smtps://user:p@ss:word@mail.example.com:587/"};
    static const char *const invalid[] = {
        "",
        "localhost:25",
        "http://localhost:25",
        "smtp://",
        "smtp://:25",
        "smtp://localhost:",
        "smtp://localhost:0",
        "smtp://localhost:65536",
        "smtp://localhost:25x",
        "smtp://user:hunter2@localhost:25", /* in clear */
        "smtps://user@localhost:587",
        "smtps://user:hunter2@localhost:465", /* TLS from the first byte */
    };

    for (size_t i = 0; i < COUNT_OF(valid); i++)
        cr_expect_eq(check(valid[i], "a@b", NULL), ERR_OK, "%s", valid[i]);
    for (size_t i = 0; i < COUNT_OF(invalid); i++) {
        struct err e = {0};

        cr_expect_eq(check(invalid[i], "a@b", &e), ERR_INVALID, "%s", invalid[i]);
        cr_expect_null(strstr(e.text, "hunter2"), "the text shows the secret");
    }
    cr_expect_eq(check(valid[0], "nobody", NULL), ERR_INVALID);
}
