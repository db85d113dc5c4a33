/* SPDX-License-Identifier: MIT
 *
 * Which grams a search asks the index for, and in which order.
 */
#include "common/job_needs.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"

static void plan(const char *words, struct jobs_filter filter, struct job_needs *ret_needs)
{
    AUTO_VALUE(job_search_release) struct job_search search = {0};
    struct err e = {0};

    cr_assert_eq(job_search_parse(words, &search, &e), ERR_OK, "%s", e.text);
    filter.search = &search;
    job_needs_plan(ret_needs, &filter);
}

static bool needs_gram(const struct job_needs *needs, size_t alternative, uint32_t gram)
{
    for (size_t i = 0; i < needs->count; i++)
        if (needs->grams[i] == gram)
            return needs->terms[alternative][i] != 0;
    return false;
}

static void weigh(struct job_needs *needs, uint32_t gram, int64_t weight)
{
    for (size_t i = 0; i < needs->count; i++)
        if (needs->grams[i] == gram)
            needs->weights[i] = weight;
}

Test(job_needs, every_gram_of_a_short_text)
{
    struct job_needs needs;

    plan("12345", (struct jobs_filter){.state = JOBS_ANY_STATE}, &needs);
    cr_assert_eq(needs.count, 3);
    cr_assert(needs_gram(&needs, 0, job_gram_of("123")));
    cr_assert(needs_gram(&needs, 0, job_gram_of("234")));
    cr_assert(needs_gram(&needs, 0, job_gram_of("345")));
    plan("abc", (struct jobs_filter){.state = JOBS_ANY_STATE}, &needs);
    cr_assert_eq(needs.count, 1);
}

/* However long the words are: none is left without any, and all of them stand in it. */
Test(job_needs, long_texts_are_bounded)
{
    char words[JOB_SEARCH_BYTES + 1] = "";
    struct job_needs needs;
    size_t order[JOB_NEEDS_MAX];
    size_t terms = 0;

    for (size_t i = 0; i < 16; i++)
        for (size_t k = 0; k < 61; k++)
            words[i * 62 + k] = (char)('a' + (i * 7 + k * (i + 3)) % 26);
    for (size_t i = 0; i < 15; i++)
        words[i * 62 + 61] = ' ';
    plan(words,
         (struct jobs_filter){.state = JOB_FAILURE, .task = "t", .queue = "q", .worker = "w"},
         &needs);
    cr_assert_leq(needs.count, JOB_NEEDS_MAX);
    cr_assert_gt(job_needs_order(&needs, 0, order, &terms), 20);
    cr_assert_eq(terms, 20);
    for (size_t i = 0; i < 16; i++) /* the last three bytes of each */
        cr_assert(needs_gram(&needs, 0, job_gram_of(words + i * 62 + 58)), "word %zu", i);
}

Test(job_needs, names_and_pairs_are_whole)
{
    struct job_needs needs;

    plan("kwargs:user=7 state:failure", (struct jobs_filter){.state = JOB_SUCCESS, .queue = "q"},
         &needs);
    cr_assert(needs_gram(&needs, 0, job_gram_pair("user", "7")));
    cr_assert(needs_gram(&needs, 0, job_gram_of("use")));
    cr_assert(needs_gram(&needs, 0, job_gram_name(GRAM_STATE, "FAILURE")));
    cr_assert(needs_gram(&needs, 0, job_gram_name(GRAM_STATE, "SUCCESS")));
    cr_assert(needs_gram(&needs, 0, job_gram_name(GRAM_QUEUE, "q")));
    plan("", (struct jobs_filter){.state = JOB_STARTED}, &needs); /* in no segment */
    cr_assert_eq(needs.count, 0);
    cr_assert_eq(needs.alternative_count, 1);
}

Test(job_needs, each_alternative_has_its_own)
{
    struct job_needs needs;

    plan("abc (def OR ghi)", (struct jobs_filter){.state = JOBS_ANY_STATE}, &needs);
    cr_assert_eq(needs.alternative_count, 2);
    cr_assert(needs_gram(&needs, 0, job_gram_of("abc")));
    cr_assert(needs_gram(&needs, 1, job_gram_of("abc")));
    cr_assert(needs_gram(&needs, 0, job_gram_of("def")));
    cr_assert_not(needs_gram(&needs, 1, job_gram_of("def")));
    cr_assert(needs_gram(&needs, 1, job_gram_of("ghi")));
}

Test(job_needs, the_rarest_first_then_those_of_other_words)
{
    struct job_needs needs;
    size_t order[JOB_NEEDS_MAX];
    size_t terms = 0;
    const uint32_t wanted[] = {job_gram_of("bcd"), job_gram_of("xyz"), job_gram_of("abc"),
                               job_gram_of("wxy")};

    plan("abcd wxyz", (struct jobs_filter){.state = JOBS_ANY_STATE}, &needs);
    weigh(&needs, job_gram_of("abc"), 20);
    weigh(&needs, job_gram_of("bcd"), 10);
    weigh(&needs, job_gram_of("wxy"), 900);
    weigh(&needs, job_gram_of("xyz"), 800);
    cr_assert_eq(job_needs_order(&needs, 0, order, &terms), 4);
    cr_assert_eq(terms, 2);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(needs.grams[order[i]], wanted[i], "number %zu", i);
}
