/* SPDX-License-Identifier: MIT
 *
 * The file of schedules: a section a schedule.
 *
 *   # comment
 *   [expire-unpaid-orders]
 *   cron = 0,5,10 * * * *
 *   zone = Europe/Berlin          TILL_TIME_ZONE
 *   task = orders.tasks.expire_unpaid_orders
 *   args = []                     JSON, on one line
 *   kwargs = {}
 *   queue = default               as the task declares
 *   overlap = skip                skip, queue or allow
 *   catch_up = 24h                0s: nothing is made up for
 *   catch_up_runs = 1
 *   jitter = 0s
 *
 * Only cron and task must be there. A file is good as a whole or not at all.
 */
#ifndef COMMON_SCHEDULE_FILE_H
#define COMMON_SCHEDULE_FILE_H

#include "common/schedule.h"

enum { SCHEDULE_FILE_MAX = 1024 * 1024, SCHEDULES_MAX = 1000, SCHEDULE_HASH_SIZE = 65 };

/* Owned; schedule_file_release() frees it. */
struct schedule_file {
    char *path;
    char hash[SCHEDULE_HASH_SIZE]; /* of its bytes, hexadecimal */
    struct schedule *items;
    size_t count;
};

void schedule_file_release(struct schedule_file *file);

/* Reads and checks a file. ERR_INVALID with a text that names line, field and reason. `zone` is
 * that of schedules which name none. */
enum err_code schedule_file_read(const char *path, const char *zone, struct schedule_file *ret_file,
                                 struct err *e) MUST_CHECK;

/* The same from text; `path` is for messages. */
enum err_code schedule_file_parse(const char *path, const char *text, size_t len, const char *zone,
                                  struct schedule_file *ret_file, struct err *e) MUST_CHECK;

#endif
