/* SPDX-License-Identifier: MIT
 *
 * Cancelling flows; see flows.h. It is no single transaction: who holds the flow's row may not wait
 * for its gates, which others hold who want the row next. So a cancel is begun by a mark in the
 * flow, which stops whatever waits, and goes on in batches; what its caller leaves undone the
 * scheduler does.
 */
#include "common/flows.h"

#include "common/statements.h"

enum { CANCEL, REVOKE, REVOKE_HELD_UP, BEGUN, LEFT };

static const struct db_stmt statements[] = {
    /* A flow that has lost jobs may be over while some that were retried are not. */
    [CANCEL] = {"flows_cancel",
                "UPDATE flows SET cancelled_at = coalesce(cancelled_at, now())"
                " WHERE id = $1 AND (finished_at IS NULL OR EXISTS (SELECT FROM jobs j"
                "  WHERE j.flow_id = $1 AND j.finished_at IS NULL))",
                1},
    /* Only what does not wait: the rest is stopped by the gates, which others may have locked. */
    [REVOKE] = {"flows_revoke",
                "WITH held AS ("
                " SELECT id, state, attempt, worker, started_at FROM jobs"
                " WHERE flow_id = $1 AND finished_at IS NULL AND waits IS NULL"
                " ORDER BY flow_step LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED"
                "), cut_off AS ("
                " INSERT INTO job_errors (job_id, attempt, worker, started_at, error)"
                " SELECT id, attempt, worker, started_at, 'revoked during this attempt'"
                " FROM held WHERE state = 'STARTED' ON CONFLICT DO NOTHING"
                "), told AS ("
                " SELECT pg_notify('till_control', 'revoked')"
                " FROM held WHERE state = 'STARTED' LIMIT 1"
                ") UPDATE jobs j SET state = 'REVOKED', finished_at = now(),"
                " error = 'its flow was cancelled' FROM held h"
                " WHERE j.id = h.id AND (SELECT count(*) FROM told) >= 0",
                2},
    /* And what was retried before its turn: its gate is over, and nothing else will turn it. Those
     * whose gate is over no more are counted when it turns, as any that is revoked while it waits.
     */
    [REVOKE_HELD_UP] = {"flows_revoke_held_up",
                        "UPDATE jobs SET state = 'REVOKED', finished_at = now(),"
                        " error = 'its flow was cancelled' WHERE id = ANY (ARRAY("
                        " SELECT j.id FROM jobs j JOIN flow_gates g ON g.flow_id = j.flow_id"
                        " AND g.gate = j.flow_from WHERE j.flow_id = $1 AND j.waits"
                        " AND j.finished_at IS NULL AND g.open = g.stopped"
                        " ORDER BY j.flow_step LIMIT $2 FOR NO KEY UPDATE OF j SKIP LOCKED))",
                        2},
    /* Who began it may still be at it. Nothing can be done for what others have locked. An EXISTS
     * may read the jobs of all flows. */
    [BEGUN] = {"flows_cancels_begun",
               "SELECT f.id FROM flows f WHERE f.finished_at IS NULL"
               " AND f.cancelled_at < now() - interval '10 seconds' AND (SELECT j.id FROM jobs j"
               "  WHERE j.flow_id = f.id AND j.finished_at IS NULL LIMIT 1) IS NOT NULL"
               " ORDER BY f.cancelled_at LIMIT $1",
               1},
    [LEFT] = {"flows_left", "SELECT count(*) FROM jobs WHERE flow_id = $1 AND finished_at IS NULL",
              1},
};

DB_STATEMENTS(flows_cancel, statements);

static enum err_code count_left(struct db *db, const struct uuid *id, int64_t *ret_left,
                                struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[LEFT], DB_ARGS(DB_TEXT(id->text)), &rows, e);

    if (!rc)
        *ret_left = db_int(rows, 0, 0);
    return rc;
}

/* Why a flow cannot be cancelled. */
static enum err_code refuse_cancel(struct db *db, const struct uuid *id, struct err *e)
{
    AUTO_VALUE(flows_page_release) struct flows_page page = {0};
    enum err_code rc = flows_find(db, id, &page, e);

    if (rc || page.count == 0)
        return rc;
    return err_set(e, ERR_CONFLICT, "flow %s is over: %s", id->text,
                   job_state_name(page.items->state));
}

static enum err_code revoke_some(struct db *db, const struct uuid *id, int max,
                                 int64_t *ret_revoked, struct err *e)
{
    struct db_args args = DB_ARGS(DB_TEXT(id->text), DB_INT(max));
    enum err_code rc = db_exec(db, &statements[REVOKE], args, ret_revoked, e);

    if (!rc && *ret_revoked == 0)
        rc = db_exec(db, &statements[REVOKE_HELD_UP], args, ret_revoked, e);
    return rc;
}

enum err_code flows_begin_cancel(struct db *db, const struct uuid *id, struct err *e)
{
    int64_t found = 0;
    enum err_code rc = db_exec(db, &statements[CANCEL], DB_ARGS(DB_TEXT(id->text)), &found, e);

    return rc || found > 0 ? rc : refuse_cancel(db, id, e);
}

enum err_code flows_go_on_cancelling(struct db *db, const struct uuid *id, int max,
                                     int64_t *ret_revoked, int64_t *ret_left, struct err *e)
{
    enum err_code rc = revoke_some(db, id, max, ret_revoked, e);

    return rc ? rc : count_left(db, id, ret_left, e);
}

enum err_code flows_finish_cancels(struct db *db, int max, int64_t *ret_revoked, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[BEGUN], DB_ARGS(DB_INT(max)), &rows, e);

    *ret_revoked = 0;
    for (int row = 0; !rc && row < db_rows(rows); row++) {
        struct uuid id;
        int64_t revoked = 0;

        (void)uuid_parse(db_text(rows, row, 0), &id);
        rc = revoke_some(db, &id, max, &revoked, e);
        *ret_revoked += revoked;
    }
    return rc;
}
