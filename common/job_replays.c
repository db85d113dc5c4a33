/* SPDX-License-Identifier: MIT
 *
 * Running finished jobs again as new ones; see job_replays.h. The copies of a batch are made by one
 * statement, from the rows themselves: what nobody may see never leaves PostgreSQL.
 */
#include "common/job_replays.h"

#include <string.h>

#include "common/buf.h"
#include "common/job_params.h"
#include "common/mem.h"
#include "common/statements.h"

enum { ADD, MAKE, FIND, LIST, KIN };

enum { ARRAY_MAX = 4 * 1024 * 1024 };

/* As many attempts as the original may have, without those that a snooze has given it. */
#define ATTEMPTS "least(1000, greatest(1, j.max_attempts - coalesce(j.snoozes, 0)))"

/* Whose input in a flow a copy of job `j` gets. */
#define INPUT_OF "coalesce(j.input_of, CASE WHEN j.flow_from IS NOT NULL THEN j.id END)"

static const struct db_stmt statements[] = {
    [ADD] = {"job_replays_add",
             "WITH linked AS ("
             " INSERT INTO job_replays (job_id, parent_id, root_id, made_by)"
             " SELECT $1, $2::uuid,"
             " coalesce((SELECT root_id FROM job_replays WHERE job_id = $2::uuid), $2), $3"
             " RETURNING job_id"
             ") UPDATE jobs c SET input_of = " INPUT_OF " FROM linked l, jobs j"
             " WHERE c.id = l.job_id AND j.id = $2::uuid AND " INPUT_OF " IS NOT NULL",
             3},
    /* The links are made first: of two that give the same order at once the second waits for the
     * first, and then finds every job taken. */
    [MAKE] =
        {"job_replays_make",
         "WITH found AS ("
         " SELECT j.id, new_job_id() AS copy, CASE"
         " WHEN j.finished_at IS NULL THEN 'unfinished'"
         " WHEN j.payload IS NOT NULL THEN 'unreadable'"
         " WHEN EXISTS (SELECT FROM job_replays r WHERE r.batch = $2"
         "  AND (r.parent_id = j.id OR r.job_id = j.id)) THEN 'done' END AS why"
         " FROM jobs j WHERE j.id = ANY ($1::uuid[]) ORDER BY j.id"
         "), linked AS ("
         " INSERT INTO job_replays (job_id, parent_id, root_id, made_by, batch)"
         " SELECT f.copy, f.id, coalesce("
         "  (SELECT r.root_id FROM job_replays r WHERE r.job_id = f.id), f.id), $3, $2"
         " FROM found f WHERE f.why IS NULL ORDER BY f.id"
         " ON CONFLICT (batch, parent_id) WHERE batch IS NOT NULL DO NOTHING"
         " RETURNING job_id, parent_id"
         "), made AS ("
         " INSERT INTO jobs (id, task, queue, priority, args, kwargs, max_attempts, scheduled_at,"
         "  enqueued_at, headers, traceparent, retention_s, limit_key, input_of)"
         " SELECT l.job_id, j.task, j.queue, j.priority, j.args, j.kwargs, " ATTEMPTS ","
         "  now(), now(), j.headers, j.traceparent, j.retention_s, j.limit_key, " INPUT_OF
         " FROM linked l JOIN jobs j ON j.id = l.parent_id ORDER BY l.job_id"
         " RETURNING id, queue, priority"
         ") SELECT m.id, m.queue, m.priority, coalesce(f.why, 'done')"
         " FROM found f LEFT JOIN made m ON m.id = f.copy",
         3},
    [FIND] = {"job_replays_find",
              "SELECT parent_id, root_id, made_by FROM job_replays WHERE job_id = $1", 1},
    [LIST] = {"job_replays_list",
              "SELECT job_id FROM job_replays WHERE parent_id = $1"
              " ORDER BY made_at, job_id LIMIT 100",
              1},
    [KIN] = {"job_replays_kin",
             "SELECT job_id, parent_id, root_id, NULL FROM job_replays"
             " WHERE job_id = ANY ($1::uuid[])"
             " UNION ALL SELECT i, NULL, NULL, c.job_id FROM unnest($1::uuid[]) i,"
             " LATERAL (SELECT job_id FROM job_replays WHERE parent_id = i"
             " ORDER BY made_at, job_id LIMIT 100) c",
             1},
};

DB_STATEMENTS(job_replays, statements);

static const char *const skip_names[] = {
    [REPLAY_IS_GONE] = "gone",
    [REPLAY_IS_UNFINISHED] = "unfinished",
    [REPLAY_IS_UNREADABLE] = "unreadable",
    [REPLAY_IS_DONE] = "done",
};

const char *replay_skip_name(enum replay_skip why) { return skip_names[why]; }

enum err_code job_replays_add(struct db *db, const struct uuid *id, const struct uuid *parent,
                              const char *by, struct err *e)
{
    return db_exec(db, &statements[ADD],
                   DB_ARGS(DB_TEXT(id->text), DB_TEXT(parent->text), DB_TEXT(by)), NULL, e);
}

void replayed_release(struct replayed *of) { job_list_release(&of->ready); }

static void count_skip(struct replayed *of, const char *why)
{
    for (int i = 0; i < REPLAY_SKIP_COUNT; i++)
        of->skipped[i] += strcmp(why, skip_names[i]) == 0;
}

static void read_made(const struct db_result *rows, struct replayed *of)
{
    of->ready.items = mem_array((size_t)db_rows(rows) + 1, sizeof of->ready.items[0]);
    for (int row = 0; row < db_rows(rows); row++) {
        struct job_ready *job = &of->ready.items[of->ready.count];

        if (db_is_null(rows, row, 0)) {
            count_skip(of, db_text(rows, row, 3));
            continue;
        }
        (void)uuid_parse(db_text(rows, row, 0), &job->id);
        job_ready_set_queue(job, db_text(rows, row, 1));
        job->priority = (enum job_priority)db_int(rows, row, 2);
        job->is_ready = true;
        of->ready.count++;
    }
}

/* How many of the ids stand in the list before. */
static size_t count_repeated(const struct uuid *ids, size_t count)
{
    size_t repeated = 0;

    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(ids[i].text, ids[j].text) == 0) {
                repeated++;
                break;
            }
    return repeated;
}

enum err_code job_replays_make(struct db *db, const struct uuid *ids, size_t count,
                               const struct uuid *batch, const char *by,
                               struct replayed *ret_replayed, struct err *e)
{
    size_t repeated = count_repeated(ids, count);
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf array;
    struct replayed made = {0};
    enum err_code rc;

    buf_init(&array, ARRAY_MAX);
    for (size_t i = 0; i < count; i++)
        db_array_add(&array, ids[i].text);
    db_array_end(&array);
    rc = db_query(db, &statements[MAKE],
                  DB_ARGS(DB_TEXT(array.data), DB_TEXT(batch->text), DB_TEXT(by)), &rows, e);
    if (rc)
        return rc;
    read_made(rows, &made);
    made.skipped[REPLAY_IS_DONE] += repeated;
    made.skipped[REPLAY_IS_GONE] = count - repeated - (size_t)db_rows(rows);
    *ret_replayed = made;
    return ERR_OK;
}

enum err_code job_replays_find(struct db *db, const struct uuid *id, struct db_result **ret_rows,
                               struct err *e)
{
    return db_query(db, &statements[FIND], DB_ARGS(DB_TEXT(id->text)), ret_rows, e);
}

enum err_code job_replays_list(struct db *db, const struct uuid *id, struct db_result **ret_rows,
                               struct err *e)
{
    return db_query(db, &statements[LIST], DB_ARGS(DB_TEXT(id->text)), ret_rows, e);
}

enum err_code job_replays_kin(struct db *db, const char *ids, struct db_result **ret_rows,
                              struct err *e)
{
    return db_query(db, &statements[KIN], DB_ARGS(DB_TEXT(ids)), ret_rows, e);
}
