/* SPDX-License-Identifier: MIT
 *
 * Text: JSON strings of any bytes are JSON and UTF-8; a card number is found behind anything.
 */
#include "tests/fuzz/target.h"

#include "common/buf.h"
#include "common/json.h"
#include "common/text.h"

FUZZ_TARGET(text, text, size)
{
    static const char card[] = " 4242424242424242 ";
    AUTO(json_decref) json_t *value = NULL;
    AUTO_VALUE(buf_release) struct buf b;

    buf_init(&b, 1000 + size * 8);
    buf_add_json(&b, text);
    MUST(!b.overflow && text_is_utf8(b.data, b.len));
    value = json_loadb(b.data, b.len, JSON_DECODE_ANY, NULL);
    MUST(value);
    if (text_is_utf8(text, size)) {
        MUST(strcmp(json_string_value(value), text) == 0);
        MUST(text_count_chars(text) <= size);
    }
    (void)text_has_card_number(text, size);
    buf_clear(&b);
    buf_add(&b, text, size);
    buf_add_char(&b, '/'); /* so that the digits before do not belong to it */
    buf_add_str(&b, card);
    MUST(text_has_card_number(b.data, b.len));
}
