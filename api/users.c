/* SPDX-License-Identifier: MIT
 *
 * /api/users/: oneself; for staff everybody.
 */
#include "common/users.h"

#include "api/api.h"
#include "api/page.h"

static json_t *user_json(const struct user *user)
{
    return json_pack("{s:I, s:s, s:s, s:s, s:s, s:b, s:b, s:s, s:s}", "id", (json_int_t)user->id,
                     "username", user->username, "email", user->email, "first_name",
                     user->first_name, "last_name", user->last_name, "is_active", user->is_active,
                     "is_staff", user->is_staff, "created_at", user->created_at, "updated_at",
                     user->updated_at);
}

static enum err_code add_users(const struct request *req, const struct page *page, json_t *results,
                               int64_t *ret_total, struct err *e)
{
    AUTO_VALUE(users_release) struct users list = {0};
    int64_t only_id = req->user.is_staff ? 0 : req->user.id;
    enum err_code rc =
        users_list(api_of(req)->db, only_id, page->size, page->offset, &list, ret_total, e);

    for (size_t i = 0; !rc && i < list.count; i++)
        (void)json_array_append_new(results, user_json(&list.items[i]));
    return rc;
}

enum err_code users_index(struct request *req, struct reply *reply, struct err *e)
{
    return page_list(req, reply, add_users, e);
}

enum err_code users_show(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(user_release) struct user user = {0};
    int64_t id;
    enum err_code rc;

    if (!api_path_id(req, &id) || (id != req->user.id && !req->user.is_staff))
        return err_set(e, ERR_NOT_FOUND, "there is no such user");
    rc = users_find(api_of(req)->db, id, &user, e);
    return rc ? rc : reply_json(reply, 200, user_json(&user), e);
}
