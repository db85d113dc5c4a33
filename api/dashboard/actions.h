/* SPDX-License-Identifier: MIT
 *
 * What the files of the pages' actions share.
 */
#ifndef API_DASHBOARD_ACTIONS_H
#define API_DASHBOARD_ACTIONS_H

#include <jansson.h>

#include "api/http.h"
#include "common/err.h"

/* The body as an object; none is an empty one. Only JSON is read, which no form of another site
 * can send. ERR_INVALID with a text for the client. */
enum err_code read_body(const struct request *req, json_t **ret_body, struct err *e) MUST_CHECK;

#endif
