/* SPDX-License-Identifier: MIT
 *
 * Declaring a flow; see flows.h. Judged here, for people, and again by till_flow(), which makes its
 * rows (sql/0012_flows.sql).
 */
#include "common/flows.h"

#include <string.h>

#include "common/mem.h"
#include "common/statements.h"

enum { INSERT };

static const struct db_stmt statements[] = {
    [INSERT] = {"flows_insert", "SELECT till_flow($1::jsonb)", 1},
};

DB_STATEMENTS(flows_insert, statements);

/* The first `len` bytes of a text without its last word. */
static size_t without_word(const char *text, size_t len)
{
    while (len > 0 && text[len - 1] == ' ')
        len--;
    while (len > 0 && text[len - 1] != ' ')
        len--;
    while (len > 0 && text[len - 1] == ' ')
        len--;
    return len;
}

/* What till_flow() says itself has the place in the flow; people want that, not its wrapping:
 * "ERROR:  flow... CONTEXT:  PL/pgSQL function till_flow...". */
static enum err_code tell_refusal(const struct db *db, enum err_code rc, const struct err *why,
                                  struct err *e)
{
    const char *state = db_sqlstate(db);
    const char *said = strstr(why->detail, ":  flow");
    const char *where = said ? strstr(said, "PL/pgSQL function till_flow") : NULL;

    if (!where || (strcmp(state, "22023") != 0 && strcmp(state, "23505") != 0))
        return err_set_detail(e, rc, *why->detail ? why->detail : NULL, "%s", why->text);
    said += strlen(":  ");
    return err_set(e, rc, "%.*s", (int)without_word(said, (size_t)(where - said)), said);
}

enum err_code flows_insert(struct db *db, const json_t *flow, struct uuid *ret_id, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO(mem_free) char *text = NULL;
    struct err why = {0};
    enum err_code rc = flow_check(flow, NULL, e);

    if (rc)
        return rc;
    text = json_write(flow);
    if (!text)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (strlen(text) > FLOW_BYTES_MAX)
        return err_set(e, ERR_INVALID, "a flow is at most %d bytes", FLOW_BYTES_MAX);
    rc = db_query(db, &statements[INSERT], DB_ARGS(DB_TEXT(text)), &rows, &why);
    if (rc)
        return tell_refusal(db, rc, &why, e);
    return uuid_parse(db_text(rows, 0, 0), ret_id)
               ? ERR_OK
               : err_set(e, ERR_INTERNAL, "the database gave no id of a flow");
}
