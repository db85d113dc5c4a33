/* SPDX-License-Identifier: MIT
 *
 * Transactions that happen once; see once.h. What a failure leaves behind: before the commit
 * nothing, so the work is tried a second time; at the commit something unknown, so the client is
 * told to come again, and its key then gives the first answer or does the work.
 */
#include "api/once.h"

#include <string.h>
#include <strings.h>

#include "api/api.h"
#include "api/replica.h"
#include "common/crashpoint.h"
#include "common/idempotency.h"

enum { TRIES = 2 };

/* What one try came to. */
enum outcome {
    OUTCOME_DONE,  /* the reply is ready */
    OUTCOME_AGAIN, /* rolled back; worth another try */
    OUTCOME_FAILED,
};

static void replay(struct reply *reply, const struct idempotent_answer *answer)
{
    reply_bytes(reply, answer->status, "application/json", answer->body, strlen(answer->body));
    if (answer->location)
        reply_header(reply, "Location", answer->location);
    reply_header(reply, "Idempotent-Replayed", "true");
}

/* Looks the key up. True: the reply is filled, nothing is to be done. */
static bool is_settled(enum idempotency_verdict verdict, const struct idempotent_answer *answer,
                       struct reply *reply)
{
    switch (verdict) {
    case IDEMPOTENCY_NEW:
        return false;
    case IDEMPOTENCY_REPEATED:
        replay(reply, answer);
        break;
    case IDEMPOTENCY_MISMATCH:
        reply_detail(reply, 422, "This Idempotency-Key was used for another request.");
        break;
    case IDEMPOTENCY_RUNNING:
        reply_detail(reply, 409, "A request with this Idempotency-Key is still running.");
        reply_header(reply, "Retry-After", "1");
        break;
    }
    return true;
}

static const char *find_location(const struct reply *reply)
{
    for (size_t i = 0; i < reply->headers_count; i++)
        if (strcasecmp(reply->headers[i].name, "Location") == 0)
            return reply->headers[i].value;
    return NULL;
}

/* Whether the work was done now: neither refused nor answered again. */
static bool is_new(const struct reply *reply)
{
    for (size_t i = 0; i < reply->headers_count; i++)
        if (strcasecmp(reply->headers[i].name, "Idempotent-Replayed") == 0)
            return false;
    return reply->status < 300;
}

static enum outcome judge(enum err_code rc)
{
    return rc == ERR_UNAVAILABLE ? OUTCOME_AGAIN : OUTCOME_FAILED;
}

/* One try. `key` is NULL when the client sent none. */
static enum outcome try_once(struct request *req, struct reply *reply,
                             const struct idempotent_request *key, const struct once_work *work,
                             struct err *e)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    AUTO_VALUE(idempotent_answer_release) struct idempotent_answer answer = {0};
    enum idempotency_verdict verdict = IDEMPOTENCY_NEW;
    struct db *db = api_db(req);
    enum err_code rc = db_begin(db, &tx, e);

    if (!rc && key)
        rc = idempotency_look(db, key, &verdict, &answer, e);
    if (rc)
        return judge(rc);
    if (is_settled(verdict, &answer, reply))
        return OUTCOME_DONE;
    CRASH_POINT("request.begun");
    rc = work->run(req, reply, work->data, e);
    if (rc)
        return judge(rc);
    if (reply->status >= 400)
        return OUTCOME_DONE;
    if (key)
        rc = idempotency_keep(db, key, reply->status, find_location(reply), reply->body.data, e);
    if (rc)
        return rc == ERR_CONFLICT ? OUTCOME_AGAIN : judge(rc);
    rc = replica_note_write(req, e);
    if (rc)
        return judge(rc);
    CRASH_POINT("request.before_commit");
    return db_commit(&tx, e) ? OUTCOME_FAILED : OUTCOME_DONE;
}

enum err_code once_run(struct request *req, struct reply *reply, const struct once_work *work,
                       struct err *e)
{
    const char *text = request_header(req, "Idempotency-Key");
    struct idempotent_request key = {.user_id = req->user.id, .key = text};
    struct err failure = {0};
    enum outcome outcome = OUTCOME_AGAIN;

    if (text && !idempotency_key_is_good(text)) {
        reply_detail(reply, 400, "An Idempotency-Key is 1 to 255 printable ASCII characters.");
        return ERR_OK;
    }
    if (text)
        idempotency_fingerprint(&key, req->method, req->path, req->body, req->body_len);
    for (int i = 0; i < TRIES && outcome == OUTCOME_AGAIN; i++) {
        err_clear(&failure);
        reply_clear(reply);
        outcome = try_once(req, reply, text ? &key : NULL, work, &failure);
    }
    if (outcome != OUTCOME_DONE)
        return err_set_detail(e, failure.code, failure.detail, "%s", failure.text);
    CRASH_POINT("request.committed");
    if (is_new(reply) && work->committed)
        work->committed(req, work->data);
    CRASH_POINT("request.before_answer");
    return ERR_OK;
}
