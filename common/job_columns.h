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
        "result", max) ", left(error, " max "), secrets,"                                          \
                       " (extract(epoch FROM expires_at) * 1000000)::bigint,"                      \
                       " CASE WHEN enqueued_at IS NULL AND finished_at IS NULL THEN"               \
                       " CASE WHEN waits THEN 'flow' WHEN parked_on IS NOT NULL THEN 'limit' END"  \
                       " END, limit_key"
/* Of a list. */
enum {
    JOB_COLUMN_SCHEDULED = 9,
    JOB_COLUMN_SECRETS = 21,
    JOB_COLUMN_EXPIRES = 22,
    JOB_COLUMN_HELD_BY = 23,
    JOB_COLUMN_LIMIT_KEY = 24,
};

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

/* A row that one of the alternatives of a search wholly describes, with its secrets. The kinds are
 * those of job_search.h; $12 to $15 are the arrays of a struct job_search, $16 a text that no row
 * is without which any of them describes, asked for first: it costs half as much. In the order of
 * bytes, as job_search_matches() compares: letters beyond ASCII cost as much again as all the rest.
 */
#define JOB_HAS(texts, text)                                                                       \
    "strpos(lower((" texts ") COLLATE \"C\"), lower(" text " COLLATE \"C\")) > 0"
#define JOB_TERM(kind, texts) " WHEN " kind " THEN " JOB_HAS(texts, "x.t")
#define JOB_ALL_TEXTS "concat_ws(' ', task, id, state, worker, queue, args, kwargs, result, error)"
#define JOB_FOUND                                                                                  \
    "($16::text IS NULL OR " JOB_HAS(                                                              \
        JOB_ALL_TEXTS,                                                                             \
        "$16::text") ")"                                                                           \
                     " AND ($12::int[] IS NULL OR EXISTS (SELECT FROM"                             \
                     " unnest($12::int[], $13::int[], $14::text[], $15::text[]) AS x(g, k, f, t)"  \
                     " GROUP BY x.g HAVING bool_and(CASE x.k"                                      \
                     " WHEN 2 THEN state::text = x.t" JOB_TERM("0", JOB_ALL_TEXTS) JOB_TERM(       \
                         "1", "task") JOB_TERM("3", "worker") JOB_TERM("4", "args::text")          \
                         JOB_TERM("5",                                                             \
                                  "CASE WHEN x.f = '' THEN kwargs::text ELSE kwargs ->> x.f END")  \
                             JOB_TERM("7", "queue") JOB_TERM("8", "error")                         \
                                 JOB_TERM("6", "concat_ws(' ', result, error)") " END)))"
_Static_assert(SEARCH_ANY == 0 && SEARCH_RESULT == 6 && SEARCH_ERROR == 8, "JOB_FOUND has them");

/* Reads the first 21 columns; texts are borrowed from the rows. */
void job_view_read(const struct db_result *rows, int row, struct job_view *ret_job);

#endif
