/* SPDX-License-Identifier: MIT
 *
 * Answers in memory: each is given back under its name and version alone, and they stay within
 * their bounds.
 */
#include "api/answers.h"

#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/clock.h"
#include "common/mem.h"

enum { MIB = 1024 * 1024 };

static struct buf text_of(const char *text)
{
    struct buf made;

    buf_init(&made, MIB);
    buf_add_str(&made, text);
    return made;
}

static void keep_made(const char *name, const struct answers_made *of, const char *body)
{
    AUTO_VALUE(buf_release) struct buf n = text_of(name);
    AUTO_VALUE(buf_release) struct buf b = text_of(body);

    answers_keep(&n, of, &b);
}

static void keep(const char *name, int64_t version, const char *body)
{
    keep_made(name, &(struct answers_made){.version = version}, body);
}

/* What is kept, or "-". */
static const char *found_now(const char *name, struct answers_now now)
{
    static char shown[100];
    AUTO_VALUE(buf_release) struct buf n = text_of(name);
    AUTO_VALUE(buf_release) struct buf body = text_of("");
    char tag[ANSWER_TAG_SIZE] = "";
    char expected[ANSWER_TAG_SIZE];

    now.us = clock_mono_us();
    if (!answers_find(&n, &now, &body, tag))
        return "-";
    answers_tag(&body, expected);
    cr_assert_str_eq(tag, expected);
    (void)!text_format(shown, sizeof shown, "%s", body.data);
    return shown;
}

static const char *found(const char *name, int64_t version)
{
    return found_now(name, (struct answers_now){.version = version});
}

static void begin(void) { cr_assert(sodium_init() >= 0); }

TestSuite(answers, .init = begin, .fini = answers_end);

Test(answers, are_found_by_name_and_version)
{
    answers_init(MIB);
    cr_assert_str_eq(found("/a", 7), "-");
    keep("/a", 7, "seven");
    keep("/b", 7, "b");
    cr_assert_str_eq(found("/a", 7), "seven");
    cr_assert_str_eq(found("/b", 7), "b");
    cr_assert_str_eq(found("/a", 6), "-");
    cr_assert_str_eq(found("/a", 8), "-");
    keep("/a", 8, "eight");
    cr_assert_str_eq(found("/a", 8), "eight");
    cr_assert_str_eq(found("/a", 7), "-");
    keep("/a", 7, "who was slower");
    cr_assert_str_eq(found("/a", 8), "eight");
}

Test(answers, are_found_by_their_rows_whatever_the_version)
{
    const struct catalogue_rows rows = {.count = 2, .ids = {5, 3}, .versions = {1, 1}};
    struct catalogue_rows told = {0};
    AUTO_VALUE(buf_release) struct buf name = text_of("/a");

    answers_init(MIB);
    cr_assert_not(answers_rows(&name, &told));
    keep("/a", 7, "seven");
    cr_assert_not(answers_rows(&name, &told), "nobody has said of which");
    cr_assert_str_eq(found_now("/a", (struct answers_now){.version = 8}), "-");
    keep_made("/a", &(struct answers_made){.token = 99, .rows = &rows}, "rows");
    cr_assert(answers_rows(&name, &told));
    cr_assert(told.count == 2 && told.ids[0] == 5 && told.ids[1] == 3);
    cr_assert_str_eq(found_now("/a", (struct answers_now){.version = 8, .token = 99}), "rows");
    cr_assert_str_eq(found_now("/a", (struct answers_now){.version = 8, .token = 98}), "-");
    cr_assert_str_eq(found_now("/a", (struct answers_now){.version = 8}), "-");
}

Test(answers, are_made_anew_for_their_version_by_one_now_and_then)
{
    const struct answers_now wants = {.version = 8, .token = 99, .wants_version = true};

    answers_init(MIB);
    keep_made("/a", &(struct answers_made){.version = 7, .token = 99}, "rows");
    for (int i = 0; i < 80; i++)
        cr_assert_str_eq(found_now("/a", wants), i % 8 == 7 ? "-" : "rows");
    keep_made("/a", &(struct answers_made){.version = 8, .token = 99}, "again");
    for (int i = 0; i < 80; i++)
        cr_assert_str_eq(found_now("/a", wants), "again");
}

Test(answers, have_tags_that_tell_them_apart)
{
    AUTO_VALUE(buf_release) struct buf one = text_of("one");
    AUTO_VALUE(buf_release) struct buf two = text_of("two");
    char tag[ANSWER_TAG_SIZE];
    char other[ANSWER_TAG_SIZE];

    answers_tag(&one, tag);
    answers_tag(&two, other);
    cr_assert_str_neq(tag, other);
    answers_tag(&one, other);
    cr_assert_str_eq(tag, other);
    cr_assert(strlen(tag) == ANSWER_TAG_SIZE - 1 && *tag == '"' && tag[ANSWER_TAG_SIZE - 2] == '"');
}

Test(answers, are_none_when_none_are_wanted)
{
    answers_init(0);
    keep("/a", 1, "a");
    cr_assert_str_eq(found("/a", 1), "-");
}

Test(answers, go_by_age_and_a_smaller_version_may_then_come)
{
    answers_init(MIB);
    clock_fix(US_PER_S, US_PER_S);
    keep("/a", 9, "nine");
    clock_fix(US_PER_S, 599 * US_PER_S);
    cr_assert_str_eq(found("/a", 9), "nine");
    clock_fix(US_PER_S, 602 * US_PER_S);
    cr_assert_str_eq(found("/a", 9), "-");
    keep("/a", 2, "two");
    cr_assert_str_eq(found("/a", 2), "two");
}

Test(answers, stay_within_their_bounds)
{
    static char body[20 * 1024];
    char name[32];
    int kept = 0;

    answers_init(MIB);
    memset(body, 'x', sizeof body - 1);
    keep("/too-large", 1, body);
    cr_assert_str_eq(found("/too-large", 1), "-");
    body[1000] = '\0';
    for (int i = 0; i < 5000; i++) {
        cr_assert(text_format(name, sizeof name, "/%d", i));
        keep(name, 1, body);
        keep("/asked-for", 1, "stays");
        cr_assert_str_eq(found("/asked-for", 1), "stays");
    }
    for (int i = 0; i < 5000; i++) {
        cr_assert(text_format(name, sizeof name, "/%d", i));
        kept += *found(name, 1) == 'x';
    }
    cr_assert(kept > 500 && kept * 1000 <= MIB, "%d", kept);
    cr_assert_str_eq(found("/4999", 1)[0] == 'x' ? "x" : "-", "x");
    cr_assert_str_eq(found("/0", 1), "-");
}
