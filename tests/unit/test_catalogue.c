/* SPDX-License-Identifier: MIT
 *
 * What tells whether an answer about the catalogue is still good: the rows that it shows, and the
 * shape.
 */
#include "common/catalogue.h"

#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/buf.h"
#include "common/mem.h"

static int64_t token(const char *text, int64_t shape)
{
    struct catalogue_rows rows;

    cr_assert(sodium_init() >= 0);
    cr_assert(catalogue_rows_read(text, &rows), "%s", text);
    return catalogue_token(&rows, shape);
}

Test(catalogue, reads_rows)
{
    struct catalogue_rows rows;
    static const char *const bad[] = {"7", "7:", ":1", "7:1;", "x:1", "7:1,,8:1"};
    AUTO_VALUE(buf_release) struct buf many;

    cr_assert(catalogue_rows_read("7:4711,8:4294967295", &rows));
    cr_assert(rows.count == 2 && rows.ids[0] == 7 && rows.versions[0] == 4711);
    cr_assert(rows.ids[1] == 8 && rows.versions[1] == 4294967295);
    cr_assert(catalogue_rows_read("", &rows) && rows.count == 0);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_not(catalogue_rows_read(bad[i], &rows), "%s", bad[i]);
    buf_init(&many, 4096); /* a page, and one more */
    for (int i = 0; i < CATALOGUE_ROWS_MAX; i++)
        buf_addf(&many, "%s%d:1", i ? "," : "", i + 1);
    cr_assert(catalogue_rows_read(many.data, &rows) && rows.count == CATALOGUE_ROWS_MAX);
    buf_add_str(&many, ",1000:1");
    cr_assert_not(catalogue_rows_read(many.data, &rows));
}

Test(catalogue, tokens_tell_rows_versions_their_order_and_the_shape_apart)
{
    const int64_t one = token("7:1,8:2", 5);

    cr_assert_neq(one, 0);
    cr_assert_eq(token("7:1,8:2", 5), one);
    cr_expect_neq(token("7:1,8:3", 5), one);
    cr_expect_neq(token("7:1,9:2", 5), one);
    cr_expect_neq(token("8:2,7:1", 5), one);
    cr_expect_neq(token("7:1,8:2", 6), one);
    cr_expect_neq(token("7:1", 5), one);
    cr_expect_neq(token("", 5), 0);
    cr_expect_eq(token("7:1,8:0", 5), 0, "it is gone");
}

Test(catalogue, asks_for_each_row_once)
{
    static struct catalogue_asked asked;
    static const int64_t ids[] = {8, 3, 8, 8, 1, 3};

    for (size_t i = 0; i < COUNT_OF(ids); i++)
        asked.rows[asked.count++].id = ids[i];
    catalogue_sort(&asked);
    cr_assert_eq(asked.count, 3);
    catalogue_find(&asked, 3)->version = 9;
    cr_assert(asked.rows[0].id == 1 && asked.rows[1].version == 9 && asked.rows[2].id == 8);
    cr_assert_null(catalogue_find(&asked, 2));
}
