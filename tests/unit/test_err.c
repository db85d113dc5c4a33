/* SPDX-License-Identifier: MIT
 *
 * Error codes and texts: the first error wins, texts are cut and never break a log line.
 */
#include "common/err.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"

Test(err, set_returns_its_code_and_records_it)
{
    struct err e = {0};

    cr_assert_eq(err_set(&e, ERR_NOT_FOUND, "no order %d", 7), ERR_NOT_FOUND);
    cr_assert_eq(e.code, ERR_NOT_FOUND);
    cr_assert_str_eq(e.text, "no order 7");
    cr_assert_str_empty(e.detail);
}

Test(err, first_error_wins_but_the_later_code_is_returned)
{
    struct err e = {0};

    (void)err_set_detail(&e, ERR_TIMEOUT, "the driver's words", "first");
    cr_assert_eq(err_set(&e, ERR_INTERNAL, "second"), ERR_INTERNAL);
    cr_assert_eq(e.code, ERR_TIMEOUT);
    cr_assert_str_eq(e.text, "first");
    cr_assert_str_eq(e.detail, "the driver's words");
}

Test(err, may_be_null)
{
    cr_assert_eq(err_set(NULL, ERR_DENIED, "nobody listens"), ERR_DENIED);
    cr_assert_eq(err_set_detail(NULL, ERR_NOMEM, "x", "nobody listens"), ERR_NOMEM);
}

Test(err, clear_makes_room_for_the_next)
{
    struct err e = {0};

    (void)err_set_detail(&e, ERR_CONFLICT, "detail", "text");
    err_clear(&e);
    cr_assert_eq(e.code, ERR_OK);
    cr_assert_str_empty(e.text);
    cr_assert_str_empty(e.detail);
    (void)err_set(&e, ERR_INVALID, "again");
    cr_assert_eq(e.code, ERR_INVALID);
}

Test(err, long_texts_are_cut_and_terminated)
{
    struct err e = {0};
    char text[1000];

    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)err_set_detail(&e, ERR_INVALID, text, "%s", text);
    cr_assert_eq(strlen(e.text), sizeof e.text - 1);
    cr_assert_eq(strlen(e.detail), sizeof e.detail - 1);
}

Test(err, detail_has_no_line_breaks)
{
    struct err e = {0};

    (void)err_set_detail(&e, ERR_UNAVAILABLE, "ERROR: a\nDETAIL: b\n", "refused");
    cr_assert_null(strchr(e.detail, '\n'));
    cr_assert_not_null(strstr(e.detail, "DETAIL: b"));
}

Test(err, missing_detail_is_empty)
{
    struct err e = {0};

    (void)err_set_detail(&e, ERR_UNAVAILABLE, NULL, "lost");
    cr_assert_str_empty(e.detail);
}

Test(err, each_code_has_a_name_of_its_own)
{
    for (int a = ERR_OK; a <= ERR_INTERNAL; a++) {
        cr_expect_str_not_empty(err_name((enum err_code)a));
        for (int b = ERR_OK; b < a; b++)
            cr_expect_str_neq(err_name((enum err_code)a), err_name((enum err_code)b));
    }
    cr_assert_str_eq(err_name(ERR_OK), "ok");
    cr_assert_str_eq(err_name((enum err_code)99), "unknown");
}

Test(err, only_absence_and_silence_are_worth_a_retry)
{
    for (int code = ERR_OK; code <= ERR_INTERNAL; code++) {
        bool expected = code == ERR_UNAVAILABLE || code == ERR_TIMEOUT;

        cr_expect_eq(err_is_transient((enum err_code)code), expected, "%s",
                     err_name((enum err_code)code));
    }
}
