/* SPDX-License-Identifier: MIT
 *
 * The grams of a search; see job_needs.h.
 */
#include "common/job_needs.h"

#include <stdlib.h>
#include <string.h>

/* A term of one alternative. */
struct need {
    struct job_needs *needs;
    size_t alternative;
    unsigned char term;
    size_t grams_max;
};

static void add(const struct need *need, uint32_t gram)
{
    struct job_needs *needs = need->needs;
    size_t i = 0;

    while (i < needs->count && needs->grams[i] != gram)
        i++;
    if (i == JOB_NEEDS_MAX) /* one less to choose by */
        return;
    if (i == needs->count)
        needs->grams[needs->count++] = gram;
    if (!needs->terms[need->alternative][i])
        needs->terms[need->alternative][i] = need->term;
}

/* All that there are, or as many of them, evenly. */
static void add_text(const struct need *need, const char *text)
{
    size_t len = strlen(text);
    size_t step;

    if (len < 3)
        return;
    step = (len - 2 + need->grams_max - 1) / need->grams_max;
    for (size_t i = 0; i + 3 < len; i += step)
        add(need, job_gram_of(text + i));
    add(need, job_gram_of(text + len - 3));
}

static void add_term(const struct need *need, const struct job_search_term *term)
{
    enum job_state state;

    switch (term->kind) {
    case SEARCH_STATE:
        if (job_state_parse(term->text, &state) && job_is_final(state))
            add(need, job_gram_name(GRAM_STATE, term->text));
        break;
    case SEARCH_KWARGS:
        if (*term->key && strlen(term->text) < JOB_PAIR_BYTES)
            add(need, job_gram_pair(term->key, term->text));
        else
            add_text(need, term->text);
        add_text(need, term->key);
        break;
    case SEARCH_ANY:
    case SEARCH_NAME:
    case SEARCH_WORKER:
    case SEARCH_ARGS:
    case SEARCH_RESULT:
    case SEARCH_QUEUE:
    case SEARCH_ERROR:
        add_text(need, term->text);
        break;
    }
}

static void add_name(struct need *need, enum job_gram_kind kind, const char *name)
{
    if (!name || !*name)
        return;
    need->term++;
    add(need, job_gram_name(kind, name));
}

static size_t grams_of_a_term(const struct job_search *search)
{
    size_t max = search && search->term_count > 0 ? JOB_NEEDS_SHARED / search->term_count : 0;

    return max < JOB_NEEDS_TERM_MAX ? max : JOB_NEEDS_TERM_MAX;
}

void job_needs_plan(struct job_needs *needs, const struct jobs_filter *filter)
{
    const struct job_search *search = filter->search;
    bool is_search = search && search->count > 0;

    *needs = (struct job_needs){.alternative_count = is_search ? search->alternative_count : 1};
    for (size_t i = 0; i < needs->alternative_count; i++) {
        struct need need = {.needs = needs, .alternative = i, .grams_max = grams_of_a_term(search)};

        add_name(&need, GRAM_TASK, filter->task);
        add_name(&need, GRAM_QUEUE, filter->queue);
        /* Who is not finished has neither state nor worker here, and is among the open ones. */
        if (filter->state != JOBS_ANY_STATE && job_is_final((enum job_state)filter->state))
            add_name(&need, GRAM_STATE, job_state_name((enum job_state)filter->state));
        add_name(&need, GRAM_WORKER, filter->worker);
        for (size_t k = 0; is_search && k < search->term_count; k++) {
            if (!(search->alternatives[i] & UINT32_C(1) << k))
                continue;
            need.term++;
            add_term(&need, &search->terms[k]);
        }
    }
}

/* ---- order ---- */

struct ranked {
    size_t gram;
    size_t rank; /* in its term */
    int64_t weight;
};

static int by_weight(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;

    if (x->weight != y->weight)
        return x->weight < y->weight ? -1 : 1;
    return (x->gram > y->gram) - (x->gram < y->gram);
}

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;

    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return by_weight(a, b);
}

size_t job_needs_order(const struct job_needs *needs, size_t alternative,
                       size_t ret_order[JOB_NEEDS_MAX], size_t *ret_terms)
{
    struct ranked items[JOB_NEEDS_MAX];
    size_t of_term[UINT8_MAX + 1] = {0};
    size_t count = 0;

    *ret_terms = 0;
    for (size_t g = 0; g < needs->count; g++)
        if (needs->terms[alternative][g])
            items[count++] = (struct ranked){.gram = g, .weight = needs->weights[g]};
    if (count == 0)
        return 0;
    qsort(items, count, sizeof items[0], by_weight);
    for (size_t i = 0; i < count; i++) {
        items[i].rank = of_term[needs->terms[alternative][items[i].gram]]++;
        *ret_terms += items[i].rank == 0;
    }
    qsort(items, count, sizeof items[0], by_rank);
    for (size_t i = 0; i < count; i++)
        ret_order[i] = items[i].gram;
    return count;
}
