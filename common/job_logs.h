/* SPDX-License-Identifier: MIT
 *
 * What running jobs say: lines, and how far they are. Workers write many at once, outside of the
 * jobs' own transactions, so that they are seen while the job runs and stay when it fails.
 */
#ifndef COMMON_JOB_LOGS_H
#define COMMON_JOB_LOGS_H

#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/uuid.h"

/* The numbers stand in sql/0011_tasks.sql. */
enum job_log_level { JOB_LOG_DEBUG, JOB_LOG_INFO, JOB_LOG_WARNING, JOB_LOG_ERROR };

const char *job_log_level_name(enum job_log_level level);

enum {
    JOB_LOG_LINES_MAX = 1000,      /* of an attempt */
    JOB_LOG_BYTES_MAX = 64 * 1024, /* of an attempt */
    JOB_LOG_LINE_MAX = 4 * 1024,   /* bytes */
    JOB_LOGS_WRITE_MAX = 1000,     /* lines in one statement */
    JOB_PROGRESS_TEXT_MAX = 200,   /* bytes */
};

struct job_log_line {
    struct uuid job;
    int attempt;
    int64_t at_us; /* wall */
    enum job_log_level level;
    const char *text; /* whole UTF-8, no control characters */
};

/* Adds up to JOB_LOGS_WRITE_MAX lines; those of jobs that are not there are dropped. */
enum err_code job_logs_write(struct db *db, const struct job_log_line *lines, size_t count,
                             struct err *e) MUST_CHECK;

struct job_progress {
    struct uuid job;
    int attempt;
    int64_t done;
    int64_t total; /* 0: not known */
    int64_t at_us; /* wall */
    char text[JOB_PROGRESS_TEXT_MAX + 1];
};

/* Each job at most once. What an earlier attempt says late is dropped. */
enum err_code job_progress_write(struct db *db, const struct job_progress *progress, size_t count,
                                 struct err *e) MUST_CHECK;

/* Lines of a job after the one numbered `after` (0: from the first), oldest first, at most `limit`:
 * number, attempt, wall time in microseconds, level, text. */
enum err_code job_logs_list(struct db *db, const struct uuid *job, int64_t after, int limit,
                            struct db_result **ret_rows, struct err *e) MUST_CHECK;

#endif
