/* SPDX-License-Identifier: MIT
 *
 * Whether a new checkout is taken: not while the database or the payments of before are far behind.
 */
#ifndef API_ADMISSION_H
#define API_ADMISSION_H

#include <stdbool.h>

struct request;
struct reply;

/* False: the reply is the 503 that tells when to come again. */
bool admission_is_open(const struct request *req, struct reply *reply);

#endif
