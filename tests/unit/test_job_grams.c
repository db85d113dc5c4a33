/* SPDX-License-Identifier: MIT
 *
 * The inverted index of a segment: what is put in comes out, in each form, and bytes that are none
 * are refused.
 */
#include "common/job_grams.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/mem.h"

static const struct job_gram *find(const struct job_grams *grams, uint32_t gram)
{
    for (size_t i = 0; i < grams->size; i++)
        if (grams->items[i].count > 0 && grams->items[i].gram == gram)
            return &grams->items[i];
    return NULL;
}

static bool has(const struct job_places *places, size_t place)
{
    return places->bits[place / 64] >> place % 64 & 1;
}

/* Every `step`th of so many jobs has the gram; gives the form that it got. */
static char round_trip(size_t jobs, size_t step)
{
    AUTO_VALUE(job_grams_release) struct job_grams grams = {0};
    AUTO(mem_free) struct job_places *places = mem_alloc(sizeof *places);
    const struct job_gram *gram;

    for (uint32_t place = 0; place < jobs; place += (uint32_t)step) {
        job_grams_add(&grams, place, 77);
        job_grams_add(&grams, place, 77); /* a second time is ignored */
    }
    job_grams_end(&grams, jobs);
    gram = find(&grams, 77);
    cr_assert_not_null(gram);
    cr_assert(job_places_read(gram->bytes, gram->len, jobs, places), "%zu/%zu", jobs, step);
    for (size_t place = 0; place < JOB_SEGMENT_MAX; place++)
        cr_assert_eq(has(places, place), place < jobs && place % step == 0, "%zu of %zu/%zu", place,
                     jobs, step);
    return (char)gram->bytes[0];
}

Test(job_grams, each_form_gives_back_what_it_got)
{
    cr_expect_eq(round_trip(1, 1), 'A');
    cr_expect_eq(round_trip(1025, 1), 'A');
    cr_expect_eq(round_trip(JOB_SEGMENT_MAX, 1), 'A');
    cr_expect_eq(round_trip(1025, 2), 'B');
    cr_expect_eq(round_trip(JOB_SEGMENT_MAX, 3), 'B');
    cr_expect_eq(round_trip(JOB_SEGMENT_MAX - 1, 63), 'L');
    cr_expect_eq(round_trip(JOB_SEGMENT_MAX, 20000), 'L');
    cr_expect_eq(round_trip(100, 8), 'L', "as long as bits would be");
}

Test(job_grams, words_have_the_grams_of_their_parts)
{
    AUTO_VALUE(job_grams_release) struct job_grams grams = {0};

    job_grams_add_text(&grams, 0, "Order-17");
    job_grams_add_text(&grams, 1, "K\xc3\xa4se");
    job_grams_add_text(&grams, 2, "ab");
    job_grams_add_text(&grams, 2, "");
    cr_expect_not_null(find(&grams, job_gram_of("ord")));
    cr_expect_not_null(find(&grams, job_gram_of("R-1")), "case does not matter");
    cr_expect_not_null(find(&grams, job_gram_of("k\xc3\xa4")));
    cr_expect_not_null(find(&grams, job_gram_of("\xc3\xa4s")));
    cr_expect_null(find(&grams, job_gram_of("r17")));
    cr_expect_eq(grams.count, 6 + 3);
}

Test(job_grams, names_are_apart_from_words_and_kinds)
{
    cr_expect_neq(job_gram_name(GRAM_TASK, "mail"), job_gram_name(GRAM_QUEUE, "mail"));
    cr_expect_neq(job_gram_name(GRAM_TASK, "mail"), job_gram_name(GRAM_TASK, "Mail"));
    cr_expect_eq(job_gram_pair("user", "Ab"), job_gram_pair("user", "aB"));
    cr_expect_neq(job_gram_pair("user", "7"), job_gram_pair("user", "17"));
    cr_expect_gt(job_gram_name(GRAM_STATE, "SUCCESS"), 0xffffff);
}

Test(job_grams, bytes_that_are_none)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"", 0},
        {"X", 1},
        {"A\x01", 2},
        {"B\x01", 2},
        {"B\xff\xff\xff", 4},
        {"L\x80", 2},
        {"L\x10", 2},
        {"L\x01\x0f", 3},
        {"L\xff\xff\xff\xff\xff\xff", 7},
    };
    AUTO(mem_free) struct job_places *places = mem_alloc(sizeof *places);

    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_not(job_places_read((const unsigned char *)bad[i].bytes, bad[i].len, 16, places),
                      "%zu", i);
    cr_expect_not(job_places_read((const unsigned char *)"A", 1, JOB_SEGMENT_MAX + 1, places));
    cr_expect(job_places_read((const unsigned char *)"L\x01\x0e", 3, 16, places));
    cr_expect(has(places, 1) && has(places, 15));
}

Test(job_grams, many_grams)
{
    AUTO_VALUE(job_grams_release) struct job_grams grams = {0};

    for (uint32_t gram = 0; gram < 20000; gram++)
        job_grams_add(&grams, gram % 3, gram * 64);
    cr_expect_eq(grams.count, 20000);
    for (uint32_t gram = 0; gram < 20000; gram += 997)
        cr_expect_not_null(find(&grams, gram * 64));
}
