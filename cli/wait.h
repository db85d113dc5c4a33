/* SPDX-License-Identifier: MIT
 *
 * Waiting in the shell for the end of a job.
 */
#ifndef CLI_WAIT_H
#define CLI_WAIT_H

#include <stdint.h>

#include "cli/cli.h"
#include "common/uuid.h"

/* Waits until the job is final and prints its state with its result or error. `timeout_s` 0: as
 * long as it takes. EXIT_DONE for SUCCESS; EXIT_FAILED for any other end, and when the time is
 * over. */
int wait_for_job(struct cli *cli, const struct uuid *id, int64_t timeout_s);

/* Sleeps. */
void wait_pause(int64_t us);

#endif
