/* SPDX-License-Identifier: MIT
 *
 * Ids of requests; see request_id.h.
 */
#include "api/request_id.h"

#include <string.h>

#include "common/text.h"
#include "common/uuid.h"

static bool is_decent(const char *text)
{
    size_t len = text ? strlen(text) : 0;

    /* It is logged and sent back, so it must not be what nobody may log. */
    return len > 0 && len < HTTP_ID_SIZE && text_is_name(text) && !text_has_card_number(text, len);
}

void request_id_make(char ret_id[HTTP_ID_SIZE])
{
    struct uuid made = uuid_v7();

    text_copy(ret_id, HTTP_ID_SIZE, made.text);
}

void request_id_take(const char *given, char ret_id[HTTP_ID_SIZE])
{
    if (is_decent(given))
        text_copy(ret_id, HTTP_ID_SIZE, given);
    else
        request_id_make(ret_id);
}
