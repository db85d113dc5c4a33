/* SPDX-License-Identifier: MIT
 *
 * Lines and progress of jobs; see job_logs.h.
 */
#include "common/job_logs.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/statements.h"

enum { WRITE_LINES, WRITE_PROGRESS, LIST };
enum { ARRAY_MAX = 16 * 1024 * 1024 };

static const struct db_stmt statements[] = {
    [WRITE_LINES] = {"job_logs_write",
                     "INSERT INTO job_logs (job_id, attempt, at, level, line)"
                     " SELECT g.job, g.attempt, g.at, g.level, g.line FROM unnest($1::uuid[],"
                     " $2::int[], $3::timestamptz[], $4::smallint[], $5::text[])"
                     " WITH ORDINALITY AS g(job, attempt, at, level, line, number)"
                     " WHERE EXISTS (SELECT FROM jobs j WHERE j.id = g.job) ORDER BY g.number",
                     5},
    [WRITE_PROGRESS] =
        {"job_progress_write",
         "INSERT INTO job_progress AS p (job_id, attempt, done, total, text, updated_at)"
         " SELECT g.job, g.attempt, g.done, g.total, g.text, g.at FROM unnest($1::uuid[],"
         " $2::int[], $3::bigint[], $4::bigint[], $5::text[], $6::timestamptz[])"
         " AS g(job, attempt, done, total, text, at)"
         " WHERE EXISTS (SELECT FROM jobs j WHERE j.id = g.job) ORDER BY g.job"
         " ON CONFLICT (job_id) DO UPDATE SET attempt = excluded.attempt, done = excluded.done,"
         " total = excluded.total, text = excluded.text, updated_at = excluded.updated_at"
         " WHERE p.attempt <= excluded.attempt",
         6},
    [LIST] = {"job_logs_list",
              "SELECT id, attempt, (extract(epoch FROM at) * 1000000)::bigint, level, line"
              " FROM job_logs WHERE job_id = $1 AND id > $2::bigint ORDER BY id LIMIT $3::int",
              3},
};

DB_STATEMENTS(job_logs, statements);

const char *job_log_level_name(enum job_log_level level)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};

    return names[level];
}

static void add_time(struct buf *array, int64_t wall_us)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(wall_us, text);
    db_array_add(array, text);
}

enum { COLUMNS_MAX = 6 };

/* Array parameters that are built side by side. */
struct columns {
    struct buf arrays[COLUMNS_MAX];
};

static void columns_init(struct columns *columns)
{
    for (size_t i = 0; i < COLUMNS_MAX; i++)
        buf_init(&columns->arrays[i], ARRAY_MAX);
}

static void columns_release(struct columns *columns)
{
    for (size_t i = 0; i < COLUMNS_MAX; i++)
        buf_release(&columns->arrays[i]);
}

static void columns_end(struct columns *columns)
{
    for (size_t i = 0; i < COLUMNS_MAX; i++)
        db_array_end(&columns->arrays[i]);
}

enum err_code job_logs_write(struct db *db, const struct job_log_line *lines, size_t count,
                             struct err *e)
{
    AUTO_VALUE(columns_release) struct columns columns;
    struct buf *arrays = columns.arrays;

    columns_init(&columns);
    for (size_t i = 0; i < count; i++) {
        db_array_add(&arrays[0], lines[i].job.text);
        db_array_add_int(&arrays[1], lines[i].attempt);
        add_time(&arrays[2], lines[i].at_us);
        db_array_add_int(&arrays[3], lines[i].level);
        db_array_add(&arrays[4], lines[i].text);
    }
    columns_end(&columns);
    return db_exec(db, &statements[WRITE_LINES],
                   DB_ARGS(DB_TEXT(arrays[0].data), DB_TEXT(arrays[1].data),
                           DB_TEXT(arrays[2].data), DB_TEXT(arrays[3].data),
                           DB_TEXT(arrays[4].data)),
                   NULL, e);
}

enum err_code job_progress_write(struct db *db, const struct job_progress *progress, size_t count,
                                 struct err *e)
{
    AUTO_VALUE(columns_release) struct columns columns;
    struct buf *arrays = columns.arrays;

    columns_init(&columns);
    for (size_t i = 0; i < count; i++) {
        db_array_add(&arrays[0], progress[i].job.text);
        db_array_add_int(&arrays[1], progress[i].attempt);
        db_array_add_int(&arrays[2], progress[i].done);
        db_array_add_int(&arrays[3], progress[i].total);
        db_array_add(&arrays[4], progress[i].text);
        add_time(&arrays[5], progress[i].at_us);
    }
    columns_end(&columns);
    return db_exec(db, &statements[WRITE_PROGRESS],
                   DB_ARGS(DB_TEXT(arrays[0].data), DB_TEXT(arrays[1].data),
                           DB_TEXT(arrays[2].data), DB_TEXT(arrays[3].data),
                           DB_TEXT(arrays[4].data), DB_TEXT(arrays[5].data)),
                   NULL, e);
}

enum err_code job_logs_list(struct db *db, const struct uuid *job, int64_t after, int limit,
                            struct db_result **ret_rows, struct err *e)
{
    return db_query(db, &statements[LIST],
                    DB_ARGS(DB_TEXT(job->text), DB_INT(after), DB_INT(limit)), ret_rows, e);
}
