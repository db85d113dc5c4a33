/* SPDX-License-Identifier: MIT
 *
 * /api/openapi.json: the file openapi.json of this folder, as it stands. A test compares it with
 * the table of routes, and the answers of all tests with it.
 */
#include "api/api.h"
#include "common/embed.h"

enum err_code openapi_show(struct request *req, struct reply *reply, struct err *e)
{
    (void)req;
    (void)e;
    reply_bytes(reply, 200, "application/json", openapi_files[0].data,
                (size_t)(openapi_files[0].end - openapi_files[0].data));
    return ERR_OK;
}
