/* SPDX-License-Identifier: MIT
 *
 * One job in full, with its failed attempts; see jobs_view.h.
 */
#include "common/job_columns.h"
#include "common/jobs_view.h"
#include "common/mem.h"
#include "common/statements.h"

enum { FIND, FAILURES, LAST_DETAILS };

static const struct db_stmt statements[] = {
    [FIND] =
        {"jobs_find",
         "SELECT " JOB_COMMON_COLUMNS
         "args, octet_length(args::text), kwargs, octet_length(kwargs::text), result,"
         " coalesce(octet_length(result::text), 0), error, delivery, encode(payload, 'escape'),"
         " (extract(epoch FROM expires_at) * 1000000)::bigint, unique_key,"
         " (extract(epoch FROM unique_until) * 1000000)::bigint, headers, traceparent,"
         " retention_s,"
         " coalesce(snoozes, 0), progress_done, progress_total, progress_text,"
         " (extract(epoch FROM progress_at) * 1000000)::bigint, flow_id, flow_step, waits,"
         " limit_key, CASE WHEN enqueued_at IS NULL AND finished_at IS NULL THEN parked_on END,"
         " job_secrets(task), checkpoint FROM jobs j"
         " LEFT JOIN LATERAL (SELECT done AS progress_done,"
         "  total AS progress_total, text AS progress_text, updated_at AS progress_at"
         "  FROM job_progress WHERE job_id = j.id) p ON true WHERE id = $1",
         1},
    [FAILURES] = {"jobs_failures",
                  "SELECT attempt, worker, (extract(epoch FROM started_at) * 1000000)::bigint,"
                  " (extract(epoch FROM failed_at) * 1000000)::bigint, error, detail"
                  " FROM job_errors WHERE job_id = $1"
                  " ORDER BY attempt DESC, failed_at DESC LIMIT 200",
                  1},
    [LAST_DETAILS] = {"jobs_last_details",
                      "SELECT i.n - 1, CASE WHEN octet_length(f.detail) <= 4096 THEN f.detail END,"
                      " octet_length(f.detail) FROM unnest($1::uuid[]) WITH ORDINALITY i(id, n),"
                      " LATERAL (SELECT detail FROM job_errors WHERE job_id = i.id"
                      " ORDER BY attempt DESC, failed_at DESC LIMIT 1) f"
                      " WHERE f.detail IS NOT NULL ORDER BY i.n",
                      1},
};
_Static_assert(JOBS_FAILURES_MAX == 200, "jobs_failures has it as text");
_Static_assert(JOBS_PREVIEW_MAX == 4096, "jobs_last_details has it as text");

DB_STATEMENTS(jobs_detail, statements);

static const char *text_or_null(const struct db_result *rows, int row, int col)
{
    return db_is_null(rows, row, col) ? NULL : db_text(rows, row, col);
}

static void read_failures(struct job_detail *detail)
{
    size_t count = (size_t)db_rows(detail->failure_rows);

    detail->failures = mem_array(count + 1, sizeof detail->failures[0]);
    detail->failure_count = count;
    for (size_t i = 0; i < count; i++) { /* rows come newest first */
        int row = (int)(count - 1 - i);
        const struct db_result *rows = detail->failure_rows;

        detail->failures[i] = (struct job_failure){.attempt = (int)db_int(rows, row, 0),
                                                   .worker = text_or_null(rows, row, 1),
                                                   .started_us = db_int(rows, row, 2),
                                                   .failed_us = db_int(rows, row, 3),
                                                   .error = db_text(rows, row, 4),
                                                   .detail = text_or_null(rows, row, 5)};
    }
}

enum err_code jobs_find(struct db *db, const struct uuid *id, struct job_detail *ret_detail,
                        struct err *e)
{
    AUTO_VALUE(job_detail_release) struct job_detail detail = {0};
    enum err_code rc = db_query(db, &statements[FIND], DB_ARGS(DB_TEXT(id->text)), &detail.rows, e);

    if (rc)
        return rc;
    if (db_rows(detail.rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no job %s", id->text);
    rc = db_query(db, &statements[FAILURES], DB_ARGS(DB_TEXT(id->text)), &detail.failure_rows, e);
    if (rc)
        return rc;
    job_view_read(detail.rows, 0, &detail.job);
    detail.job.secrets = text_or_null(detail.rows, 0, 39);
    detail.job.delivery = text_or_null(detail.rows, 0, 21);
    detail.job.payload = text_or_null(detail.rows, 0, 22);
    detail.job.expires_us = db_int(detail.rows, 0, 23);
    detail.job.unique_key = text_or_null(detail.rows, 0, 24);
    detail.job.unique_until_us = db_int(detail.rows, 0, 25);
    detail.job.headers = text_or_null(detail.rows, 0, 26);
    detail.job.traceparent = text_or_null(detail.rows, 0, 27);
    detail.job.retention_s = db_int(detail.rows, 0, 28);
    detail.job.flow = text_or_null(detail.rows, 0, 34);
    detail.job.flow_step = db_int(detail.rows, 0, 35);
    detail.job.limit_key = text_or_null(detail.rows, 0, 37);
    detail.job.parked_on = text_or_null(detail.rows, 0, 38);
    detail.job.waits = db_bool(detail.rows, 0, 36);
    if (!detail.job.enqueued_us && !detail.job.finished_us)
        detail.job.held_by = detail.job.waits ? "flow" : detail.job.parked_on ? "limit" : NULL;
    detail.snoozes = (int)db_int(detail.rows, 0, 29);
    detail.progress = (struct job_progress_view){.done = db_int(detail.rows, 0, 30),
                                                 .total = db_int(detail.rows, 0, 31),
                                                 .text = text_or_null(detail.rows, 0, 32),
                                                 .updated_us = db_int(detail.rows, 0, 33)};
    detail.checkpoint = text_or_null(detail.rows, 0, 40);
    read_failures(&detail);
    *ret_detail = detail;
    detail = (struct job_detail){0};
    return ERR_OK;
}

enum err_code jobs_last_details(struct db *db, const char *ids, struct db_result **ret_rows,
                                struct err *e)
{
    return db_query(db, &statements[LAST_DETAILS], DB_ARGS(DB_TEXT(ids)), ret_rows, e);
}

void job_detail_release(struct job_detail *detail)
{
    mem_free(detail->failures);
    if (detail->rows)
        db_result_free(detail->rows);
    if (detail->failure_rows)
        db_result_free(detail->failure_rows);
    *detail = (struct job_detail){0};
}
