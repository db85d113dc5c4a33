/* SPDX-License-Identifier: MIT
 *
 * task_log() and task_progress(): what a job says while it runs, bounded here and put down in the
 * journal of its process. A fast job has no row to keep it: its lines go to the log of the worker.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/journal.h"
#include "worker/task.h"

static void put_down(struct task_run *run, enum job_log_level level, const char *text)
{
    const struct job_log_line line = {.job = run->id,
                                      .attempt = run->attempt,
                                      .at_us = clock_wall_us(),
                                      .level = level <= JOB_LOG_ERROR ? level : JOB_LOG_ERROR,
                                      .text = text};

    run->log_lines++;
    run->log_bytes += strlen(text);
    if (run->journal)
        run->journal_number = journal_add_line(run->journal, &line);
    else
        log_info("job_line", L_STR("line", text));
}

void task_log(struct task_run *run, enum job_log_level level, const char *format, ...)
{
    AUTO_VALUE(buf_release) struct buf text = {0};
    char raw[JOB_LOG_LINE_MAX];
    va_list args;

    if (run->log_is_cut)
        return;
    va_start(args, format);
    (void)vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    buf_init(&text, 3 * sizeof raw);
    buf_add_text(&text, raw);
    if (run->log_lines == JOB_LOG_LINES_MAX || run->log_bytes + text.len > JOB_LOG_BYTES_MAX) {
        run->log_is_cut = true;
        put_down(run, JOB_LOG_WARNING, "truncated: this attempt has said enough");
        return;
    }
    put_down(run, level, text.data);
}

void task_progress(struct task_run *run, int64_t done, int64_t total, const char *text)
{
    struct job_progress progress = {.job = run->id,
                                    .attempt = run->attempt,
                                    .done = done > 0 ? done : 0,
                                    .total = total > 0 ? total : 0,
                                    .at_us = clock_wall_us()};
    AUTO_VALUE(buf_release) struct buf clean = {0};
    size_t len;

    if (!run->journal)
        return;
    buf_init(&clean, JOB_LOG_LINE_MAX);
    buf_add_text(&clean, text ? text : "");
    len = clean.len < JOB_PROGRESS_TEXT_MAX ? clean.len : JOB_PROGRESS_TEXT_MAX;
    while (len < clean.len && len > 0 && ((unsigned char)clean.data[len] & 0xc0) == 0x80)
        len--; /* no cut within a character */
    memcpy(progress.text, clean.data, len);
    run->journal_number = journal_set_progress(run->journal, &progress);
}
