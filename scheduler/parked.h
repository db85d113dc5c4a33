/* SPDX-License-Identifier: MIT
 *
 * Letting go the jobs that were parked because of a limit.
 */
#ifndef SCHEDULER_PARKED_H
#define SCHEDULER_PARKED_H

#include <stdint.h>

#include "scheduler/scheduler.h"

/* Delivers those for which there is room now. ret_wait_us: when the next token comes; negative when
 * none is waited for. */
enum err_code release_parked(struct scheduler *scheduler, int64_t *ret_wait_us,
                             struct err *e) MUST_CHECK;

#endif
