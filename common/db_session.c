/* SPDX-License-Identifier: MIT
 *
 * What of a session outlives its statements and transactions; see db.h.
 */
#include <string.h>
#include <strings.h>

#include "common/db_private.h"

/* By its first word; what SET is for the transaction alone goes with that. A script of several may
 * say anything. */
static bool changes_session(const char *sql)
{
    static const char *const words[] = {"SET ",     "RESET ",      "LISTEN ",  "CREATE ",
                                        "PREPARE ", "DEALLOCATE ", "DISCARD ", "DECLARE ",
                                        "LOAD ",    "DO ",         "CALL "};
    static const char *const passing[] = {"SET LOCAL ", "SET TRANSACTION ", "SET CONSTRAINTS "};

    if (strchr(sql, ';'))
        return true;
    for (size_t i = 0; i < COUNT_OF(passing); i++)
        if (strncasecmp(sql, passing[i], strlen(passing[i])) == 0)
            return false;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strncasecmp(sql, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

void db_note_statement(struct db *db, const char *sql)
{
    db->is_changed = db->is_changed || changes_session(sql);
}

bool db_session_is_changed(const struct db *db) { return db->is_changed; }
