/* SPDX-License-Identifier: MIT
 *
 * Versions of rows; see row_versions.h. Many ask for the same rows, which are then asked for once.
 */
#include "api/row_versions.h"

#include "api/groups.h"
#include "api/metrics.h"
#include "common/log.h"
#include "common/mem.h"

enum {
    DEADLINE_S = 2, /* then everybody who waits makes the answer */
    GROUP_MAX = 64,
};

struct row_asker {
    struct group_member member;
    struct catalogue_rows *rows; /* the caller's, filled by who leads */
    int64_t shape;
    bool is_told;
};

static struct group group = GROUP_INITIALIZER(group);
/* The leader's: */
static struct db *shared;
static struct catalogue_asked asked;

struct row_asker *row_asker_new(void)
{
    struct row_asker *mine = mem_alloc(sizeof *mine);

    group_member_init(&mine->member);
    return mine;
}

void row_asker_free(struct row_asker *mine)
{
    if (!mine)
        return;
    group_member_release(&mine->member);
    mem_free(mine);
}

/* Those of one more, if there is room. */
static void gather(const struct catalogue_rows *rows)
{
    for (size_t i = 0; i < rows->count && asked.count < CATALOGUE_ASKED_MAX; i++)
        asked.rows[asked.count++].id = rows->ids[i];
    catalogue_sort(&asked);
}

static void tell(struct row_asker *one, enum err_code rc)
{
    struct catalogue_rows *rows = one->rows;

    one->is_told = rc == ERR_OK;
    one->shape = asked.shape;
    for (size_t i = 0; i < rows->count; i++) {
        const struct catalogue_row *row = catalogue_find(&asked, rows->ids[i]);

        rows->versions[i] = row ? row->version : 0;
    }
}

static enum err_code ask(void)
{
    bool was_connected = db_is_connected(shared);
    struct err e = {0};
    enum err_code rc = catalogue_ask(shared, &asked, &e);

    if (rc == ERR_UNAVAILABLE && was_connected) { /* it may have died while idle */
        err_clear(&e);
        rc = catalogue_ask(shared, &asked, &e);
    }
    if (rc)
        log_debug("row_versions_failed", L_ERR(&e));
    return rc;
}

static void lead(struct row_asker *mine)
{
    struct group_members taken;
    struct group_member *one;
    enum err_code rc;

    (void)group_take(&group, &taken, GROUP_MAX);
    asked.count = 0;
    for (one = STAILQ_FIRST(&taken); one; one = STAILQ_NEXT(one, entry))
        gather(((struct row_asker *)one)->rows);
    rc = ask();
    metrics_add(METRIC_ROW_LOOKUPS);
    for (one = STAILQ_FIRST(&taken); one; one = STAILQ_NEXT(one, entry))
        tell((struct row_asker *)one, rc);
    group_hand_over(&group, rc != ERR_OK);
    group_release(&taken, &mine->member);
}

bool row_versions_ask(struct row_asker *mine, struct catalogue_rows *rows, int64_t *ret_shape)
{
    enum group_role role;

    mine->rows = rows;
    role = group_join(&group, &mine->member);
    if (role == GROUP_APART)
        return false;
    if (role == GROUP_LEADS)
        lead(mine);
    if (mine->is_told)
        *ret_shape = mine->shape;
    return mine->is_told;
}

void row_versions_init(const char *database_url)
{
    shared = db_open(database_url, "till-api");
    db_set_deadline(shared, DEADLINE_S);
}

void row_versions_end(void)
{
    db_close(shared);
    shared = NULL;
}
