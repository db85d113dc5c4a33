/* SPDX-License-Identifier: MIT
 *
 * Composing mails; see mail_message.h. Pure.
 */
#include "worker/mail_message.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "common/clock.h"
#include "common/job_headers.h"
#include "common/mem.h"
#include "common/text.h"
#include "common/trace.h"

enum {
    QP_LINE_MAX = 76,
    ENCODED_WORD_BYTES = 39, /* "Subject: " and one word stay within 76 (RFC 2047, 2) */
    PLAIN_MAX = 68,          /* longer texts are folded, as encoded words */
    MESSAGE_ID_MAX = 320,
};

bool mail_address_is_valid(const char *address)
{
    const char *at = strrchr(address, '@');
    size_t len = strlen(address);

    if (!at || at == address || !at[1] || len > 254 || at - address > 64)
        return false;
    for (const char *p = address; *p; p++)
        if (*p <= ' ' || *p >= 0x7f || strchr("<>()[]\\,;:\"", *p))
            return false;
    return strchr(address, '@') == at && at[1] != '.' && at[1] != '-' && !strstr(at, "..");
}

enum err_code mail_address_parse(const char *text, struct mail_address *ret_address, struct err *e)
{
    struct mail_address address = {0};
    const char *open = strrchr(text, '<');
    size_t len = strlen(text);
    bool fits;

    if (open && text[len - 1] == '>') {
        size_t name_len = (size_t)(open - text);

        while (name_len > 0 && text[name_len - 1] == ' ')
            name_len--;
        fits = text_format(address.name, sizeof address.name, "%.*s", (int)name_len, text) &&
               text_format(address.address, sizeof address.address, "%.*s",
                           (int)(len - (size_t)(open - text) - 2), open + 1);
    } else {
        fits = text_format(address.address, sizeof address.address, "%s", text);
    }
    if (!fits || !mail_address_is_valid(address.address))
        return err_set(e, ERR_INVALID, "\"%.80s\" is no mail address that can be written to", text);
    if (!text_is_utf8(address.name, strlen(address.name)))
        return err_set(e, ERR_INVALID, "the name in a mail address is not UTF-8");
    for (const char *p = address.name; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return err_set(e, ERR_INVALID, "the name in a mail address has a control character");
    *ret_address = address;
    return ERR_OK;
}

/* ---- headers ---- */

/* Goes into a header as it is: short printable ASCII that no reader takes for an encoded word. */
static bool is_plain(const char *text)
{
    size_t len = strlen(text);

    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
            return false;
    return len <= PLAIN_MAX && !strstr(text, "=?");
}

/* One encoded word of at most 64 characters: "=?UTF-8?B?" + 52 + "?=". */
static void add_encoded_word(struct buf *out, const char *text, size_t len)
{
    char base64[sodium_base64_ENCODED_LEN(ENCODED_WORD_BYTES, sodium_base64_VARIANT_ORIGINAL)];

    (void)sodium_bin2base64(base64, sizeof base64, (const unsigned char *)text, len,
                            sodium_base64_VARIANT_ORIGINAL);
    buf_addf(out, "=?UTF-8?B?%s?=", base64);
}

/* How many bytes of the text go into its first word: no character is torn between two. */
static size_t first_word_len(const char *text, size_t left)
{
    size_t take = ENCODED_WORD_BYTES;

    if (left <= take)
        return left;
    for (size_t back = 0; back <= 3; back++)
        if (((unsigned char)text[take - back] & 0xc0) != 0x80)
            return take - back;
    return take; /* not UTF-8 */
}

static void add_header_text(struct buf *out, const char *text)
{
    size_t left = strlen(text);

    if (is_plain(text)) {
        buf_add_str(out, text);
        return;
    }
    while (left > 0) {
        size_t take = first_word_len(text, left);

        add_encoded_word(out, text, take);
        text += take;
        left -= take;
        if (left > 0)
            buf_add_str(out, "\r\n ");
    }
}

static void add_address(struct buf *out, const char *header, const struct mail_address *address)
{
    buf_addf(out, "%s: ", header);
    if (!*address->name) {
        buf_addf(out, "<%s>\r\n", address->address);
        return;
    }
    if (is_plain(address->name)) { /* a quoted string needs two escapes (RFC 5322, 3.2.4) */
        buf_add_char(out, '"');
        for (const char *p = address->name; *p; p++) {
            if (*p == '"' || *p == '\\')
                buf_add_char(out, '\\');
            buf_add_char(out, *p);
        }
        buf_add_char(out, '"');
    } else {
        add_header_text(out, address->name);
    }
    buf_addf(out, "\r\n <%s>\r\n", address->address);
}

static void add_date(struct buf *out, int64_t date_us)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(date_us / US_PER_S);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    buf_addf(out, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday], tm.tm_mday,
             months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* ---- bodies ---- */

/* Quoted-printable: lines of at most 76 characters that end with CRLF, blanks at their ends coded.
 */
static void add_quoted_printable(struct buf *out, const char *text)
{
    size_t column = 0;

    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool at_end = p[1] == '\n' || p[1] == '\r' || p[1] == '\0';
        bool plain =
            (*p >= '!' && *p <= '~' && *p != '=') || ((*p == ' ' || *p == '\t') && !at_end);

        if (*p == '\r')
            continue;
        if (*p == '\n') {
            buf_add_str(out, "\r\n");
            column = 0;
            continue;
        }
        if (column + (plain ? 1 : 3) > QP_LINE_MAX - 1) {
            buf_add_str(out, "=\r\n");
            column = 0;
        }
        if (plain)
            buf_add_char(out, (char)*p);
        else
            buf_addf(out, "=%02X", *p);
        column += plain ? 1 : 3;
    }
    buf_add_str(out, "\r\n");
}

static void add_body(struct buf *out, const char *type, const char *body)
{
    buf_addf(out,
             "Content-Type: %s; charset=utf-8\r\n"
             "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
             type);
    add_quoted_printable(out, body);
}

static void add_alternatives(struct buf *out, const char *boundary, const struct mail_parts *parts)
{
    buf_addf(out, "Content-Type: multipart/alternative;\r\n boundary=\"%s\"\r\n\r\n--%s\r\n",
             boundary, boundary);
    add_body(out, "text/plain", parts->text);
    buf_addf(out, "--%s\r\n", boundary);
    add_body(out, "text/html", parts->html);
    buf_addf(out, "--%s--\r\n", boundary);
}

/* Printable ASCII that needs no quoting, neither within < > nor as a boundary. */
static bool is_message_id(const char *id)
{
    for (const char *p = id; *p; p++)
        if (*p <= ' ' || *p >= 0x7f || strchr("<>()[]\\,;:\"", *p))
            return false;
    return *id && strlen(id) <= MESSAGE_ID_MAX;
}

static void add_job_headers(struct buf *out, const json_t *headers)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)headers, name, value)
    {
        const char *text = json_string_value(value);

        if (text && job_header_goes_out(name, text))
            buf_addf(out, "%s: %s\r\n", name, text);
    }
}

enum err_code mail_compose(const struct mail_parts *parts, struct buf *out, struct err *e)
{
    char boundary[80];
    struct trace trace;

    /* Quoted-printable never has "=_" in it, so no body can hold the boundary (RFC 2045, 6.7). */
    if (!is_message_id(parts->message_id) ||
        !text_format(boundary, sizeof boundary, "=_%.60s", parts->message_id))
        return err_set(e, ERR_INTERNAL, "\"%.60s\" is no message id", parts->message_id);
    *strchrnul(boundary, '@') = '\0';
    add_address(out, "From", parts->from);
    add_address(out, "To", parts->to);
    buf_add_str(out, "Subject: ");
    add_header_text(out, parts->subject);
    buf_add_str(out, "\r\n");
    add_date(out, parts->date_us);
    if (parts->traceparent && trace_parse(parts->traceparent, &trace))
        buf_addf(out, "X-Till-Trace-Id: %s\r\n", trace.id);
    add_job_headers(out, parts->headers);
    buf_addf(out, "Message-ID: <%s>\r\nMIME-Version: 1.0\r\nAuto-Submitted: auto-generated\r\n",
             parts->message_id);
    if (parts->html)
        add_alternatives(out, boundary, parts);
    else
        add_body(out, "text/plain", parts->text);
    if (out->overflow)
        return err_set(e, ERR_INVALID, "the mail is longer than %zu bytes", out->max);
    return ERR_OK;
}

void mail_add_html(struct buf *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            buf_add_str(out, "&lt;");
            break;
        case '>':
            buf_add_str(out, "&gt;");
            break;
        case '&':
            buf_add_str(out, "&amp;");
            break;
        case '"':
            buf_add_str(out, "&quot;");
            break;
        case '\'':
            buf_add_str(out, "&#39;");
            break;
        default:
            buf_add_char(out, *text);
        }
    }
}
