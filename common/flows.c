/* SPDX-License-Identifier: MIT
 *
 * Flows in the table: looked at, pruned; see flows.h. They are declared in flows_insert.c and
 * cancelled in flows_cancel.c; how they move on is written in sql/0012_flows.sql.
 */
#include "common/flows.h"

#include <inttypes.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/jobs_view.h"
#include "common/mem.h"
#include "common/redact.h"
#include "common/statements.h"

enum { INPUT, PRUNE, WAITS_FOR, WAITING, LIST, FIND, MEMBERS };

enum { FLOW_IDS_BYTES = 4 * 1024 * 1024 };

#define US(column) "(extract(epoch FROM " column ") * 1000000)::bigint"

/* Flows `f` with the counts of their jobs: one walk of jobs_flow each. */
#define WITH_COUNTS                                                                                \
    "SELECT f.id, f.name, f.outcome, f.total, " US("f.created_at") ", " US(                        \
        "f.finished_at") ", " US("f.cancelled_at") ", c.pending, c.started, c.retry, c.success, "  \
                                                   "c.failure, c.revoked,"                         \
                                                   " c.waiting FROM f LEFT JOIN LATERAL ("         \
                                                   "SELECT count(*) FILTER (WHERE state = "        \
                                                   "'PENDING') AS pending,"                        \
                                                   " count(*) FILTER (WHERE state = 'STARTED') "   \
                                                   "AS started,"                                   \
                                                   " count(*) FILTER (WHERE state = 'RETRY') AS "  \
                                                   "retry,"                                        \
                                                   " count(*) FILTER (WHERE state = 'SUCCESS') "   \
                                                   "AS success,"                                   \
                                                   " count(*) FILTER (WHERE state = 'FAILURE') "   \
                                                   "AS failure,"                                   \
                                                   " count(*) FILTER (WHERE state = 'REVOKED') "   \
                                                   "AS revoked,"                                   \
                                                   " count(*) FILTER (WHERE state = 'PENDING' "    \
                                                   "AND waits) AS waiting"                         \
                                                   " FROM jobs WHERE flow_id = f.id) c ON true "   \
                                                   "ORDER BY f.id DESC"

/* Whom job `d` waits for, in words. Who was stopped himself says by whom. */
#define WAITED_FOR                                                                                 \
    "(SELECT CASE WHEN starts_with(m.error, 'depends on job ')"                                    \
    "  AND m.state = 'REVOKED' THEN substr(m.error, 12)"                                           \
    "  ELSE format('job %s (%s), which %s', m.id, m.task, CASE m.state"                            \
    "   WHEN 'FAILURE' THEN 'failed' WHEN 'REVOKED' THEN 'was revoked'"                            \
    "   ELSE 'is not over' END) END"                                                               \
    " FROM jobs m WHERE m.flow_id = d.flow_id AND m.state <> 'SUCCESS'"                            \
    " AND m.flow_to = ANY (flow_gates_of(d.flow_id, d.flow_from))"                                 \
    " ORDER BY m.state = 'FAILURE' DESC, m.state = 'REVOKED' DESC, m.flow_step LIMIT 1)"

static const struct db_stmt statements[] = {
    /* Sizes are summed before the array is made. */
    [INPUT] =
        {"flows_input",
         "WITH asks AS MATERIALIZED (SELECT id, input_of FROM jobs WHERE id = $1"
         "), self AS MATERIALIZED (" /* by its id, not among all that are in flows */
         " SELECT flow_id, flow_from, flow_over FROM jobs"
         " WHERE id = (SELECT coalesce(input_of, id) FROM asks)"
         "), me AS ("
         " SELECT j.flow_id, j.flow_over, g.many, flow_gates_of(j.flow_id, j.flow_from) AS"
         " gates FROM self j JOIN flow_gates g ON g.flow_id = j.flow_id"
         " AND g.gate = j.flow_from"
         "), before AS MATERIALIZED ("
         " SELECT j.id, j.task, j.state, j.result, j.error, j.flow_step FROM me"
         " JOIN jobs j ON j.flow_id = me.flow_id AND j.flow_to = ANY (me.gates)"
         "), size AS ("
         " SELECT coalesce(sum(octet_length(result::text) + 1), 0) AS bytes, count(*) AS jobs,"
         " coalesce((SELECT sum(g.leads) FROM me JOIN flow_gates g ON g.flow_id = me.flow_id"
         "  AND g.gate = ANY (me.gates)), 1) AS leads FROM before"
         ") SELECT s.bytes, s.leads - s.jobs, s.leads, CASE WHEN s.bytes > $2::bigint THEN NULL"
         " WHEN me.flow_over THEN (SELECT jsonb_agg(jsonb_build_object('id', id, 'task', task,"
         " 'state', state, 'result', result, 'error', error) ORDER BY flow_step) FROM before)"
         " WHEN me.many THEN (SELECT jsonb_agg(result ORDER BY flow_step) FROM before)"
         " ELSE (SELECT result FROM before LIMIT 1) END FROM me, size s"
         " UNION ALL SELECT 0, 1, 0, NULL FROM asks"
         " WHERE input_of IS NOT NULL AND NOT EXISTS (SELECT FROM self)",
         2},
    [PRUNE] = {"flows_prune",
               "DELETE FROM flows WHERE id = ANY (ARRAY(SELECT f.id FROM flows f"
               " WHERE f.finished_at < to_timestamp($1::bigint / 1000000.0)"
               " AND NOT EXISTS (SELECT FROM jobs j WHERE j.flow_id = f.id)"
               " ORDER BY f.finished_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
               2},
    /* Not "d.waits", which would read all that wait. */
    [WAITS_FOR] = {"flows_waits_for",
                   "SELECT d.id, " WAITED_FOR " FROM jobs d"
                   " WHERE d.id = ANY ($1::uuid[]) AND coalesce(d.waits, false)"
                   " AND d.finished_at IS NULL",
                   1},
    [WAITING] = {"flows_waiting",
                 "SELECT id FROM jobs WHERE id = ANY ($1::uuid[])"
                 " AND coalesce(waits, false) AND finished_at IS NULL",
                 1},
    [LIST] = {"flows_list",
              "WITH f AS MATERIALIZED (SELECT * FROM flows WHERE id < $1::uuid"
              " AND (NOT $2::bool OR finished_at IS NULL) ORDER BY id DESC LIMIT $3) " WITH_COUNTS,
              3},
    [FIND] = {"flows_find",
              "WITH f AS MATERIALIZED (SELECT * FROM flows WHERE id = $1) " WITH_COUNTS, 1},
    /* For whom somebody waits is told where nothing else will come: its gate is over. */
    [MEMBERS] = {"flows_members",
                 "SELECT d.id, d.flow_step, d.task, d.queue, d.state, d.waits,"
                 " coalesce(d.flow_from, -1), d.flow_to, d.flow_over, d.attempt, d.max_attempts,"
                 " left(d.error, 4096), " US("d.started_at") ", " US(
                     "d.finished_at") ","
                                      " job_secrets(d.task) IS NOT NULL AND NOT (d.state = "
                                      "'REVOKED' AND starts_with(d.error, 'depends on job ')), "
                                      "CASE WHEN d.waits AND "
                                      "d.finished_at IS NULL"
                                      " AND (SELECT g.open = g.stopped FROM flow_gates g"
                                      "  WHERE g.flow_id = d.flow_id AND g.gate = d.flow_from) "
                                      "THEN " WAITED_FOR " END"
                                      " FROM jobs d WHERE d.flow_id = $1 AND d.flow_step > $2"
                                      " AND ($3::job_state IS NULL OR d.state = $3) ORDER BY "
                                      "d.flow_step LIMIT $4",
                 4},
};

DB_STATEMENTS(flows, statements);

/* ---- what came before ---- */

/* Why what came before a job cannot be given to it; ERR_OK when it can. */
static enum err_code judge_input(const struct db_result *rows, struct err *e)
{
    int64_t bytes = db_int(rows, 0, 0);
    int64_t gone = db_int(rows, 0, 1);
    int64_t jobs = db_int(rows, 0, 2);

    if (bytes > FLOW_INPUT_MAX)
        return err_set(e, ERR_INVALID,
                       "the results before this job are %" PRId64
                       " bytes, more than %d: let them be read from where they stand",
                       bytes, FLOW_INPUT_MAX);
    if (jobs == 0)
        return err_set(e, ERR_INVALID,
                       "the job that this is a copy of was deleted, and with it what it was given");
    if (gone > 0)
        return err_set(e, ERR_INVALID,
                       "of the %" PRId64 " jobs before this one %" PRId64
                       " were deleted, and with them what they gave: declare the flow anew",
                       jobs, gone);
    return ERR_OK;
}

enum err_code flows_input(struct db *db, const struct uuid *job, char **ret_json, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[INPUT],
                                DB_ARGS(DB_TEXT(job->text), DB_INT(FLOW_INPUT_MAX)), &rows, e);

    if (!rc && db_rows(rows) > 0)
        rc = judge_input(rows, e);
    if (rc)
        return rc;
    *ret_json = db_rows(rows) > 0 && !db_is_null(rows, 0, 3) ? mem_dup(db_text(rows, 0, 3)) : NULL;
    return ERR_OK;
}

/* ---- acting ---- */

enum err_code flows_prune(struct db *db, int64_t before_us, int max, int64_t *ret_count,
                          struct err *e)
{
    return db_exec(db, &statements[PRUNE], DB_ARGS(DB_INT(before_us), DB_INT(max)), ret_count, e);
}

/* A statement over ids. */
static enum err_code look_at(struct db *db, int statement, const struct uuid *ids, size_t count,
                             struct db_result **ret_rows, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf array;

    buf_init(&array, FLOW_IDS_BYTES);
    for (size_t i = 0; i < count; i++)
        db_array_add(&array, ids[i].text);
    db_array_end(&array);
    return db_query(db, &statements[statement], DB_ARGS(DB_TEXT(array.data)), ret_rows, e);
}

enum err_code flows_waits_for(struct db *db, const struct uuid *ids, size_t count,
                              struct db_result **ret_rows, struct err *e)
{
    return look_at(db, WAITS_FOR, ids, count, ret_rows, e);
}

static bool is_among(const struct db_result *rows, const struct uuid *id)
{
    for (int row = 0; row < db_rows(rows); row++)
        if (strcmp(db_text(rows, row, 0), id->text) == 0)
            return true;
    return false;
}

enum err_code flows_waiting_first(struct db *db, struct uuid *ids, size_t count, size_t *ret_first,
                                  struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO(mem_free) struct uuid *rest = mem_array(count + 1, sizeof rest[0]);
    enum err_code rc = look_at(db, WAITING, ids, count, &rows, e);
    size_t first = 0;

    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++) {
        if (is_among(rows, &ids[i]))
            ids[first++] = ids[i];
        else
            rest[i - first] = ids[i];
    }
    memcpy(ids + first, rest, (count - first) * sizeof ids[0]);
    *ret_first = first;
    return ERR_OK;
}

/* ---- looking ---- */

#define LAST_ID "ffffffff-ffff-ffff-ffff-ffffffffffff"

static const char *text_or_null(const struct db_result *rows, int row, int col)
{
    return db_is_null(rows, row, col) ? NULL : db_text(rows, row, col);
}

static void read_flow(const struct db_result *rows, int row, struct flow_view *ret_flow)
{
    struct flow_view flow = {
        .name = text_or_null(rows, row, 1),
        .total = db_int(rows, row, 3),
        .created_us = db_int(rows, row, 4),
        .finished_us = db_int(rows, row, 5),
        .cancelled_us = db_int(rows, row, 6),
        .counts = {[JOB_PENDING] = db_int(rows, row, 7),
                   [JOB_STARTED] = db_int(rows, row, 8),
                   [JOB_RETRY] = db_int(rows, row, 9),
                   [JOB_SUCCESS] = db_int(rows, row, 10),
                   [JOB_FAILURE] = db_int(rows, row, 11),
                   [JOB_REVOKED] = db_int(rows, row, 12)},
        .waiting = db_int(rows, row, 13),
    };

    (void)uuid_parse(db_text(rows, row, 0), &flow.id);
    flow.state = flow.counts[JOB_PENDING] < flow.total ? JOB_STARTED : JOB_PENDING;
    if (!db_is_null(rows, row, 2))
        (void)job_state_parse(db_text(rows, row, 2), &flow.state);
    *ret_flow = flow;
}

/* Takes the rows; `limit` of them are the page, and one more tells that there are more. */
static void fill_page(struct db_result **take_rows, int limit, struct flows_page *ret_page)
{
    struct flows_page page = {.rows = TAKE(*take_rows)};

    page.has_more = db_rows(page.rows) > limit;
    page.count = (size_t)(page.has_more ? limit : db_rows(page.rows));
    page.items = mem_array(page.count, sizeof page.items[0]);
    for (size_t i = 0; i < page.count; i++)
        read_flow(page.rows, (int)i, &page.items[i]);
    if (page.has_more)
        page.next = page.items[page.count - 1].id;
    *ret_page = page;
}

enum err_code flows_list(struct db *db, const struct flows_filter *filter,
                         struct flows_page *ret_page, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct uuid cursor = {LAST_ID};
    enum err_code rc;

    if (filter->cursor && *filter->cursor && !uuid_parse(filter->cursor, &cursor))
        return err_set(e, ERR_INVALID, "the place to go on after is no UUID");
    if (filter->limit < 1 || filter->limit > FLOWS_LIMIT_MAX)
        return err_set(e, ERR_INVALID, "a page has 1 to %d flows", FLOWS_LIMIT_MAX);
    rc = db_query(
        db, &statements[LIST],
        DB_ARGS(DB_TEXT(cursor.text), DB_BOOL(filter->open_only), DB_INT(filter->limit + 1)), &rows,
        e);
    if (!rc)
        fill_page(&rows, filter->limit, ret_page);
    return rc;
}

enum err_code flows_find(struct db *db, const struct uuid *id, struct flows_page *ret_page,
                         struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[FIND], DB_ARGS(DB_TEXT(id->text)), &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no flow %s", id->text);
    fill_page(&rows, 1, ret_page);
    return ERR_OK;
}

void flows_page_release(struct flows_page *page)
{
    mem_free(page->items);
    if (page->rows)
        db_result_free(page->rows);
    *page = (struct flows_page){0};
}

static void read_member(const struct db_result *rows, int row, struct flow_member *ret_member)
{
    struct flow_member member = {
        .step = db_int(rows, row, 1),
        .task = db_text(rows, row, 2),
        .queue = db_text(rows, row, 3),
        .waits = db_bool(rows, row, 5),
        .from = db_int(rows, row, 6),
        .to = db_int(rows, row, 7),
        .on_completion = db_bool(rows, row, 8),
        .attempt = (int)db_int(rows, row, 9),
        .max_attempts = (int)db_int(rows, row, 10),
        .error = !db_is_null(rows, row, 11) && db_bool(rows, row, 14)
                     ? REDACTED /* the job itself shows what may be seen of it */
                     : text_or_null(rows, row, 11),
        .started_us = db_int(rows, row, 12),
        .finished_us = db_int(rows, row, 13),
        .waits_for = text_or_null(rows, row, 15),
    };

    (void)uuid_parse(db_text(rows, row, 0), &member.id);
    (void)job_state_parse(db_text(rows, row, 4), &member.state);
    *ret_member = member;
}

enum err_code flows_members(struct db *db, const struct uuid *id, int64_t after, int state,
                            int limit, struct flow_members *ret_members, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    const char *name = state == JOBS_ANY_STATE ? NULL : job_state_name((enum job_state)state);
    struct flow_members members = {0};
    enum err_code rc;

    if (limit < 1 || limit > FLOW_MEMBERS_PAGE_MAX || after < 0 || after > INT32_MAX)
        return err_set(e, ERR_INVALID, "a page has 1 to %d members", FLOW_MEMBERS_PAGE_MAX);
    rc = db_query(db, &statements[MEMBERS],
                  DB_ARGS(DB_TEXT(id->text), DB_INT(after), DB_TEXT(name), DB_INT(limit + 1)),
                  &rows, e);
    if (rc)
        return rc;
    members.has_more = db_rows(rows) > limit;
    members.count = (size_t)(members.has_more ? limit : db_rows(rows));
    members.items = mem_array(members.count, sizeof members.items[0]);
    for (size_t i = 0; i < members.count; i++)
        read_member(rows, (int)i, &members.items[i]);
    members.rows = TAKE(rows);
    *ret_members = members;
    return ERR_OK;
}

void flow_members_release(struct flow_members *members)
{
    mem_free(members->items);
    if (members->rows)
        db_result_free(members->rows);
    *members = (struct flow_members){0};
}
