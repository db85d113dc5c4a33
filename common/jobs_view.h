/* SPDX-License-Identifier: MIT
 *
 * Looking at jobs: lists for the dashboard and `till task list`, one job with its failed attempts.
 * Reads only; changes nothing. Sums stand in jobs_figures.h, the JSON form in job_json.h.
 *
 * Lists are ordered by id, and ids of version 7 sort by time. Every list examines at most
 * JOBS_WINDOW rows of one index; when its filters have let too few of them through, and for words,
 * the rest is looked up in the index of job_index.h. A page that could not be filled even so says
 * it (`is_cut`), and its `next` goes on where this one stopped. So no filter costs more than some
 * milliseconds, at any number of rows.
 *
 * What waits for its time can be listed by that, and bounded by it (job_due.h).
 *
 * Words are looked for in what may be seen of a job (job_shown.h): no secret is found.
 *
 *   AUTO_VALUE(jobs_page_release) struct jobs_page page = {0};
 *   rc = jobs_list(db, &(struct jobs_filter){.state = JOBS_ANY_STATE, .limit = 50}, &page, e);
 */
#ifndef COMMON_JOBS_VIEW_H
#define COMMON_JOBS_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/job.h"
#include "common/job_search.h"
#include "common/secrets.h"

enum {
    JOBS_WINDOW = 20000,          /* rows that one list examines */
    JOBS_WINDOW_FIRST = 1000,     /* where the index of words goes on behind them */
    JOBS_WINDOW_SCATTERED = 3000, /* of a task or state, to sort or to filter further */
    JOBS_WINDOW_OLD = 10000,      /* between two times, to sort */
    JOBS_LIMIT_MAX = 1000,        /* jobs on one page */
    JOBS_PREVIEW_MAX = 4096,      /* bytes of args, kwargs, result and error in a list */
    JOBS_ANY_STATE = -1,
};

/* By anything but the id only the newest jobs are put in order: JOBS_WINDOW of them, of one task or
 * state JOBS_WINDOW_SCATTERED, of those that words have found as many as one search reads. */
enum jobs_order {
    JOBS_NEWEST_FIRST,
    JOBS_OLDEST_FIRST,
    JOBS_BY_NAME,
    JOBS_BY_NAME_DOWN,
    JOBS_BY_STATE,
    JOBS_BY_STATE_DOWN,
    JOBS_BY_STARTED,
    JOBS_BY_STARTED_DOWN,
    JOBS_BY_RUNTIME, /* what has none comes last, either way */
    JOBS_BY_RUNTIME_DOWN,
    JOBS_DUE_FIRST, /* only what waits for its time and for nothing else, the first due first */
};

/* For the sessions that list jobs (db_set_options), whose statements are made for one plan: an
 * index in the order of the list. A bitmap or a sort would read all that matches first, and one
 * generic plan would have to do for the rarest task and for the commonest. */
#define JOBS_VIEW_OPTIONS                                                                          \
    " -c enable_bitmapscan=off -c enable_seqscan=off -c enable_sort=off"                           \
    " -c plan_cache_mode=force_custom_plan"

/* Texts are borrowed; NULL or empty lets every job through. */
struct jobs_filter {
    int state; /* enum job_state or JOBS_ANY_STATE */
    const char *task;
    const char *queue;
    const char *worker;
    const char *text;                /* anywhere in the id; case does not matter */
    const struct job_search *search; /* NULL: none */
    int64_t created_from_us;         /* 0: open; inclusive */
    int64_t created_to_us;
    int64_t due_from_us; /* 0: open; with either the order is JOBS_DUE_FIRST */
    int64_t due_to_us;
    enum jobs_order order;
    const char *cursor; /* as jobs_cursor() made it of the page before */
    int offset;         /* up to JOBS_WINDOW - 1 */
    int limit;          /* 1 .. JOBS_LIMIT_MAX */
};

/* Puts a search into a filter, which borrows both: an id, or how one begins, is looked up as that.
 * ERR_INVALID: the text. */
enum err_code job_search_take(const char *text, struct job_search *search,
                              struct jobs_filter *filter, struct err *e) MUST_CHECK;
/* Takes an order by its name, NULL or empty for the newest first, and what the filter's cursor
 * means in it. ERR_INVALID says what is wrong. */
enum err_code jobs_filter_order(const char *name, struct jobs_filter *filter,
                                struct err *e) MUST_CHECK;

/* All texts are borrowed from the page or detail that holds the view. Times are wall time, 0: not
 * yet. Text that is NULL is absent, or longer than a list shows: then its size tells. */
struct job_view {
    struct uuid id;
    const char *task;
    const char *queue;
    enum job_priority priority;
    enum job_state state;
    int attempt;
    int max_attempts;
    const char *args;   /* JSON */
    const char *kwargs; /* JSON */
    const char *result; /* JSON */
    const char *error;
    const char *worker;
    const char *secrets;           /* JSON array: names of what nobody may see, or NULL */
    const struct secrets *in_long; /* what is secret in values that are not here, or NULL */
    int64_t shows_max;             /* bytes of a value that are shown */
    int64_t args_bytes;            /* of the JSON texts, shown or not */
    int64_t kwargs_bytes;
    int64_t result_bytes;
    int64_t created_us;
    int64_t scheduled_us; /* not before */
    int64_t enqueued_us;
    int64_t started_us;
    int64_t finished_us;
    int64_t failed_us;  /* end of the last attempt that failed */
    int64_t changed_us; /* the last of all these that has come to pass */
    int64_t expires_us; /* no attempt begins after it */
    const char
        *held_by; /* what it waits for but its time: "flow" (others of it), "limit"; or NULL */
    const char *limit_key;   /* NULL: none */
    const char *unique_key;  /* only in a detail, like all that follows */
    int64_t unique_until_us; /* when it gives the key up at the latest */
    const char *headers;     /* JSON */
    const char *traceparent;
    int64_t retention_s;   /* its own; 0: as its task declares */
    const char *flow;      /* id of the flow that it belongs to */
    int64_t flow_step;     /* its place there, from 1 */
    bool waits;            /* for others of its flow */
    const char *parked_on; /* the limit that it waits for, "task:x" or "key:x"; NULL: none */
    const char *delivery;  /* stream entry */
    const char *payload;   /* what could not be decoded, as printable ASCII */
};

struct jobs_page {
    struct job_view *items; /* owned */
    size_t count;
    bool has_more;
    bool is_cut;      /* JOBS_WINDOW ended before the page was full */
    struct uuid next; /* cursor of the next page, when has_more; see jobs_cursor() */
    bool is_by_due;   /* in JOBS_DUE_FIRST: with `next` goes the time it is due */
    int64_t next_due_us;
    int sorted_of;           /* as many rows at most were put in order; 0: all there are */
    struct db_result **rows; /* owned: the texts of the items */
    size_t rows_count;
    struct secrets **in_long; /* owned: of items with long values */
    size_t in_long_count;
};

enum err_code jobs_list(struct db *db, const struct jobs_filter *given, struct jobs_page *ret_page,
                        struct err *e) MUST_CHECK;
void jobs_page_release(struct jobs_page *page);

/* Where the next page begins: an id; with a time in JOBS_DUE_FIRST; the number of jobs before it in
 * an order of a window. Empty: there is none. */
enum { JOBS_CURSOR_SIZE = 64 };
void jobs_cursor(const struct jobs_filter *filter, const struct jobs_page *page,
                 char out[JOBS_CURSOR_SIZE]);
/* For jobs_view.c and job_find.c: the page owns the rows from here on. The first makes items of
 * them all. */
enum err_code jobs_page_take(struct jobs_page *page, struct db *db, struct db_result *rows,
                             struct err *e) MUST_CHECK;
void jobs_page_keep(struct jobs_page *page, struct db_result *rows);
/* An item of these rows as the page is to keep it: with the secrets of what is too long to be in
 * them. */
enum err_code jobs_page_read(struct jobs_page *page, struct db *db, const struct db_result *rows,
                             int row, struct job_view *ret_job, struct err *e) MUST_CHECK;

/* One attempt that did not end in success. */
struct job_failure {
    int attempt;
    const char *worker; /* NULL: none */
    int64_t started_us;
    int64_t failed_us;
    const char *error;
    const char *detail; /* NULL: none */
};

/* How far the job said it is. */
struct job_progress_view {
    int64_t done;
    int64_t total;    /* 0: not known */
    const char *text; /* NULL: it said nothing of it */
    int64_t updated_us;
};

struct job_detail {
    struct job_view job;
    int snoozes; /* attempts in which it put itself off */
    struct job_progress_view progress;
    const char *checkpoint; /* JSON; NULL: none */
    struct job_failure
        *failures; /* owned; oldest first, at most JOBS_FAILURES_MAX, the last ones */
    size_t failure_count;
    struct db_result *rows;         /* owned */
    struct db_result *failure_rows; /* owned */
};

enum { JOBS_FAILURES_MAX = 200 };

/* ERR_NOT_FOUND when there is no such job. */
enum err_code jobs_find(struct db *db, const struct uuid *id, struct job_detail *ret_detail,
                        struct err *e) MUST_CHECK;
void job_detail_release(struct job_detail *detail);

/* The detail of the last failed attempt of each of these jobs (an array of ids as db_array_add()
 * makes it) that has one: its place in the array from 0, the detail or null when it is longer than
 * JOBS_PREVIEW_MAX, its bytes. It is not redacted. */
enum err_code jobs_last_details(struct db *db, const char *ids, struct db_result **ret_rows,
                                struct err *e) MUST_CHECK;

#endif
