/* SPDX-License-Identifier: MIT
 *
 * The duties of the index of jobs; see job_index.h. Each writes what it does in one transaction:
 * a segment with the mark that it moves, the open jobs that it knows, the segments that it
 * replaces. So it may be ended at any time.
 */
#include "common/job_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/job_segment_new.h"
#include "common/job_segments.h"
#include "common/mem.h"
#include "common/statements.h"

enum { ARRAY_MAX = 4 * 1024 * 1024, OPEN_STEP = 20000 };
enum {
    LOCK,
    NEWEST,
    HAS_ENOUGH,
    MOVE,
    OPEN_ADD,
    OPEN_STEP_ROWS,
    OPEN_REMOVE,
    SMALL,
    SEGMENT_IDS,
    REPLACE,
    OLDEST_LOOK,
    LOOKED,
    MISSED,
    FORGET,
};

#define OLDER(xid)                                                                                 \
    " EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"                     \
    " AND pid <> pg_backend_pid() AND age(backend_xid) > age(" xid "::xid8::xid))"

static const struct db_stmt statements[] = {
    /* Any number that nobody else takes: "till" in ASCII, and 21 as in sql/0021_search.sql. */
    [LOCK] = {"job_index_lock", "SELECT pg_try_advisory_lock(1953066092, 21)", 0},
    /* The mark, the time, the number that the next transaction will get, and whether one that is
     * older than that, or older than $1, is still writing here. Every role may see the numbers of
     * transactions, but not when they began. */
    [NEWEST] = {"job_index_newest",
                "SELECT passed, (extract(epoch FROM now()) * 1000)::bigint, next.xid," OLDER(
                    "next.xid") "," OLDER("$1") " FROM job_search_mark, (SELECT"
                                                " pg_snapshot_xmax(pg_current_snapshot())::text"
                                                " AS xid) next",
                1},
    [HAS_ENOUGH] = {"job_index_has_enough",
                    "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE id > $1 AND id <= $2"
                    " ORDER BY id LIMIT $3) x",
                    3},
    [MOVE] = {"job_index_move",
              "UPDATE job_search_mark SET passed = $2 WHERE passed = $1 RETURNING true", 2},
    [OPEN_ADD] = {"job_index_open_add",
                  "INSERT INTO job_search_open (job_id) SELECT unnest($1::uuid[])"
                  " ON CONFLICT DO NOTHING",
                  1},
    [OPEN_STEP_ROWS] = {"job_index_open_step",
                        "SELECT o.job_id, j.id IS NULL OR j.finished_at IS NOT NULL, o.turn"
                        " FROM (SELECT * FROM job_search_open WHERE job_id > $1"
                        " ORDER BY job_id LIMIT $2) o LEFT JOIN jobs j ON j.id = o.job_id"
                        " ORDER BY o.job_id",
                        2},
    /* A row that somebody has locked, who just lets its job run again, is skipped: he may be
     * waiting for us. */
    [OPEN_REMOVE] = {"job_index_open_remove",
                     "DELETE FROM job_search_open WHERE job_id IN (SELECT o.job_id"
                     " FROM job_search_open o JOIN unnest($1::uuid[], $2::bigint[]) AS x(id, turn)"
                     " ON o.job_id = x.id AND o.turn = x.turn FOR UPDATE OF o SKIP LOCKED)",
                     2},
    [SMALL] = {"job_index_small",
               "SELECT id, jobs FROM job_segments WHERE replaced_at IS NULL AND is_late = $1"
               " AND jobs < $2 ORDER BY last_id LIMIT 16",
               2},
    [SEGMENT_IDS] = {"job_index_segment_ids",
                     "SELECT encode(substring(ids FROM place * 16 + 1 FOR 16), 'hex')::uuid AS id"
                     " FROM job_segments, generate_series(0, jobs - 1) place"
                     " WHERE job_segments.id = ANY ($1::bigint[]) ORDER BY 1",
                     1},
    [REPLACE] = {"job_index_replace",
                 "UPDATE job_segments SET replaced_at = now() WHERE id = ANY ($1::bigint[])", 1},
    [OLDEST_LOOK] = {"job_index_oldest_look",
                     "SELECT id, jobs, is_late, coalesce((SELECT b.last_id FROM job_segments b"
                     "  WHERE b.replaced_at IS NULL AND NOT b.is_late AND b.last_id < s.first_id"
                     "  ORDER BY b.last_id DESC LIMIT 1), '00000000-0000-0000-0000-000000000000'),"
                     " last_id FROM job_segments s WHERE replaced_at IS NULL"
                     " AND looked_at + least(interval '1 second' * $1,"
                     "  greatest(interval '1 second' * $2, (looked_at - made_at) * 3)) < now()"
                     " ORDER BY looked_at LIMIT 1",
                     2},
    [LOOKED] = {"job_index_looked",
                "UPDATE job_segments SET looked_at = now() WHERE id = $1"
                " RETURNING (SELECT count(*) FROM jobs WHERE id = ANY (ARRAY("
                "  SELECT encode(substring(ids FROM place * 16 + 1 FOR 16), 'hex')::uuid"
                "  FROM generate_series(0, jobs - 1) place)))",
                1},
    /* Jobs with ids behind $1 and up to $2 that no segment has; a negative turn says so. */
    [MISSED] =
        {"job_index_missed",
         "WITH known AS MATERIALIZED ("
         "SELECT encode(substring(ids FROM place * 16 + 1 FOR 16), 'hex')::uuid AS id"
         " FROM job_segments, generate_series(job_place(ids, jobs, $1),"
         "  least(job_place(ids, jobs, $2), jobs - 1)) place"
         " WHERE replaced_at IS NULL AND last_id > $1 AND first_id <= $2)"
         " INSERT INTO job_search_open (job_id, turn) SELECT id, -1 FROM jobs j"
         " WHERE id > $1 AND id <= $2 AND NOT EXISTS (SELECT FROM known WHERE known.id = j.id)"
         " ON CONFLICT DO NOTHING",
         2},
    /* Whoever reads a segment that was replaced has a minute for it. */
    [FORGET] = {"job_index_forget",
                "WITH gone AS (DELETE FROM job_segments WHERE replaced_at < now() -"
                " interval '1 minute' RETURNING id)"
                " DELETE FROM job_grams WHERE segment IN (SELECT id FROM gone)",
                0},
};

DB_STATEMENTS(job_index, statements);

enum err_code job_index_lead(struct job_index *index, bool *ret_leads, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(index->db, &statements[LOCK], DB_NO_ARGS, &rows, e);

    if (rc)
        return rc;
    *ret_leads = db_bool(rows, 0, 0);
    return ERR_OK;
}

static enum err_code run_on_ids(struct db *db, int statement, const struct uuid *ids, size_t count,
                                struct err *e)
{
    AUTO_VALUE(buf_release) struct buf array;

    buf_init(&array, ARRAY_MAX);
    if (count == 0)
        return ERR_OK;
    for (size_t i = 0; i < count; i++)
        db_array_add(&array, ids[i].text);
    db_array_end(&array);
    return db_exec(db, &statements[statement], DB_ARGS(DB_TEXT(array.data)), NULL, e);
}

/* ---- new jobs ---- */

/* Who is writing at a moment, the barrier, has to end before what was made by then counts as all
 * there is; a moment without anybody needs no waiting. Gives when that was; 0: not known yet. */
static int64_t move_barrier(struct job_index *index, const struct db_result *rows)
{
    int64_t now_ms = db_int(rows, 0, 1);
    int64_t sure_ms = index->barrier_ms;

    if (!db_bool(rows, 0, 3)) { /* nobody writes */
        index->barrier_ms = 0;
        return now_ms;
    }
    if (index->barrier_ms && db_bool(rows, 0, 4))
        return 0;
    index->barrier_ms = now_ms;
    (void)snprintf(index->barrier_xid, sizeof index->barrier_xid, "%s", db_text(rows, 0, 2));
    return sure_ms;
}

/* No job appears before this id any more: ids begin with their milliseconds. */
static enum err_code find_end(struct job_index *index, struct uuid *ret_mark,
                              struct uuid *ret_until, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    int64_t sure_ms;
    int64_t least_ms;
    enum err_code rc =
        db_query(index->db, &statements[NEWEST],
                 DB_ARGS(DB_TEXT(index->barrier_ms ? index->barrier_xid : NULL)), &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) != 1 || !uuid_parse(db_text(rows, 0, 0), ret_mark))
        return err_set(e, ERR_INTERNAL, "job_search_mark has lost its row");
    least_ms = db_int(rows, 0, 1) - JOB_INDEX_WAIT_S * INT64_C(1000);
    sure_ms = move_barrier(index, rows);
    *ret_until = uuid_least_of((sure_ms > least_ms ? sure_ms : least_ms) -
                               JOB_INDEX_SLACK_S * INT64_C(1000));
    return ERR_OK;
}

static enum err_code write_new(struct job_index *index, struct segment_new *segment,
                               const struct uuid *mark, struct err *e)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    AUTO(db_result_free) struct db_result *moved = NULL;
    const struct uuid *last = &segment->ids[segment->count - 1];
    enum err_code rc = db_begin(index->db, &tx, e);

    if (!rc)
        rc = db_query(index->db, &statements[MOVE],
                      DB_ARGS(DB_TEXT(mark->text), DB_TEXT(last->text)), &moved, e);
    if (!rc && db_rows(moved) != 1)
        return err_set(e, ERR_CONFLICT, "somebody else makes the index");
    if (!rc)
        rc = segment_new_write(segment, index->db, false, e);
    if (!rc)
        rc = run_on_ids(index->db, OPEN_ADD, segment->open, segment->open_count, e);
    return rc ? rc : db_commit(&tx, e);
}

static enum err_code read_new(struct job_index *index, bool *ret_did, struct err *e)
{
    AUTO(db_result_free) struct db_result *enough = NULL;
    AUTO_VALUE(segment_new_release) struct segment_new segment = {0};
    struct uuid mark;
    struct uuid until;
    enum err_code rc = find_end(index, &mark, &until, e);

    if (rc)
        return rc;
    rc = db_query(index->db, &statements[HAS_ENOUGH],
                  DB_ARGS(DB_TEXT(mark.text), DB_TEXT(until.text), DB_INT(JOB_INDEX_MIN)), &enough,
                  e);
    if (rc || db_int(enough, 0, 0) < JOB_INDEX_MIN)
        return rc;
    segment_new_init(&segment);
    rc = segment_new_read_range(&segment, index->db, &mark, &until, e);
    if (!rc && segment.count > 0)
        rc = write_new(index, &segment, &mark, e);
    if (rc)
        return rc;
    index->count += (int64_t)segment.count;
    *ret_did = true;
    return ERR_OK;
}

/* ---- jobs that ended late ---- */

/* `ids` and `turns` are arrays of those that have ended. One that has begun again meanwhile has
 * another turn, and stays. */
static enum err_code write_late(struct job_index *index, struct segment_new *segment,
                                const struct buf *ids, const struct buf *turns, struct err *e)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    enum err_code rc = db_begin(index->db, &tx, e);

    if (!rc)
        rc = segment_new_write(segment, index->db, true, e);
    if (!rc)
        rc = db_exec(index->db, &statements[OPEN_REMOVE],
                     DB_ARGS(DB_TEXT(ids->data), DB_TEXT(turns->data)), NULL, e);
    return rc ? rc : db_commit(&tx, e);
}

/* The next open jobs: those that have ended, each in all three lists. */
static enum err_code step_open(struct job_index *index, struct found_ids *ended, struct buf *ids,
                               struct buf *turns, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc;

    if (!*index->open_after.text)
        index->open_after = (struct uuid){UUID_FIRST};
    rc = db_query(index->db, &statements[OPEN_STEP_ROWS],
                  DB_ARGS(DB_TEXT(index->open_after.text), DB_INT(OPEN_STEP)), &rows, e);
    if (rc)
        return rc;
    ended->items = mem_array((size_t)db_rows(rows) + 1, sizeof ended->items[0]);
    for (int row = 0; row < db_rows(rows); row++) {
        (void)uuid_parse(db_text(rows, row, 0), &index->open_after);
        if (!db_bool(rows, row, 1))
            continue;
        ended->items[ended->count++] = index->open_after;
        db_array_add(ids, db_text(rows, row, 0));
        db_array_add(turns, db_text(rows, row, 2));
    }
    if (db_rows(rows) < OPEN_STEP) {
        index->open_after = (struct uuid){UUID_FIRST};
        index->open_at_us = clock_mono_us() + JOB_INDEX_OPEN_S * US_PER_S;
    }
    return ERR_OK;
}

static enum err_code read_late(struct job_index *index, bool *ret_did, struct err *e)
{
    AUTO_VALUE(segment_new_release) struct segment_new segment = {0};
    AUTO_VALUE(found_ids_release) struct found_ids ended = {0};
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf turns;
    enum err_code rc;

    buf_init(&ids, ARRAY_MAX);
    buf_init(&turns, ARRAY_MAX);
    if (clock_mono_us() < index->open_at_us)
        return ERR_OK;
    rc = step_open(index, &ended, &ids, &turns, e);
    if (rc || ended.count == 0)
        return rc;
    db_array_end(&ids);
    db_array_end(&turns);
    segment_new_init(&segment);
    rc = segment_new_read_ids(&segment, index->db, ended.items, ended.count, e);
    if (!rc)
        rc = write_late(index, &segment, &ids, &turns, e);
    index->count += (int64_t)segment.count;
    *ret_did = !rc;
    return rc;
}

/* ---- replacing segments ---- */

static enum err_code replace(struct job_index *index, const char *segments, bool is_late,
                             struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(segment_new_release) struct segment_new segment = {0};
    AUTO_VALUE(found_ids_release) struct found_ids ids = {0};
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    enum err_code rc =
        db_query(index->db, &statements[SEGMENT_IDS], DB_ARGS(DB_TEXT(segments)), &rows, e);

    if (rc)
        return rc;
    ids.items = mem_array((size_t)db_rows(rows) + 1, sizeof ids.items[0]);
    for (int row = 0; row < db_rows(rows); row++)
        if (uuid_parse(db_text(rows, row, 0), &ids.items[ids.count]))
            ids.count++;
    found_ids_sort(&ids, true);
    segment_new_init(&segment);
    rc = segment_new_read_ids(&segment, index->db, ids.items, ids.count, e);
    if (!rc)
        rc = db_begin(index->db, &tx, e);
    if (!rc)
        rc = segment_new_write(&segment, index->db, is_late, e);
    if (!rc)
        rc = db_exec(index->db, &statements[REPLACE], DB_ARGS(DB_TEXT(segments)), NULL, e);
    /* Those that are not finished stand among the open ones since they were read first. */
    return rc ? rc : db_commit(&tx, e);
}

static enum err_code merge(struct job_index *index, bool is_late, bool *ret_did, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf segments;
    int64_t jobs = 0;
    int count = 0;
    enum err_code rc = db_query(index->db, &statements[SMALL],
                                DB_ARGS(DB_BOOL(is_late), DB_INT(JOB_INDEX_SMALL)), &rows, e);

    buf_init(&segments, ARRAY_MAX);
    if (rc || db_rows(rows) < JOB_INDEX_MERGED)
        return rc;
    for (; count < db_rows(rows); count++) {
        jobs += db_int(rows, count, 1);
        if (jobs > JOB_SEGMENT_MAX)
            break;
        db_array_add(&segments, db_text(rows, count, 0));
    }
    db_array_end(&segments);
    rc = replace(index, segments.data, is_late, e);
    *ret_did = !rc;
    return rc;
}

/* Jobs are pruned in time, and segments that have lost half of theirs with them. Others have come
 * late, with ids that had been passed. */
static enum err_code look(struct job_index *index, bool *ret_did, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO(db_result_free) struct db_result *left = NULL;
    AUTO_VALUE(buf_release) struct buf segment;
    enum err_code rc =
        db_query(index->db, &statements[OLDEST_LOOK],
                 DB_ARGS(DB_INT(JOB_INDEX_LOOK_S), DB_INT(JOB_INDEX_YOUNG_S)), &rows, e);

    buf_init(&segment, ARRAY_MAX);
    if (rc || db_rows(rows) == 0)
        return rc;
    if (!db_bool(rows, 0, 2))
        rc = db_exec(index->db, &statements[MISSED],
                     DB_ARGS(DB_TEXT(db_text(rows, 0, 3)), DB_TEXT(db_text(rows, 0, 4))), NULL, e);
    if (!rc)
        rc =
            db_query(index->db, &statements[LOOKED], DB_ARGS(DB_INT(db_int(rows, 0, 0))), &left, e);
    *ret_did = !rc;
    if (rc || db_rows(left) == 0 || db_int(left, 0, 0) * 2 > db_int(rows, 0, 1))
        return rc;
    db_array_add(&segment, db_text(rows, 0, 0));
    db_array_end(&segment);
    return replace(index, segment.data, db_bool(rows, 0, 2), e);
}

enum err_code job_index_step(struct job_index *index, bool *ret_has_more, struct err *e)
{
    bool did = false;
    enum err_code rc = read_new(index, &did, e);

    if (!rc && !did)
        rc = read_late(index, &did, e);
    if (!rc && !did)
        rc = merge(index, false, &did, e);
    if (!rc && !did)
        rc = merge(index, true, &did, e);
    if (!rc && !did)
        rc = look(index, &did, e);
    if (!rc)
        rc = db_exec(index->db, &statements[FORGET], DB_NO_ARGS, NULL, e);
    *ret_has_more = did;
    return rc;
}
