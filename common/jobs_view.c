/* SPDX-License-Identifier: MIT
 *
 * Lists of jobs; see jobs_view.h. One job in full: jobs_detail.c.
 *
 * A list takes a window of one index in its order and lets the filters choose among these rows.
 * Which index is decided here and not by the planner, whose statistics are wrong just when a queue
 * has filled or drained within minutes: hence one statement for each source and order, and
 * comparisons of rows where "=" would let it take another index and sort. Only what is chosen is
 * made into columns: rows that are skipped cost an entry of the index, where the filters need no
 * more.
 */
#include "common/jobs_view.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/found_ids.h"
#include "common/job_bounds.h"
#include "common/job_columns.h"
#include "common/job_due.h"
#include "common/job_find.h"
#include "common/mem.h"
#include "common/statements.h"
#include "common/text.h"

_Static_assert(JOBS_PREVIEW_MAX == 4096, "LIST_COLUMNS has it as text");
#define LIST_COLUMNS JOB_LIST_COLUMNS("4096")

/* $1 cursor, $2 to $10 as struct job_bounds has them, $11 limit, $12 offset, $13 window, $14 order.
 */
#define WINDOW(from, order)                                                                        \
    "SELECT id, task, queue, worker, state, listed_state, created_at, started_at,"                 \
    " finished_at FROM jobs "                                                                      \
    "WHERE " from " ORDER BY " order " LIMIT $13"

#define ALL_DOWN WINDOW("id < $1 AND id >= $2 AND id <= $3", "id DESC")
#define ALL_UP WINDOW("id > $1 AND id >= $2 AND id <= $3", "id")
#define TASK_DOWN                                                                                  \
    WINDOW("(task, id) < ($4, $1::uuid) AND (task, id) >= ($4, $2::uuid) AND id <= $3",            \
           "task DESC, id DESC")
#define TASK_UP                                                                                    \
    WINDOW("(task, id) > ($4, $1::uuid) AND (task, id) <= ($4, $3::uuid) AND id >= $2", "task, "   \
                                                                                        "id")
#define STATE_DOWN                                                                                 \
    WINDOW("listed_state IS NOT NULL AND (listed_state, id) < ($7::job_state, $1::uuid)"           \
           " AND (listed_state, id) >= ($7::job_state, $2::uuid) AND id <= $3",                    \
           "listed_state DESC, id DESC")
#define STATE_UP                                                                                   \
    WINDOW("listed_state IS NOT NULL AND (listed_state, id) > ($7::job_state, $1::uuid)"           \
           " AND (listed_state, id) <= ($7::job_state, $3::uuid) AND id >= $2",                    \
           "listed_state, id")
/* Nearly all that is unfinished is PENDING; the rest is chosen away with the filters. The words of
 * jobs_unfinished (sql/0046). */
#define UNFINISHED "(finished_at IS NULL) IS TRUE"
#define PENDING_DOWN WINDOW(UNFINISHED " AND id < $1 AND id >= $2 AND id <= $3", "id DESC")
#define PENDING_UP WINDOW(UNFINISHED " AND id > $1 AND id >= $2 AND id <= $3", "id")
/* Few: as many as the workers hold. As an array their ids can only be looked up; were started_jobs
 * joined, the planner might walk through all jobs in the order of the list instead. */
#define OF_STARTED "id = ANY (ARRAY(SELECT id FROM started_jobs)) AND "
#define STARTED_DOWN WINDOW(OF_STARTED "id < $1 AND id >= $2 AND id <= $3", "id DESC")
#define STARTED_UP WINDOW(OF_STARTED "id > $1 AND id >= $2 AND id <= $3", "id")

/* `order` is that of the window, word for word: what is in order need not be sorted. */
#define CHOSEN(window, filters, order, shown)                                                      \
    "SELECT " LIST_COLUMNS " FROM (SELECT id AS chosen FROM (" window ") w WHERE " filters         \
    " ORDER BY " order " LIMIT $11 OFFSET $12) p"                                                  \
    " CROSS JOIN LATERAL (SELECT * FROM jobs WHERE id = chosen OFFSET 0) j" JOB_SECRETS            \
    " ORDER BY " shown

#define BY_COLUMN                                                                                  \
    "CASE $14::int WHEN 2 THEN task WHEN 4 THEN state::text END,"                                  \
    " CASE $14 WHEN 3 THEN task WHEN 5 THEN state::text END DESC,"                                 \
    " CASE $14 WHEN 6 THEN started_at END,"                                                        \
    " CASE $14 WHEN 7 THEN started_at END DESC NULLS LAST,"                                        \
    " CASE $14 WHEN 8 THEN finished_at - started_at END,"                                          \
    " CASE $14 WHEN 9 THEN finished_at - started_at END DESC NULLS LAST, id DESC"

#define LISTED(name, window, filters, order, shown)                                                \
    {                                                                                              \
        "jobs_list_" name, CHOSEN(window, filters, order, shown), 13                               \
    }
#define SORTED(name, window, filters)                                                              \
    {                                                                                              \
        "jobs_sort_" name, CHOSEN(window, filters, BY_COLUMN, BY_COLUMN), 14                       \
    }
_Static_assert(JOBS_BY_NAME == 2 && JOBS_BY_RUNTIME_DOWN == 9, "SORTED has the orders as numbers");

enum source { FROM_ALL, FROM_TASK, FROM_STATE, FROM_PENDING, FROM_STARTED, SOURCE_COUNT };
enum {
    DOWN = 0,
    UP = SOURCE_COUNT,
    SORT = 2 * SOURCE_COUNT,
};

static const struct db_stmt statements[] = {
    [DOWN + FROM_ALL] = LISTED("all", ALL_DOWN, JOB_FILTERS, "id DESC", "id DESC"),
    [DOWN + FROM_TASK] = LISTED("task", TASK_DOWN, JOB_FILTERS, "task DESC, id DESC", "id DESC"),
    [DOWN + FROM_STATE] =
        LISTED("state", STATE_DOWN, JOB_FILTERS_NO_STATE, "listed_state DESC, id DESC", "id DESC"),
    [DOWN + FROM_PENDING] = LISTED("pending", PENDING_DOWN, JOB_FILTERS, "id DESC", "id DESC"),
    [DOWN + FROM_STARTED] = LISTED("started", STARTED_DOWN, JOB_FILTERS, "id DESC", "id DESC"),
    [UP + FROM_ALL] = LISTED("all_up", ALL_UP, JOB_FILTERS, "id", "id"),
    [UP + FROM_TASK] = LISTED("task_up", TASK_UP, JOB_FILTERS, "task, id", "id"),
    [UP + FROM_STATE] =
        LISTED("state_up", STATE_UP, JOB_FILTERS_NO_STATE, "listed_state, id", "id"),
    [UP + FROM_PENDING] = LISTED("pending_up", PENDING_UP, JOB_FILTERS, "id", "id"),
    [UP + FROM_STARTED] = LISTED("started_up", STARTED_UP, JOB_FILTERS, "id", "id"),
    [SORT + FROM_ALL] = SORTED("all", ALL_DOWN, JOB_FILTERS),
    [SORT + FROM_TASK] = SORTED("task", TASK_DOWN, JOB_FILTERS),
    [SORT + FROM_STATE] = SORTED("state", STATE_DOWN, JOB_FILTERS_NO_STATE),
    [SORT + FROM_PENDING] = SORTED("pending", PENDING_DOWN, JOB_FILTERS),
    [SORT + FROM_STARTED] = SORTED("started", STARTED_DOWN, JOB_FILTERS),
};

DB_STATEMENTS(jobs_view, statements);

/* A filter as the parameters of a statement. */
struct query {
    struct job_bounds bounds;
    char text[37];
    char created_from[CLOCK_TEXT_SIZE];
    char created_to[CLOCK_TEXT_SIZE];
    char due_from[CLOCK_TEXT_SIZE];
    char due_to[CLOCK_TEXT_SIZE];
    enum source source;
    int window;
};

static const char *none_if_empty(const char *text) { return text && *text ? text : NULL; }

static enum source choose_source(const struct jobs_filter *filter)
{
    if (filter->state == JOB_STARTED)
        return FROM_STARTED;
    if (filter->state == JOB_PENDING)
        return FROM_PENDING;
    if (filter->state != JOBS_ANY_STATE && filter->state != JOB_SUCCESS)
        return FROM_STATE;
    return none_if_empty(filter->task) ? FROM_TASK : FROM_ALL;
}

static void take_times(const struct jobs_filter *filter, struct query *query)
{
    if (filter->created_from_us)
        clock_format(filter->created_from_us, query->created_from);
    if (filter->created_to_us)
        clock_format(filter->created_to_us, query->created_to);
}

static bool has_words(const struct jobs_filter *filter)
{
    return filter->search && filter->search->count > 0;
}

static bool is_sorted(enum jobs_order order)
{
    return order > JOBS_OLDEST_FIRST && order != JOBS_DUE_FIRST;
}

/* Whether there is something to choose by among the rows of a source. */
static bool is_filtered(const struct jobs_filter *filter, const struct query *query)
{
    return none_if_empty(filter->queue) || none_if_empty(filter->worker) || *query->text ||
           filter->created_from_us || filter->created_to_us ||
           (filter->state != JOBS_ANY_STATE && query->source != FROM_STATE) ||
           (none_if_empty(filter->task) && query->source != FROM_TASK);
}

/* Whether the index can tell which jobs the filters let through: those of a state they end in, and
 * those of any state when the state does not matter and another name does. */
static bool is_indexed(const struct jobs_filter *filter)
{
    bool is_final = filter->state != JOBS_ANY_STATE && job_is_final((enum job_state)filter->state);

    return filter->offset == 0 &&
           (is_final || (filter->state == JOBS_ANY_STATE &&
                         (none_if_empty(filter->queue) || none_if_empty(filter->task) ||
                          none_if_empty(filter->worker))));
}

/* The jobs of a task or a state lie anywhere in the table, each on a page of its own: so few are
 * looked at, unless it is only to skip them, for which the index is enough. Where the index of
 * words goes on, there is no need to begin with many. */
static int window_of(const struct jobs_filter *filter, const struct query *query)
{
    bool is_scattered = query->source == FROM_TASK || query->source == FROM_STATE;
    bool sorted = is_sorted(filter->order);

    if (is_scattered && sorted)
        return JOBS_WINDOW_SCATTERED;
    if (sorted &&
        (filter->created_from_us || filter->created_to_us)) /* of old ones, on cold pages */
        return JOBS_WINDOW_OLD;
    if (sorted || filter->offset > 0 || !is_filtered(filter, query))
        return JOBS_WINDOW;
    if (is_indexed(filter))
        return JOBS_WINDOW_FIRST;
    return is_scattered ? JOBS_WINDOW_SCATTERED : JOBS_WINDOW;
}

/* What lies before the bounds is not walked through: the cursor begins at them. */
static void move_cursor(struct job_bounds *bounds, bool up)
{
    struct uuid edge = id_just_before(up ? &bounds->from : &bounds->to, up);

    if (id_is_before(&bounds->cursor, &edge, up))
        bounds->cursor = edge;
}

/* "1764000000000000.<id>", or from the beginning. */
static bool read_due(const struct jobs_filter *filter, struct query *query)
{
    const char *dot = filter->cursor ? strchr(filter->cursor, '.') : NULL;
    int64_t at_us = filter->due_from_us;
    char number[JOBS_CURSOR_SIZE];

    if (none_if_empty(filter->cursor) &&
        (!dot ||
         !text_format(number, sizeof number, "%.*s", (int)(dot - filter->cursor), filter->cursor) ||
         !text_to_int(number, INT64_MIN / 2, INT64_MAX / 2, &at_us) ||
         !uuid_parse(dot + 1, &query->bounds.cursor)))
        return false;
    if (!none_if_empty(filter->cursor))
        query->bounds.cursor = (struct uuid){UUID_FIRST};
    (void)snprintf(query->due_from, sizeof query->due_from, "-infinity");
    (void)snprintf(query->due_to, sizeof query->due_to, "infinity");
    if (none_if_empty(filter->cursor) || at_us)
        clock_format(at_us, query->due_from);
    if (filter->due_to_us)
        clock_format(filter->due_to_us, query->due_to);
    return true;
}

static enum err_code read_cursor(const struct jobs_filter *filter, struct query *query,
                                 struct err *e)
{
    const char *cursor = none_if_empty(filter->cursor);

    if (filter->order == JOBS_DUE_FIRST)
        return read_due(filter, query) ? ERR_OK
                                       : err_set(e, ERR_INVALID,
                                                 "the cursor is not one of a list"
                                                 " by due time");
    if (cursor && !uuid_parse(cursor, &query->bounds.cursor))
        return err_set(e, ERR_INVALID, "the place to go on after is no UUID");
    if (!cursor)
        (void)snprintf(query->bounds.cursor.text, sizeof query->bounds.cursor.text, "%s",
                       filter->order == JOBS_OLDEST_FIRST ? UUID_FIRST : UUID_LAST);
    return ERR_OK;
}

static enum err_code plan(struct db *db, const struct jobs_filter *filter, struct query *ret_query,
                          struct err *e)
{
    struct query query = {.bounds = {.from = {UUID_FIRST}, .to = {UUID_LAST}},
                          .source = choose_source(filter)};
    size_t len = filter->text ? strlen(filter->text) : 0;
    enum err_code rc;

    if (len >= sizeof query.text)
        return err_set(e, ERR_INVALID, "no id is longer than 36 characters");
    for (size_t i = 0; i < len; i++)
        query.text[i] = (char)tolower((unsigned char)filter->text[i]);
    rc = read_cursor(filter, &query, e);
    take_times(filter, &query);
    if (!rc && filter->order != JOBS_DUE_FIRST) /* which has no order by time of creation */
        rc = job_bounds_by_time(db, filter, &query.bounds, e);
    if (rc)
        return rc;
    if (filter->order != JOBS_DUE_FIRST)
        move_cursor(&query.bounds, filter->order == JOBS_OLDEST_FIRST);
    query.window = window_of(filter, &query);
    *ret_query = query;
    return ERR_OK;
}

/* `window_end` asks for the last row of a full window instead of a page. */
static enum err_code run(struct db *db, const struct jobs_filter *filter, const struct query *query,
                         bool window_end, struct db_result **ret_rows, struct err *e)
{
    bool of_task = query->source == FROM_TASK;
    bool of_state = query->source == FROM_STATE;
    bool filters = !window_end;
    bool sorted = filters && is_sorted(filter->order);
    int base = sorted ? SORT : filter->order == JOBS_OLDEST_FIRST ? UP : DOWN;
    const struct db_param params[] = {
        DB_TEXT(query->bounds.cursor.text),
        DB_TEXT(query->bounds.from.text),
        DB_TEXT(query->bounds.to.text),
        DB_TEXT(filters || of_task ? none_if_empty(filter->task) : NULL),
        DB_TEXT(filters ? none_if_empty(filter->queue) : NULL),
        DB_TEXT(filters ? none_if_empty(filter->worker) : NULL),
        DB_TEXT(filter->state != JOBS_ANY_STATE && (filters || of_state)
                    ? job_state_name((enum job_state)filter->state)
                    : NULL),
        DB_TEXT(filters ? none_if_empty(query->text) : NULL),
        DB_TEXT(filters ? none_if_empty(query->created_from) : NULL),
        DB_TEXT(filters ? none_if_empty(query->created_to) : NULL),
        DB_INT(window_end ? 1 : filter->limit + 1),
        DB_INT(window_end ? query->window - 1 : filter->offset),
        DB_INT(query->window),
        DB_INT(filter->order),
    };

    return db_query(db, &statements[base + (int)query->source],
                    (struct db_args){params, sorted ? 14 : 13}, ret_rows, e);
}

/* Goes on behind the window, by the index. */
static enum err_code look_further(struct db *db, const struct jobs_filter *filter,
                                  const struct query *query, const struct db_result *end,
                                  struct jobs_page *page, struct err *e)
{
    struct job_bounds bounds = query->bounds;

    (void)uuid_parse(db_text(end, 0, 0), &bounds.cursor);
    page->is_cut = true;
    page->next = bounds.cursor;
    if (!is_indexed(filter))
        return ERR_OK;
    page->is_cut = false;
    return jobs_find_words(db, filter, &bounds, filter->order == JOBS_OLDEST_FIRST,
                           (size_t)filter->limit + 1, page, e);
}

/* More than the limit was asked for, to know whether there is more. */
static void end_page(struct jobs_page *page, size_t limit)
{
    page->has_more = page->is_cut || page->count > limit;
    if (page->count > limit) {
        page->count = limit;
        page->is_cut = false;
        page->next = page->items[limit - 1].id;
        page->next_due_us = page->items[limit - 1].scheduled_us;
    }
}

/* A page of the query's window and of what the index knows behind it. When nothing was gained there
 * (the index has not come so far yet), `ret_is_short`: a wider window may do better. */
static enum err_code fill_page(struct db *db, const struct jobs_filter *filter,
                               const struct query *query, struct jobs_page *ret_page,
                               bool *ret_is_short, struct err *e)
{
    AUTO_VALUE(jobs_page_release) struct jobs_page page = {0};
    AUTO(db_result_free) struct db_result *end = NULL;
    struct db_result *rows = NULL;
    enum err_code rc = run(db, filter, query, false, &rows, e);

    *ret_is_short = false;
    if (!rc)
        rc = jobs_page_take(&page, db, rows, e);
    if (!rc && page.count <= (size_t)filter->limit && !is_sorted(filter->order) &&
        is_filtered(filter, query)) {
        rc = run(db, filter, query, true, &end, e);
        if (!rc && db_rows(end) == 1) {
            rc = look_further(db, filter, query, end, &page, e);
            *ret_is_short = page.is_cut && strcmp(page.next.text, db_text(end, 0, 0)) == 0;
        }
    }
    if (rc)
        return rc;
    end_page(&page, (size_t)filter->limit);
    *ret_page = page;
    page = (struct jobs_page){0};
    return ERR_OK;
}

static enum err_code list_due(struct db *db, const struct jobs_filter *filter,
                              const struct query *query, struct jobs_page *ret_page, struct err *e)
{
    AUTO_VALUE(jobs_page_release) struct jobs_page page = {0};
    enum err_code rc =
        jobs_list_due(db, filter, &query->bounds, query->due_from, query->due_to, &page, e);

    if (rc)
        return rc;
    end_page(&page, (size_t)filter->limit);
    *ret_page = page;
    page = (struct jobs_page){0};
    return ERR_OK;
}

static enum err_code list_rows(struct db *db, const struct jobs_filter *filter, struct query *query,
                               struct jobs_page *ret_page, struct err *e)
{
    bool is_short = false;
    enum err_code rc;

    if (filter->order == JOBS_DUE_FIRST)
        return list_due(db, filter, query, ret_page, e);
    rc = fill_page(db, filter, query, ret_page, &is_short, e);
    if (rc || !is_short || query->window != JOBS_WINDOW_FIRST || query->source != FROM_ALL)
        return rc;
    jobs_page_release(ret_page);
    query->window = JOBS_WINDOW;
    return fill_page(db, filter, query, ret_page, &is_short, e);
}

/* The beginning of an id is a range of the index; only if nothing is there, look inside, unless it
 * was all of an id. */
static enum err_code list_ids(struct db *db, const struct jobs_filter *filter, struct query *query,
                              struct jobs_page *ret_page, struct err *e)
{
    struct query ranged = *query;
    enum err_code rc;

    if (!uuid_range(query->text, &ranged.bounds.from, &ranged.bounds.to))
        return list_rows(db, filter, query, ret_page, e);
    if (filter->order != JOBS_DUE_FIRST)
        move_cursor(&ranged.bounds, filter->order == JOBS_OLDEST_FIRST);
    rc = list_rows(db, filter, &ranged, ret_page, e);
    if (rc || ret_page->count > 0 || strlen(query->text) == sizeof query->text - 1)
        return rc;
    jobs_page_release(ret_page);
    return list_rows(db, filter, query, ret_page, e);
}

/* ---- words ---- */

static enum err_code list_words(struct db *db, const struct jobs_filter *filter,
                                const struct query *query, struct jobs_page *ret_page,
                                struct err *e)
{
    AUTO_VALUE(jobs_page_release) struct jobs_page page = {0};
    enum jobs_order order = filter->order;
    bool sorted = is_sorted(order);
    size_t skip = (size_t)filter->offset;
    size_t wanted = skip + (size_t)filter->limit + 1;
    enum err_code rc = sorted ? jobs_find_sorted(db, filter, &query->bounds, wanted, &page, e)
                              : jobs_find_words(db, filter, &query->bounds,
                                                order == JOBS_OLDEST_FIRST, wanted, &page, e);

    if (rc)
        return rc;
    if (skip > page.count)
        skip = page.count;
    if (skip > 0) /* without items there is no array */
        memmove(page.items, page.items + skip, (page.count - skip) * sizeof page.items[0]);
    page.count -= skip;
    end_page(&page, (size_t)filter->limit);
    *ret_page = page;
    page = (struct jobs_page){0};
    return ERR_OK;
}

/* Where all have the same name or state, the order by it is that of the ids. */
static enum jobs_order order_of(const struct jobs_filter *filter)
{
    bool by_name = filter->order == JOBS_BY_NAME || filter->order == JOBS_BY_NAME_DOWN;
    bool by_state = filter->order == JOBS_BY_STATE || filter->order == JOBS_BY_STATE_DOWN;

    if (filter->due_from_us || filter->due_to_us)
        return JOBS_DUE_FIRST;
    return (by_name && none_if_empty(filter->task)) || (by_state && filter->state != JOBS_ANY_STATE)
               ? JOBS_NEWEST_FIRST
               : filter->order;
}

enum err_code jobs_list(struct db *db, const struct jobs_filter *given, struct jobs_page *ret_page,
                        struct err *e)
{
    struct jobs_filter filter = *given;
    struct query query = {0};
    enum err_code rc;

    if (filter.limit < 1 || filter.limit > JOBS_LIMIT_MAX || filter.offset < 0 ||
        filter.offset >= JOBS_WINDOW)
        return err_set(e, ERR_INVALID, "limit is 1 to %d, offset 0 to %d", JOBS_LIMIT_MAX,
                       JOBS_WINDOW - 1);
    filter.order = order_of(given);
    rc = plan(db, &filter, &query, e);
    if (rc)
        return rc;
    query.bounds.text = none_if_empty(query.text);
    query.bounds.created_from = none_if_empty(query.created_from);
    query.bounds.created_to = none_if_empty(query.created_to);
    if (has_words(&filter) && filter.order != JOBS_DUE_FIRST)
        rc = list_words(db, &filter, &query, ret_page, e);
    else if (*query.text)
        rc = list_ids(db, &filter, &query, ret_page, e);
    else
        rc = list_rows(db, &filter, &query, ret_page, e);
    if (!rc)
        ret_page->is_by_due = filter.order == JOBS_DUE_FIRST;
    if (!rc && is_sorted(filter.order))
        ret_page->sorted_of = has_words(&filter) ? JOB_FIND_LOOKS : query.window;
    return rc;
}
