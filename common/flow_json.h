/* SPDX-License-Identifier: MIT
 *
 * Flows and their members as JSON, for the dashboard and for `till flow ... --json` alike. Texts
 * are redacted, times are RFC 3339 or null.
 */
#ifndef COMMON_FLOW_JSON_H
#define COMMON_FLOW_JSON_H

#include "common/flows.h"
#include "common/json.h"

/* Jobs that have ended, of all, in whole percent; 100 only when all have. */
int flow_percent(const struct flow_view *flow);

/* All give a new value, or NULL when out of memory. */
json_t *flow_json(const struct flow_view *flow);
json_t *flow_member_json(const struct flow_member *member);
/* {"members": [...], "next": step to go on after, or null} */
json_t *flow_members_json(const struct flow_members *members);

#endif
