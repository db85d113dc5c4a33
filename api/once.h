/* SPDX-License-Identifier: MIT
 *
 * The frame of every POST that must happen once: one transaction around its work and, when the
 * client sent an Idempotency-Key, the answer kept in the same transaction.
 */
#ifndef API_ONCE_H
#define API_ONCE_H

#include "api/http.h"
#include "common/err.h"

struct once_work {
    /* Writes in the open transaction and fills the reply. A reply of 400 and above, like an error,
     * rolls everything back; then nothing is kept for the key. May be called twice. */
    enum err_code (*run)(struct request *req, struct reply *reply, void *data, struct err *e);
    /* After the commit; NULL: nothing. What it cannot do must heal by itself. */
    void (*committed)(struct request *req, void *data);
    void *data;
};

enum err_code once_run(struct request *req, struct reply *reply, const struct once_work *work,
                       struct err *e) MUST_CHECK;

#endif
