/* SPDX-License-Identifier: MIT
 *
 * Searches; see job_find.h. Jobs stand in one of three places: those that the index has not come to
 * yet (the tail: the newest), those that it has read, and among these some that run or wait since
 * long and may have changed (the open ones). Whatever the three give is read, redacted, and only
 * then compared with the words: so it does not matter when one of them says too much.
 */
#include "common/job_find.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/job_columns.h"
#include "common/job_segments.h"
#include "common/job_shown.h"
#include "common/mem.h"
#include "common/statements.h"

enum { LOOK_BATCH = 64, ARRAY_MAX = 1024 * 1024, BYTES_MAX = 64 * 1024 * 1024 };
enum {
    MARK,
    TAIL_DOWN,
    TAIL_UP,
    TAIL_END_DOWN,
    TAIL_END_UP,
    OPEN_DOWN,
    OPEN_UP,
    OPEN_END_DOWN,
    OPEN_END_UP,
    LOOK,
};

#define FIND_COLUMNS JOB_LIST_COLUMNS("65536")
_Static_assert(JOB_FIND_BYTES == 65536, "FIND_COLUMNS has it as text");
#define WINDOW "20000"
_Static_assert(JOBS_WINDOW == 20000, "WINDOW has it as text");

/* A row that one of the alternatives wholly describes, with its secrets. The kinds are those of
 * job_search.h; $12 to $15 are the arrays of a struct job_search. */
#define TERM(kind, texts) " WHEN " kind " THEN strpos(lower(" texts "), lower(x.t)) > 0"
#define ALL_TEXTS "concat_ws(' ', task, id, state, worker, queue, args, kwargs, result, error)"
#define FOUND                                                                                      \
    "($12::int[] IS NULL OR EXISTS (SELECT FROM"                                                   \
    " unnest($12::int[], $13::int[], $14::text[], $15::text[]) AS x(g, k, f, t)"                   \
    " GROUP BY x.g HAVING bool_and(CASE x.k"                                                       \
    " WHEN 2 THEN state::text = x.t" TERM("0", ALL_TEXTS) TERM("1", "task") TERM("3", "worker")    \
        TERM("4", "args::text")                                                                    \
            TERM("5", "CASE WHEN x.f = '' THEN kwargs::text ELSE kwargs ->> x.f END")              \
                TERM("7", "queue") TERM("8", "error")                                              \
                    TERM("6", "concat_ws(' ', result, error)") " END)))"
_Static_assert(SEARCH_ANY == 0 && SEARCH_RESULT == 6 && SEARCH_ERROR == 8, "FOUND has the kinds");

#define DOWN_IDS "id < $1 AND id >= $2 AND id <= $3 ORDER BY id DESC LIMIT " WINDOW
#define UP_IDS "id > $1 AND id >= $2 AND id <= $3 ORDER BY id LIMIT " WINDOW
#define TAIL(ids, order)                                                                           \
    "SELECT " FIND_COLUMNS " FROM (SELECT * FROM (SELECT * FROM jobs WHERE " ids ") w"             \
    " WHERE " JOB_FILTERS " AND " FOUND " ORDER BY " order " LIMIT $11) j" JOB_SECRETS             \
    " ORDER BY " order

#define END(column, from, ids)                                                                     \
    "SELECT " column " FROM " from " WHERE " ids " LIMIT 1 OFFSET " WINDOW " - 1"
#define DOWN(column)                                                                               \
    column " < $1 AND " column " >= $2 AND " column " <= $3 ORDER BY " column " DESC"
#define UP(column) column " > $1 AND " column " >= $2 AND " column " <= $3 ORDER BY " column

/* What runs has begun behind the index's back, whether it is among the open ones or not. */
#define OPEN(window, ids)                                                                          \
    "SELECT id FROM (SELECT * FROM jobs WHERE id = ANY (ARRAY(SELECT job_id FROM"                  \
    " (SELECT job_id FROM job_search_open WHERE " window " LIMIT " WINDOW ") o"                    \
    " UNION SELECT id FROM started_jobs))) j WHERE " JOB_FILTERS " AND " FOUND " AND " ids         \
    " LIMIT $11"

static const struct db_stmt statements[] = {
    [MARK] = {"job_find_mark", "SELECT passed FROM job_search_mark", 0},
    [TAIL_DOWN] = {"job_find_tail_down", TAIL(DOWN_IDS, "id DESC"), 15},
    [TAIL_UP] = {"job_find_tail_up", TAIL(UP_IDS, "id"), 15},
    [TAIL_END_DOWN] = {"job_find_tail_end_down", END("id", "jobs", DOWN("id")), 3},
    [TAIL_END_UP] = {"job_find_tail_end_up", END("id", "jobs", UP("id")), 3},
    [OPEN_DOWN] = {"job_find_open_down", OPEN(DOWN("job_id"), DOWN("id")), 15},
    [OPEN_UP] = {"job_find_open_up", OPEN(UP("job_id"), UP("id")), 15},
    [OPEN_END_DOWN] = {"job_find_open_end_down", END("job_id", "job_search_open", DOWN("job_id")),
                       3},
    [OPEN_END_UP] = {"job_find_open_end_up", END("job_id", "job_search_open", UP("job_id")), 3},
    [LOOK] = {"job_find_look",
              "SELECT " FIND_COLUMNS " FROM (SELECT * FROM jobs WHERE id = ANY ($1::uuid[])"
              " AND id >= $2 AND id <= $3 AND " JOB_FILTERS
              " ORDER BY id DESC LIMIT $11) j" JOB_SECRETS " ORDER BY id DESC",
              11},
};
DB_STATEMENTS(job_find, statements);

struct finder {
    struct db *db;
    const struct jobs_filter *filter;
    struct job_bounds bounds; /* its cursor moves */
    bool up;
    size_t wanted;
    size_t looked; /* at so many jobs so far */
    int64_t bytes; /* of their texts */
    struct jobs_page *page;
};

static const char *none_if_empty(const char *text) { return text && *text ? text : NULL; }

static bool has_words(const struct jobs_filter *filter)
{
    return filter->search && filter->search->count > 0;
}

static bool is_full(const struct finder *f)
{
    return f->page->count >= f->wanted || f->looked >= JOB_FIND_LOOKS || f->bytes >= BYTES_MAX;
}

static enum err_code query(const struct finder *f, int statement, const char *first, int limit,
                           struct db_result **ret_rows, struct err *e)
{
    const struct jobs_filter *filter = f->filter;
    const struct job_search *search = has_words(filter) ? filter->search : NULL;
    const struct db_param params[] = {
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
    };

    return db_query(f->db, &statements[statement],
                    (struct db_args){params, (size_t)statements[statement].params}, ret_rows, e);
}

/* ---- looking at jobs ---- */

static bool fits(const struct finder *f, const struct job_view *job)
{
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
    AUTO_VALUE(job_words_release) struct job_words words = {0};

    if (!has_words(f->filter))
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

/* Puts those that fit on the page, which keeps the rows. */
static enum err_code take_rows(struct finder *f, struct db_result *rows, bool reversed,
                               struct err *e)
{
    int count = db_rows(rows);
    struct jobs_page *page = f->page;
    enum err_code rc = ERR_OK;

    jobs_page_keep(page, rows);
    page->items =
        mem_resize(page->items, (page->count + (size_t)count + 1) * sizeof page->items[0]);
    for (int i = 0; i < count && page->count < f->wanted; i++) {
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

/* Of candidates, in order: a batch at a time, until the page is full. */
static enum err_code look_at(struct finder *f, const struct found_ids *ids, struct err *e)
{
    for (size_t i = 0; i < ids->count && !is_full(f); i += LOOK_BATCH) {
        AUTO_VALUE(buf_release) struct buf array;
        struct db_result *rows = NULL;
        enum err_code rc;

        buf_init(&array, ARRAY_MAX);
        for (size_t k = i; k < ids->count && k < i + LOOK_BATCH; k++) {
            db_array_add(&array, ids->items[k].text);
            f->bounds.cursor = ids->items[k];
        }
        db_array_end(&array);
        rc = query(f, LOOK, array.data, LOOK_BATCH, &rows, e);
        if (rc)
            return rc;
        f->looked += (size_t)(LOOK_BATCH - db_rows(rows)) / 4; /* what is gone costs, too */
        rc = take_rows(f, rows, f->up, e);                     /* they come newest first */
        if (rc)
            return rc;
    }
    return ERR_OK;
}

/* ---- windows ---- */

/* Where the next WINDOW rows that `statement` counts end: what lies behind is for another call. */
static enum err_code narrow(struct finder *f, int statement, bool *ret_is_narrow, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct uuid end;
    enum err_code rc = query(f, statement, f->bounds.cursor.text, 0, &rows, e);

    if (rc)
        return rc;
    *ret_is_narrow = db_rows(rows) == 1 && uuid_parse(db_text(rows, 0, 0), &end);
    if (*ret_is_narrow && f->up)
        f->bounds.to = end;
    else if (*ret_is_narrow)
        f->bounds.from = end;
    return ERR_OK;
}

/* All within the bounds has been looked at. */
static void end_window(struct finder *f, bool is_narrow)
{
    f->bounds.cursor = f->up ? f->bounds.to : f->bounds.from;
    f->page->is_cut |= is_narrow;
}

/* ---- the tail ---- */

/* What the index has not come to: behind the mark. */
static enum err_code look_at_tail(struct finder *f, const struct uuid *mark, struct err *e)
{
    const struct job_bounds whole = f->bounds;
    int found = LOOK_BATCH;
    bool is_narrow = false;
    enum err_code rc;

    if (strcmp(mark->text, whole.from.text) > 0)
        f->bounds.from = *mark;
    rc = narrow(f, f->up ? TAIL_END_UP : TAIL_END_DOWN, &is_narrow, e);
    while (!rc && found == LOOK_BATCH && !is_full(f)) {
        struct db_result *rows = NULL;

        rc = query(f, f->up ? TAIL_UP : TAIL_DOWN, f->bounds.cursor.text, LOOK_BATCH, &rows, e);
        if (rc)
            break;
        found = db_rows(rows);
        if (found > 0)
            (void)uuid_parse(db_text(rows, found - 1, 0), &f->bounds.cursor);
        rc = take_rows(f, rows, false, e);
    }
    if (!rc && !is_full(f))
        end_window(f, is_narrow);
    f->bounds.from = whole.from;
    f->bounds.to = whole.to;
    return rc;
}

/* ---- the index ---- */

/* The open ones within the bounds; when there are too many, the bounds become narrower. */
static enum err_code list_open(struct finder *f, struct found_ids *ret_ids, bool *ret_is_narrow,
                               struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = narrow(f, f->up ? OPEN_END_UP : OPEN_END_DOWN, ret_is_narrow, e);

    if (!rc)
        rc = query(f, f->up ? OPEN_UP : OPEN_DOWN, f->bounds.cursor.text, JOB_FIND_OPEN_MAX, &rows,
                   e);
    if (rc)
        return rc;
    ret_ids->items = mem_array((size_t)db_rows(rows) + 1, sizeof ret_ids->items[0]);
    for (int row = 0; row < db_rows(rows); row++)
        if (uuid_parse(db_text(rows, row, 0), &ret_ids->items[ret_ids->count]))
            ret_ids->count++;
    if (ret_ids->count == JOB_FIND_OPEN_MAX) {
        *(f->up ? &f->bounds.to : &f->bounds.from) = ret_ids->items[ret_ids->count - 1];
        *ret_is_narrow = true;
    }
    return ERR_OK;
}

/* The open ones between two cursors among the candidates of a round. */
static void add_open(const struct finder *f, const struct found_ids *open, const struct uuid *begin,
                     const struct uuid *end, struct found_ids *ids)
{
    ids->items = mem_resize(ids->items, (ids->count + open->count + 1) * sizeof ids->items[0]);
    for (size_t i = 0; i < open->count; i++)
        if (id_is_before(begin, &open->items[i], f->up) &&
            !id_is_before(end, &open->items[i], f->up))
            ids->items[ids->count++] = open->items[i];
    found_ids_sort(ids, f->up);
}

/* Those within the bounds: a segment has others, too. */
static void trim(const struct finder *f, struct found_ids *ids)
{
    const struct uuid *end = f->up ? &f->bounds.to : &f->bounds.from;

    while (ids->count > 0 && id_is_before(end, &ids->items[ids->count - 1], f->up))
        ids->count--;
}

static enum err_code look_at_round(struct finder *f, struct segments *segments,
                                   const struct found_ids *open, bool *ret_is_over, struct err *e)
{
    AUTO_VALUE(found_ids_release) struct found_ids ids = {0};
    const struct uuid begin = f->bounds.cursor;
    struct uuid cursor = begin;
    enum err_code rc = segments_next(segments, f->db, &cursor, &ids, ret_is_over, e);

    if (rc)
        return rc;
    add_open(f, open, &begin, &cursor, &ids);
    trim(f, &ids);
    rc = look_at(f, &ids, e);
    if (!rc && !is_full(f))
        f->bounds.cursor = cursor;
    if (!id_is_before(&f->bounds.cursor, f->up ? &f->bounds.to : &f->bounds.from, f->up))
        *ret_is_over = true;
    return rc;
}

static enum err_code look_at_segments(struct finder *f, const struct uuid *mark, struct err *e)
{
    AUTO_VALUE(segments_release) struct segments segments = {.up = f->up};
    AUTO_VALUE(found_ids_release) struct found_ids open = {0};
    const struct job_bounds whole = f->bounds;
    bool is_narrow = false;
    bool is_over = false;
    enum err_code rc;

    if (f->up && id_is_before(mark, &f->bounds.to, true))
        f->bounds.to = *mark;
    rc = list_open(f, &open, &is_narrow, e);
    segments_plan(&segments, f->filter);
    if (!rc)
        rc = segments_open(&segments, f->db, f->up ? &f->bounds.cursor : &f->bounds.from,
                           f->up ? &f->bounds.to : &f->bounds.cursor, e);
    while (!rc && !is_over && !is_full(f))
        rc = look_at_round(f, &segments, &open, &is_over, e);
    if (!rc && !is_full(f) && is_narrow)
        end_window(f, true);
    f->bounds.from = whole.from;
    f->bounds.to = whole.to;
    return rc;
}

enum err_code jobs_find_words(struct db *db, const struct jobs_filter *filter,
                              const struct job_bounds *bounds, bool up, size_t wanted,
                              struct jobs_page *page, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct finder f = {
        .db = db, .filter = filter, .bounds = *bounds, .up = up, .wanted = wanted, .page = page};
    struct uuid mark = {.text = UUID_FIRST};
    enum err_code rc = db_query(db, &statements[MARK], DB_NO_ARGS, &rows, e);

    if (!rc && db_rows(rows) == 1)
        (void)uuid_parse(db_text(rows, 0, 0), &mark);
    if (!rc && !has_words(filter) && id_is_before(&f.bounds.cursor, &mark, false))
        page->is_cut = true; /* the index has not come to where the window of a list ended */
    else if (!rc && !up && id_is_before(&f.bounds.cursor, &mark, false))
        rc = look_at_tail(&f, &mark, e);
    if (!rc && !is_full(&f) && !page->is_cut)
        rc = look_at_segments(&f, &mark, e);
    if (!rc && !is_full(&f) && !page->is_cut && up) {
        f.bounds.cursor = id_is_before(&bounds->cursor, &mark, true) ? mark : bounds->cursor;
        rc = look_at_tail(&f, &mark, e);
    }
    if (!rc && page->count < wanted && is_full(&f))
        page->is_cut = true;
    if (!rc && page->is_cut)
        page->next = f.bounds.cursor;
    return rc;
}

/* ---- other orders ---- */

static int64_t order_value(const struct job_view *job)
{
    return job->started_us ? job->started_us : INT64_MAX;
}

/* The orders of Flower's sort_by; without a start: last, either way. */
static int compare(const struct job_view *a, const struct job_view *b, enum jobs_order order)
{
    int result = 0;

    if (order == JOBS_BY_NAME)
        result = strcmp(a->task, b->task);
    else if (order == JOBS_BY_NAME_DOWN)
        result = strcmp(b->task, a->task);
    else if (order == JOBS_BY_STATE)
        result = strcmp(job_state_name(a->state), job_state_name(b->state));
    else if (order == JOBS_BY_STATE_DOWN)
        result = strcmp(job_state_name(b->state), job_state_name(a->state));
    else if (!a->started_us || !b->started_us || order == JOBS_BY_STARTED)
        result = (order_value(a) > order_value(b)) - (order_value(a) < order_value(b));
    else
        result = (a->started_us < b->started_us) - (a->started_us > b->started_us);
    return result ? result : strcmp(b->id.text, a->id.text);
}

static int compare_by(const void *a, const void *b, void *order)
{
    return compare(a, b, *(const enum jobs_order *)order);
}

void jobs_sort(struct job_view *items, size_t count, enum jobs_order order)
{
    if (count > 0)
        qsort_r(items, count, sizeof items[0], compare_by, &order);
}
