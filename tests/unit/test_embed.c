/* SPDX-License-Identifier: MIT
 *
 * The migrations that stand inside the programs: numbered without a gap, whole, sorted.
 */
#include "common/embed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/buf.h"
#include "common/text.h"

/* Gaps are allowed, the same number twice is not. */
Test(embed, migrations_are_numbered_in_their_order)
{
    char before[5] = "0000";
    int count = 0;

    for (const struct embedded_file *file = sql_files; file->name; file++, count++) {
        if (file->name[0] != '0')
            break; /* demo data and views have no number and come last */
        cr_expect_eq(strspn(file->name, "0123456789"), 4, "%s", file->name);
        cr_expect_eq(file->name[4], '_', "%s", file->name);
        cr_expect_lt(memcmp(before, file->name, 4), 0, "%s has the number of another", file->name);
        memcpy(before, file->name, 4);
    }
    cr_assert_geq(count, 3);
}

Test(embed, each_file_is_whole)
{
    for (const struct embedded_file *file = sql_files; file->name; file++) {
        size_t len = (size_t)(file->end - file->data);

        cr_expect_gt(len, 0, "%s", file->name);
        cr_expect_eq(*file->end, '\0', "%s ends with a NUL", file->name);
        cr_expect_eq(strlen(file->data), len, "%s has no NUL inside", file->name);
        cr_expect_eq(file->end[-1], '\n', "%s ends with a line break", file->name);
        cr_expect(text_is_utf8(file->data, len), "%s", file->name);
    }
}

/* Tests run in the top folder of the tree (tests/run.py and make see to that). */
Test(embed, is_the_same_as_the_file_on_disk)
{
    for (const struct embedded_file *file = sql_files; file->name; file++) {
        char path[300];
        char *text = malloc((size_t)(file->end - file->data) + 2);
        size_t len;
        FILE *in;

        cr_assert(text_format(path, sizeof path, "sql/%s", file->name));
        in = fopen(path, "re");
        if (!in)
            cr_skip_test("%s is not here: run the tests in the top folder", path);
        len = fread(text, 1, (size_t)(file->end - file->data) + 2, in);
        (void)fclose(in);
        cr_expect_eq(len, (size_t)(file->end - file->data), "%s: build is out of date", path);
        cr_expect_eq(memcmp(text, file->data, len), 0, "%s: build is out of date", path);
        free(text);
    }
}

Test(embed, names_are_sorted)
{
    for (const struct embedded_file *file = sql_files; file->name && file[1].name; file++)
        cr_expect_lt(strcmp(file->name, file[1].name), 0, "%s, %s", file->name, file[1].name);
}
