/* SPDX-License-Identifier: MIT
 *
 * Bounds by time; see job_bounds.h. Ids of version 7 begin with the milliseconds of their making,
 * so a time bounds them. An hour is given away on either side, since the id is made before the row
 * is, by another clock; but not more than SLACK jobs, all of which a list goes through before the
 * first that it means.
 */
#include "common/job_bounds.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/found_ids.h"
#include "common/statements.h"

enum { AFTER, BEFORE };

#define SLACK "1000"

static const struct db_stmt statements[] = {
    [AFTER] = {"job_bounds_after",
               "SELECT id FROM jobs WHERE id >= $1 AND id <= $2 ORDER BY id LIMIT 1 OFFSET " SLACK,
               2},
    [BEFORE] = {"job_bounds_before",
                "SELECT id FROM jobs WHERE id < $1 AND id >= $2 ORDER BY id DESC LIMIT 1"
                " OFFSET " SLACK,
                2},
};
DB_STATEMENTS(job_bounds, statements);

/* Not so far from the edge. */
static enum err_code tighten(struct db *db, int statement, int64_t edge_ms, struct uuid *bound,
                             struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    const struct uuid edge = uuid_least_of(edge_ms);
    enum err_code rc = db_query(db, &statements[statement],
                                DB_ARGS(DB_TEXT(edge.text), DB_TEXT(bound->text)), &rows, e);

    if (!rc && db_rows(rows) == 1)
        (void)uuid_parse(db_text(rows, 0, 0), bound);
    return rc;
}

enum err_code job_bounds_by_time(struct db *db, const struct jobs_filter *filter,
                                 struct job_bounds *bounds, struct err *e)
{
    const int64_t slack_us = 3600 * US_PER_S;
    int64_t last_ms = (filter->created_to_us + slack_us) / US_PER_MS;
    enum err_code rc = ERR_OK;

    if (filter->created_from_us > slack_us) {
        bounds->from = uuid_least_of((filter->created_from_us - slack_us) / US_PER_MS);
        rc = tighten(db, BEFORE, filter->created_from_us / US_PER_MS, &bounds->from, e);
    }
    if (rc || !filter->created_to_us)
        return rc;
    (void)snprintf(bounds->to.text, sizeof bounds->to.text, "%08x-%04x-ffff-ffff-ffffffffffff",
                   (unsigned)(last_ms >> 16), (unsigned)(last_ms & 0xffff));
    return tighten(db, AFTER, filter->created_to_us / US_PER_MS + 1, &bounds->to, e);
}
