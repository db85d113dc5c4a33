/* SPDX-License-Identifier: MIT
 *
 * Prints the SQL statements of all stores as a JSON array: name, text, number of parameters.
 */
#include <jansson.h>
#include <stdio.h>

#include "common/statements.h"

static json_t *list(void)
{
    json_t *all = json_array();

    for (size_t s = 0; s < db_all_statements_count; s++) {
        for (size_t i = 0; i < db_all_statements[s]->count; i++) {
            const struct db_stmt *stmt = &db_all_statements[s]->statements[i];

            (void)json_array_append_new(all, json_pack("{s:s, s:s, s:i}", "name", stmt->name, "sql",
                                                       stmt->sql, "params", stmt->params));
        }
    }
    return all;
}

int main(void)
{
    json_t *all = list();
    int failed = json_dumpf(all, stdout, JSON_COMPACT);

    json_decref(all);
    return failed ? 1 : 0;
}
