/* SPDX-License-Identifier: MIT
 *
 * What a flow may be: a job, a chain, a group, and any nesting of them, as JSON. Pure. The same
 * rules stand in sql/0012_flows.sql, for those who declare flows by SQL.
 *
 *   {"name": "nightly", "chain": [
 *       {"task": "fetch"},
 *       {"group": [{"task": "part", "args": [1]}, {"task": "part", "args": [2]}],
 *        "callback": {"task": "merge"},       when all of the group have succeeded
 *        "on_complete": {"task": "tell"}},    when all of it is over, however it ended
 *       {"task": "publish"}]}
 */
#ifndef COMMON_FLOW_SPEC_H
#define COMMON_FLOW_SPEC_H

#include <stddef.h>

#include "common/err.h"
#include "common/json.h"

enum {
    FLOW_BYTES_MAX = 16 * 1024 * 1024, /* of its text */
    FLOW_MEMBERS_MAX = 10000,          /* of one chain or group */
    FLOW_JOBS_MAX = 20000,
    FLOW_NODES_MAX = 50000, /* jobs, chains and groups */
    FLOW_DEPTH_MAX = 8,
    FLOW_NAME_MAX = 200, /* bytes */
};

/* ERR_INVALID with a text that names the place: "flow.chain[1].group[0] ...". ret_jobs may be NULL.
 */
enum err_code flow_check(const json_t *flow, size_t *ret_jobs, struct err *e) MUST_CHECK;

/* A copy of a flow of which every job has this trace, where it has none of its own, and these
 * headers besides its own; each may be NULL. ERR_INVALID as by flow_check(). Release with
 * json_decref(). */
enum err_code flow_with_trace(const json_t *flow, const char *traceparent, const json_t *headers,
                              json_t **ret_flow, struct err *e) MUST_CHECK;

#endif
