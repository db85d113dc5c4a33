/* SPDX-License-Identifier: MIT
 *
 * Flows: chains, groups with callbacks and what is made of them, declared in one transaction. All
 * their jobs are rows from the start and can be seen, revoked and tried again like any other; what
 * moves them on stands in sql/0012_flows.sql, in the transaction that ends a job.
 *
 *   rc = flows_insert(db, flow, &id, e);      in the transaction of the data that it belongs to
 *
 * The scheduler delivers what may run at once, as it does with all that follows.
 */
#ifndef COMMON_FLOWS_H
#define COMMON_FLOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/flow_spec.h"
#include "common/job.h"

/* `flow` as in flow_spec.h. ERR_INVALID names what is wrong with it and where; ERR_CONFLICT when an
 * id exists or a unique key is held. */
enum err_code flows_insert(struct db *db, const json_t *flow, struct uuid *ret_id,
                           struct err *e) MUST_CHECK;

/* What a job gets from those before it, as JSON of mem_alloc(): the result of the one before it in
 * a chain; behind a group, an array of the results of its members, in their order; for what runs on
 * completion, an array of {"id", "task", "state", "result", "error"}. NULL: nothing came before.
 * ERR_INVALID when the results are more than FLOW_INPUT_MAX bytes together, or some of them were
 * deleted (of a flow that had failed, before its dead job was retried). A copy of a member gets
 * what the original gets. */
enum err_code flows_input(struct db *db, const struct uuid *job, char **ret_json,
                          struct err *e) MUST_CHECK;

enum { FLOW_INPUT_MAX = 8 * 1024 * 1024 };

/* ---- acting ---- */

/* To cancel a flow: this stops whatever waits, as its turn comes. It is committed before the rest,
 * since who holds the flow's row may not wait for its gates. ERR_NOT_FOUND; ERR_CONFLICT when the
 * flow is over. */
enum err_code flows_begin_cancel(struct db *db, const struct uuid *id, struct err *e) MUST_CHECK;
/* Revokes what runs or is ready, at most `max` jobs a call; the last call stops what waits.
 * ret_left: how many there are still; call again while it is not 0. */
enum err_code flows_go_on_cancelling(struct db *db, const struct uuid *id, int max,
                                     int64_t *ret_revoked, int64_t *ret_left,
                                     struct err *e) MUST_CHECK;
/* The same for cancels that were begun some time ago and whose callers are gone: at most `max`
 * flows, and of each `max` jobs, a call; call again while any are revoked. */
enum err_code flows_finish_cancels(struct db *db, int max, int64_t *ret_revoked,
                                   struct err *e) MUST_CHECK;

/* For whoever deletes finished jobs: a condition for rows `j` (or others) of jobs, which is true
 * when no flow needs the row any more. And the flows of which nothing is left, at most `max`,
 * finished before `before_us`: call it after the jobs are gone. */
#define FLOWS_MAY_GO_OF(j)                                                                         \
    "(" j ".flow_id IS NULL OR NOT EXISTS (SELECT FROM flows f WHERE f.id = " j ".flow_id"         \
    " AND f.finished_at IS NULL))"
#define FLOWS_JOB_MAY_GO FLOWS_MAY_GO_OF("j")
/* The same for jobs that go by the time that they are kept: a flow that has failed goes on when its
 * dead job is retried, and needs the results then; so they are kept as long as that, `dead`. */
#define FLOWS_MAY_AGE(dead)                                                                        \
    "(j.flow_id IS NULL OR NOT EXISTS (SELECT FROM flows f WHERE f.id = j.flow_id"                 \
    " AND (f.finished_at IS NULL OR (f.outcome = 'FAILURE'"                                        \
    " AND f.finished_at > now() - " dead "::bigint * interval '1 second'))))"
/* And for jobs that go by a retention of their own: a step that was stopped before its turn has
 * given nothing that somebody could want kept short, and without it no flow could go on. */
#define FLOWS_MAY_GO_EARLY(dead)                                                                   \
    "(j.waits IS NULL OR NOT EXISTS (SELECT FROM flows f WHERE f.id = j.flow_id"                   \
    " AND f.finished_at > now() - " dead "::bigint * interval '1 second'))"
/* And, for the DELETE, of rows that are locked: somebody may have retried a member since the
 * statement began. */
#define FLOWS_IS_OVER_NOW "(flow_id IS NULL OR flow_is_over(flow_id))"
enum err_code flows_prune(struct db *db, int64_t before_us, int max, int64_t *ret_count,
                          struct err *e) MUST_CHECK;

/* A condition for rows `d` of jobs: jobs before it in its flow were deleted, and what they gave
 * with them. Of flows from before `leads`, any earlier job counts behind a group. */
#define FLOWS_INPUT_IS_GONE                                                                        \
    "EXISTS (SELECT FROM flow_gates g, LATERAL flow_gates_of(g.flow_id, g.gate) AS before"         \
    " WHERE g.flow_id = d.flow_id AND g.gate = d.flow_from"                                        \
    " AND CASE WHEN g.many AND g.leads IS NULL THEN d.flow_step - 1 > (SELECT count(*)"            \
    "  FROM jobs m WHERE m.flow_id = d.flow_id AND m.flow_step < d.flow_step)"                     \
    " ELSE coalesce((SELECT sum(l.leads) FROM flow_gates l WHERE l.flow_id = d.flow_id"            \
    "  AND l.gate = ANY (before)), 1) > (SELECT count(*) FROM jobs m"                              \
    "  WHERE m.flow_id = d.flow_id AND m.flow_to = ANY (before)) END)"

/* What the jobs among these wait for, that were retried before their turn: rows of (id, "job ...
 * (task), which failed"). */
enum err_code flows_waits_for(struct db *db, const struct uuid *ids, size_t count,
                              struct db_result **ret_rows, struct err *e) MUST_CHECK;

/* For whoever is to end these jobs: puts those that wait for others of their flow first, in the
 * order in which they are, and tells how many. They are ended in a transaction of their own: the
 * end of others waits for gates, and who holds a gate may be about to wake one that waits. */
enum err_code flows_waiting_first(struct db *db, struct uuid *ids, size_t count, size_t *ret_first,
                                  struct err *e) MUST_CHECK;

/* ---- looking ---- */

/* Texts are borrowed from the page or the view's own rows. Times are wall time, 0: not yet. */
struct flow_view {
    struct uuid id;
    const char *name; /* NULL: none */
    /* PENDING until the first job begins, STARTED until the last is over; then SUCCESS, FAILURE
     * (something did not succeed) or REVOKED (cancelled) */
    enum job_state state;
    int64_t total;                   /* jobs, as it was declared */
    int64_t counts[JOB_STATE_COUNT]; /* jobs that are there, by state */
    int64_t waiting;                 /* of PENDING: those that wait for others */
    int64_t created_us;
    int64_t finished_us;
    int64_t cancelled_us;
};

enum { FLOWS_LIMIT_MAX = 100, FLOW_MEMBERS_PAGE_MAX = 1000 };

struct flows_filter {
    bool open_only;     /* those that are not over */
    const char *cursor; /* `next` of the page before, or NULL */
    int limit;          /* 1 .. FLOWS_LIMIT_MAX */
};

struct flows_page {
    struct flow_view *items; /* owned; newest first */
    size_t count;
    bool has_more;
    struct uuid next;
    struct db_result *rows; /* owned */
};

enum err_code flows_list(struct db *db, const struct flows_filter *filter,
                         struct flows_page *ret_page, struct err *e) MUST_CHECK;
/* A page of one. ERR_NOT_FOUND when there is no such flow. */
enum err_code flows_find(struct db *db, const struct uuid *id, struct flows_page *ret_page,
                         struct err *e) MUST_CHECK;
void flows_page_release(struct flows_page *page);

struct flow_member {
    struct uuid id;
    int64_t step; /* place in the flow as declared, from 1 */
    const char *task;
    const char *queue;
    enum job_state state;
    bool waits;         /* for others of the flow */
    int64_t from;       /* gate that it comes from, -1: none */
    int64_t to;         /* gate that it leads to; 0 is the end */
    bool on_completion; /* runs however those before it end */
    int attempt;
    int max_attempts;
    const char *error; /* its beginning, or REDACTED when its task declares secrets, unless it tells
                        * who stopped it; NULL: none */
    int64_t started_us;
    int64_t finished_us;
    /* "job ... (task), which failed": retried before its turn, which comes when that one is
     * retried, too, and has succeeded; NULL: nothing holds it up */
    const char *waits_for;
};

struct flow_members {
    struct flow_member *items; /* owned; in the order of `step` */
    size_t count;
    bool has_more;          /* go on after the last item's step */
    struct db_result *rows; /* owned */
};

/* Members behind `after` (0: from the first), at most `limit`; of one state, or JOBS_ANY_STATE. */
enum err_code flows_members(struct db *db, const struct uuid *id, int64_t after, int state,
                            int limit, struct flow_members *ret_members, struct err *e) MUST_CHECK;
void flow_members_release(struct flow_members *members);

#endif
