/* SPDX-License-Identifier: MIT
 *
 * What an answer about the catalogue (products, categories, reviews) stands for, so that it may be
 * kept. Either the version of all of it: what was read stays good until that changes, whoever
 * writes by whatever way (sql/0017_catalogue_version.sql). Or the rows of products that it shows,
 * each in its own version, and for a list the version of the shape, too, which tells that there are
 * no others to show (sql/0042_catalogue_shape.sql): that outlives what is sold of other products.
 */
#ifndef COMMON_CATALOGUE_H
#define COMMON_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

enum { CATALOGUE_ROWS_MAX = 100 }; /* a page of a list */

/* A version of a row is the transaction that wrote it: seen in one snapshot with the row itself,
 * so no write is needed for it, and none is missed. 0: there is no such row. */
struct catalogue_rows {
    size_t count;
    int64_t ids[CATALOGUE_ROWS_MAX];
    int64_t versions[CATALOGUE_ROWS_MAX];
};

/* One row as text, and several: "7:4711,8:4712". */
#define SQL_ROW_VERSION(table) table ".id || ':' || " table ".xmin"
/* False: it is no such text, or there are too many. */
bool catalogue_rows_read(const char *text, struct catalogue_rows *ret);

/* One number for these rows in these versions and, unless it is 0, that shape. 0: a row is gone. */
int64_t catalogue_token(const struct catalogue_rows *rows, int64_t shape);

/* What is asked about many products at once: their ids in ascending order, each once. Fills the
 * versions, and the shape. */
enum { CATALOGUE_ASKED_MAX = 1024 };
struct catalogue_asked {
    size_t count;
    int64_t shape;
    struct catalogue_row {
        int64_t id;
        int64_t version;
    } rows[CATALOGUE_ASKED_MAX];
};
/* Sorts the ids, and drops those that are there twice. */
void catalogue_sort(struct catalogue_asked *asked);
struct catalogue_row *catalogue_find(struct catalogue_asked *asked, int64_t id);
enum err_code catalogue_ask(struct db *db, struct catalogue_asked *asked, struct err *e) MUST_CHECK;

struct catalogue_state {
    bool is_still;       /* nobody is writing */
    bool is_shape_still; /* nobody is changing the shape */
    int64_t shape;       /* from before that was looked at */
    int64_t position;    /* of the log, from after */
};
/* Whether somebody is writing. What is read after a true answer may be kept under the version that
 * was read before it (users_find_asking() brings it), and under this shape likewise. What a
 * standby gives that has all of the log before the position is as good. */
enum err_code catalogue_look(struct db *db, struct catalogue_state *ret, struct err *e) MUST_CHECK;

#endif
