/* SPDX-License-Identifier: MIT
 *
 * The journal; see journal.h. One mutex; the thread takes all that waits and writes it without the
 * lock. It gathers for GATHER_MS first, unless somebody waits.
 */
#include "worker/journal.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/log.h"
#include "common/mem.h"

enum {
    GATHER_MS = 200,
    BYTES_MAX = 8 * 1024 * 1024, /* of lines that wait */
    PROGRESS_MAX = 4096,         /* jobs whose progress waits */
    AWAY_PAUSE_MS = 200,         /* between attempts to reach PostgreSQL */
    STACK_BYTES = 256 * 1024,
    DB_LIMIT_S = 5, /* the end of the process waits for this thread */
};

struct entry {
    struct entry *next;
    struct job_log_line line;
    char text[]; /* of the line */
};

/* What was put down and is not written yet. */
struct sheet {
    struct entry *first;
    struct entry *last;
    size_t bytes;
    struct job_progress *progress; /* owned, `progress_size` elements */
    size_t progress_count;
    size_t progress_size;
};

struct journal {
    pthread_mutex_t lock;
    pthread_cond_t wake;    /* something is there, or somebody waits for it: wakes the thread */
    pthread_cond_t written; /* `written_number` has grown */
    struct sheet sheet;
    uint64_t number;         /* of what was put down last */
    uint64_t written_number; /* up to here it is written, or given up */
    uint64_t lost;           /* lines that found no room */
    bool is_urgent;          /* somebody waits */
    bool ends;
    bool has_thread;
    pthread_t thread;
    const char *database_url;
};

struct journal *journal_new(const char *database_url)
{
    struct journal *journal = mem_alloc(sizeof *journal);

    pthread_mutex_init(&journal->lock, NULL);
    clock_cond_init(&journal->wake);
    clock_cond_init(&journal->written);
    journal->database_url = database_url;
    return journal;
}

static void sheet_release(struct sheet *sheet)
{
    struct entry *next;

    for (struct entry *entry = sheet->first; entry; entry = next) {
        next = entry->next;
        mem_free(entry);
    }
    mem_free(sheet->progress);
    *sheet = (struct sheet){.first = NULL};
}

static bool is_empty(const struct sheet *sheet)
{
    return !sheet->first && sheet->progress_count == 0;
}

/* ---- the thread ---- */

static bool must_end(struct journal *journal)
{
    bool ends;

    pthread_mutex_lock(&journal->lock);
    ends = journal->ends;
    pthread_mutex_unlock(&journal->lock);
    return ends;
}

/* Writes up to JOB_LOGS_WRITE_MAX lines from `*at` and moves it on behind them. */
static enum err_code write_lines(struct db *db, const struct entry **at, struct err *e)
{
    struct job_log_line *lines = mem_array(JOB_LOGS_WRITE_MAX, sizeof *lines);
    const struct entry *entry = *at;
    size_t count = 0;
    enum err_code rc;

    for (; entry && count < JOB_LOGS_WRITE_MAX; entry = entry->next)
        lines[count++] = entry->line;
    rc = job_logs_write(db, lines, count, e);
    mem_free(lines);
    if (!rc)
        *at = entry;
    return rc;
}

/* However long PostgreSQL is away, until the process ends. Lines whose answer was lost may come
 * twice. */
static void write_sheet(struct journal *journal, struct db *db, const struct sheet *sheet)
{
    const struct timespec pause = clock_timespec(AWAY_PAUSE_MS * US_PER_MS);
    bool progress_left = sheet->progress_count > 0;
    const struct entry *at = sheet->first;

    while (progress_left || at) {
        struct err e = {0};
        enum err_code rc;

        if (progress_left) {
            rc = job_progress_write(db, sheet->progress, sheet->progress_count, &e);
            progress_left = rc != ERR_OK;
        } else {
            rc = write_lines(db, &at, &e);
        }
        if (!rc)
            continue;
        if (!err_is_transient(rc) || must_end(journal)) {
            log_warn("job_lines_lost", L_ERR(&e));
            return;
        }
        (void)nanosleep(&pause, NULL);
    }
}

/* Waits for something to write and takes it; false at the end. */
static bool take_sheet(struct journal *journal, struct sheet *ret_sheet, uint64_t *ret_number,
                       uint64_t *ret_lost)
{
    struct timespec until;

    pthread_mutex_lock(&journal->lock);
    while (is_empty(&journal->sheet) && !journal->ends)
        pthread_cond_wait(&journal->wake, &journal->lock);
    until = clock_timespec(clock_mono_us() + GATHER_MS * US_PER_MS);
    while (!journal->is_urgent && !journal->ends &&
           pthread_cond_timedwait(&journal->wake, &journal->lock, &until) == 0)
        ;
    *ret_sheet = journal->sheet;
    *ret_number = journal->number;
    *ret_lost = journal->lost;
    journal->sheet = (struct sheet){.first = NULL};
    journal->lost = 0;
    journal->is_urgent = false;
    pthread_mutex_unlock(&journal->lock);
    return !is_empty(ret_sheet);
}

static void note_written(struct journal *journal, uint64_t number)
{
    pthread_mutex_lock(&journal->lock);
    journal->written_number = number;
    pthread_cond_broadcast(&journal->written);
    pthread_mutex_unlock(&journal->lock);
}

static void *journal_main(void *context)
{
    struct journal *journal = context;
    AUTO(db_close) struct db *db = db_open(journal->database_url, "till-worker-journal");
    struct sheet sheet;
    uint64_t number;
    uint64_t lost;

    db_set_deadline(db, DB_LIMIT_S);
    while (take_sheet(journal, &sheet, &number, &lost)) {
        if (lost > 0)
            log_warn("job_lines_lost", L_INT("lines", lost));
        CRASH_POINT("journal.before");
        write_sheet(journal, db, &sheet);
        CRASH_POINT("journal.written");
        sheet_release(&sheet);
        note_written(journal, number);
    }
    return NULL;
}

/* The lock is held. */
static bool ensure_thread(struct journal *journal)
{
    pthread_attr_t attr;

    if (journal->has_thread)
        return true;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    journal->has_thread = pthread_create(&journal->thread, &attr, journal_main, journal) == 0;
    pthread_attr_destroy(&attr);
    return journal->has_thread;
}

/* ---- putting down ---- */

uint64_t journal_add_line(struct journal *journal, const struct job_log_line *line)
{
    size_t len = strlen(line->text);
    struct entry *entry;
    uint64_t number;

    pthread_mutex_lock(&journal->lock);
    number = journal->number;
    if (ensure_thread(journal) && journal->sheet.bytes + len <= BYTES_MAX) {
        entry = mem_alloc(sizeof *entry + len + 1);
        memcpy(entry->text, line->text, len + 1);
        entry->line = *line;
        entry->line.text = entry->text;
        if (is_empty(&journal->sheet))
            pthread_cond_signal(&journal->wake);
        *(journal->sheet.last ? &journal->sheet.last->next : &journal->sheet.first) = entry;
        journal->sheet.last = entry;
        journal->sheet.bytes += len + sizeof *entry;
        number = ++journal->number;
    } else {
        journal->lost++;
    }
    pthread_mutex_unlock(&journal->lock);
    return number;
}

/* Where the progress of the job waits, or belongs; NULL without room. The lock is held. */
static struct job_progress *find_progress(struct sheet *sheet, const struct uuid *job)
{
    for (size_t i = 0; i < sheet->progress_count; i++)
        if (strcmp(sheet->progress[i].job.text, job->text) == 0)
            return &sheet->progress[i];
    if (sheet->progress_count == PROGRESS_MAX)
        return NULL;
    if (sheet->progress_count == sheet->progress_size) {
        sheet->progress_size = sheet->progress_size ? 2 * sheet->progress_size : 16;
        sheet->progress =
            mem_resize(sheet->progress, sheet->progress_size * sizeof sheet->progress[0]);
    }
    return &sheet->progress[sheet->progress_count++];
}

uint64_t journal_set_progress(struct journal *journal, const struct job_progress *progress)
{
    struct job_progress *place = NULL;
    uint64_t number;
    bool was_empty;

    pthread_mutex_lock(&journal->lock);
    number = journal->number;
    was_empty = is_empty(&journal->sheet);
    if (ensure_thread(journal))
        place = find_progress(&journal->sheet, &progress->job);
    if (place) {
        *place = *progress;
        number = ++journal->number;
        if (was_empty)
            pthread_cond_signal(&journal->wake);
    }
    pthread_mutex_unlock(&journal->lock);
    return number;
}

void journal_flush(struct journal *journal, uint64_t number, int64_t timeout_us)
{
    struct timespec until = clock_timespec(clock_mono_us() + timeout_us);

    pthread_mutex_lock(&journal->lock);
    if (journal->written_number < number) {
        journal->is_urgent = true;
        pthread_cond_signal(&journal->wake);
    }
    while (journal->written_number < number &&
           pthread_cond_timedwait(&journal->written, &journal->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&journal->lock);
}

void journal_end(struct journal *journal, int64_t timeout_us)
{
    uint64_t number;
    bool has_thread;

    pthread_mutex_lock(&journal->lock);
    number = journal->number;
    has_thread = journal->has_thread;
    pthread_mutex_unlock(&journal->lock);
    journal_flush(journal, number, timeout_us);
    pthread_mutex_lock(&journal->lock);
    journal->ends = true;
    pthread_cond_signal(&journal->wake);
    pthread_mutex_unlock(&journal->lock);
    if (has_thread)
        (void)pthread_join(journal->thread, NULL);
    sheet_release(&journal->sheet);
    pthread_cond_destroy(&journal->wake);
    pthread_cond_destroy(&journal->written);
    pthread_mutex_destroy(&journal->lock);
    mem_free(journal);
}
