/* SPDX-License-Identifier: MIT
 *
 * The log of what people do at the dashboard. audit_add() belongs into the transaction of the
 * action: then there is no action without its row, and no row of an action that did not happen.
 */
#ifndef COMMON_AUDIT_H
#define COMMON_AUDIT_H

#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

enum { AUDIT_LIMIT_MAX = 200, AUDIT_TARGET_MAX = 300 };

/* Texts are borrowed. */
struct audit_entry {
    const char *actor;
    const char *role;
    const char *remote;
    const char *action;  /* "task.revoke" */
    const char *target;  /* cut at AUDIT_TARGET_MAX bytes; NULL: none */
    const char *outcome; /* done, nothing, refused, failed */
    const char *detail;  /* JSON object; NULL: {} */
};

enum err_code audit_add(struct db *db, const struct audit_entry *entry, struct err *e) MUST_CHECK;

/* NULL or empty lets every row through; newest first. */
struct audit_filter {
    const char *actor;
    const char *action; /* how it begins */
    const char *target;
    int64_t before; /* id; 0: from the newest */
    int limit;
};

/* Columns: id, time, actor, role, remote, action, target, outcome, detail. */
enum err_code audit_list(struct db *db, const struct audit_filter *filter,
                         struct db_result **ret_rows, struct err *e) MUST_CHECK;

/* Deletes those of the oldest `max` rows that are older than `kept_s`; ret_count: how many. */
enum err_code audit_prune(struct db *db, int64_t kept_s, int max, int64_t *ret_count,
                          struct err *e) MUST_CHECK;

#endif
