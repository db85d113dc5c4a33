/* SPDX-License-Identifier: MIT
 *
 * The id of a request, by which its log lines and its answer are found: X-Request-Id.
 */
#ifndef API_REQUEST_ID_H
#define API_REQUEST_ID_H

#include "api/http.h"

/* The client's, when it is decent, else one of ours. `given` may be NULL. */
void request_id_take(const char *given, char ret_id[HTTP_ID_SIZE]);
void request_id_make(char ret_id[HTTP_ID_SIZE]);

#endif
