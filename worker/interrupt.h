/* SPDX-License-Identifier: MIT
 *
 * Telling a running job that it was revoked. The control thread asks PostgreSQL about what the
 * process holds, once it is told that a running job was revoked anywhere, and marks the items; a
 * handler sees the mark by task_is_revoked(), and task_sleep_until() ends at once. Nothing is taken
 * from a handler by force: a call that is under way (a charge) comes to its end.
 *
 * `till task revoke --terminate` asks for more: a handler that has not ended INTERRUPT_GRACE_S
 * later is ended with its process, which gives its other jobs back first.
 */
#ifndef WORKER_INTERRUPT_H
#define WORKER_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "worker/pool.h"

enum { INTERRUPT_GRACE_S = 5 };

struct interrupts;

struct interrupts *interrupts_new(void);

/* Sleeps until the (monotonic) time, or until this item is marked; false: it was. */
bool interrupts_sleep(struct interrupts *interrupts, const struct item *item, int64_t until_us);

/* Asks which of the items held were revoked, and marks those. One statement, none when nothing is
 * held. */
enum err_code interrupts_look(struct interrupts *interrupts, struct pool *pool, struct db *db,
                              struct err *e) MUST_CHECK;

/* The places that revoked jobs have under limits stay counted while their handlers run: this tells
 * that they do, for at most `for_us` more. ret_any: whether there are such places; without any,
 * PostgreSQL is not asked. */
enum err_code interrupts_keep_places(struct pool *pool, struct db *db, int64_t for_us,
                                     bool *ret_any, struct err *e) MUST_CHECK;

/* The handlers of these have ended: such places go to others. To be called before pool_finish(),
 * with its arguments. PostgreSQL is asked only where one of them was revoked or lost its fence. */
void interrupts_give_places(struct db *db, struct item *const *items, const bool *acknowledge,
                            size_t count);

/* Whether an item is past the grace that `--terminate` gives; copies its id for the log. */
bool interrupts_find_overdue(struct pool *pool, int64_t now_us, struct uuid *ret_id);

/* Whether of all that runs nothing but such items would still come to an end. */
bool interrupts_only_overdue_left(struct pool *pool, int64_t now_us);

#endif
