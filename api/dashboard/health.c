/* SPDX-License-Identifier: MIT
 *
 * Whether the dashboard lives and can serve. Redis is not asked for: without it the dashboard shows
 * what PostgreSQL knows.
 */
#include "api/dashboard/dashboard.h"

enum err_code health_flower(struct request *req, struct reply *reply, struct err *e)
{
    (void)req;
    (void)e;
    reply_bytes(reply, 200, "text/plain; charset=utf-8", "OK", 2);
    return ERR_OK;
}

enum err_code health_alive(struct request *req, struct reply *reply, struct err *e)
{
    (void)req;
    return reply_json(reply, 200, json_pack("{s:s}", "status", "ok"), e);
}

enum err_code health_ready(struct request *req, struct reply *reply, struct err *e)
{
    struct dashboard_thread *thread = thread_of(req);
    bool stopping = server_is_stopping(req->server);
    bool ready = !stopping && db_connect(thread->db, NULL) == ERR_OK;

    return reply_json(reply, ready ? 200 : 503,
                      json_pack("{s:s, s:s}", "status", ready ? "ready" : "not ready", "database",
                                stopping ? "stopping"
                                : ready  ? "ok"
                                         : "unavailable"),
                      e);
}
