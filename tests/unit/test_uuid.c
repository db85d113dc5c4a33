/* SPDX-License-Identifier: MIT
 *
 * Ids: versions, order in time, no two alike, and what is refused as one.
 */
#include "common/uuid.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/auto.h"
#include "common/clock.h"

static void start(void) { cr_assert_geq(sodium_init(), 0); }

TestSuite(uuid, .init = start);

static void expect_form(const struct uuid *id, char version)
{
    struct uuid same;

    cr_expect_eq(strlen(id->text), 36);
    cr_expect(uuid_parse(id->text, &same), "%s", id->text);
    cr_expect_str_eq(id->text, same.text);
    cr_expect_eq(id->text[14], version, "%s", id->text);
    cr_expect_not_null(strchr("89ab", id->text[19]), "%s", id->text);
}

Test(uuid, versions_and_variant)
{
    for (int i = 0; i < 200; i++) {
        struct uuid four = uuid_v4();
        struct uuid seven = uuid_v7();
        struct uuid hashed = uuid_from_bytes(i, &i, sizeof i);

        expect_form(&four, '4');
        expect_form(&seven, '7');
        expect_form(&hashed, '7');
    }
}

Test(uuid, v7_begins_with_the_unix_milliseconds)
{
    struct uuid id;

    clock_fix(INT64_C(0x0123456789ab) * US_PER_MS + 500, 0);
    id = uuid_v7();
    cr_assert_eq(strncmp(id.text, "01234567-89ab-7800-", 19), 0, "%s", id.text);
}

Test(uuid, v7_sorts_within_a_millisecond)
{
    struct uuid before = {0};

    for (int us = 0; us < 2000; us++) {
        struct uuid id;

        clock_fix(INT64_C(1795288756082000) + us, 0);
        id = uuid_v7();
        cr_assert_gt(strcmp(id.text, before.text), 0, "%s after %s", id.text, before.text);
        before = id;
    }
}

Test(uuid, v7_sorts_in_the_order_of_making_when_time_stands_still)
{
    struct uuid before = {0};

    clock_fix(INT64_C(1795288756082437), 0);
    for (int i = 0; i < 20000; i++) {
        struct uuid id = uuid_v7();

        cr_assert_gt(strcmp(id.text, before.text), 0, "%s after %s", id.text, before.text);
        before = id;
    }
}

Test(uuid, v7_follows_a_clock_that_was_set_back)
{
    struct uuid id;

    clock_fix(INT64_C(0x0123456789ab) * US_PER_MS + 5 * US_PER_S, 0);
    (void)uuid_v7();
    clock_fix(INT64_C(0x0123456789ab) * US_PER_MS, 0);
    id = uuid_v7();
    cr_assert_eq(strncmp(id.text, "01234567-89ab-7000-", 19), 0, "%s", id.text);
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct uuid *)a)->text, ((const struct uuid *)b)->text);
}

Test(uuid, no_two_alike_in_the_same_microsecond)
{
    enum { COUNT = 20000 };
    static struct uuid ids[COUNT];

    clock_fix(INT64_C(1795288756082437), 0);
    for (int i = 0; i < COUNT; i++)
        ids[i] = i % 2 ? uuid_v7() : uuid_v4();
    qsort(ids, COUNT, sizeof ids[0], compare);
    for (int i = 1; i < COUNT; i++)
        cr_assert_str_neq(ids[i].text, ids[i - 1].text);
}

Test(uuid, same_time_and_bytes_same_id)
{
    struct uuid a = uuid_from_bytes(1732212345678, "1732212345678-0", 15);
    struct uuid b = uuid_from_bytes(1732212345678, "1732212345678-0", 15);
    struct uuid c = uuid_from_bytes(1732212345678, "1732212345678-1", 15);
    struct uuid later = uuid_from_bytes(1732212345679, "1732212345678-0", 15);
    struct uuid empty = uuid_from_bytes(0, "", 0);

    cr_assert_str_eq(a.text, b.text);
    cr_assert_str_neq(a.text, c.text);
    cr_assert_lt(strcmp(a.text, later.text), 0);
    cr_assert_eq(strncmp(a.text, "01934fe6-cb4e-7", 15), 0, "%s", a.text);
    expect_form(&empty, '7');
}

Test(uuid, its_bytes_are_its_digits)
{
    static const unsigned char expected[16] = {0x01, 0x92, 0xe4, 0xa1, 0xbc, 0xde, 0x7f, 0x00,
                                               0x8a, 0xbc, 0xde, 0xf0, 0x12, 0x34, 0x56, 0x78};
    unsigned char bytes[16];
    struct uuid id;

    cr_assert(uuid_parse("0192E4A1-BCDE-7F00-8ABC-DEF012345678", &id));
    uuid_bytes(&id, bytes);
    cr_expect_arr_eq(bytes, expected, sizeof expected);
}

Test(uuid, parse_lowers_the_case)
{
    struct uuid id;

    cr_assert(uuid_parse("0192E4A1-BCDE-7F00-8ABC-DEF012345678", &id));
    cr_assert_str_eq(id.text, "0192e4a1-bcde-7f00-8abc-def012345678");
    cr_assert(uuid_parse("00000000-0000-0000-0000-000000000000", &id));
}

Test(uuid, parse_refuses)
{
    static const char *const bad[] = {
        "",
        "0",
        "0192e4a1-bcde-7f00-8abc-def01234567",
        "0192e4a1-bcde-7f00-8abc-def0123456789",
        "0192e4a1-bcde-7f00-8abc-def012345678 ",
        " 0192e4a1-bcde-7f00-8abc-def012345678",
        "0192e4a1bcde7f008abcdef012345678",
        "{0192e4a1-bcde-7f00-8abc-def012345678}",
        "urn:uuid:0192e4a1-bcde-7f00-8abc-def012345678",
        "0192e4a1-bcde-7f00-8abc-def01234567g",
        "0192e4a-1bcde-7f00-8abc-def012345678",
        "0192e4a1_bcde_7f00_8abc_def012345678",
        "0192e4a1-bcde-7f00-8abc--ef012345678",
        "0192e4a1-bcde-7f00-8abc-def01234567\n",
        "0192e4a1-bcde-7f00-8abc-def01234567\xc3\xa9",
        "' OR 1=1 --                          ",
    };

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct uuid id = {"unchanged"};

        cr_expect_not(uuid_parse(bad[i], &id), "\"%s\"", bad[i]);
        cr_expect_str_eq(id.text, "unchanged");
    }
}

Test(uuid, least_of_a_time)
{
    const struct uuid least = uuid_least_of(clock_wall_us() / US_PER_MS);
    const struct uuid made = uuid_v7();

    cr_expect_str_eq(uuid_least_of(0x0192e4a1bcde).text, "0192e4a1-bcde-0000-0000-000000000000");
    cr_expect_str_eq(uuid_least_of(-1).text, UUID_FIRST);
    cr_expect_lt(strcmp(least.text, made.text), 0);
    cr_expect_gt(strcmp(uuid_least_of(clock_wall_us() / US_PER_MS + 1).text, least.text), 0);
}
