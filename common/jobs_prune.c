/* SPDX-License-Identifier: MIT
 *
 * Deleting what has been kept long enough; see jobs_prune.h. A pass goes through three kinds of
 * jobs: those with a retention of their own, dead ones, and then, task by task, the rest. No row of
 * the rest is in an index for this, since it would cost at each settlement: ids of version 7 sort
 * by time, so what is old stands at the beginning of its task's ids (jobs_task). From there a pass
 * walks to the ids of the time that is still kept, and on its way sees those that stay all the
 * same: the dead, and the few that were inserted long before they ran. Ids of other versions have
 * an index of their own (jobs_odd_id).
 */
#include "common/jobs_prune.h"

#include <stdio.h>

#include "common/flows.h"
#include "common/statements.h"

enum { PRUNE_OWN, PRUNE_DEAD, NEXT_TASK, PRUNE_TASK, PRUNE_ODD };

/* Of one call, in a step of each kind. */
enum { STEP_OWN, STEP_DEAD, STEP_NEXT_TASK, STEP_TASK, STEP_ODD };

#define LOCKED " FOR UPDATE SKIP LOCKED"
#define IS_KEPT_BY_TASK                                                                            \
    "finished_at IS NOT NULL AND retention_s IS NULL AND listed_state IS DISTINCT FROM 'FAILURE'"

/* $1 task, $2 seconds of the settings */
#define KEPT_UNTIL                                                                                 \
    "now() - interval '1 second' *"                                                                \
    " coalesce((SELECT t.retention_s FROM tasks t WHERE t.name = $1), $2::bigint)"

static const struct db_stmt statements[] = {
    [PRUNE_OWN] =
        {"jobs_prune_own",
         "DELETE FROM jobs WHERE id = ANY (ARRAY(SELECT id FROM jobs j"
         " WHERE finished_at IS NOT NULL AND retention_s IS NOT NULL"
         " AND " FLOWS_JOB_MAY_GO " AND " FLOWS_MAY_GO_EARLY(
             "$2") " AND listed_state IS DISTINCT FROM 'FAILURE'"
                   " AND (finished_at AT TIME ZONE 'UTC') + retention_s * interval '1 second'"
                   " <= now() AT TIME ZONE 'UTC'"
                   " ORDER BY (finished_at AT TIME ZONE 'UTC') + retention_s * interval '1 second'"
                   " LIMIT $1" LOCKED ")) AND " FLOWS_IS_OVER_NOW,
         2},
    [PRUNE_DEAD] = {"jobs_prune_dead",
                    "DELETE FROM jobs WHERE id = ANY (ARRAY(SELECT id FROM jobs j"
                    " WHERE listed_state = 'FAILURE' AND " FLOWS_JOB_MAY_GO
                    " AND finished_at <= now() - $2::bigint * interval '1 second'"
                    " AND (retention_s IS NULL"
                    "      OR finished_at <= now() - retention_s * interval '1 second')"
                    " ORDER BY finished_at LIMIT $1" LOCKED ")) AND " FLOWS_IS_OVER_NOW,
                    2},
    /* A loose index scan: one step a task, however many jobs it has. */
    [NEXT_TASK] = {"jobs_prune_next_task",
                   "SELECT task FROM jobs WHERE task > $1 ORDER BY task LIMIT 1", 1},
    /* Looks at $3 jobs behind id $4 and gives the last of them, and how many it has deleted. The
     * first 48 bits of an id are the milliseconds of its making. Pairs are compared, so that only
     * jobs_task can be walked: along the primary key the jobs of all tasks would be on the way. */
    [PRUNE_TASK] =
        {"jobs_prune_task",
         "WITH kept AS MATERIALIZED (SELECT " KEPT_UNTIL " AS until"
         "), seen AS MATERIALIZED ("
         " SELECT id, " IS_KEPT_BY_TASK " AND finished_at <= (SELECT until FROM kept)"
         " AND " FLOWS_MAY_AGE(
             "$5") " AS is_over"
                   " FROM jobs j WHERE (task, id) > ($1, $4::uuid) AND (task, id) < ($1, (SELECT "
                   "(lpad(to_hex("
                   "  (extract(epoch FROM until) * 1000)::bigint), 12, '0') || repeat('0', "
                   "20))::uuid"
                   "  FROM kept)) ORDER BY task, id LIMIT $3"
                   "), gone AS (DELETE FROM jobs WHERE id = ANY (ARRAY("
                   " SELECT id FROM jobs WHERE id = ANY (ARRAY(SELECT id FROM seen WHERE is_over))"
                   " AND " IS_KEPT_BY_TASK LOCKED ")) AND " FLOWS_IS_OVER_NOW " RETURNING id"
                   ") SELECT (SELECT count(*) FROM gone), (SELECT id FROM seen ORDER BY id DESC "
                   "LIMIT 1)",
         5},
    [PRUNE_ODD] =
        {"jobs_prune_odd",
         "DELETE FROM jobs WHERE id = ANY (ARRAY(SELECT id FROM jobs j"
         " WHERE task = $1 AND " IS_KEPT_BY_TASK " AND " FLOWS_MAY_AGE(
             "$4") " AND get_byte(uuid_send(id), 6) >> 4 <> 7 AND finished_at <= " KEPT_UNTIL
                   " ORDER BY finished_at LIMIT $3" LOCKED ")) AND " FLOWS_IS_OVER_NOW,
         4},
};

DB_STATEMENTS(jobs_prune, statements);

#define FIRST_ID "00000000-0000-0000-0000-000000000000"

/* A statement that deletes up to `max`; fewer: the step is over. */
static enum err_code delete_up_to(struct db *db, const struct db_stmt *stmt, struct db_args args,
                                  int max, int next_step, struct pruning *pruning, struct err *e)
{
    int64_t count = 0;
    enum err_code rc = db_exec(db, stmt, args, &count, e);

    if (rc)
        return rc;
    pruning->count += count;
    if (count < max)
        pruning->step = next_step;
    return ERR_OK;
}

static enum err_code next_task(struct db *db, struct pruning *pruning, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(db, &statements[NEXT_TASK], DB_ARGS(DB_TEXT(pruning->task)), &rows, e);

    if (rc)
        return rc;
    pruning->is_done = db_rows(rows) == 0;
    if (pruning->is_done)
        return ERR_OK;
    (void)snprintf(pruning->task, sizeof pruning->task, "%s", db_text(rows, 0, 0));
    pruning->after = (struct uuid){FIRST_ID};
    pruning->step = STEP_TASK;
    return ERR_OK;
}

static enum err_code prune_task(struct db *db, const struct retention *retention, int max,
                                struct pruning *pruning, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(db, &statements[PRUNE_TASK],
                 DB_ARGS(DB_TEXT(pruning->task), DB_INT(retention->finished_s), DB_INT(max),
                         DB_TEXT(pruning->after.text), DB_INT(retention->dead_s)),
                 &rows, e);

    if (rc)
        return rc;
    pruning->count += db_int(rows, 0, 0);
    if (!uuid_parse(db_text(rows, 0, 1), &pruning->after)) /* NULL: nothing is left to be seen */
        pruning->step = STEP_ODD;
    return ERR_OK;
}

enum err_code jobs_prune(struct db *db, const struct retention *retention, int max,
                         struct pruning *pruning, struct err *e)
{
    switch (pruning->step) {
    case STEP_OWN:
        return delete_up_to(db, &statements[PRUNE_OWN],
                            DB_ARGS(DB_INT(max), DB_INT(retention->dead_s)), max, STEP_DEAD,
                            pruning, e);
    case STEP_DEAD:
        return delete_up_to(db, &statements[PRUNE_DEAD],
                            DB_ARGS(DB_INT(max), DB_INT(retention->dead_s)), max, STEP_NEXT_TASK,
                            pruning, e);
    case STEP_NEXT_TASK:
        return next_task(db, pruning, e);
    case STEP_TASK:
        return prune_task(db, retention, max, pruning, e);
    default:
        return delete_up_to(db, &statements[PRUNE_ODD],
                            DB_ARGS(DB_TEXT(pruning->task), DB_INT(retention->finished_s),
                                    DB_INT(max), DB_INT(retention->dead_s)),
                            max, STEP_NEXT_TASK, pruning, e);
    }
}
