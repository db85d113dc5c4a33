/* SPDX-License-Identifier: MIT
 *
 * Arrays as parameters, in the form that PostgreSQL itself reads.
 */
#include "common/db.h"

#include <criterion/criterion.h>

#include "common/buf.h"
#include "common/uuid.h"
#include "tests/integration/stores.h"

static struct db *db;
static struct err e;

static void start(void) { db = db_open(need_setting("DATABASE_URL"), "test_db_array"); }

static void finish(void) { db_close(db); }

TestSuite(db_array, .init = start, .fini = finish, .timeout = 60);

static const struct db_stmt IDS = {
    "test_ids", "SELECT $1::uuid[]::text, $2::integer[]::text, cardinality($1::uuid[])", 2};

static void check_arrays(size_t count, const char *ids_text, const char *numbers_text)
{
    static const char *const ids[] = {UUID_FIRST, UUID_LAST,
                                      "0192e4a1-bcde-7f00-8abc-def012345678"};
    static const int32_t numbers[] = {0, INT32_MIN, INT32_MAX};
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf first;
    AUTO_VALUE(buf_release) struct buf second;

    buf_init(&first, 1024);
    buf_init(&second, 1024);
    db_ids_begin(&first, count);
    db_ints_begin(&second, count);
    for (size_t i = 0; i < count; i++) {
        struct uuid id;

        cr_assert(uuid_parse(ids[i], &id));
        db_ids_add(&first, &id);
        db_ints_add(&second, numbers[i]);
    }
    cr_assert_eq(db_query(db, &IDS, DB_ARGS(DB_ARRAY(first), DB_ARRAY(second)), &rows, &e), ERR_OK,
                 "%s: %s", e.text, e.detail);
    cr_expect_str_eq(db_text(rows, 0, 0), ids_text);
    cr_expect_str_eq(db_text(rows, 0, 1), numbers_text);
    cr_expect_eq(db_int(rows, 0, 2), count);
}

static const struct db_stmt TEXTS = {"test_texts", "SELECT $1::text[]::text, $2::bigint[]::text",
                                     2};

static void check_texts(size_t count, const char *texts_text, const char *numbers_text)
{
    static const char *const texts[] = {"plain", "a \"quote\", a \\ and a {brace}", "", NULL};
    static const int64_t numbers[] = {0, INT64_MIN, INT64_MAX, -7};
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf first;
    AUTO_VALUE(buf_release) struct buf second;

    buf_init(&first, 1024);
    buf_init(&second, 1024);
    for (size_t i = 0; i < count; i++) {
        db_array_add(&first, texts[i]);
        db_array_add_int(&second, numbers[i]);
    }
    db_array_end(&first);
    db_array_end(&second);
    cr_assert_eq(
        db_query(db, &TEXTS, DB_ARGS(DB_TEXT(first.data), DB_TEXT(second.data)), &rows, &e), ERR_OK,
        "%s: %s", e.text, e.detail);
    cr_expect_str_eq(db_text(rows, 0, 0), texts_text);
    cr_expect_str_eq(db_text(rows, 0, 1), numbers_text);
}

Test(db_array, arrays_in_text_form_arrive_as_they_were_given)
{
    check_texts(0, "{}", "{}");
    check_texts(1, "{plain}", "{0}");
    check_texts(4, "{plain,\"a \\\"quote\\\", a \\\\ and a {brace}\",\"\",NULL}",
                "{0,-9223372036854775808,9223372036854775807,-7}");
}

Test(db_array, arrays_in_binary_form_arrive_as_they_were_given)
{
    check_arrays(0, "{}", "{}");
    check_arrays(1, "{" UUID_FIRST "}", "{0}");
    check_arrays(3, "{" UUID_FIRST "," UUID_LAST ",0192e4a1-bcde-7f00-8abc-def012345678}",
                 "{0,-2147483648,2147483647}");
}

Test(db_array, an_array_of_few_ids_is_filled_up_to_what_the_planner_supposes)
{
    AUTO_VALUE(buf_release) struct buf few;
    AUTO_VALUE(buf_release) struct buf many;

    buf_init(&few, 1024);
    db_array_add_int(&few, 7);
    db_array_fill(&few, 1);
    db_array_end(&few);
    cr_assert_str_eq(few.data, "{7,0,0,0,0,0,0,0,0,0}");
    buf_init(&many, 1024);
    for (int i = 0; i < 12; i++)
        db_array_add_int(&many, 1);
    db_array_fill(&many, 12);
    db_array_end(&many);
    cr_assert_str_eq(many.data, "{1,1,1,1,1,1,1,1,1,1,1,1}");
}
