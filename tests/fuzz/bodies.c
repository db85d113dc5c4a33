/* SPDX-License-Identifier: MIT
 *
 * Bodies of requests, as JSON or as a form, through the readers of fields: what is accepted is
 * within its limits, and what is not gives a 400 whose body names fields and texts.
 */
#include "tests/fuzz/target.h"

#include "api/card.h"
#include "api/fields.h"
#include "common/auto.h"
#include "common/json.h"
#include "common/money.h"
#include "common/text.h"

enum { BODIES_TEXT = 255, BODIES_MAX = 1000000 };

static enum err_code bodies_pair(void *data, const char *name, const char *value, struct err *e)
{
    if (json_object_set_new(data, name, json_string(value)) != 0)
        return err_set(e, ERR_INVALID, "no UTF-8");
    return ERR_OK;
}

/* As the API parses a body: NULL when it is refused before its fields are looked at. */
static json_t *bodies_parse(const char *text, size_t size)
{
    json_t *data = NULL;

    if (!json_read(text, size, HTTP_BODY_MAX, &data, NULL))
        return data;
    data = json_object();
    if (form_each(text, size, bodies_pair, data, NULL)) {
        json_decref(data);
        return NULL;
    }
    return data;
}

static void bodies_check_text(const char *text, bool may_be_blank)
{
    MUST(!text || (text_is_utf8(text, strlen(text)) && text_count_chars(text) <= BODIES_TEXT));
    MUST(!text || *text || may_be_blank);
}

/* The fields that the resources have: names, prices, ratings, quantities, ids, choices. */
static void bodies_read_values(struct fields *f)
{
    static const char *const choices[] = {"card", "paypal", "bank_account", NULL};
    int64_t number = 0;
    const char *text;

    bodies_check_text(fields_text(f, "name", BODIES_TEXT, 0), false);
    bodies_check_text(fields_text(f, "description", BODIES_TEXT, FIELD_OPTIONAL | FIELD_BLANK),
                      true);
    bodies_check_text(fields_text(f, "password", BODIES_TEXT, FIELD_RAW | FIELD_OPTIONAL), false);
    text = fields_email(f, "email", FIELD_OPTIONAL);
    MUST(!text || (strchr(text, '@') && !strpbrk(text, " \r\n,<>")));
    text = fields_decimal(f, "price", 0, MONEY_MAX);
    MUST(!text || (money_parse(text, &number) && number >= 0 && number <= MONEY_MAX));
    text = fields_decimal(f, "rating", 100, 500);
    MUST(!text || (money_parse(text, &number) && number >= 100 && number <= 500));
    if (fields_int(f, "quantity", 1, BODIES_MAX, &number))
        MUST(number >= 1 && number <= BODIES_MAX);
    if (fields_id(f, "product_id", &number))
        MUST(number > 0);
    text = fields_choice(f, "payment_method", choices);
    MUST(!text || text == choices[0] || text == choices[1] || text == choices[2]);
}

/* {"field": ["text", ...], ...} */
static void bodies_check_refusal(const struct reply *reply)
{
    AUTO(json_decref) json_t *errors = NULL;
    const char *name;
    json_t *texts;

    MUST(reply->status == 400 && !reply->body.overflow);
    MUST(!json_read(reply->body.data, reply->body.len, HTTP_REPLY_MAX, &errors, NULL));
    MUST(json_is_object(errors) && json_object_size(errors) > 0);
    json_object_foreach(errors, name, texts)
    {
        json_t *text;
        size_t i;

        MUST(json_array_size(texts) > 0);
        json_array_foreach(texts, i, text) { MUST(json_is_string(text)); }
    }
}

static void bodies_read_items(const json_t *items)
{
    json_t *item;
    size_t i;

    json_array_foreach(items, i, item)
    {
        AUTO_VALUE(fields_release) struct fields f = {0};

        fields_begin_nested(&f, json_is_object(item) ? item : NULL);
        bodies_read_values(&f);
        fields_refuse_unknown(&f);
    }
}

FUZZ_TARGET(bodies, text, size)
{
    AUTO(json_decref) json_t *data = bodies_parse(text, size);
    AUTO_VALUE(fields_release) struct fields f = {0};
    AUTO_VALUE(reply_release) struct reply reply;

    reply_init(&reply);
    if (!data || card_is_in_json(data))
        return;
    if (!fields_begin(&f, data, &reply)) {
        MUST(!json_is_object(data));
        bodies_check_refusal(&reply);
        return;
    }
    bodies_read_values(&f);
    bodies_read_items(json_object_get(data, "items"));
    if (fields_end(&f, &reply))
        MUST(json_object_size(data) <= FIELDS_MAX);
    else
        bodies_check_refusal(&reply);
}
