/* SPDX-License-Identifier: MIT
 *
 * Lists by due time; see job_due.h. A window is walked in the order of the index; what is chosen in
 * it is read, redacted, and only then compared with the words.
 */
#include "common/job_due.h"

#include <string.h>

#include "common/clock.h"
#include "common/job_columns.h"
#include "common/job_finder.h"
#include "common/statements.h"
#include "common/text.h"

#define WINDOW "3000"
_Static_assert(JOBS_WINDOW_SCATTERED == 3000, "WINDOW has it as text");
_Static_assert(JOB_FIND_BYTES == 65536 && JOBS_PREVIEW_MAX == 4096, "columns have them as text");

/* After a cursor of a time and an id, and until a time. The ids are compared within the index,
 * whatever the window: they mean one job, or few. */
#define DUE(at, id, to)                                                                            \
    " FROM jobs WHERE finished_at IS NULL AND enqueued_at IS NULL AND waits IS NULL"               \
    " AND parked_on IS NULL AND (scheduled_at, id) > (" at "::timestamptz, " id "::uuid)"          \
    " AND scheduled_at <= " to "::timestamptz AND id >= $2 AND id <= $3 ORDER BY scheduled_at, id"
/* $1 to $16 as a search has them; $17 time of the cursor, $18 last time. */
#define CHOSEN(max)                                                                                \
    "SELECT " JOB_LIST_COLUMNS(max) " FROM (SELECT * FROM (SELECT *" DUE(                          \
        "$17", "$1", "$18") " LIMIT " WINDOW ") w WHERE " JOB_FILTERS " AND " JOB_FOUND            \
                            " ORDER BY scheduled_at, id LIMIT $11) j" JOB_SECRETS                  \
                            " ORDER BY scheduled_at, id"

enum { LIST, WORDS, END };

static const struct db_stmt statements[] = {
    [LIST] = {"job_due_list", CHOSEN("4096"), 18},
    [WORDS] = {"job_due_words", CHOSEN("65536"), 18},
    /* Where a full window ends. $1 to $3 as above, $4 time of the cursor, $5 last time. */
    [END] = {"job_due_end",
             "SELECT id, (extract(epoch FROM scheduled_at) * 1000000)::bigint" DUE(
                 "$4", "$1", "$5") " LIMIT 1 OFFSET " WINDOW " - 1",
             5},
};
DB_STATEMENTS(job_due, statements);

/* Where a list goes on: behind the job of the finder's cursor, which is due at this time. */
struct place {
    char at[CLOCK_TEXT_SIZE];
    const char *to;
    int64_t at_us;
};

static enum err_code read_jobs(const struct finder *f, const struct place *place, int statement,
                               int limit, struct db_result **ret_rows, struct err *e)
{
    struct db_param params[FINDER_PARAMS + 2];

    finder_params(f, f->bounds.cursor.text, limit, params);
    params[FINDER_PARAMS] = DB_TEXT(place->at);
    params[FINDER_PARAMS + 1] = DB_TEXT(place->to);
    return db_query(f->db, &statements[statement], (struct db_args){params, COUNT_OF(params)},
                    ret_rows, e);
}

static void move(struct finder *f, struct place *place, const struct db_result *rows, int row,
                 int column)
{
    (void)uuid_parse(db_text(rows, row, 0), &f->bounds.cursor);
    place->at_us = db_int(rows, row, column);
    clock_format(place->at_us, place->at);
}

/* The window did not fill the page: goes on behind it another time, if it was a full one. */
static enum err_code end_window(struct finder *f, struct place *place, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(f->db, &statements[END],
                 DB_ARGS(DB_TEXT(f->bounds.cursor.text), DB_TEXT(f->bounds.from.text),
                         DB_TEXT(f->bounds.to.text), DB_TEXT(place->at), DB_TEXT(place->to)),
                 &rows, e);

    if (rc || db_rows(rows) == 0)
        return rc;
    move(f, place, rows, 0, 1);
    f->page->is_cut = true;
    return ERR_OK;
}

static enum err_code read_some(struct finder *f, struct place *place, bool *ret_is_over,
                               struct err *e)
{
    bool has_words = finder_has_words(f);
    int limit = has_words ? FINDER_BATCH : (int)f->wanted;
    struct db_result *rows = NULL;
    const struct uuid begin = f->bounds.cursor;
    const struct place before = *place;
    int found;
    enum err_code rc = read_jobs(f, place, has_words ? WORDS : LIST, limit, &rows, e);

    if (rc)
        return rc;
    found = db_rows(rows);
    if (found > 0)
        move(f, place, rows, found - 1, JOB_COLUMN_SCHEDULED);
    rc = finder_take_rows(f, rows, false, e);
    *ret_is_over = found < limit;
    if (rc || !*ret_is_over || f->page->count >= f->wanted)
        return rc;
    f->bounds.cursor = begin;
    *place = before;
    return end_window(f, place, e);
}

enum err_code jobs_list_due(struct db *db, const struct jobs_filter *filter,
                            const struct job_bounds *bounds, const char *from, const char *to,
                            struct jobs_page *page, struct err *e)
{
    struct finder f = {.db = db,
                       .filter = filter,
                       .bounds = *bounds,
                       .wanted = (size_t)filter->limit + 1,
                       .batch = FINDER_BATCH,
                       .page = page};
    struct place place = {.to = to};
    bool is_over = false;
    enum err_code rc = ERR_OK;

    text_copy(place.at, sizeof place.at, from);
    while (!rc && !is_over && !finder_is_full(&f))
        rc = read_some(&f, &place, &is_over, e);
    page->is_cut |= !is_over && page->count < f.wanted;
    page->next = f.bounds.cursor;
    page->next_due_us = place.at_us;
    return rc;
}
