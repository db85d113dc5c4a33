/* SPDX-License-Identifier: MIT
 *
 * What a page of jobs is asked for; and the page: the rows that hold its texts, the items that
 * borrow them, and what is secret in values that are too long to be among them. See jobs_view.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/job_columns.h"
#include "common/mem.h"
#include "common/task_secrets.h"
#include "common/text.h"

static const char *text_or_null(const struct db_result *rows, int row, int col)
{
    return db_is_null(rows, row, col) ? NULL : db_text(rows, row, col);
}

static int64_t latest(const struct job_view *job)
{
    const int64_t times[] = {job->created_us, job->enqueued_us, job->started_us, job->finished_us,
                             job->failed_us};
    int64_t last = 0;

    for (size_t i = 0; i < COUNT_OF(times); i++)
        if (times[i] > last)
            last = times[i];
    return last;
}

void job_view_read(const struct db_result *rows, int row, struct job_view *ret_job)
{
    struct job_view job = {
        .task = db_text(rows, row, 1),
        .queue = db_text(rows, row, 2),
        .priority = (enum job_priority)db_int(rows, row, 3),
        .attempt = (int)db_int(rows, row, 5),
        .max_attempts = (int)db_int(rows, row, 6),
        .worker = text_or_null(rows, row, 7),
        .created_us = db_int(rows, row, 8),
        .scheduled_us = db_int(rows, row, 9),
        .enqueued_us = db_int(rows, row, 10),
        .started_us = db_int(rows, row, 11),
        .finished_us = db_int(rows, row, 12),
        .failed_us = db_int(rows, row, 13),
        .args = text_or_null(rows, row, 14),
        .args_bytes = db_int(rows, row, 15),
        .kwargs = text_or_null(rows, row, 16),
        .kwargs_bytes = db_int(rows, row, 17),
        .result = text_or_null(rows, row, 18),
        .result_bytes = db_int(rows, row, 19),
        .error = text_or_null(rows, row, 20),
    };

    (void)uuid_parse(db_text(rows, row, 0), &job.id);
    (void)job_state_parse(db_text(rows, row, 4), &job.state);
    job.changed_us = latest(&job);
    job.shows_max = INT64_MAX;
    *ret_job = job;
}

void jobs_page_keep(struct jobs_page *page, struct db_result *rows)
{
    page->rows = mem_resize(page->rows, (page->rows_count + 1) * sizeof(void *));
    page->rows[page->rows_count++] = rows;
}

enum err_code jobs_page_read(struct jobs_page *page, struct db *db, const struct db_result *rows,
                             int row, struct job_view *ret_job, struct err *e)
{
    struct job_view job;
    struct secrets *found;
    enum err_code rc;

    job_view_read(rows, row, &job);
    job.secrets = text_or_null(rows, row, JOB_COLUMN_SECRETS);
    job.expires_us = db_int(rows, row, JOB_COLUMN_EXPIRES);
    job.held_by = text_or_null(rows, row, JOB_COLUMN_HELD_BY);
    job.limit_key = text_or_null(rows, row, JOB_COLUMN_LIMIT_KEY);
    job.shows_max = JOBS_PREVIEW_MAX;
    if (job_has_unread(&job)) {
        found = mem_alloc(sizeof *found);
        page->in_long = mem_resize(page->in_long, (page->in_long_count + 1) * sizeof(void *));
        page->in_long[page->in_long_count++] = found;
        job.in_long = found;
        rc = job_secrets_read(db, &job, found, e);
        if (rc)
            return rc;
    }
    *ret_job = job;
    return ERR_OK;
}

enum err_code jobs_page_take(struct jobs_page *page, struct db *db, struct db_result *rows,
                             struct err *e)
{
    size_t count = (size_t)db_rows(rows);
    enum err_code rc = ERR_OK;

    jobs_page_keep(page, rows);
    page->items = mem_array(count + 1, sizeof page->items[0]);
    for (page->count = 0; !rc && page->count < count; page->count++)
        rc = jobs_page_read(page, db, rows, (int)page->count, &page->items[page->count], e);
    return rc;
}

void jobs_page_release(struct jobs_page *page)
{
    for (size_t i = 0; i < page->rows_count; i++)
        db_result_free(page->rows[i]);
    for (size_t i = 0; i < page->in_long_count; i++) {
        secrets_release(page->in_long[i]);
        mem_free(page->in_long[i]);
    }
    mem_free(page->in_long);
    mem_free(page->rows);
    mem_free(page->items);
    *page = (struct jobs_page){0};
}

void jobs_cursor(const struct jobs_filter *filter, const struct jobs_page *page,
                 char out[JOBS_CURSOR_SIZE])
{
    int offset = filter->offset + filter->limit;

    out[0] = '\0';
    if (!page->has_more || (page->sorted_of && offset >= JOBS_WINDOW))
        return;
    if (page->sorted_of)
        (void)snprintf(out, JOBS_CURSOR_SIZE, "+%d", offset);
    else if (page->is_by_due)
        (void)snprintf(out, JOBS_CURSOR_SIZE, "%" PRId64 ".%s", page->next_due_us, page->next.text);
    else
        (void)snprintf(out, JOBS_CURSOR_SIZE, "%s", page->next.text);
}

/* ---- what is asked for ---- */

enum err_code job_search_take(const char *text, struct job_search *search,
                              struct jobs_filter *filter, struct err *e)
{
    struct uuid from;
    struct uuid to;

    /* An id, or how one begins, is found by the index, however old it is. */
    if (text && uuid_range(text, &from, &to)) {
        filter->text = text;
        return ERR_OK;
    }
    filter->search = search;
    return job_search_parse(text ? text : "", search, e);
}

enum err_code jobs_filter_order(const char *name, struct jobs_filter *filter, struct err *e)
{
    static const struct {
        const char *name;
        enum jobs_order order;
    } orders[] = {
        {"newest", JOBS_NEWEST_FIRST},     {"oldest", JOBS_OLDEST_FIRST}, {"due", JOBS_DUE_FIRST},
        {"slowest", JOBS_BY_RUNTIME_DOWN}, {"fastest", JOBS_BY_RUNTIME},
    };
    const char *cursor = filter->cursor;
    int64_t offset = 0;
    size_t at = 0;

    while (name && *name && strcmp(name, orders[at].name) != 0)
        if (++at == COUNT_OF(orders))
            return err_set(e, ERR_INVALID, "order is newest, oldest, due, slowest or fastest");
    filter->order = orders[at].order;
    if (!cursor || *cursor != '+')
        return ERR_OK;
    if (at < 3 || !text_to_int(cursor + 1, 0, JOBS_WINDOW - 1, &offset))
        return err_set(e, ERR_INVALID, "the cursor is not one of this order");
    filter->cursor = NULL;
    filter->offset = (int)offset;
    return ERR_OK;
}
