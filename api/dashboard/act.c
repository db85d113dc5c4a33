/* SPDX-License-Identifier: MIT
 *
 * Actions and their rows in the audit log; see act.h.
 */
#include "api/dashboard/act.h"

#include <stdio.h>

#include "api/dashboard/dashboard.h"
#include "common/audit.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/text.h"

struct act_address act_address(const struct request *req)
{
    struct act_address address = {""};

    limits_address(req, address.text);
    if (!*address.text)
        (void)snprintf(address.text, sizeof address.text, "%s", req->remote);
    return address;
}

static enum err_code add_row(struct request *req, const char *action, const char *target,
                             const char *outcome, json_t *take_detail, struct err *e)
{
    AUTO(json_decref) json_t *detail = take_detail;
    AUTO(mem_free) char *text = detail ? json_write(detail) : NULL;
    const struct act_address address = act_address(req);
    const struct audit_entry entry = {
        .actor = req->user.name,
        .role = role_name((enum role)req->user.role),
        .remote = address.text,
        .action = action,
        .target = target,
        .outcome = outcome,
        .detail = text,
    };

    return audit_add(thread_of(req)->db, &entry, e);
}

enum err_code act_begin(struct act *act, struct request *req, const char *action,
                        const char *target, struct err *e)
{
    *act = (struct act){.req = req, .action = action, .target = target};
    return db_begin(thread_of(req)->db, &act->tx, e);
}

enum err_code act_commit(struct act *act, enum act_outcome outcome, json_t *take_detail,
                         struct err *e)
{
    enum err_code rc = add_row(act->req, act->action, act->target,
                               outcome == ACT_DONE ? "done" : "nothing", take_detail, e);

    if (!rc)
        rc = db_commit(&act->tx, e);
    if (!rc)
        log_info("action", L_STR("action", act->action), L_STR("user", act->req->user.name),
                 L_STR("outcome", outcome == ACT_DONE ? "done" : "nothing"));
    return rc;
}

void act_note(struct request *req, const char *action, const char *target, const char *outcome,
              json_t *take_detail)
{
    struct err e = {0};

    log_info("action", L_STR("action", action), L_STR("user", req->user.name),
             L_STR("outcome", outcome));
    if (add_row(req, action, target, outcome, take_detail, &e))
        log_error("audit_failed", L_STR("action", action), L_ERR(&e));
}

void act_why(struct act *act, const char *why) { text_copy(act->why, sizeof act->why, why); }

void act_release(struct act *act)
{
    if (!act->tx.db)
        return;
    db_rollback(&act->tx);
    act_note(act->req, act->action, act->target, "failed",
             *act->why ? json_pack("{s:s}", "why", act->why) : NULL);
}
