/* SPDX-License-Identifier: MIT
 *
 * Putting jobs off; see jobs_snooze.h.
 */
#include "common/jobs_snooze.h"

#include "common/statements.h"

enum { SNOOZE, SNOOZE_FAST };
enum { REASON_MAX = 1024 };

/* How the reason for a snooze begins where errors stand; an error of an attempt stays behind it. */
#define PUT_OFF "put off: "

static const struct db_stmt statements[] = {
    [SNOOZE] = {"jobs_snooze",
                "UPDATE jobs SET state = 'PENDING', enqueued_at = NULL, parked_on = NULL,"
                " scheduled_at = now() + $3::bigint * interval '1 microsecond',"
                " max_attempts = least(max_attempts, 2147483646) + 1,"
                " snoozes = coalesce(snoozes, 0) + 1,"
                " error = coalesce($4, CASE WHEN NOT starts_with(error, '" PUT_OFF "')"
                "  THEN error END)"
                " WHERE id = $1 AND attempt = $2 AND state = 'STARTED'"
                " RETURNING superseded IS NOT NULL",
                4},
    [SNOOZE_FAST] = {"jobs_snooze_fast",
                     "INSERT INTO jobs (id, task, queue, priority, attempt, max_attempts, snoozes,"
                     " args, kwargs, scheduled_at, started_at, worker, delivery, headers,"
                     " traceparent, expires_at, error)"
                     " VALUES ($1, $2, $3, $4, 1, $5::int + 1, 1,"
                     " coalesce($6::jsonb, '[]'), coalesce($7::jsonb, '{}'),"
                     " now() + $8::bigint * interval '1 microsecond', now(), $9, $10, $11::jsonb,"
                     " $12, to_timestamp(nullif($13::bigint, 0) / 1000000.0), $14)"
                     " ON CONFLICT (id) DO NOTHING",
                     14},
};

DB_STATEMENTS(jobs_snooze, statements);

/* As it is kept; NULL where none was given. */
static const char *put_off_text(const char *reason, struct buf *text)
{
    buf_init(text, REASON_MAX);
    if (!reason)
        return NULL;
    buf_add_str(text, PUT_OFF);
    buf_add_text(text, reason);
    return text->data;
}

enum err_code jobs_snooze(struct db *db, const struct attempt *attempt, int64_t delay_us,
                          const char *reason, bool *ret_superseded, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf text;
    enum err_code rc = db_query(db, &statements[SNOOZE],
                                DB_ARGS(DB_TEXT(attempt->id.text), DB_INT(attempt->number),
                                        DB_INT(delay_us), DB_TEXT(put_off_text(reason, &text))),
                                &rows, e);

    if (!rc && db_rows(rows) > 0)
        *ret_superseded = db_bool(rows, 0, 0);
    else if (!rc)
        rc = err_set(e, ERR_CONFLICT, "attempt %d of job %s was taken over or cancelled",
                     attempt->number, attempt->id.text);
    return rc;
}

enum err_code jobs_snooze_fast(struct db *db, const struct queue_delivery *delivery,
                               const struct queue_stream *stream, const char *worker,
                               int max_attempts, int64_t delay_us, const char *reason,
                               struct err *e)
{
    AUTO_VALUE(buf_release) struct buf text;
    const char *error = put_off_text(reason, &text);
    struct uuid id;
    enum err_code rc = jobs_find_own_id(db, delivery, stream, &id, e);

    if (rc)
        return rc;
    return db_exec(db, &statements[SNOOZE_FAST],
                   DB_ARGS(DB_TEXT(id.text), DB_TEXT(delivery->task), DB_TEXT(stream->queue),
                           DB_INT(stream->priority), DB_INT(max_attempts), DB_TEXT(delivery->args),
                           DB_TEXT(delivery->kwargs), DB_INT(delay_us), DB_TEXT(worker),
                           DB_TEXT(delivery->entry), DB_TEXT(delivery->headers),
                           DB_TEXT(delivery->traceparent), DB_INT(delivery->expires_us),
                           DB_TEXT(error)),
                   NULL, e);
}
