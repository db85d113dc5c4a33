/* SPDX-License-Identifier: MIT
 *
 * Putting in what a request to enqueue says: for Flower's paths and for the form of the pages.
 */
#ifndef API_DASHBOARD_ENQUEUE_H
#define API_DASHBOARD_ENQUEUE_H

#include "api/dashboard/flower_options.h"
#include "common/jobs_desk.h"

/* Inserts it, in one transaction with its row of the audit log, and pushes it. job.task is set;
 * `task` is what is known of it. ERR_INVALID and ERR_CONFLICT as jobs_insert() gives them. */
enum err_code order_place(struct request *req, struct order *order, const struct known_task *task,
                          struct job_ready *ret_ready, struct err *e) MUST_CHECK;

const char *order_outcome_name(enum job_outcome outcome);

#endif
