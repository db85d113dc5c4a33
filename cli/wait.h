/* SPDX-License-Identifier: MIT
 *
 * Waiting in the shell for the end of a job.
 */
#ifndef CLI_WAIT_H
#define CLI_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"
#include "common/uuid.h"

/* Waits until the job is final and prints its state with its result or error. `timeout_s` 0: as
 * long as it takes. EXIT_DONE for SUCCESS; EXIT_FAILED for any other end, and when the time is
 * over. */
int wait_for_job(struct cli *cli, const struct uuid *id, int64_t timeout_s);

/* Sleeps. */
void wait_pause(int64_t us);

/* Whether a wait goes on after this answer: a database that restarts does not end it, one that
 * stays away does. `answered_us`: monotonic, of the last answer; without any, when it began to
 * wait. */
bool wait_goes_on(enum err_code rc, int64_t *answered_us);

#endif
