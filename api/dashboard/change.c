/* SPDX-License-Identifier: MIT
 *
 * One change of some tasks: in one transaction with its row of the audit log, which is made again
 * where others end it.
 */
#include "api/dashboard/change.h"

#include <string.h>

#include "api/dashboard/act.h"
#include "common/crashpoint.h"
#include "common/job_list.h"
#include "common/jobs_control.h"
#include "common/jobs_desk.h"
#include "common/log.h"
#include "common/mem.h"

enum { CHANGE_TRIES = 20 }; /* when others take unique keys meanwhile */

static const struct {
    const char *name;
    const char *action; /* in the audit log */
    enum role role;
} changes[] = {
    [CHANGE_REVOKE] = {"revoke", "task.revoke", ROLE_OPERATOR},
    [CHANGE_TERMINATE] = {"terminate", "task.terminate", ROLE_OPERATOR},
    [CHANGE_RETRY] = {"retry", "task.retry", ROLE_OPERATOR},
    [CHANGE_DELETE] = {"delete", "task.delete", ROLE_ADMIN},
    [CHANGE_REPLAY] = {"replay", "task.replay", ROLE_OPERATOR},
    [CHANGE_RUN] = {"run", "task.run", ROLE_OPERATOR},
};

enum err_code read_change(struct request *req, const json_t *body, enum change *ret_change,
                          struct err *e)
{
    const char *name = json_member_text(body, "action");

    for (size_t i = 0; name && i < COUNT_OF(changes); i++) {
        if (strcmp(name, changes[i].name) != 0)
            continue;
        if (req->user.role < (int)changes[i].role) {
            act_note(req, "refused", req->path, "refused", json_pack("{s:s}", "action", name));
            return err_set(e, ERR_DENIED, "this needs the role %s", role_name(changes[i].role));
        }
        *ret_change = (enum change)i;
        return ERR_OK;
    }
    return err_set(e, ERR_INVALID, "action is revoke, terminate, retry, replay, run or delete");
}

static size_t count_true(const bool *flags, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        n += flags[i];
    return n;
}

/* The jobs that one change is asked for. */
struct selection {
    const char *target; /* in the audit log */
    const struct uuid *ids;
    size_t count;
    bool *changed;         /* one for each of them, and one more */
    struct job_list ready; /* to be pushed once they are committed */
};

static void selection_release(struct selection *of) { job_list_release(&of->ready); }

static enum err_code apply(struct db *db, enum change change, struct selection *of, struct err *e)
{
    enum err_code rc;

    switch (change) {
    case CHANGE_REVOKE:
        return jobs_revoke_waiting(db, of->ids, of->count, of->changed, e);
    case CHANGE_TERMINATE:
        return jobs_terminate(db, of->ids, of->count, of->changed, e);
    case CHANGE_DELETE:
        return jobs_delete_dead(db, of->ids, of->count, of->changed, e);
    case CHANGE_REPLAY: /* replay_some() does that */
    case CHANGE_RETRY:
    case CHANGE_RUN:
        break;
    }
    rc = change == CHANGE_RUN ? jobs_run_now(db, of->ids, of->count, &of->ready, e)
                              : jobs_requeue(db, of->ids, of->count, false, &of->ready, e);
    for (size_t i = 0; !rc && i < of->count; i++)
        for (size_t j = 0; j < of->ready.count && !of->changed[i]; j++)
            of->changed[i] = strcmp(of->ids[i].text, of->ready.items[j].id.text) == 0;
    return rc;
}

static enum err_code apply_and_commit(struct act *act, enum change change, struct selection *of,
                                      struct err *e)
{
    enum err_code rc = apply(thread_of(act->req)->db, change, of, e);
    size_t changed = count_true(of->changed, of->count);

    return rc ? rc
              : act_commit(act, changed ? ACT_DONE : ACT_NOTHING,
                           json_pack("{s:I, s:I}", "asked", (json_int_t)of->count, "changed",
                                     (json_int_t)changed),
                           e);
}

/* ret_again: others have ended the transaction: they took a unique key meanwhile, or were met in a
 * deadlock, maybe only by the commit, which is where the gates of flows are locked. */
static enum err_code change_once(struct request *req, enum change change, struct selection *of,
                                 bool *ret_again, struct err *e)
{
    AUTO_VALUE(act_release) struct act act = {0};
    enum err_code rc = act_begin(&act, req, changes[change].action, of->target, e);

    job_list_release(&of->ready); /* of the try before */
    for (size_t i = 0; i < of->count; i++)
        of->changed[i] = false;
    if (!rc)
        rc = apply_and_commit(&act, change, of, e);
    *ret_again =
        rc && (db_was_undone(thread_of(req)->db) || (rc == ERR_CONFLICT && change == CHANGE_RETRY));
    if (*ret_again)
        db_rollback(&act.tx);
    return rc;
}

enum err_code change_some(struct request *req, enum change change, const char *target,
                          const struct uuid *ids, size_t count, size_t *ret_changed, struct err *e)
{
    AUTO(mem_free) bool *changed = mem_array(count + 1, sizeof changed[0]);
    AUTO_VALUE(selection_release)
    struct selection of = {target ? target : count ? ids[0].text : "", ids, count, changed, {0}};
    struct err problem = {0};
    enum err_code rc = change == CHANGE_RETRY ? jobs_release_keys(thread_of(req)->db, e) : ERR_OK;
    bool again = !rc;

    for (int tries = 1; again && tries <= CHANGE_TRIES; tries++) {
        err_clear(e);
        rc = change_once(req, change, &of, &again, e);
    }
    if (rc)
        return rc;
    *ret_changed = count_true(changed, count);
    if (change == CHANGE_RETRY)
        CRASH_POINT("dashboard.retried");
    /* Without Redis the scheduler delivers them. */
    if (job_list_push(&of.ready, thread_of(req)->redis, &problem))
        log_warn("push_failed", L_ERR(&problem));
    return ERR_OK;
}
