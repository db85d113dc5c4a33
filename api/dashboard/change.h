/* SPDX-License-Identifier: MIT
 *
 * What the pages change of tasks, some at a time, and how that is written down. Private to
 * change.c, task_actions.c, replay.c and dead.c.
 */
#ifndef API_DASHBOARD_CHANGE_H
#define API_DASHBOARD_CHANGE_H

#include "api/dashboard/dashboard.h"
#include "common/job_replays.h"
#include "common/json.h"
#include "common/uuid.h"

enum {
    CHANGE_BATCH = 500,      /* jobs in one statement */
    CHANGE_BUDGET_MS = 4000, /* of one request for all that match; then it tells where to go on */
};

enum change {
    CHANGE_REVOKE,
    CHANGE_TERMINATE,
    CHANGE_RETRY,
    CHANGE_DELETE,
    CHANGE_REPLAY,
    CHANGE_RUN
};

/* The `action` of a body; ERR_DENIED, written down, when the user has not the role that it needs.
 */
enum err_code read_change(struct request *req, const json_t *body, enum change *ret_change,
                          struct err *e) MUST_CHECK;

/* Changes at most CHANGE_BATCH jobs and writes that down. `target` NULL: the first id stands for
 * them. */
enum err_code change_some(struct request *req, enum change change, const char *target,
                          const struct uuid *ids, size_t count, size_t *ret_changed,
                          struct err *e) MUST_CHECK;

/* Runs at most CHANGE_BATCH jobs again as new ones and writes that down; adds to what is counted.
 * `order` is the id of what was asked for, which makes no copy twice. */
struct replay_count {
    size_t made;
    size_t skipped[REPLAY_SKIP_COUNT];
};
enum err_code replay_some(struct request *req, const char *target, const struct uuid *order,
                          const struct uuid *ids, size_t count, struct replay_count *counted,
                          struct err *e) MUST_CHECK;
/* How many were left out, by why; those that are none are not named. A new value. */
json_t *replay_skipped_json(const size_t skipped[REPLAY_SKIP_COUNT]);

#endif
