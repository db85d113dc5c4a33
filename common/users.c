/* SPDX-License-Identifier: MIT
 *
 * Statements on the table of users; see users.h. Hashes come in ready-made: no password ever gets
 * here.
 */
#include "common/users.h"

#include <string.h>

#include "common/api_session.h"
#include "common/buf.h"
#include "common/mem.h"
#include "common/shop.h"
#include "common/statements.h"
#include "common/text.h"

#define COLUMNS                                                                                    \
    "id, username, email, first_name, last_name, password_hash, is_active, is_staff, " SQL_TIME(   \
        "created_at") ", " SQL_TIME("updated_at")

/* What clients see of those they may see: oneself, and staff everybody. */
#define SHOWN                                                                                      \
    "u.id, u.username, u.email, u.first_name, u.last_name, u.is_active, u.is_staff, " SQL_CREATED( \
        "u") ", " SQL_UPDATED("u")
#define VISIBLE                                                                                    \
    "users u WHERE (u.id = $1 OR EXISTS (SELECT FROM users s WHERE s.id = $1 AND s.is_staff))"
/* $4 part of the user name or e-mail address, $5 whether staff */
#define LISTED                                                                                     \
    VISIBLE " AND ($4::text IS NULL OR strpos(lower(u.username), lower($4)) > 0"                   \
            " OR strpos(lower(u.email), lower($4)) > 0)"                                           \
            " AND ($5::boolean IS NULL OR u.is_staff = $5)"

#define ASKING                                                                                     \
    "id, username, is_active, is_staff, (SELECT last_value FROM catalogue_version),"               \
    " CASE WHEN pg_is_in_recovery() THEN 0"                                                        \
    " ELSE (pg_current_wal_insert_lsn() - '0/0')::bigint END,"                                     \
    " coalesce((SELECT writes FROM user_writes WHERE user_id = u.id), 0)"
/* One row at least, though nobody be there. */
#define MANY_ASKING                                                                                \
    ASKING ", (SELECT version FROM users_changed), " SQL_API_SESSIONS                              \
           " FROM (SELECT) always LEFT JOIN users u ON id = ANY ($1::bigint[])"

#define GIVEN "username, email, first_name, last_name, password_hash"
/* As Django stores it: a name that is written in another way (composed or not, in full width) is
 * the same name. Only in UTF-8 has it such forms. */
#define OF_UTF8(forms, plain)                                                                      \
    "CASE WHEN getdatabaseencoding() = 'UTF8' THEN " forms " ELSE " plain " END"
#define USERNAME OF_UTF8("normalize($1, NFKC)", "$1")
/* The forms that a name may have been stored in before. */
#define USERNAMES                                                                                  \
    OF_UTF8("ARRAY[$1, normalize($1, NFKC), normalize($1, NFC), normalize($1, NFD),"               \
            " normalize($1, NFKD)]",                                                               \
            "ARRAY[$1]")
#define VALUES_GIVEN USERNAME ", $2, coalesce($3, ''), coalesce($4, ''), $5"

enum {
    CREATE,
    CREATE_STAFF,
    FIND_ASKING,
    FIND_MANY_ASKING,
    FIND_BY_EMAIL,
    LIST,
    LIST_DOWN,
    SHOW,
    TAKEN
};

static const struct db_stmt statements[] = {
    [CREATE] = {"users_create",
                "INSERT INTO users (" GIVEN ") VALUES (" VALUES_GIVEN ") RETURNING id", 5},
    /* A statement of its own: the API's role may not write is_staff. */
    [CREATE_STAFF] = {"users_create_staff",
                      "INSERT INTO users (" GIVEN ", is_staff) VALUES (" VALUES_GIVEN ", true)"
                      " RETURNING id",
                      5},
    [FIND_ASKING] = {"users_find_asking", "SELECT " ASKING " FROM users u WHERE id = $1", 1},
    [FIND_MANY_ASKING] = {"users_find_many_asking", "SELECT " MANY_ASKING, 1},
    [FIND_BY_EMAIL] = {"users_find_by_email",
                       "SELECT " COLUMNS " FROM users WHERE lower(email) = lower($1)", 1},
    [LIST] = {"users_list", SQL_PAGE(SHOWN, LISTED, "u.id"), 5},
    [LIST_DOWN] = {"users_list_down", SQL_PAGE(SHOWN, LISTED, "u.id DESC"), 5},
    [SHOW] = {"users_show", SQL_ROW(SHOWN, VISIBLE " AND u.id = $2"), 2},
    [TAKEN] = {"users_taken",
               "SELECT EXISTS (SELECT FROM users WHERE username = ANY (" USERNAMES ")),"
               " EXISTS (SELECT FROM users WHERE lower(email) = lower($2)), " USERNAME,
               2},
};

DB_STATEMENTS(users, statements);

static const struct resource_order lists[] = {
    {"id", &statements[LIST]},
    {"-id", &statements[LIST_DOWN]},
    {NULL, NULL},
};

const struct resource_sql users_sql = {.lists = lists, .find = &statements[SHOW]};

void user_release(struct user *user)
{
    mem_free(user->username);
    mem_free(user->email);
    mem_free(user->first_name);
    mem_free(user->last_name);
    mem_wipe_free(user->password_hash);
    mem_free(user->created_at);
    mem_free(user->updated_at);
    *user = (struct user){0};
}

static void read_row(const struct db_result *rows, int row, struct user *user)
{
    *user = (struct user){
        .id = db_int(rows, row, 0),
        .username = mem_dup(db_text(rows, row, 1)),
        .email = mem_dup(db_text(rows, row, 2)),
        .first_name = mem_dup(db_text(rows, row, 3)),
        .last_name = mem_dup(db_text(rows, row, 4)),
        .password_hash = mem_dup(db_text(rows, row, 5)),
        .is_active = db_bool(rows, row, 6),
        .is_staff = db_bool(rows, row, 7),
        .created_at = mem_dup(db_text(rows, row, 8)),
        .updated_at = mem_dup(db_text(rows, row, 9)),
    };
}

enum err_code users_create(struct db *db, const struct user_new *new_user, int64_t *ret_id,
                           struct user_taken *ret_taken, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct err refused = {0};
    enum err_code rc = db_query(db, &statements[new_user->is_staff ? CREATE_STAFF : CREATE],
                                DB_ARGS(DB_TEXT(new_user->username), DB_TEXT(new_user->email),
                                        DB_TEXT(new_user->first_name), DB_TEXT(new_user->last_name),
                                        DB_TEXT(new_user->password_hash)),
                                &rows, &refused);

    if (rc == ERR_CONFLICT) {
        bool email = strcmp(db_constraint(db), "users_email_key") == 0;

        if (ret_taken)
            *ret_taken = (struct user_taken){.username = !email, .email = email};
        return err_set(e, ERR_CONFLICT, "a user with this %s already exists",
                       email ? "email" : "username");
    }
    if (rc == ERR_INVALID) /* without the driver's text: it shows the row, with the hash in it */
        return err_set_detail(e, rc, db_constraint(db), "the user's data is not valid");
    if (rc)
        return err_set_detail(e, rc, refused.detail, "%s", refused.text);
    *ret_id = db_int(rows, 0, 0);
    return ERR_OK;
}

static enum err_code find(struct db *db, const struct db_stmt *stmt, struct db_args args,
                          struct user *ret_user, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, stmt, args, &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no such user");
    read_row(rows, 0, ret_user);
    return ERR_OK;
}

static void read_asking(const struct db_result *rows, int row, struct user_asking *user)
{
    *user = (struct user_asking){
        .id = db_int(rows, row, 0),
        .is_active = db_bool(rows, row, 2),
        .is_staff = db_bool(rows, row, 3),
        .catalogue_version = db_int(rows, row, 4),
        .position = db_int(rows, row, 5),
        .writes = db_int(rows, row, 6),
    };
    text_copy(user->username, sizeof user->username, db_text(rows, row, 1));
}

enum err_code users_find_asking(struct db *db, int64_t id, struct user_asking *ret_user,
                                struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[FIND_ASKING], DB_ARGS(DB_INT(id)), &rows, e);

    if (rc)
        return rc;
    if (db_rows(rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no such user");
    read_asking(rows, 0, ret_user);
    return ERR_OK;
}

static void read_many_asking(const struct db_result *rows, struct users_asking *ret)
{
    ret->count = 0;
    ret->catalogue_version = db_int(rows, 0, 4);
    ret->users_version = db_int(rows, 0, 7);
    ret->api_sessions = db_int(rows, 0, 8);
    for (int row = 0; row < db_rows(rows) && ret->count < USERS_ASKING_MAX; row++)
        if (!db_is_null(rows, row, 0))
            read_asking(rows, row, &ret->users[ret->count++]);
}

enum err_code users_find_many_asking(struct db *db, const int64_t *ids, size_t count,
                                     struct users_asking *ret, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf array;
    enum err_code rc;

    buf_init(&array, 24 * USERS_ASKING_MAX);
    for (size_t i = 0; i < count; i++)
        db_array_add_int(&array, ids[i]);
    db_array_fill(&array, count);
    db_array_end(&array);
    rc = db_query(db, &statements[FIND_MANY_ASKING], DB_ARGS(DB_TEXT(array.data)), &rows, e);
    if (!rc)
        read_many_asking(rows, ret);
    return rc;
}

enum err_code users_find_by_email(struct db *db, const char *email, struct user *ret_user,
                                  struct err *e)
{
    return find(db, &statements[FIND_BY_EMAIL], DB_ARGS(DB_TEXT(email)), ret_user, e);
}

enum err_code users_look_taken(struct db *db, const char *username, const char *email,
                               struct user_taken *ret_taken, char **ret_username, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(db, &statements[TAKEN], DB_ARGS(DB_TEXT(username), DB_TEXT(email)), &rows, e);

    if (rc)
        return rc;
    *ret_taken = (struct user_taken){.username = db_bool(rows, 0, 0), .email = db_bool(rows, 0, 1)};
    *ret_username = db_is_null(rows, 0, 2) ? NULL : mem_dup(db_text(rows, 0, 2));
    return ERR_OK;
}
