/* SPDX-License-Identifier: MIT
 *
 * An action of somebody, in one transaction with its row in the audit log.
 *
 *   AUTO_VALUE(act_release) struct act act = {0};
 *   rc = act_begin(&act, req, "queue.pause", queue, e);
 *   if (!rc)
 *       rc = queues_pause(thread_of(req)->db, queue, req->user.name, &changed, e);
 *   if (!rc)
 *       rc = act_commit(&act, changed ? ACT_DONE : ACT_NOTHING, NULL, e);
 *
 * What is not committed is rolled back by act_release(), and written down as failed.
 */
#ifndef API_DASHBOARD_ACT_H
#define API_DASHBOARD_ACT_H

#include <jansson.h>

#include "api/http.h"
#include "api/limits.h"
#include "common/db.h"

enum act_outcome { ACT_DONE, ACT_NOTHING };

struct act {
    struct request *req;
    const char *action; /* a constant */
    const char *target; /* borrowed */
    char why[200];      /* it failed, for the audit log; see act_why() */
    struct db_tx tx;
};

/* Whence the request comes: what our own proxy has seen, where one passes it on. */
struct act_address {
    char text[LIMITS_NAME_SIZE];
};
struct act_address act_address(const struct request *req);

enum err_code act_begin(struct act *act, struct request *req, const char *action,
                        const char *target, struct err *e) MUST_CHECK;

/* Takes the detail, an object or NULL. Nothing secret may stand in it. */
enum err_code act_commit(struct act *act, enum act_outcome outcome, json_t *take_detail,
                         struct err *e) MUST_CHECK;

/* What is written down as failed failed because of this. Nothing secret may stand in it. */
void act_why(struct act *act, const char *why);

void act_release(struct act *act);

/* For what is not done in our transaction: a row of its own; an error is only logged. */
void act_note(struct request *req, const char *action, const char *target, const char *outcome,
              json_t *take_detail);

#endif
