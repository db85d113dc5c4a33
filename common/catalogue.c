/* SPDX-License-Identifier: MIT
 *
 * What answers about the catalogue stand for; see catalogue.h.
 */
#include "common/catalogue.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/buf.h"
#include "common/statements.h"

#define LOCK "hashtextextended('till catalogue', 0)"
#define SHAPE_LOCK "hashtextextended('till catalogue shape', 0)"
#define IS_FREE(lock)                                                                              \
    "coalesce(CASE WHEN pg_try_advisory_lock(" lock ") THEN pg_advisory_unlock(" lock ") END,"     \
    " false)"

enum { LOOK, ASK };

static const struct db_stmt statements[] = {
    [LOOK] = {"catalogue_look",
              /* The shape is read before the locks are tried, and the position after, so that
               * whoever held one has committed before it. */
              "SELECT free.whole, free.of_shape, free.shape, CASE WHEN pg_is_in_recovery() THEN 0"
              " ELSE (pg_current_wal_insert_lsn() - '0/0')::bigint END"
              " FROM (SELECT s.shape, " IS_FREE(LOCK) " AS whole, " IS_FREE(
                  SHAPE_LOCK) " AS of_shape FROM (SELECT last_value AS shape FROM catalogue_shape "
                              "OFFSET 0) s"
                              " OFFSET 0) free",
              0},
    [ASK] = {"catalogue_ask",
             "SELECT (SELECT last_value FROM catalogue_shape),"
             " coalesce(string_agg(" SQL_ROW_VERSION(
                 "p") ", ','), '')"
                      " FROM products p WHERE p.id = ANY ($1::bigint[])",
             1},
};

DB_STATEMENTS(catalogue, statements);

/* ---- rows ---- */

/* "7:4711", at *at, which is moved behind it. */
static bool read_pair(const char **at, int64_t *ret_id, int64_t *ret_version)
{
    char *end;

    *ret_id = strtoll(*at, &end, 10);
    if (end == *at || *end != ':')
        return false;
    *at = end + 1;
    *ret_version = strtoll(*at, &end, 10);
    if (end == *at || (*end && *end != ','))
        return false;
    *at = end + (*end == ',');
    return true;
}

bool catalogue_rows_read(const char *text, struct catalogue_rows *ret)
{
    ret->count = 0;
    while (*text) {
        if (ret->count == CATALOGUE_ROWS_MAX ||
            !read_pair(&text, &ret->ids[ret->count], &ret->versions[ret->count]))
            return false;
        ret->count++;
    }
    return true;
}

int64_t catalogue_token(const struct catalogue_rows *rows, int64_t shape)
{
    /* The same in every process: they share what is kept in Redis. */
    static const unsigned char key[crypto_shorthash_KEYBYTES];
    int64_t numbers[1 + 2 * CATALOGUE_ROWS_MAX];
    size_t count = 0;
    int64_t token = 0;

    numbers[count++] = shape;
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->versions[i] == 0)
            return 0;
        numbers[count++] = rows->ids[i];
        numbers[count++] = rows->versions[i];
    }
    (void)crypto_shorthash((unsigned char *)&token, (const unsigned char *)numbers,
                           count * sizeof *numbers, key);
    return token ? token : 1;
}

/* ---- many at once ---- */

static int compare(const void *one, const void *other)
{
    const struct catalogue_row *a = one;
    const struct catalogue_row *b = other;

    return (a->id > b->id) - (a->id < b->id);
}

void catalogue_sort(struct catalogue_asked *asked)
{
    size_t kept = 0;

    qsort(asked->rows, asked->count, sizeof *asked->rows, compare);
    for (size_t i = 0; i < asked->count; i++)
        if (kept == 0 || asked->rows[kept - 1].id != asked->rows[i].id)
            asked->rows[kept++] = asked->rows[i];
    asked->count = kept;
}

struct catalogue_row *catalogue_find(struct catalogue_asked *asked, int64_t id)
{
    const struct catalogue_row wanted = {.id = id};

    return bsearch(&wanted, asked->rows, asked->count, sizeof wanted, compare);
}

static void read_versions(const char *text, struct catalogue_asked *asked)
{
    int64_t id;
    int64_t version;

    while (*text && read_pair(&text, &id, &version)) {
        struct catalogue_row *row = catalogue_find(asked, id);

        if (row)
            row->version = version;
    }
}

enum err_code catalogue_ask(struct db *db, struct catalogue_asked *asked, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    enum err_code rc;

    buf_init(&ids, 24 * (CATALOGUE_ASKED_MAX + 1));
    for (size_t i = 0; i < asked->count; i++)
        db_array_add_int(&ids, asked->rows[i].id);
    db_array_fill(&ids, asked->count);
    db_array_end(&ids);
    for (size_t i = 0; i < asked->count; i++)
        asked->rows[i].version = 0;
    rc = db_query(db, &statements[ASK], DB_ARGS(DB_TEXT(ids.data)), &rows, e);
    if (rc)
        return rc;
    asked->shape = db_int(rows, 0, 0);
    read_versions(db_text(rows, 0, 1), asked);
    return ERR_OK;
}

/* ---- who writes ---- */

enum err_code catalogue_look(struct db *db, struct catalogue_state *ret, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[LOOK], DB_NO_ARGS, &rows, e);

    if (rc)
        return rc;
    *ret = (struct catalogue_state){
        .is_still = db_bool(rows, 0, 0),
        .is_shape_still = db_bool(rows, 0, 1),
        .shape = db_int(rows, 0, 2),
        .position = db_int(rows, 0, 3),
    };
    return ERR_OK;
}
