/* SPDX-License-Identifier: MIT
 *
 * The columns that make a struct job_view, for the store files that list jobs. The row is to be
 * known as `j`, with JOB_SECRETS joined to it.
 */
#ifndef COMMON_JOB_COLUMNS_H
#define COMMON_JOB_COLUMNS_H

#include "common/jobs_view.h"

/* Its text when that is short; and the size. */
#define JOB_PREVIEW(column, max)                                                                   \
    "CASE WHEN pg_column_size(" column ") <= " max " AND octet_length(" column "::text) <= " max   \
    " THEN " column "::text END, coalesce(octet_length(" column "::text), 0)"

#define JOB_COMMON_COLUMNS                                                                         \
    "id, task, queue, priority, state, attempt, max_attempts, worker,"                             \
    " (extract(epoch FROM created_at) * 1000000)::bigint,"                                         \
    " (extract(epoch FROM scheduled_at) * 1000000)::bigint,"                                       \
    " (extract(epoch FROM enqueued_at) * 1000000)::bigint,"                                        \
    " (extract(epoch FROM started_at) * 1000000)::bigint,"                                         \
    " (extract(epoch FROM finished_at) * 1000000)::bigint,"                                        \
    " CASE WHEN state IN ('PENDING', 'RETRY', 'FAILURE') THEN"                                     \
    " (SELECT (extract(epoch FROM max(f.failed_at)) * 1000000)::bigint"                            \
    " FROM job_errors f WHERE f.job_id = j.id) END, "

/* Values of at most `max` bytes. */
#define JOB_LIST_COLUMNS(max)                                                                      \
    JOB_COMMON_COLUMNS JOB_PREVIEW("args", max) ", " JOB_PREVIEW("kwargs", max) ", " JOB_PREVIEW(  \
        "result", max) ", left(error, " max "), secrets"
enum { JOB_COLUMN_SECRETS = 21 }; /* of a list */

/* OFFSET 0: evaluated once a row. */
#define JOB_SECRETS " CROSS JOIN LATERAL (SELECT job_secrets(j.task) AS secrets OFFSET 0) s"

/* $4 to $10 as struct job_bounds in job_find.h has them. */
#define JOB_FILTERS_NO_STATE                                                                       \
    "($4::text IS NULL OR task = $4) AND ($5::text IS NULL OR queue = $5)"                         \
    " AND ($6::text IS NULL OR worker = $6)"                                                       \
    " AND ($8::text IS NULL OR strpos(id::text, $8) > 0)"                                          \
    " AND ($9::timestamptz IS NULL OR created_at >= $9)"                                           \
    " AND ($10::timestamptz IS NULL OR created_at <= $10)"
#define JOB_FILTERS JOB_FILTERS_NO_STATE " AND ($7::job_state IS NULL OR state = $7)"

/* Reads the first 21 columns; texts are borrowed from the rows. */
void job_view_read(const struct db_result *rows, int row, struct job_view *ret_job);

#endif
