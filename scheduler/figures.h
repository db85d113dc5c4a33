/* SPDX-License-Identifier: MIT
 *
 * The figures of each minute, for the charts of the dashboard; see common/job_minutes.h.
 */
#ifndef SCHEDULER_FIGURES_H
#define SCHEDULER_FIGURES_H

#include "scheduler/scheduler.h"

/* Called by the leader as often as it likes; does something every few seconds. */
enum err_code figures_take(struct scheduler *s, struct err *e) MUST_CHECK;

#endif
