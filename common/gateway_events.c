/* SPDX-License-Identifier: MIT
 *
 * Taking events of the gateway; see gateway_events.h. The row of an event is written first, so that
 * of two deliveries at once the second waits and then finds it. A payment is changed by the same
 * compare-and-set statements as a worker uses, so it does not matter which of the two is faster.
 */
#include "common/gateway_events.h"

#include <string.h>

#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/payments.h"
#include "common/payments_run.h"
#include "common/statements.h"

enum { NOTE, JUDGE, FIND, PRUNE };

static const struct db_stmt statements[] = {
    [NOTE] = {"gateway_events_note",
              "INSERT INTO gateway_events (id, type, outcome, created_at)"
              " VALUES ($1, $2, 'ignored', $3) ON CONFLICT DO NOTHING",
              3},
    [JUDGE] = {"gateway_events_judge",
               "UPDATE gateway_events SET outcome = $2, payment_id = $3 WHERE id = $1", 3},
    /* The order is locked, as by whoever ends a payment (payments_run.c), so that none of them
     * changes what is decided here. Not the payment: a worker that has the order would wait for
     * it, and we for the order. */
    [FIND] = {"gateway_events_find",
              "SELECT p.id FROM payments p JOIN orders o ON o.id = p.order_id"
              " WHERE p.id = nullif($1, '')::uuid OR ($1 = '' AND p.gateway_reference = $2)"
              " FOR NO KEY UPDATE OF o",
              2},
    [PRUNE] = {"gateway_events_prune",
               "DELETE FROM gateway_events WHERE id = ANY (ARRAY(SELECT id FROM gateway_events"
               " WHERE received_at < now() - $1::bigint * interval '1 second'"
               " ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
               2},
};

DB_STATEMENTS(gateway_events, statements);

static const char *outcome_name(const struct gateway_effect *effect)
{
    switch (effect->kind) {
    case GATEWAY_EFFECT_APPLIED:
        return "applied";
    case GATEWAY_EFFECT_REFUSED:
        return "refused";
    case GATEWAY_EFFECT_REPEATED:
    case GATEWAY_EFFECT_IGNORED:
        break;
    }
    return "ignored";
}

static bool agrees(const struct gateway_event *event, const struct charge *charge)
{
    return event->amount == charge->amount && strcmp(event->currency, charge->currency) == 0 &&
           *event->intent && (!*charge->reference || strcmp(event->intent, charge->reference) == 0);
}

static bool is_open(const struct charge *charge)
{
    return charge->state == PAYMENT_PROCESSING || charge->state == PAYMENT_UNKNOWN;
}

/* The mail's job, or that of giving the money back, which a refund that is made has no use for. */
static enum err_code add_job(struct db *db, const struct charge *charge, enum order_effect order,
                             bool is_refunded, struct gateway_effect *effect, struct err *e)
{
    if (order == ORDER_EFFECT_NONE || (order == ORDER_EFFECT_CLOSED && is_refunded))
        return ERR_OK;
    effect->has_job = true;
    if (order == ORDER_EFFECT_PAID)
        return payments_add_confirmation(db, charge->order_id, &effect->job, e);
    return payments_add_refund(db, &charge->payment, &effect->job, e);
}

static enum err_code settle(struct db *db, const struct gateway_event *event,
                            const struct charge *charge, struct gateway_effect *effect,
                            struct err *e)
{
    enum order_effect order = ORDER_EFFECT_NONE;
    enum err_code rc = payments_succeed(db, &charge->payment, event->intent, &order, e);

    effect->kind = GATEWAY_EFFECT_APPLIED;
    if (!rc)
        rc = add_job(db, charge, order, event->kind == GATEWAY_EVENT_REFUNDED, effect, e);
    return rc;
}

static enum err_code succeed(struct db *db, const struct gateway_event *event,
                             const struct charge *charge, struct gateway_effect *effect,
                             struct err *e)
{
    effect->kind = charge->state == PAYMENT_FAILED || !agrees(event, charge)
                       ? GATEWAY_EFFECT_REFUSED
                       : GATEWAY_EFFECT_IGNORED;
    if (effect->kind == GATEWAY_EFFECT_REFUSED || !is_open(charge))
        return ERR_OK;
    return settle(db, event, charge, effect, e);
}

static enum err_code fail(struct db *db, const struct gateway_event *event,
                          const struct charge *charge, struct gateway_effect *effect, struct err *e)
{
    if (!is_open(charge))
        return ERR_OK;
    effect->kind = GATEWAY_EFFECT_APPLIED;
    return payments_decline(db, &charge->payment, *event->code ? event->code : "declined",
                            event->message, e);
}

/* What was given back was charged before, whether or not that has come to us yet: an open payment
 * takes both steps at once, and ends as it does in the other order. */
static enum err_code refund(struct db *db, const struct gateway_event *event,
                            const struct charge *charge, struct gateway_effect *effect,
                            struct err *e)
{
    enum err_code rc;

    /* A part that was given back by hand at the gateway leaves the payment as it is. */
    if ((charge->state != PAYMENT_SUCCEEDED && !is_open(charge)) || !agrees(event, charge))
        return ERR_OK;
    if (is_open(charge)) {
        rc = settle(db, event, charge, effect, e);
        if (rc)
            return rc;
    }
    effect->kind = GATEWAY_EFFECT_APPLIED;
    return payments_refunded(db, &charge->payment, e);
}

static enum err_code apply(struct db *db, const struct gateway_event *event, const char *payment,
                           struct gateway_effect *effect, struct err *e)
{
    struct charge charge;
    struct uuid id;
    enum err_code rc;

    if (!uuid_parse(payment, &id))
        return err_set(e, ERR_PROTOCOL, "a payment of the database is not readable");
    rc = payments_read(db, &id, &charge, e);
    if (rc)
        return rc;
    switch (event->kind) {
    case GATEWAY_EVENT_SUCCEEDED:
        return succeed(db, event, &charge, effect, e);
    case GATEWAY_EVENT_FAILED:
        return fail(db, event, &charge, effect, e);
    case GATEWAY_EVENT_REFUNDED:
        return refund(db, event, &charge, effect, e);
    case GATEWAY_EVENT_REFUND_FAILED:
        break;
    }
    /* The customer has nothing of it, and the gateway tries no more. */
    effect->kind = GATEWAY_EFFECT_REFUSED;
    return ERR_OK;
}

/* The payment's id as ours to use in a statement: "" for what is no UUID and can be none of ours.
 */
static bool is_askable(const struct gateway_event *event)
{
    struct uuid id;

    return *event->payment ? uuid_parse(event->payment, &id) : *event->intent != '\0';
}

enum err_code gateway_events_take(struct db *db, const struct gateway_event *event,
                                  struct gateway_effect *ret_effect, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    struct gateway_effect effect = {.kind = GATEWAY_EFFECT_IGNORED};
    char created[CLOCK_TEXT_SIZE];
    int64_t noted = 0;
    enum err_code rc = db_begin(db, &tx, e);

    clock_format(event->created_us, created);
    if (!rc)
        rc =
            db_exec(db, &statements[NOTE],
                    DB_ARGS(DB_TEXT(event->id), DB_TEXT(event->type), DB_TEXT(created)), &noted, e);
    if (!rc && noted == 0) {
        ret_effect->kind = GATEWAY_EFFECT_REPEATED;
        ret_effect->has_job = false;
        return ERR_OK;
    }
    if (!rc && is_askable(event))
        rc = db_query(db, &statements[FIND],
                      DB_ARGS(DB_TEXT(event->payment), DB_TEXT(event->intent)), &rows, e);
    if (!rc && rows && db_rows(rows) > 0) {
        rc = apply(db, event, db_text(rows, 0, 0), &effect, e);
        if (!rc)
            rc = db_exec(db, &statements[JUDGE],
                         DB_ARGS(DB_TEXT(event->id), DB_TEXT(outcome_name(&effect)),
                                 DB_TEXT(db_text(rows, 0, 0))),
                         NULL, e);
    }
    CRASH_POINT("webhook.before_commit");
    if (!rc)
        rc = db_commit(&tx, e);
    if (!rc)
        *ret_effect = effect;
    return rc;
}

enum err_code gateway_events_prune(struct db *db, int64_t kept_s, int max, int64_t *ret_count,
                                   struct err *e)
{
    return db_exec(db, &statements[PRUNE], DB_ARGS(DB_INT(kept_s), DB_INT(max)), ret_count, e);
}
