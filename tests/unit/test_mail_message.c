/* SPDX-License-Identifier: MIT
 *
 * Mails: what is written is read back here by the rules of the RFCs, and nothing that somebody
 * wrote may end a header, begin another, or leave its part.
 */
#include "worker/mail_message.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/auto.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"

enum { MESSAGE_MAX = 4 * 1024 * 1024, HEADER_COUNT = 8 };

/* ---- addresses ---- */

Test(mail_address, accepts_what_smtp_carries)
{
    static const char *const valid[] = {
        "a@b",
        "jane.doe+shop@example.com",
        "o'hara@xn--mller-kva.example",
        "x_y-z%tag@mail.sub.example.org",
        "root@localhost",
        "!#$&*/=?^`{|}~@example.com",
    };

    for (size_t i = 0; i < COUNT_OF(valid); i++) {
        struct mail_address address = {.name = "left"};

        cr_expect(mail_address_is_valid(valid[i]), "%s", valid[i]);
        cr_expect_eq(mail_address_parse(valid[i], &address, NULL), ERR_OK, "%s", valid[i]);
        cr_expect_str_eq(address.address, valid[i]);
        cr_expect_str_eq(address.name, "");
    }
}

Test(mail_address, refuses_the_rest_and_writes_nothing)
{
    static const char *const invalid[] = {
        "",
        "@",
        "a@",
        "@b",
        "nobody",
        "a@b@c",
        "a@.example.com",
        "a@-example.com",
        "a@example..com",
        "a b@example.com",
        "a@exam ple.com",
        " a@example.com",
        "a@example.com ",
        "a@example.com\r\n",
        "a@example.com\nRCPT TO:<b@example.com>",
        "a\r@example.com",
        "a\t@example.com",
        "a\x01@example.com",
        "a\x7f@example.com",
        "j\xc3\xbcrgen@example.com",
        "a@m\xc3\xbcller.example",
        "\"a b\"@example.com",
        "a@[127.0.0.1]",
        "a,b@example.com",
        "a;b@example.com",
        "a:b@example.com",
        "a(comment)@example.com",
        "a\\b@example.com",
        "<a@example.com",
        "a@example.com>",
        "Jane <a@example.com> x",
        "Jane <a@example.com>>",
        "Jane <>",
        "Jane <a@b>\r\nBcc: <c@d>",
    };

    for (size_t i = 0; i < COUNT_OF(invalid); i++) {
        struct mail_address address = {.address = "kept@example.com", .name = "kept"};
        struct err e = {0};

        cr_expect_not(mail_address_is_valid(invalid[i]), "%s", invalid[i]);
        cr_expect_eq(mail_address_parse(invalid[i], &address, &e), ERR_INVALID, "%s", invalid[i]);
        cr_expect_eq(e.code, ERR_INVALID);
        cr_expect_str_eq(address.address, "kept@example.com");
        cr_expect_str_eq(address.name, "kept");
    }
}

Test(mail_address, keeps_the_limits_of_rfc_5321)
{
    char text[400];

    memset(text, 'a', sizeof text);
    memcpy(text + 64, "@example.com", 13);
    cr_expect(mail_address_is_valid(text));
    text[64] = 'a';
    memcpy(text + 65, "@example.com", 13);
    cr_expect_not(mail_address_is_valid(text), "65 bytes before the @");
    memset(text, 'a', sizeof text);
    text[1] = '@';
    text[254] = '\0';
    cr_expect(mail_address_is_valid(text));
    text[254] = 'a';
    text[255] = '\0';
    cr_expect_not(mail_address_is_valid(text), "255 bytes");
    text[255] = 'a';
    text[399] = '\0';
    cr_expect_eq(mail_address_parse(text, &(struct mail_address){0}, NULL), ERR_INVALID);
}

Test(mail_address, takes_the_name_before_it)
{
    struct mail_address address = {0};

    cr_assert_eq(mail_address_parse("Till Shop  <shop@example.com>", &address, NULL), ERR_OK);
    cr_expect_str_eq(address.name, "Till Shop");
    cr_expect_str_eq(address.address, "shop@example.com");
    cr_assert_eq(mail_address_parse("<shop@example.com>", &address, NULL), ERR_OK);
    cr_expect_str_eq(address.name, "");
    cr_assert_eq(mail_address_parse("M\xc3\xbcller <m@example.com>", &address, NULL), ERR_OK);
    cr_expect_str_eq(address.name, "M\xc3\xbcller");
}

Test(mail_address, refuses_names_with_control_characters_too_long_or_not_utf8)
{
    char text[400];

    for (int c = 1; c < 128; c++) {
        if (c >= ' ' && c != 0x7f)
            continue;
        (void)snprintf(text, sizeof text, "a%cb <a@example.com>", c);
        cr_expect_eq(mail_address_parse(text, &(struct mail_address){0}, NULL), ERR_INVALID,
                     "byte %d", c);
    }
    cr_expect_eq(mail_address_parse("a\xff <a@b>", &(struct mail_address){0}, NULL), ERR_INVALID);
    cr_expect_eq(mail_address_parse("\xa4\xa4 <a@b>", &(struct mail_address){0}, NULL),
                 ERR_INVALID);
    memset(text, 'n', sizeof text);
    memcpy(text + 255, " <a@b>", 7);
    cr_expect_eq(mail_address_parse(text, &(struct mail_address){0}, NULL), ERR_OK);
    memcpy(text + 256, " <a@b>", 7);
    text[255] = 'n';
    cr_expect_eq(mail_address_parse(text, &(struct mail_address){0}, NULL), ERR_INVALID);
}

/* ---- reading a message back ---- */

/* A composed message, and what a reader makes of it. */
struct read {
    struct buf message;
    char headers[HEADER_COUNT][4096]; /* unfolded: "Name: value" */
    struct buf text;                  /* decoded; lines end with \n */
    struct buf html;
};

static void read_release(struct read *read)
{
    buf_release(&read->message);
    buf_release(&read->text);
    buf_release(&read->html);
}

/* The line that begins at `*at`, without its CRLF; moves on to the next. */
static const char *take_line(const char **at, size_t *ret_len)
{
    const char *line = *at;
    const char *end = strstr(line, "\r\n");

    cr_assert_not_null(end, "no CRLF at the end of: %.80s", line);
    *ret_len = (size_t)(end - line);
    *at = end + 2;
    for (size_t i = 0; i < *ret_len; i++)
        cr_assert((line[i] >= ' ' && line[i] <= '~') || line[i] == '\t', "byte %d in: %.*s",
                  (unsigned char)line[i], (int)*ret_len, line);
    return line;
}

/* Folded lines are joined by removing the CRLF (RFC 5322, 2.2.3). */
static const char *read_headers(struct read *read, const char *at)
{
    int count = 0;
    size_t len;
    const char *line;

    for (line = take_line(&at, &len); len > 0; line = take_line(&at, &len)) {
        cr_assert_leq(len, 998);
        if (*line == ' ') {
            cr_assert_gt(count, 0);
            cr_assert_neq(strspn(line, " "), len, "a folded line of blanks alone");
            (void)snprintf(read->headers[count - 1] + strlen(read->headers[count - 1]),
                           sizeof read->headers[0] - strlen(read->headers[count - 1]), "%.*s",
                           (int)len, line);
            continue;
        }
        cr_assert_lt(count, HEADER_COUNT, "one header too many: %.*s", (int)len, line);
        (void)snprintf(read->headers[count++], sizeof read->headers[0], "%.*s", (int)len, line);
    }
    cr_assert_eq(count, HEADER_COUNT);
    return at;
}

static const char *value_of(const struct read *read, const char *name)
{
    size_t len = strlen(name);

    for (int i = 0; i < HEADER_COUNT; i++)
        if (strncmp(read->headers[i], name, len) == 0 &&
            strncmp(read->headers[i] + len, ": ", 2) == 0)
            return read->headers[i] + len + 2;
    cr_assert_fail("no header %s", name);
    return "";
}

static int hex_value(char c)
{
    cr_assert((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'), "%c is no upper case hex digit", c);
    return c <= '9' ? c - '0' : c - 'A' + 10;
}

/* One line of quoted-printable (RFC 2045, 6.7). */
static void decode_line(const char *line, size_t len, struct buf *out)
{
    bool soft = len > 0 && line[len - 1] == '=';

    cr_assert_leq(len, 76, "%zu: %.*s", len, (int)len, line);
    cr_assert(len == 0 || (line[len - 1] != ' ' && line[len - 1] != '\t'), "a blank at the end");
    for (size_t i = 0; i < len - soft; i++) {
        if (line[i] != '=') {
            buf_add_char(out, line[i]);
            continue;
        }
        cr_assert_lt(i + 2, len);
        buf_add_char(out, (char)(hex_value(line[i + 1]) * 16 + hex_value(line[i + 2])));
        i += 2;
    }
    if (!soft)
        buf_add_char(out, '\n');
}

/* From the line after a delimiter to the next one; the CRLF before that belongs to it. */
static const char *read_part(const char *at, const char *boundary, const char *type,
                             struct buf *body)
{
    char want[100];
    size_t len;
    const char *line = take_line(&at, &len);

    (void)snprintf(want, sizeof want, "Content-Type: %s; charset=utf-8", type);
    cr_assert(len == strlen(want) && memcmp(line, want, len) == 0, "%.*s", (int)len, line);
    line = take_line(&at, &len);
    cr_assert_eq(memcmp(line, "Content-Transfer-Encoding: quoted-printable\r\n", 45), 0);
    (void)take_line(&at, &len);
    cr_assert_eq(len, 0);
    for (;;) {
        const char *before = at;

        line = take_line(&at, &len);
        if (len >= 2 + strlen(boundary) && strncmp(line, "--", 2) == 0 &&
            strncmp(line + 2, boundary, strlen(boundary)) == 0) {
            cr_assert_gt(body->len, 0);
            body->data[--body->len] = '\0';
            return before;
        }
        decode_line(line, len, body);
    }
}

static void read_body(struct read *read, const char *at)
{
    static const char type[] = "multipart/alternative; boundary=\"";
    const char *value = value_of(read, "Content-Type");
    char boundary[128];
    char line[140];

    cr_assert_eq(strncmp(value, type, strlen(type)), 0, "%s", value);
    (void)snprintf(boundary, sizeof boundary, "%s", value + strlen(type));
    cr_assert_eq(boundary[strlen(boundary) - 1], '"');
    boundary[strlen(boundary) - 1] = '\0';
    cr_assert_leq(strlen(boundary), 70);
    (void)snprintf(line, sizeof line, "--%s\r\n", boundary);
    cr_assert_eq(strncmp(at, line, strlen(line)), 0);
    at = read_part(at + strlen(line), boundary, "text/plain", &read->text);
    cr_assert_eq(strncmp(at, line, strlen(line)), 0);
    at = read_part(at + strlen(line), boundary, "text/html", &read->html);
    (void)snprintf(line, sizeof line, "--%s--\r\n", boundary);
    cr_assert_str_eq(at, line, "nothing stands after the last delimiter");
}

static const struct mail_address shop = {.address = "shop@example.com", .name = "Till"};

static struct mail_parts some_parts(void)
{
    static const struct mail_address jane = {.address = "jane@example.com", .name = "Jane Doe"};

    return (struct mail_parts){.from = &shop,
                               .to = &jane,
                               .subject = "Your order 7 is paid",
                               .message_id = "order-7.0193@example.com",
                               .date_us = INT64_C(1732212345678901),
                               .text = "Hello Jane\n",
                               .html = "<p>Hello Jane</p>\n"};
}

static void compose(const struct mail_parts *parts, struct read *read)
{
    struct err e = {0};

    memset(read, 0, sizeof *read);
    buf_init(&read->message, MESSAGE_MAX);
    buf_init(&read->text, MESSAGE_MAX);
    buf_init(&read->html, MESSAGE_MAX);
    cr_assert_eq(mail_compose(parts, &read->message, &e), ERR_OK, "%s", e.text);
    cr_assert_eq(strlen(read->message.data), read->message.len, "a NUL in it");
    read_body(read, read_headers(read, read->message.data));
}

/* Encoded words with single blanks between them, each whole characters (RFC 2047, 5). */
static void decode_words(const char *value, struct buf *out)
{
    while (*value) {
        const char *end = strstr(value, "?=");
        unsigned char bytes[80];
        size_t len = 0;

        cr_assert_eq(strncmp(value, "=?UTF-8?B?", 10), 0, "%s", value);
        cr_assert_not_null(end);
        cr_assert_leq(end + 2 - value, 75);
        cr_assert_eq(sodium_base642bin(bytes, sizeof bytes, value + 10, (size_t)(end - value) - 10,
                                       NULL, &len, NULL, sodium_base64_VARIANT_ORIGINAL),
                     0);
        cr_assert(text_is_utf8((const char *)bytes, len), "a character is torn: %s", value);
        buf_add(out, bytes, len);
        value = end + 2;
        if (*value == ' ')
            value++;
    }
}

/* ---- headers ---- */

Test(mail_compose, writes_the_headers_of_a_simple_mail)
{
    static const char *const expected[HEADER_COUNT] = {
        "From: \"Till\" <shop@example.com>",
        "To: \"Jane Doe\" <jane@example.com>",
        "Subject: Your order 7 is paid",
        "Date: Thu, 21 Nov 2024 18:05:45 +0000",
        "Message-ID: <order-7.0193@example.com>",
        "MIME-Version: 1.0",
        "Auto-Submitted: auto-generated",
        "Content-Type: multipart/alternative; boundary=\"=_order-7.0193\"",
    };
    const struct mail_parts parts = some_parts();
    AUTO_VALUE(read_release) struct read read;

    compose(&parts, &read);
    for (int i = 0; i < HEADER_COUNT; i++)
        cr_expect_str_eq(read.headers[i], expected[i]);
    cr_expect_str_eq(read.text.data, "Hello Jane\n");
    cr_expect_str_eq(read.html.data, "<p>Hello Jane</p>\n");
}

Test(mail_compose, names_the_trace_of_its_job)
{
    static const char line[] = "\r\nX-Till-Trace-Id: 4bf92f3577b34da6a3ce929d0e0e4736\r\n";
    struct mail_parts parts = some_parts();
    AUTO_VALUE(buf_release) struct buf message;
    const char *found;

    buf_init(&message, MESSAGE_MAX);
    parts.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    cr_assert_eq(mail_compose(&parts, &message, NULL), ERR_OK);
    found = strstr(message.data, line);
    cr_assert_not_null(found);
    cr_expect_lt(found, strstr(message.data, "\r\n\r\n"), "it stands among the headers");
    buf_clear(&message);
    parts.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nBcc: a@b";
    cr_assert_eq(mail_compose(&parts, &message, NULL), ERR_OK);
    cr_expect_null(strstr(message.data, "Trace-Id"));
    cr_expect_null(strstr(message.data, "Bcc"));
}

Test(mail_compose, carries_the_headers_of_its_job_that_cannot_end_a_line)
{
    AUTO(json_decref)
    json_t *headers = json_pack("{s:s, s:s, s:s, s:s}", "X-Tenant", "seven", "X-Evil",
                                "a\r\nBcc: a@b", "Bcc", "a@b", "X-Till-Trace-Id", "forged");
    struct mail_parts parts = some_parts();
    AUTO_VALUE(buf_release) struct buf message;

    buf_init(&message, MESSAGE_MAX);
    parts.headers = headers;
    cr_assert_eq(mail_compose(&parts, &message, NULL), ERR_OK);
    cr_expect_lt(strstr(message.data, "\r\nX-Tenant: seven\r\n"), strstr(message.data, "\r\n\r\n"));
    cr_expect_not_null(strstr(message.data, "\r\nX-Tenant: seven\r\n"));
    cr_expect_null(strstr(message.data, "Bcc"));
    cr_expect_null(strstr(message.data, "Evil"));
    cr_expect_null(strstr(message.data, "forged"));
}

Test(mail_compose, leaves_an_empty_name_out)
{
    const struct mail_address plain = {.address = "a@b"};
    struct mail_parts parts = some_parts();
    AUTO_VALUE(read_release) struct read read;

    parts.from = &plain;
    compose(&parts, &read);
    cr_expect_str_eq(value_of(&read, "From"), "<a@b>");
}

Test(mail_compose, escapes_quotes_in_a_name)
{
    const struct mail_address to = {.address = "a@b", .name = "A \"B\" \\ <x@y>, C"};
    struct mail_parts parts = some_parts();
    AUTO_VALUE(read_release) struct read read;

    parts.to = &to;
    compose(&parts, &read);
    cr_expect_str_eq(value_of(&read, "To"), "\"A \\\"B\\\" \\\\ <x@y>, C\" <a@b>");
}

static const char *const long_texts[] = {
    "\xc3\xbc",
    "Gr\xc3\xbc\xc3\x9f"
    "e",
    "\xf0\x9f\x8e\x89\xf0\x9f\x8e\x89\xf0\x9f\x8e\x89\xf0\x9f\x8e\x89\xf0\x9f\x8e\x89"
    "\xf0\x9f\x8e\x89\xf0\x9f\x8e\x89\xf0\x9f\x8e\x89\xf0\x9f\x8e\x89\xf0\x9f\x8e\x89"
    "\xf0\x9f\x8e\x89\xf0\x9f\x8e\x89\xf0\x9f\x8e\x89\xf0\x9f\x8e\x89\xf0\x9f\x8e\x89",
    "a\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2"
    "\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97",
    "\"\xc3\xbc\" <x@y>, \\ =?UTF-8?B?eA==?= and a good deal more than fits into one word of it",
    "plain, and so long that it has to be folded somewhere: this is the way it is done here",
    "=?UTF-8?B?SSBhbSB0aGUgc2hvcA==?=",
};

Test(mail_compose, encodes_what_is_not_plain_and_tears_no_character)
{
    for (size_t i = 0; i < COUNT_OF(long_texts); i++) {
        for (size_t shift = 0; shift < 5; shift++) {
            struct mail_address to = {.address = "jane@example.com"};
            struct mail_parts parts = some_parts();
            AUTO_VALUE(read_release) struct read read;
            AUTO_VALUE(buf_release) struct buf subject;
            AUTO_VALUE(buf_release) struct buf name;
            char *blank;

            (void)snprintf(to.name, sizeof to.name, "%.*s%s", (int)shift, "abcd", long_texts[i]);
            parts.to = &to;
            parts.subject = to.name;
            compose(&parts, &read);
            buf_init(&subject, 1024);
            decode_words(value_of(&read, "Subject"), &subject);
            cr_expect_str_eq(subject.data, to.name);
            blank = strrchr(value_of(&read, "To"), ' ');
            cr_assert_str_eq(blank, " <jane@example.com>");
            *blank = '\0';
            buf_init(&name, 1024);
            decode_words(value_of(&read, "To"), &name);
            cr_expect_str_eq(name.data, to.name);
        }
    }
}

/* RFC 2047, 2: a line with an encoded word has at most 76 characters; RFC 5322, 2.1.1: 78. */
Test(mail_compose, keeps_header_lines_short)
{
    char text[256];

    for (size_t len = 1; len < sizeof text; len++) {
        for (int filler = 0; filler < 2; filler++) {
            struct mail_address to = {.address = "jane@example.com"};
            struct mail_parts parts = some_parts();
            AUTO_VALUE(buf_release) struct buf message;
            const char *at;
            size_t line_len = 1;

            memset(text, 'x', len);
            text[len] = '\0';
            if (filler)
                text[0] = '\x01';
            memcpy(to.name, text, len + 1);
            parts.to = &to;
            parts.subject = text;
            buf_init(&message, MESSAGE_MAX);
            cr_assert_eq(mail_compose(&parts, &message, NULL), ERR_OK);
            for (at = message.data; line_len > 0;) {
                const char *line = take_line(&at, &line_len);
                size_t max = memmem(line, line_len, "=?", 2) ? 76 : 78;

                cr_assert_leq(line_len, max, "%zu: %.*s", line_len, (int)line_len, line);
            }
        }
    }
}

Test(mail_compose, no_byte_of_a_name_or_subject_begins_a_header)
{
    for (int c = 1; c < 256; c++) {
        struct mail_address to = {.address = "jane@example.com"};
        struct mail_parts parts = some_parts();
        AUTO_VALUE(read_release) struct read read;

        (void)snprintf(to.name, sizeof to.name, "J%cBcc: x@evil.example%c%cX: y%c\n.\n", c, c, c,
                       c);
        parts.to = &to;
        parts.subject = to.name;
        compose(&parts, &read); /* asserts their number, CRLF alone, printable ASCII */
        cr_expect_eq(strncmp(read.headers[1], "To: ", 4), 0);
        cr_expect_eq(strncmp(read.headers[2], "Subject: ", 9), 0);
        cr_expect_null(strstr(read.message.data, "evil"), "byte %d", c);
    }
}

/* 200 bytes that continue a character which never began: nothing to split at. */
Test(mail_compose, survives_text_that_is_not_utf8)
{
    struct mail_address to = {.address = "jane@example.com"};
    struct mail_parts parts = some_parts();
    AUTO_VALUE(buf_release) struct buf message;
    struct read read = {0};

    memset(to.name, 0x80, 200);
    parts.to = &to;
    parts.subject = to.name;
    buf_init(&message, MESSAGE_MAX);
    cr_assert_eq(mail_compose(&parts, &message, NULL), ERR_OK);
    (void)read_headers(&read, message.data);
    cr_expect_eq(strncmp(value_of(&read, "Subject"), "=?UTF-8?B?", 10), 0);
}

Test(mail_compose, refuses_message_ids_that_need_quoting)
{
    char id[400];

    for (int c = 1; c < 256; c++) {
        struct mail_parts parts = some_parts();
        AUTO_VALUE(buf_release) struct buf message;
        bool bad = c <= ' ' || c >= 0x7f || strchr("<>()[]\\,;:\"", c);

        (void)snprintf(id, sizeof id, "a%cb@example.com", c);
        parts.message_id = id;
        buf_init(&message, MESSAGE_MAX);
        cr_expect_eq(mail_compose(&parts, &message, NULL), bad ? ERR_INTERNAL : ERR_OK, "byte %d",
                     c);
        cr_expect(!bad || message.len == 0);
    }
    memset(id, 'a', sizeof id);
    for (size_t len = 0; len < sizeof id; len += 321) {
        struct mail_parts parts = some_parts();
        AUTO_VALUE(buf_release) struct buf message;

        id[len] = '\0';
        parts.message_id = id;
        buf_init(&message, MESSAGE_MAX);
        cr_expect_eq(mail_compose(&parts, &message, NULL), ERR_INTERNAL, "%zu bytes", len);
        id[len] = 'a';
    }
}

Test(mail_compose, cuts_a_long_message_id_for_the_boundary)
{
    struct mail_parts parts = some_parts();
    AUTO_VALUE(read_release) struct read read;

    parts.message_id = "0123456789012345678901234567890123456789012345678901234567890123456789@x";
    compose(&parts, &read);
    cr_expect_not_null(strstr(value_of(&read, "Message-ID"), parts.message_id));
}

/* ---- bodies ---- */

Test(mail_compose, bodies_come_back_as_they_were)
{
    static const char *const bodies[] = {
        "",
        "\n",
        "\n\n\n",
        "no line end",
        "a = b, 1=2, =3D, =\n=\n",
        "blanks at the end  \ntabs\t\n \n\t\n  no line end ",
        ".\n..\n.hidden\nFrom me\n",
        "Gr\xc3\xbc\xc3\x9f"
        "e \xe2\x82\xac 5 \xf0\x9f\x8e\x89\n",
        "--=_order-7.0193\n--=_order-7.0193--\n",
        "\x01\x02\x1b[31m\x7f\n",
        "&lt;<b>\"quoted\"</b>\n",
    };

    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct mail_parts parts = some_parts();
        AUTO_VALUE(read_release) struct read read;

        parts.text = bodies[i];
        parts.html = bodies[COUNT_OF(bodies) - 1 - i];
        compose(&parts, &read);
        cr_expect_str_eq(read.text.data, parts.text);
        cr_expect_str_eq(read.html.data, parts.html);
    }
}

/* Every length around the fold, with one byte and with three a character. */
Test(mail_compose, folds_long_lines_of_a_body)
{
    static const char *const fillers[] = {"x", " ", "=", "\xe2\x82\xac", "a "};

    for (size_t f = 0; f < COUNT_OF(fillers); f++) {
        for (int count = 20; count < 240; count++) {
            struct mail_parts parts = some_parts();
            AUTO_VALUE(read_release) struct read read;
            AUTO_VALUE(buf_release) struct buf body;

            buf_init(&body, 64 * 1024);
            for (int i = 0; i < count; i++)
                buf_add_str(&body, fillers[f]);
            buf_add_str(&body, "\nend");
            parts.text = body.data;
            compose(&parts, &read);
            cr_expect_str_eq(read.text.data, body.data);
        }
    }
}

Test(mail_compose, carries_a_line_of_a_megabyte)
{
    AUTO(mem_free) char *body = mem_alloc(1024 * 1024 + 1);
    struct mail_parts parts = some_parts();
    AUTO_VALUE(read_release) struct read read;

    memset(body, 'x', 1024 * 1024);
    parts.html = body;
    compose(&parts, &read);
    cr_expect_str_eq(read.html.data, body);
}

Test(mail_compose, line_ends_of_any_system_become_crlf)
{
    struct mail_parts parts = some_parts();
    AUTO_VALUE(read_release) struct read read;

    parts.text = "one\r\ntwo \r\n\r\nthree\n";
    compose(&parts, &read);
    cr_expect_str_eq(read.text.data, "one\ntwo \n\nthree\n");
}

Test(mail_compose, a_mail_that_is_too_long_is_refused)
{
    struct mail_parts parts = some_parts();
    AUTO_VALUE(buf_release) struct buf whole;
    struct err e = {0};

    buf_init(&whole, MESSAGE_MAX);
    cr_assert_eq(mail_compose(&parts, &whole, &e), ERR_OK);
    for (size_t max = whole.len - 3; max <= whole.len; max++) {
        AUTO_VALUE(buf_release) struct buf message;

        err_clear(&e);
        buf_init(&message, max);
        cr_expect_eq(mail_compose(&parts, &message, &e), max < whole.len ? ERR_INVALID : ERR_OK);
    }
}

Test(mail_add_html, escapes_what_html_reads)
{
    AUTO_VALUE(buf_release) struct buf out;

    buf_init(&out, 1024);
    mail_add_html(&out, "<a href='x' id=\"y\">&amp; M\xc3\xbcller</a>");
    cr_expect_str_eq(out.data, "&lt;a href=&#39;x&#39; id=&quot;y&quot;&gt;&amp;amp; "
                               "M\xc3\xbcller&lt;/a&gt;");
    buf_clear(&out);
    mail_add_html(&out, "");
    cr_expect_str_eq(out.data, "");
}
