/* SPDX-License-Identifier: MIT
 *
 * How a task returned; see task_end.h.
 */
#include "worker/task_end.h"

#include <pthread.h>
#include <unistd.h>

#include "common/program.h"

static volatile bool is_copy; /* written by the only thread of a new process */

static void note_copy(void) { is_copy = true; }

void task_end_watch_forks(void) { (void)pthread_atfork(NULL, NULL, note_copy); }

static bool is_outcome(enum task_outcome outcome)
{
    return outcome == TASK_DONE || outcome == TASK_RETRY || outcome == TASK_FAIL ||
           outcome == TASK_SNOOZE;
}

enum task_outcome task_end_judge(const struct db *db, const struct db_tx *tx,
                                 enum task_outcome outcome, struct err *e)
{
    bool is_done = tx->db && outcome == TASK_DONE;
    const char *wrong = NULL;

    if (is_copy)
        _exit(EXIT_FAILED);
    if (!is_outcome(outcome))
        wrong = "the task returned a number that is no outcome (enum task_outcome)";
    if (is_done && db_transaction_is_broken(db))
        wrong = "a statement had failed in the task's transaction, and the task"
                " returned TASK_DONE all the same; nothing of it stays";
    if (is_done && !db_in_transaction(db) && db_is_connected(db))
        wrong = "the task itself ended the transaction that task_begin() had begun for it";
    if (!tx->db && db_transaction_is_open(db))
        wrong = "the task returned with a transaction of its own open; it was rolled back";
    if (!wrong)
        return outcome;
    err_clear(e);
    (void)err_set(e, ERR_INTERNAL, "%s", wrong);
    return TASK_FAIL;
}
