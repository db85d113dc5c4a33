/* SPDX-License-Identifier: MIT
 *
 * Dead jobs by task and reason. The newest DEAD_WINDOW of them are counted piece by piece of time,
 * and a piece that is as it was need not be read again: how many died in it, and when, is asked of
 * the index alone. So whoever keeps the pieces pays for what has changed.
 *
 *   AUTO_VALUE(dead_pieces_release) struct dead_pieces pieces = {0};
 *   rc = dead_pieces_update(&pieces, db, queue, e);   empty, or kept from last time
 *   count = dead_groups_sum(&pieces, groups);         borrowed from the pieces
 *
 * An error's reason is how its first line begins, with an asterisk for each thing in it that
 * differs from job to job: an id, a number, what is quoted.
 */
#ifndef COMMON_DEAD_GROUPS_H
#define COMMON_DEAD_GROUPS_H

#include "common/db.h"
#include "common/err.h"
#include "common/uuid.h"

enum { DEAD_WINDOW = 20000, DEAD_GROUPS_MAX = 200, DEAD_TIME_SIZE = 28 };

/* Expressions on a row of jobs: how an error begins, and its reason. The first takes more than it
 * shows, so that no id is cut. At least the first letters, where the first line is empty. */
#define SQL_DEAD_LINE                                                                              \
    "coalesce(nullif(left(split_part(error, E'\\n', 1), 200), ''), left(error, 40))"
#define SQL_DEAD_REASON                                                                            \
    "left(regexp_replace(" SQL_DEAD_LINE                                                           \
    ", '[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|0x[0-9a-fA-F]+|[0-9]+|\"[^\"]*\"|"    \
    "''[^'']*''', '*', 'g'), 160)"
/* The condition of the index jobs_dead. */
#define SQL_DEAD "listed_state = 'FAILURE'"

struct dead_group {
    char *task; /* owned by the piece */
    char *reason;
    char *queue; /* of the last one */
    char *line;  /* how its error begins */
    int64_t count;
    char first[DEAD_TIME_SIZE]; /* when they died */
    char last[DEAD_TIME_SIZE];
    struct uuid last_id;
};

/* Those that died within some time; both ends belong to it. */
struct dead_piece {
    int64_t from_us;
    int64_t to_us;
    int64_t count;
    int64_t sum_us; /* of the times since from_us */
    struct dead_group *groups;
    size_t group_count;
    bool is_read;
};

struct dead_pieces {
    struct dead_piece *items; /* owned, like all in them */
    size_t count;
};

void dead_pieces_release(struct dead_pieces *pieces);
size_t dead_pieces_count(const struct dead_pieces *pieces); /* of groups */

/* Queue NULL: of all. */
enum err_code dead_pieces_update(struct dead_pieces *pieces, struct db *db, const char *queue,
                                 struct err *e) MUST_CHECK;

/* The largest groups first; gives how many there are. */
size_t dead_groups_sum(const struct dead_pieces *pieces,
                       struct dead_group ret_groups[DEAD_GROUPS_MAX]);

#endif
