/* SPDX-License-Identifier: MIT
 *
 * Searches; see job_find.h. Jobs stand in one of three places: those that the index has not come to
 * yet (the tail: the newest), those that it has read, and among these some that run or wait since
 * long and may have changed (the open ones). Whatever the three give is read, redacted, and only
 * then compared with the words: so it does not matter when one of them says too much.
 */
#include "common/job_find.h"

#include <string.h>

#include "common/job_finder.h"
#include "common/job_segments.h"
#include "common/job_sort.h"
#include "common/mem.h"

enum { LIST_STEP = 512 };

/* ---- what may fit ---- */

static void put_by(struct finder *f, const struct uuid *id)
{
    struct found_ids *list = f->sorted;

    if (list->count % LIST_STEP == 0)
        list->items = mem_resize(list->items, (list->count + LIST_STEP) * sizeof list->items[0]);
    list->items[list->count++] = *id;
}

/* Candidates for the page; or to be put in order first. */
static enum err_code take_ids(struct finder *f, const struct found_ids *ids, struct err *e)
{
    if (!f->sorted)
        return finder_look_at(f, ids, e);
    for (size_t i = 0; i < ids->count && !finder_is_full(f); i++) {
        f->bounds.cursor = ids->items[i];
        put_by(f, &ids->items[i]);
    }
    return ERR_OK;
}

/* ---- windows ---- */

/* Where the next WINDOW rows that `statement` counts end: what lies behind is for another call. */
static enum err_code narrow(struct finder *f, int statement, bool *ret_is_narrow, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct uuid end;
    enum err_code rc = finder_query(f, statement, f->bounds.cursor.text, 0, &rows, e);

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

static enum err_code put_rows_by(struct finder *f, struct db_result *rows)
{
    struct uuid id;

    for (int row = 0; row < db_rows(rows); row++)
        if (uuid_parse(db_text(rows, row, 0), &id))
            put_by(f, &id);
    db_result_free(rows);
    return ERR_OK;
}

/* What the index has not come to: behind the mark. */
static enum err_code look_at_tail(struct finder *f, const struct uuid *mark, struct err *e)
{
    const struct job_bounds whole = f->bounds;
    int found = FINDER_BATCH;
    bool is_narrow = false;
    enum err_code rc;

    if (strcmp(mark->text, whole.from.text) > 0)
        f->bounds.from = *mark;
    rc = narrow(f, f->up ? FIND_TAIL_END_UP : FIND_TAIL_END_DOWN, &is_narrow, e);
    while (!rc && found == FINDER_BATCH && !finder_is_full(f)) {
        struct db_result *rows = NULL;

        rc = finder_query(f, f->up ? FIND_TAIL_UP : FIND_TAIL_DOWN, f->bounds.cursor.text,
                          FINDER_BATCH, &rows, e);
        if (rc)
            break;
        found = db_rows(rows);
        if (found > 0)
            (void)uuid_parse(db_text(rows, found - 1, 0), &f->bounds.cursor);
        rc = f->sorted ? put_rows_by(f, rows) : finder_take_rows(f, rows, false, e);
    }
    if (!rc && !finder_is_full(f))
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
    bool is_any = f->filter->state == JOBS_ANY_STATE;
    bool is_narrow = false;
    enum err_code rc = ERR_OK;

    *ret_is_narrow = false;
    if (finder_means_waiting(f))
        rc = narrow(f, f->up ? FIND_OPEN_END_UP : FIND_OPEN_END_DOWN, ret_is_narrow, e);
    if (!rc && (is_any || f->filter->state == JOB_RETRY))
        rc = narrow(f, f->up ? FIND_RETRY_END_UP : FIND_RETRY_END_DOWN, &is_narrow, e);
    *ret_is_narrow |= is_narrow;
    if (!rc)
        rc = finder_query(f, f->up ? FIND_OPEN_UP : FIND_OPEN_DOWN, f->bounds.cursor.text,
                          JOB_FIND_OPEN_MAX, &rows, e);
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

/* Candidates that one round is to bring: where few fit, as many as are looked at at once. */
static size_t wanted_now(const struct finder *f)
{
    if (f->sorted)
        return JOB_FIND_LOOKS - f->sorted->count;
    return f->batch > FINDER_BATCH ? 2 * f->batch : f->wanted - f->page->count;
}

static enum err_code look_at_round(struct finder *f, struct segments *segments,
                                   const struct found_ids *open, bool *ret_is_over, struct err *e)
{
    AUTO_VALUE(found_ids_release) struct found_ids ids = {0};
    const struct uuid begin = f->bounds.cursor;
    struct uuid cursor = begin;
    enum err_code rc;

    segments->wanted = wanted_now(f);
    rc = segments_next(segments, f->db, &cursor, &ids, ret_is_over, e);

    if (rc)
        return rc;
    add_open(f, open, &begin, &cursor, &ids);
    trim(f, &ids);
    rc = take_ids(f, &ids, e);
    if (!rc && !finder_is_full(f))
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
    while (!rc && !is_over && !finder_is_full(f))
        rc = look_at_round(f, &segments, &open, &is_over, e);
    if (!rc && !finder_is_full(f) && is_narrow)
        end_window(f, true);
    f->bounds.from = whole.from;
    f->bounds.to = whole.to;
    return rc;
}

static enum err_code find(struct finder *f, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    const struct uuid begin = f->bounds.cursor;
    struct jobs_page *page = f->page;
    struct uuid mark = {.text = UUID_FIRST};
    enum err_code rc = finder_query(f, FIND_MARK, NULL, 0, &rows, e);

    if (!rc && db_rows(rows) == 1)
        (void)uuid_parse(db_text(rows, 0, 0), &mark);
    if (!rc && !finder_has_words(f) && id_is_before(&begin, &mark, false))
        page->is_cut = true; /* the index has not come to where the window of a list ended */
    else if (!rc && !f->up && id_is_before(&begin, &mark, false))
        rc = look_at_tail(f, &mark, e);
    if (!rc && !finder_is_full(f) && !page->is_cut)
        rc = look_at_segments(f, &mark, e);
    if (!rc && !finder_is_full(f) && !page->is_cut && f->up) {
        f->bounds.cursor = id_is_before(&begin, &mark, true) ? mark : begin;
        rc = look_at_tail(f, &mark, e);
    }
    if (!rc && page->count < f->wanted && finder_is_full(f))
        page->is_cut = true;
    if (!rc && page->is_cut)
        page->next = f->bounds.cursor;
    return rc;
}

enum err_code jobs_find_words(struct db *db, const struct jobs_filter *filter,
                              const struct job_bounds *bounds, bool up, size_t wanted,
                              struct jobs_page *page, struct err *e)
{
    struct finder f = {.db = db,
                       .filter = filter,
                       .bounds = *bounds,
                       .up = up,
                       .wanted = wanted,
                       .batch = FINDER_BATCH,
                       .page = page};

    return find(&f, e);
}

/* ---- other orders ---- */

enum err_code jobs_find_sorted(struct db *db, const struct jobs_filter *filter,
                               const struct job_bounds *bounds, size_t wanted,
                               struct jobs_page *page, struct err *e)
{
    AUTO_VALUE(found_ids_release) struct found_ids ids = {0};
    struct finder f = {.db = db,
                       .filter = filter,
                       .bounds = *bounds,
                       .wanted = wanted,
                       .batch = FINDER_BATCH,
                       .is_sorted = true,
                       .sorted = &ids,
                       .page = page};
    enum err_code rc = find(&f, e);

    f.sorted = NULL;
    if (!rc && ids.count > 0)
        rc = finder_sort(&f, &ids, e);
    if (!rc)
        rc = finder_look_at(&f, &ids, e);
    if (!rc)
        jobs_sort(page->items, page->count, filter->order);
    return rc;
}
