/* SPDX-License-Identifier: MIT
 *
 * Waiting to be told by the server (LISTEN); see db.h.
 */
#include <poll.h>

#include "common/clock.h"
#include "common/db_private.h"

static bool take_notification(struct db *db)
{
    bool any = false;

    for (PGnotify *notify; (notify = PQnotifies(db->conn)) != NULL; PQfreemem(notify))
        any = true;
    return any;
}

enum err_code db_wait_notify(struct db *db, int other_fd, int64_t timeout_us, bool *ret_notified,
                             struct err *e)
{
    struct pollfd fds[2] = {{.fd = db_socket(db), .events = POLLIN},
                            {.fd = other_fd, .events = POLLIN}};
    int ready;

    *ret_notified = db->conn && take_notification(db);
    if (*ret_notified || timeout_us <= 0)
        return ERR_OK;
    ready = poll(fds, 2, (int)((timeout_us + US_PER_MS - 1) / US_PER_MS));
    if (ready > 0 && fds[0].revents) {
        if (!PQconsumeInput(db->conn))
            return db_lost(db, e);
        *ret_notified = take_notification(db);
    }
    return ERR_OK;
}
