/* SPDX-License-Identifier: MIT
 *
 * The figures of the last hour, day or week, of one queue or of all together, for the charts: rows
 * that the scheduler wrote each minute.
 */
#include <stdlib.h>
#include <string.h>

#include "api/dashboard/dashboard.h"
#include "api/dashboard/shared.h"
#include "common/job_minutes.h"
#include "common/mem.h"

static json_t *real_or_null(const struct db_result *rows, int row, int col)
{
    return db_is_null(rows, row, col) ? json_null()
                                      : json_real(strtod(db_text(rows, row, col), NULL));
}

static enum err_code make_charts(struct request *req, struct reply *reply, struct err *e)
{
    static const struct {
        const char *name;
        int minutes;
        int step;
    } ranges[] = {{"hour", 60, 1}, {"day", 24 * 60, 15}, {"week", 7 * 24 * 60, 120}};
    AUTO(mem_free) char *range = request_query(req, "range");
    AUTO(mem_free) char *queue = request_query(req, "queue");
    AUTO(db_result_free) struct db_result *rows = NULL;
    size_t chosen = 0;
    json_t *points;
    enum err_code rc;

    while (range && chosen < COUNT_OF(ranges) && strcmp(range, ranges[chosen].name) != 0)
        chosen++;
    if (chosen == COUNT_OF(ranges))
        return err_set(e, ERR_INVALID, "range is hour, day or week");
    rc = job_minutes_list(thread_of(req)->db, queue ? queue : "", ranges[chosen].minutes,
                          ranges[chosen].step, &rows, e);
    if (rc)
        return rc;
    points = json_array();
    for (int i = 0; i < db_rows(rows); i++)
        (void)json_array_append_new(
            points,
            json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "at",
                      db_text(rows, i, 0), "ended", (json_int_t)db_int(rows, i, 9), "succeeded",
                      (json_int_t)db_int(rows, i, 1), "failed", (json_int_t)db_int(rows, i, 2),
                      "retried", (json_int_t)db_int(rows, i, 3), "waiting",
                      (json_int_t)db_int(rows, i, 4), "wait_p50", real_or_null(rows, i, 5),
                      "wait_p95", real_or_null(rows, i, 6), "run_p50", real_or_null(rows, i, 7),
                      "run_p95", real_or_null(rows, i, 8)));
    return reply_json(reply, 200,
                      json_pack("{s:s, s:s, s:i, s:i, s:o}", "range", ranges[chosen].name, "queue",
                                queue ? queue : "", "minutes", ranges[chosen].minutes, "step",
                                ranges[chosen].step, "points", points),
                      e);
}

enum err_code charts_show(struct request *req, struct reply *reply, struct err *e)
{
    return shared_get(req, make_charts, reply, e);
}
