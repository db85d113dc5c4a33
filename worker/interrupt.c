/* SPDX-License-Identifier: MIT
 *
 * Marks on items whose jobs were revoked; see interrupt.h. The mark is an atomic in the item; the
 * condition here only wakes those that sleep.
 */
#include "worker/interrupt.h"

#include <pthread.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/jobs_control.h"
#include "common/limit_ghosts.h"
#include "common/log.h"
#include "common/mem.h"

enum { IDS_BYTES_MAX = 256 * 1024 };

struct interrupts {
    pthread_mutex_t lock;
    pthread_cond_t marked;
};

struct interrupts *interrupts_new(void)
{
    struct interrupts *interrupts = mem_alloc(sizeof *interrupts);

    clock_cond_init(&interrupts->marked);
    pthread_mutex_init(&interrupts->lock, NULL);
    return interrupts;
}

bool interrupts_sleep(struct interrupts *interrupts, const struct item *item, int64_t until_us)
{
    struct timespec until = clock_timespec(until_us);
    bool revoked;

    pthread_mutex_lock(&interrupts->lock);
    while (!(revoked = atomic_load(&item->revoked)) && clock_mono_us() < until_us)
        (void)pthread_cond_timedwait(&interrupts->marked, &interrupts->lock, &until);
    pthread_mutex_unlock(&interrupts->lock);
    return !revoked;
}

/* ---- asking and marking ---- */

struct asking {
    struct buf ids;
    int count;
};

static bool add_id(struct item *item, void *context)
{
    struct asking *asking = context;

    if (item->delivery.kind == DELIVERY_DURABLE && !item->lost) {
        db_array_add(&asking->ids, item->job.id.text);
        asking->count++;
    }
    return false;
}

struct marking {
    const struct db_result *rows;
    int64_t now_us;
};

static bool mark(struct item *item, void *context)
{
    const struct marking *marking = context;

    for (int row = 0; item->delivery.kind == DELIVERY_DURABLE && row < db_rows(marking->rows);
         row++) {
        if (strcmp(db_text(marking->rows, row, 0), item->job.id.text) != 0)
            continue;
        if (!atomic_exchange(&item->revoked, true))
            log_info("job_revoked", L_STR("job_id", item->job.id.text),
                     L_STR("task", item->job.task), L_INT("attempt", item->job.attempt));
        if (db_bool(marking->rows, row, 1) && !atomic_load(&item->ended_at_us))
            atomic_store(&item->ended_at_us, marking->now_us + INTERRUPT_GRACE_S * US_PER_S);
    }
    return false;
}

enum err_code interrupts_look(struct interrupts *interrupts, struct pool *pool, struct db *db,
                              struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct asking asking = {.count = 0};
    struct marking marking;
    enum err_code rc = ERR_OK;

    buf_init(&asking.ids, IDS_BYTES_MAX);
    pool_visit(pool, ITEM_WAITING, add_id, &asking);
    pool_visit(pool, ITEM_RUNNING, add_id, &asking);
    db_array_end(&asking.ids);
    if (asking.count > 0)
        rc = jobs_list_revoked(db, asking.ids.data, &rows, e);
    buf_release(&asking.ids);
    if (rc || !rows || db_rows(rows) == 0)
        return rc;
    marking = (struct marking){.rows = rows, .now_us = clock_mono_us()};
    pthread_mutex_lock(&interrupts->lock);
    /* What waited may run by now; what ran may be gone. */
    pool_visit(pool, ITEM_WAITING, mark, &marking);
    pool_visit(pool, ITEM_RUNNING, mark, &marking);
    pthread_cond_broadcast(&interrupts->marked);
    pthread_mutex_unlock(&interrupts->lock);
    return ERR_OK;
}

/* ---- the places of those that go on ---- */

struct revoked {
    struct attempt *attempts;
    size_t count;
    size_t max;
};

static bool add_revoked(struct item *item, void *context)
{
    struct revoked *revoked = context;

    if (atomic_load(&item->revoked) && revoked->count < revoked->max)
        revoked->attempts[revoked->count++] = item_attempt(item);
    return false;
}

enum err_code interrupts_keep_places(struct pool *pool, struct db *db, int64_t for_us,
                                     bool *ret_any, struct err *e)
{
    struct pool_count counts = pool_counts(pool);
    size_t max = (size_t)counts.waiting + (size_t)counts.running;
    AUTO(mem_free) struct attempt *attempts = mem_array(max, sizeof *attempts);
    struct revoked revoked = {.attempts = attempts, .max = max};

    pool_visit(pool, ITEM_WAITING, add_revoked, &revoked);
    pool_visit(pool, ITEM_RUNNING, add_revoked, &revoked);
    *ret_any = revoked.count > 0;
    return revoked.count > 0 ? limit_ghosts_renew(db, attempts, revoked.count, for_us, e) : ERR_OK;
}

/* Who lost its fence may have been revoked, and not have heard of it. Should this fail, the places
 * come back when nobody has renewed them for a while. */
void interrupts_give_places(struct db *db, struct item *const *items, const bool *acknowledge,
                            size_t count)
{
    struct attempt attempts[SLOT_BATCH_MAX];
    size_t ended = 0;
    struct err e = {0};

    for (size_t i = 0; i < count && ended < COUNT_OF(attempts); i++)
        if (atomic_load(&items[i]->revoked) || (items[i]->job.has_places && !acknowledge[i]))
            attempts[ended++] = item_attempt(items[i]);
    if (ended > 0 && limit_ghosts_end(db, attempts, ended, &e))
        log_warn("places_not_given_back", L_INT("count", ended), L_ERR(&e));
}

/* ---- those that do not heed it ---- */

struct overdue {
    int64_t now_us;
    struct uuid id;
    bool found;
    bool others; /* that may come to an end */
};

static bool is_overdue(const struct item *item, int64_t now_us)
{
    int64_t ended_at_us = atomic_load(&item->ended_at_us);

    return ended_at_us && now_us >= ended_at_us;
}

static bool look_at(struct item *item, void *context)
{
    struct overdue *overdue = context;

    if (is_overdue(item, overdue->now_us) && atomic_load(&item->begun_us)) {
        overdue->found = true;
        overdue->id = item->job.id;
    } else if (atomic_load(&item->begun_us)) {
        overdue->others = true;
    }
    return false;
}

bool interrupts_find_overdue(struct pool *pool, int64_t now_us, struct uuid *ret_id)
{
    struct overdue overdue = {.now_us = now_us};

    pool_visit(pool, ITEM_RUNNING, look_at, &overdue);
    if (overdue.found)
        *ret_id = overdue.id;
    return overdue.found;
}

bool interrupts_only_overdue_left(struct pool *pool, int64_t now_us)
{
    struct overdue overdue = {.now_us = now_us};

    pool_visit(pool, ITEM_RUNNING, look_at, &overdue);
    return overdue.found && !overdue.others;
}
