/* SPDX-License-Identifier: MIT
 *
 * Mail: what is taken for an address is printable ASCII of one local part and one domain; whatever
 * a customer is called and writes, the message keeps its headers, and nobody adds one.
 */
#include "tests/fuzz/target.h"

#include "common/auto.h"
#include "common/text.h"
#include "worker/mail_message.h"

enum { MESSAGE_MAX = 1024 * 1024 };

static void check_address(const struct mail_address *address)
{
    const char *at = strchr(address->address, '@');

    MUST(at && at != address->address && at[1] && !strchr(at + 1, '@'));
    for (const char *p = address->address; *p; p++)
        MUST(*p > 0x20 && *p < 0x7f && !strchr("<>,;\"", *p));
    MUST(mail_address_is_valid(address->address));
    MUST(!strpbrk(address->name, "\r\n"));
}

/* Lines of the head that begin a header, up to the empty line. */
static size_t count_headers(const struct buf *out)
{
    const char *line = out->data;
    size_t count = 0;

    while (line && strncmp(line, "\r\n", 2) != 0) {
        const char *end = strstr(line, "\r\n");

        MUST(end && end - line <= 998); /* RFC 5322, section 2.1.1 */
        count += *line != ' ' && *line != '\t';
        line = end + 2;
    }
    return count;
}

static size_t compose(const struct mail_address *to, const char *subject, const char *text)
{
    static const struct mail_address from = {.address = "shop@till.example", .name = "Till"};
    AUTO_VALUE(buf_release) struct buf out;
    struct mail_parts parts = {.from = &from,
                               .to = to,
                               .subject = subject,
                               .message_id = "order-1.confirmation@till.example",
                               .text = text,
                               .date_us = INT64_C(1700000000000000)};

    buf_init(&out, MESSAGE_MAX);
    if (mail_compose(&parts, &out, NULL))
        return 0;
    MUST(!memchr(out.data, '\0', out.len));
    return count_headers(&out);
}

FUZZ_TARGET(mail, text, size)
{
    static const struct mail_address plain = {.address = "ada@till.example", .name = "Ada"};
    static size_t usual;
    struct mail_address address = {.address = "left"};
    size_t headers;

    if (!usual)
        usual = compose(&plain, "Order 1", "Thank you.\n");
    MUST(usual > 4);
    if (mail_address_parse(text, &address, NULL)) {
        MUST(strcmp(address.address, "left") == 0);
    } else {
        check_address(&address);
        headers = compose(&address, "Order 1", "Thank you.\n");
        MUST(headers == 0 || headers == usual);
    }
    if (!text_is_utf8(text, size))
        return;
    headers = compose(&plain, text, text);
    MUST(headers == 0 || headers == usual);
}
