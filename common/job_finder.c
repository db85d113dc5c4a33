/* SPDX-License-Identifier: MIT
 *
 * The statements of searches, and looking at jobs; see job_finder.h. Whatever the index gives is
 * read, redacted, and only then compared with the words: so it does not matter when it says too
 * much.
 */
#include "common/job_finder.h"

#include <string.h>

#include "common/buf.h"
#include "common/job_columns.h"
#include "common/job_shown.h"
#include "common/job_sort.h"
#include "common/mem.h"
#include "common/statements.h"
#include "common/text.h"

enum {
    BATCH_MAX = 512, /* jobs that are read at once, where few of them fit */
    ARRAY_MAX = 1024 * 1024,
    BYTES_MAX = 64 * 1024 * 1024,
};

#define FIND_COLUMNS JOB_LIST_COLUMNS("65536")
_Static_assert(JOB_FIND_BYTES == 65536, "FIND_COLUMNS has it as text");
#define WINDOW "20000"
_Static_assert(JOBS_WINDOW == 20000, "WINDOW has it as text");

#define DOWN_IDS "id < $1 AND id >= $2 AND id <= $3 ORDER BY id DESC LIMIT " WINDOW
#define UP_IDS "id > $1 AND id >= $2 AND id <= $3 ORDER BY id LIMIT " WINDOW
#define TAIL(ids, order)                                                                           \
    "SELECT " FIND_COLUMNS " FROM (SELECT * FROM (SELECT * FROM jobs WHERE " ids ") w"             \
    " WHERE " JOB_FILTERS " AND " JOB_FOUND " ORDER BY " order " LIMIT $11) j" JOB_SECRETS         \
    " ORDER BY " order

#define END(column, from, ids, rows)                                                               \
    "SELECT " column " FROM " from " WHERE " ids " LIMIT 1 OFFSET " rows " - 1"
#define DOWN(column)                                                                               \
    column " < $1 AND " column " >= $2 AND " column " <= $3 ORDER BY " column " DESC"
#define UP(column) column " > $1 AND " column " >= $2 AND " column " <= $3 ORDER BY " column

#define RETRYING_DOWN                                                                              \
    "listed_state IS NOT NULL AND (listed_state, id) < ('RETRY', $1::uuid)"                        \
    " AND (listed_state, id) >= ('RETRY', $2::uuid) AND id <= $3"                                  \
    " ORDER BY listed_state DESC, id DESC"
#define RETRYING_UP                                                                                \
    "listed_state IS NOT NULL AND (listed_state, id) > ('RETRY', $1::uuid)"                        \
    " AND (listed_state, id) <= ('RETRY', $3::uuid) AND id >= $2 ORDER BY listed_state, id"
#define OPEN_WINDOW "10000"
#define RETRY_WINDOW "3000"

/* What has to be looked at in the table, since the index of words does not know it, or not as it is
 * now:
 *  - jobs that the index has missed (a negative turn);
 *  - jobs that run or are to be retried: they have begun since the index read them;
 *  - jobs that have ended since then. They are among the open ones until the index reads them
 *    again, within seconds, so the first $18 of these are enough, however many wait.
 * Of a job that waits and has never run the index knows all but its state; $17 says whether that
 * matters. */
#define MISSED(window)                                                                             \
    "SELECT job_id FROM job_search_open WHERE turn < 0 AND " window " LIMIT " RETRY_WINDOW
#define OPEN(window, retrying, ids)                                                                \
    "SELECT id FROM (SELECT * FROM jobs WHERE id = ANY (ARRAY(SELECT job_id FROM"                  \
    " (SELECT job_id FROM job_search_open WHERE " window " LIMIT $18) o"                           \
    " UNION SELECT job_id FROM (" MISSED(                                                          \
        window) ") m"                                                                              \
                " UNION SELECT id FROM (SELECT id FROM jobs WHERE ($7::job_state IS NULL OR $7 = " \
                "'RETRY')"                                                                         \
                " AND " retrying " LIMIT " RETRY_WINDOW                                            \
                ") r UNION SELECT id FROM started_jobs))) j"                                       \
                " WHERE (attempt > 0 OR state <> 'PENDING' OR $17 OR id IN (" MISSED(              \
                    window) "))"                                                                   \
                            " AND " JOB_FILTERS " AND " JOB_FOUND " AND " ids " LIMIT $11"

static const struct db_stmt statements[] = {
    [FIND_MARK] = {"job_find_mark", "SELECT passed FROM job_search_mark", 0},
    [FIND_TAIL_DOWN] = {"job_find_tail_down", TAIL(DOWN_IDS, "id DESC"), 16},
    [FIND_TAIL_UP] = {"job_find_tail_up", TAIL(UP_IDS, "id"), 16},
    [FIND_TAIL_END_DOWN] = {"job_find_tail_end_down", END("id", "jobs", DOWN("id"), WINDOW), 3},
    [FIND_TAIL_END_UP] = {"job_find_tail_end_up", END("id", "jobs", UP("id"), WINDOW), 3},
    [FIND_OPEN_DOWN] = {"job_find_open_down", OPEN(DOWN("job_id"), RETRYING_DOWN, DOWN("id")), 18},
    [FIND_OPEN_UP] = {"job_find_open_up", OPEN(UP("job_id"), RETRYING_UP, UP("id")), 18},
    [FIND_OPEN_END_DOWN] = {"job_find_open_end_down",
                            END("job_id", "job_search_open", DOWN("job_id"), OPEN_WINDOW), 3},
    [FIND_OPEN_END_UP] = {"job_find_open_end_up",
                          END("job_id", "job_search_open", UP("job_id"), OPEN_WINDOW), 3},
    [FIND_RETRY_END_DOWN] = {"job_find_retry_end_down",
                             END("id", "jobs", RETRYING_DOWN, RETRY_WINDOW), 3},
    [FIND_RETRY_END_UP] = {"job_find_retry_end_up", END("id", "jobs", RETRYING_UP, RETRY_WINDOW),
                           3},
    [FIND_LOOK] = {"job_find_look",
                   "SELECT " FIND_COLUMNS " FROM (SELECT * FROM jobs WHERE id = ANY ($1::uuid[])"
                   " AND id >= $2 AND id <= $3 AND " JOB_FILTERS
                   " ORDER BY id DESC LIMIT $11) j" JOB_SECRETS " ORDER BY id DESC",
                   11},
    [FIND_KEYS] = {"job_find_keys",
                   "SELECT id, task, state, (extract(epoch FROM started_at) * 1000000)::bigint,"
                   " (extract(epoch FROM finished_at) * 1000000)::bigint FROM jobs"
                   " WHERE id = ANY ($1::uuid[]) AND id >= $2 AND id <= $3 AND " JOB_FILTERS
                   " LIMIT $11",
                   11},
};
DB_STATEMENTS(job_finder, statements);

static const char *none_if_empty(const char *text) { return text && *text ? text : NULL; }

bool finder_has_words(const struct finder *f)
{
    return f->filter->search && f->filter->search->count > 0;
}

bool finder_is_full(const struct finder *f)
{
    return (f->sorted ? f->sorted->count >= JOB_FIND_LOOKS : f->page->count >= f->wanted) ||
           f->looked >= JOB_FIND_LOOKS || f->bytes >= BYTES_MAX;
}

/* Whether a row that the term describes has its text among all of its texts, as JSON writes it. */
static bool is_seen(const struct job_search_term *term)
{
    return term->kind != SEARCH_STATE &&
           (term->kind != SEARCH_KWARGS || !*term->key || !strpbrk(term->text, "\"\\")) &&
           text_plain_span(term->text, strlen(term->text)) == strlen(term->text);
}

/* The longest text that all alternatives need, or NULL. */
static const char *text_of_all(const struct job_search *search)
{
    const char *found = NULL;

    for (size_t k = 0; k < search->term_count; k++) {
        const struct job_search_term *term = &search->terms[k];
        size_t in = 0;

        while (in < search->alternative_count && search->alternatives[in] & UINT32_C(1) << k)
            in++;
        if (in == search->alternative_count && is_seen(term) &&
            (!found || strlen(term->text) > strlen(found)))
            found = term->text;
    }
    return found;
}

void finder_params(const struct finder *f, const char *first, int limit,
                   struct db_param ret_params[FINDER_PARAMS])
{
    const struct jobs_filter *filter = f->filter;
    const struct job_search *search = finder_has_words(f) ? filter->search : NULL;
    const struct db_param params[FINDER_PARAMS] = {
        DB_TEXT(first),
        DB_TEXT(f->bounds.from.text),
        DB_TEXT(f->bounds.to.text),
        DB_TEXT(none_if_empty(filter->task)),
        DB_TEXT(none_if_empty(filter->queue)),
        DB_TEXT(none_if_empty(filter->worker)),
        DB_TEXT(filter->state == JOBS_ANY_STATE ? NULL
                                                : job_state_name((enum job_state)filter->state)),
        DB_TEXT(f->bounds.text),
        DB_TEXT(f->bounds.created_from),
        DB_TEXT(f->bounds.created_to),
        DB_INT(limit),
        DB_TEXT(search ? search->groups.data : NULL),
        DB_TEXT(search ? search->kinds.data : NULL),
        DB_TEXT(search ? search->keys.data : NULL),
        DB_TEXT(search ? search->texts.data : NULL),
        DB_TEXT(search ? text_of_all(search) : NULL),
    };

    memcpy(ret_params, params, sizeof params);
}

bool finder_means_waiting(const struct finder *f)
{
    const struct jobs_filter *filter = f->filter;
    const struct job_search *search = filter->search;

    if (filter->state == JOB_PENDING)
        return true;
    for (size_t i = 0; search && i < search->term_count; i++) {
        const struct job_search_term *term = &search->terms[i];

        if ((term->kind == SEARCH_STATE && strcmp(term->text, "PENDING") == 0) ||
            (term->kind == SEARCH_ANY && strstr("pending", term->text)))
            return true;
    }
    return false;
}

enum err_code finder_query(const struct finder *f, enum finder_statement statement,
                           const char *first, int limit, struct db_result **ret_rows, struct err *e)
{
    struct db_param params[FINDER_PARAMS + 2];
    bool means_waiting = finder_means_waiting(f);

    finder_params(f, first, limit, params);
    params[FINDER_PARAMS] = DB_BOOL(means_waiting);
    params[FINDER_PARAMS + 1] = DB_INT(means_waiting ? FIND_OPEN_WINDOW : FIND_OPEN_ENDED);
    return db_query(f->db, &statements[statement],
                    (struct db_args){params, (size_t)statements[statement].params}, ret_rows, e);
}

/* ---- looking at jobs ---- */

static bool fits(const struct finder *f, const struct job_view *job)
{
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
    AUTO_VALUE(job_words_release) struct job_words words = {0};

    if (!finder_has_words(f))
        return true;
    job_shown_make(job, &shown);
    job_words_make(job, &shown, &words);
    return job_search_matches(f->filter->search, job, &shown, &words);
}

static int64_t bytes_of(const struct job_view *job)
{
    return (int64_t)((job->args ? strlen(job->args) : 0) + (job->kwargs ? strlen(job->kwargs) : 0) +
                     (job->result ? strlen(job->result) : 0) +
                     (job->error ? strlen(job->error) : 0));
}

enum err_code finder_take_rows(struct finder *f, struct db_result *rows, bool reversed,
                               struct err *e)
{
    int count = db_rows(rows);
    struct jobs_page *page = f->page;
    enum err_code rc = ERR_OK;

    jobs_page_keep(page, rows);
    page->items =
        mem_resize(page->items, (page->count + (size_t)count + 1) * sizeof page->items[0]);
    for (int i = 0; i < count && (f->is_sorted || page->count < f->wanted); i++) {
        struct job_view *job = &page->items[page->count];

        rc = jobs_page_read(page, f->db, rows, reversed ? count - 1 - i : i, job, e);
        if (rc)
            return rc;
        f->looked++;
        f->bytes += bytes_of(job);
        job->shows_max = JOB_FIND_BYTES;
        if (fits(f, job))
            page->count++;
        job->shows_max = JOBS_PREVIEW_MAX;
    }
    return rc;
}

/* Some ids as an array. */
static void finder_ids(const struct found_ids *ids, size_t from, size_t count, struct buf *array)
{
    buf_init(array, ARRAY_MAX);
    for (size_t i = from; i < from + count; i++)
        db_array_add(array, ids->items[i].text);
    db_array_end(array);
}

/* Where few of the last ones fitted, more are read at once, unless they are large. */
static void grow_batch(struct finder *f, size_t looked, size_t fitted)
{
    bool is_small = f->bytes < (int64_t)f->looked * JOBS_PREVIEW_MAX;

    if (is_small && fitted < looked / 2 && f->batch < BATCH_MAX)
        f->batch *= 2;
}

enum err_code finder_look_at(struct finder *f, const struct found_ids *ids, struct err *e)
{
    size_t count;

    for (size_t i = 0; i < ids->count && !finder_is_full(f); i += count) {
        AUTO_VALUE(buf_release) struct buf array;
        struct db_result *rows = NULL;
        size_t before = f->page->count;
        enum err_code rc;

        count = ids->count - i < f->batch ? ids->count - i : f->batch;
        finder_ids(ids, i, count, &array);
        f->bounds.cursor = ids->items[i + count - 1];
        rc = finder_query(f, FIND_LOOK, array.data, (int)count, &rows, e);
        if (rc)
            return rc;
        f->looked += (count - (size_t)db_rows(rows)) / 4; /* what is gone costs, too */
        rc = finder_take_rows(f, rows, f->up, e);         /* they come newest first */
        if (rc)
            return rc;
        grow_batch(f, count, f->page->count - before);
    }
    return ERR_OK;
}

/* ---- other orders ---- */

enum err_code finder_sort(const struct finder *f, struct found_ids *ids, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf array;
    AUTO(mem_free) struct job_view *keys = mem_array(ids->count + 1, sizeof *keys);
    size_t count = 0;
    enum err_code rc;

    finder_ids(ids, 0, ids->count, &array);
    rc = finder_query(f, FIND_KEYS, array.data, (int)ids->count, &rows, e);
    if (rc)
        return rc;
    for (int row = 0; row < db_rows(rows); row++) {
        struct job_view *key = &keys[count];

        *key = (struct job_view){.task = db_text(rows, row, 1),
                                 .started_us = db_int(rows, row, 3),
                                 .finished_us = db_int(rows, row, 4)};
        if (uuid_parse(db_text(rows, row, 0), &key->id) &&
            job_state_parse(db_text(rows, row, 2), &key->state))
            count++;
    }
    jobs_sort(keys, count, f->filter->order);
    for (size_t i = 0; i < count; i++)
        ids->items[i] = keys[i].id;
    ids->count = count;
    return ERR_OK;
}
