/* SPDX-License-Identifier: MIT
 *
 * Counting the dead; see dead_groups.h. A piece is a power of two of seconds, so that its bounds
 * stay where they are while the window moves on. What is read of a piece is kept only if it agrees
 * with what the index said of it a moment before: somebody may have died or been revived meanwhile.
 */
#include "common/dead_groups.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/statements.h"

enum { PIECES, READ };
enum { ARRAY_MAX = 1024 * 1024 };

#define OF_QUEUE SQL_DEAD " AND ($1::text IS NULL OR queue = $1)"
_Static_assert(DEAD_WINDOW == 20000, "PIECES has it as text");
#define US(interval) "(extract(epoch FROM " interval ") * 1000000)::bigint"
#define FROM_US US("min(finished_at)")
#define TO_US US("max(finished_at)")
#define SUM_US US("sum(finished_at - begins) - count(*) * (min(finished_at) - begins)")

#define FROM "to_timestamp(from_us / 1000000.0)"
#define TO "to_timestamp(to_us / 1000000.0)"
#define READ_US US("sum(finished_at - " FROM ")")
#define FIRST SQL_TIME("min(finished_at)")
#define LAST SQL_TIME("max(finished_at)")

static const struct db_stmt statements[] = {
    /* Some hundred pieces, by the index alone. */
    [PIECES] = {"dead_pieces",
                "WITH d AS MATERIALIZED (SELECT finished_at FROM jobs WHERE " OF_QUEUE
                " ORDER BY finished_at DESC LIMIT 20000), w AS MATERIALIZED"
                " (SELECT make_interval(secs => power(2, ceil(ln(greatest(1, extract(epoch FROM"
                " max(finished_at) - min(finished_at))::float8 / 128)) / ln(2)))) AS width FROM d)"
                " SELECT " FROM_US ", " TO_US ", count(*), " SUM_US
                " FROM (SELECT finished_at, date_bin(width, finished_at, '1970-01-01Z') AS begins"
                " FROM d, w) b GROUP BY begins ORDER BY 1",
                1},
    [READ] = {"dead_pieces_read",
              "SELECT number - 1, g.* FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY"
              " AS p(from_us, to_us, number) CROSS JOIN LATERAL (SELECT task, reason, count(*),"
              " " READ_US ", " FIRST ", " LAST ", (array_agg(id ORDER BY finished_at DESC))[1],"
              " (array_agg(queue ORDER BY finished_at DESC))[1],"
              " (array_agg(line ORDER BY finished_at DESC))[1]"
              " FROM (SELECT id, task, queue, finished_at, " SQL_DEAD_LINE
              " AS line, " SQL_DEAD_REASON " AS reason FROM jobs"
              " WHERE " OF_QUEUE " AND finished_at >= " FROM " AND finished_at <= " TO
              " OFFSET 0) d GROUP BY task, reason) g",
              3},
};

DB_STATEMENTS(dead_groups, statements);

/* ---- pieces ---- */

static void group_release(struct dead_group *group)
{
    mem_free(group->task);
    mem_free(group->reason);
    mem_free(group->queue);
    mem_free(group->line);
}

static void piece_release(struct dead_piece *piece)
{
    for (size_t i = 0; i < piece->group_count; i++)
        group_release(&piece->groups[i]);
    mem_free(piece->groups);
    *piece = (struct dead_piece){0};
}

void dead_pieces_release(struct dead_pieces *pieces)
{
    for (size_t i = 0; i < pieces->count; i++)
        piece_release(&pieces->items[i]);
    mem_free(pieces->items);
    *pieces = (struct dead_pieces){0};
}

size_t dead_pieces_count(const struct dead_pieces *pieces)
{
    size_t count = 0;

    for (size_t i = 0; i < pieces->count; i++)
        count += pieces->items[i].group_count;
    return count;
}

static bool is_same(const struct dead_piece *a, const struct dead_piece *b)
{
    return a->from_us == b->from_us && a->to_us == b->to_us && a->count == b->count &&
           a->sum_us == b->sum_us;
}

/* The pieces that there are now, with what is known of those that are as they were. */
static struct dead_pieces take_known(struct dead_pieces *known, const struct db_result *rows)
{
    size_t count = (size_t)db_rows(rows);
    struct dead_pieces now = {.items = mem_array(count + 1, sizeof now.items[0]), .count = count};
    size_t k = 0;

    for (size_t i = 0; i < count; i++) { /* both ascend */
        struct dead_piece *piece = &now.items[i];

        *piece = (struct dead_piece){
            .from_us = db_int(rows, (int)i, 0),
            .to_us = db_int(rows, (int)i, 1),
            .count = db_int(rows, (int)i, 2),
            .sum_us = db_int(rows, (int)i, 3),
        };
        while (k < known->count && known->items[k].from_us < piece->from_us)
            k++;
        if (k < known->count && known->items[k].is_read && is_same(&known->items[k], piece)) {
            *piece = known->items[k];
            known->items[k] = (struct dead_piece){.from_us = piece->from_us};
        }
    }
    return now;
}

/* ---- reading ---- */

static void add_row(struct dead_piece *piece, const struct db_result *rows, int row)
{
    struct dead_group group = {
        .task = mem_dup(db_text(rows, row, 1)),
        .reason = mem_dup(db_text(rows, row, 2)),
        .count = db_int(rows, row, 3),
        .queue = mem_dup(db_text(rows, row, 8)),
        .line = mem_dup(db_text(rows, row, 9)),
    };

    (void)snprintf(group.first, sizeof group.first, "%s", db_text(rows, row, 5));
    (void)snprintf(group.last, sizeof group.last, "%s", db_text(rows, row, 6));
    (void)uuid_parse(db_text(rows, row, 7), &group.last_id);
    piece->groups = mem_resize(piece->groups, (piece->group_count + 1) * sizeof piece->groups[0]);
    piece->groups[piece->group_count++] = group;
}

static void take_rows(struct dead_piece **pieces, size_t count, const struct db_result *rows)
{
    AUTO(mem_free) int64_t *left = mem_array(count, sizeof *left);
    AUTO(mem_free) int64_t *left_us = mem_array(count, sizeof *left_us);

    for (size_t i = 0; i < count; i++) {
        left[i] = pieces[i]->count;
        left_us[i] = pieces[i]->sum_us;
    }
    for (int row = 0; row < db_rows(rows); row++) {
        size_t i = (size_t)db_int(rows, row, 0);

        add_row(pieces[i], rows, row);
        left[i] -= db_int(rows, row, 3);
        left_us[i] -= db_int(rows, row, 4);
    }
    for (size_t i = 0; i < count; i++)
        pieces[i]->is_read = left[i] == 0 && left_us[i] == 0;
}

static enum err_code read_others(struct dead_pieces *pieces, struct db *db, const char *queue,
                                 struct err *e)
{
    AUTO(mem_free) struct dead_piece **others = mem_array(pieces->count + 1, sizeof(void *));
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf from;
    AUTO_VALUE(buf_release) struct buf to;
    size_t count = 0;
    enum err_code rc;

    buf_init(&from, ARRAY_MAX);
    buf_init(&to, ARRAY_MAX);
    for (size_t i = 0; i < pieces->count; i++) {
        struct dead_piece *piece = &pieces->items[i];

        if (piece->is_read)
            continue;
        db_array_add_int(&from, piece->from_us);
        db_array_add_int(&to, piece->to_us);
        others[count++] = piece;
    }
    if (count == 0)
        return ERR_OK;
    db_array_end(&from);
    db_array_end(&to);
    rc = db_query(db, &statements[READ],
                  DB_ARGS(DB_TEXT(queue), DB_TEXT(from.data), DB_TEXT(to.data)), &rows, e);
    if (!rc)
        take_rows(others, count, rows);
    return rc;
}

enum err_code dead_pieces_update(struct dead_pieces *pieces, struct db *db, const char *queue,
                                 struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct dead_pieces now;
    enum err_code rc = db_query(db, &statements[PIECES], DB_ARGS(DB_TEXT(queue)), &rows, e);

    if (rc)
        return rc;
    now = take_known(pieces, rows);
    dead_pieces_release(pieces);
    *pieces = now;
    return read_others(pieces, db, queue, e);
}

/* ---- sums ---- */

static int by_name(const void *a, const void *b)
{
    const struct dead_group *x = a;
    const struct dead_group *y = b;
    int result = strcmp(x->task, y->task);

    return result ? result : strcmp(x->reason, y->reason);
}

static int by_count(const void *a, const void *b)
{
    const struct dead_group *x = a;
    const struct dead_group *y = b;

    return x->count != y->count ? (x->count < y->count) - (x->count > y->count) : by_name(a, b);
}

/* Times are texts of one form: they sort as they are. */
static void merge(struct dead_group *into, const struct dead_group *other)
{
    into->count += other->count;
    if (strcmp(other->first, into->first) < 0)
        memcpy(into->first, other->first, sizeof into->first);
    if (strcmp(other->last, into->last) > 0) {
        memcpy(into->last, other->last, sizeof into->last);
        into->last_id = other->last_id;
        into->queue = other->queue;
        into->line = other->line;
    }
}

size_t dead_groups_sum(const struct dead_pieces *pieces,
                       struct dead_group ret_groups[DEAD_GROUPS_MAX])
{
    size_t count = dead_pieces_count(pieces);
    AUTO(mem_free) struct dead_group *all = mem_array(count + 1, sizeof *all);
    size_t kept = 0;

    count = 0;
    for (size_t i = 0; i < pieces->count; i++)
        for (size_t k = 0; k < pieces->items[i].group_count; k++)
            all[count++] = pieces->items[i].groups[k];
    if (count == 0)
        return 0;
    qsort(all, count, sizeof *all, by_name);
    for (size_t i = 1; i < count; i++) {
        if (by_name(&all[kept], &all[i]) == 0)
            merge(&all[kept], &all[i]);
        else
            all[++kept] = all[i];
    }
    count = kept + 1;
    qsort(all, count, sizeof *all, by_count);
    if (count > DEAD_GROUPS_MAX)
        count = DEAD_GROUPS_MAX;
    memcpy(ret_groups, all, count * sizeof *all);
    return count;
}
