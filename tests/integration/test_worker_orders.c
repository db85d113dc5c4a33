/* SPDX-License-Identifier: MIT
 *
 * Orders to workers against the real server: the last word counts, whomever it was said to.
 */
#include "common/worker_orders.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/mem.h"
#include "tests/integration/stores.h"

static struct db *db;
static struct err e;

static void start(void)
{
    db = db_open(need_setting("DATABASE_URL"), "test_worker_orders");
    cr_assert_eq(db_run_script(db, "DELETE FROM worker_orders", &e), ERR_OK, "%s", e.detail);
}

static void finish(void) { db_close(db); }

TestSuite(worker_orders, .init = start, .fini = finish, .timeout = 60);

#define OK(call) cr_assert_eq((call), ERR_OK, "%s: %s", e.text, e.detail)

static struct worker_order of(const char *name)
{
    struct worker_order order = {0};

    OK(worker_orders_of(db, name, &order, &e));
    return order;
}

static struct workers_found found_of(const char *const *names, size_t count, int slots)
{
    struct workers_found found = {.items = mem_array(count, sizeof found.items[0]), .count = count};

    for (size_t i = 0; i < count; i++) {
        (void)snprintf(found.items[i].name, sizeof found.items[i].name, "%s", names[i]);
        found.items[i].is_alive = true;
        found.items[i].slots = slots;
    }
    return found;
}

Test(worker_orders, quiet_is_taken_back_by_the_last_word)
{
    OK(workers_quiet(db, "all", true, "ann", &e));
    cr_expect(of("a:0").quiet);
    OK(workers_quiet(db, "a:0", false, NULL, &e));
    cr_expect_not(of("a:0").quiet);
    cr_expect(of("a:1").quiet);
    OK(workers_quiet(db, "a", true, NULL, &e));
    cr_expect(of("a:0").quiet, "an order to the host comes after that to the worker");
    OK(workers_quiet(db, "a", false, NULL, &e));
    cr_expect_not(of("a:0").quiet);
    cr_expect(of("b:0").quiet);
    OK(workers_quiet(db, "all", false, NULL, &e));
    cr_expect_not(of("b:0").quiet);
}

Test(worker_orders, a_host_is_not_its_namesakes_beginning)
{
    OK(workers_quiet(db, "shop", true, NULL, &e));
    OK(workers_quiet(db, "shop-1:0", true, NULL, &e));
    OK(workers_quiet(db, "shop", false, NULL, &e));
    cr_expect(of("shop-1:0").quiet);
    cr_expect_not(of("shop:0").quiet);
}

Test(worker_orders, a_size_and_bounds_replace_each_other)
{
    OK(workers_autoscale(db, "all", 2, 8, NULL, &e));
    cr_expect_eq(of("a:0").slots_max, 8);
    OK(workers_scale(db, "a:0", 5, NULL, &e));
    cr_expect_eq(of("a:0").slots, 5);
    cr_expect_eq(of("a:0").slots_max, 0);
    cr_expect_eq(of("a:1").slots_min, 2);
    OK(workers_scale(db, "all", 0, NULL, &e));
    cr_expect(of("a:0").says_size);
    cr_expect_eq(of("a:0").slots, 0, "as it was set up");
    cr_expect_eq(of("a:1").slots_max, 0);
}

Test(worker_orders, growing_counts_from_the_last_order_and_else_from_what_the_worker_told)
{
    static const char *const names[] = {"a:0", "a:1"};
    AUTO_VALUE(workers_found_release) struct workers_found found = found_of(names, 2, 4);

    OK(workers_scale(db, "a:1", 10, NULL, &e));
    OK(workers_grow(db, &found, 2, "ann", &e));
    cr_expect_eq(found.items[0].slots, 6);
    cr_expect_eq(found.items[1].slots, 12);
    OK(workers_grow(db, &found, 3, "ann", &e));
    cr_expect_eq(of("a:0").slots, 9, "not 6 + 3 of a stale report, but of the last order");
    cr_expect_eq(of("a:1").slots, 15);
    OK(workers_autoscale(db, "all", 1, 100, NULL, &e));
    found.items[0].slots = 50; /* what it told while it scaled itself */
    OK(workers_grow(db, &found, -1, NULL, &e));
    cr_expect_eq(of("a:0").slots, 49);
    cr_expect_eq(of("a:0").slots_max, 0);
    OK(workers_scale(db, "all", 20, NULL, &e));
    OK(workers_grow(db, &found, 1, NULL, &e));
    cr_expect_eq(of("a:0").slots, 21, "from the order to all");
}

Test(worker_orders, a_size_out_of_bounds_is_refused_and_changes_nobody)
{
    static const char *const names[] = {"a:0", "a:1"};
    AUTO_VALUE(workers_found_release) struct workers_found found = found_of(names, 2, 4);
    static const int wrong[] = {-4, -5, 253, 100000, -100000};

    OK(workers_scale(db, "a:1", 200, NULL, &e));
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct err own = {0};

        cr_expect_eq(workers_grow(db, &found, wrong[i], NULL, &own), ERR_INVALID, "%d", wrong[i]);
        cr_expect(strstr(own.text, "1 to 256"), "%s", own.text);
    }
    cr_expect_not(of("a:0").says_size);
    cr_expect_eq(of("a:1").slots, 200);
    cr_expect_eq(workers_scale(db, "a:0", 257, NULL, NULL), ERR_INVALID);
    cr_expect_eq(workers_scale(db, "a:0", -1, NULL, NULL), ERR_INVALID);
    cr_expect_eq(workers_autoscale(db, "a:0", 0, 4, NULL, NULL), ERR_INVALID);
    cr_expect_eq(workers_autoscale(db, "a:0", 5, 4, NULL, NULL), ERR_INVALID);
    cr_expect_eq(workers_autoscale(db, "a:0", 5, 257, NULL, NULL), ERR_INVALID);
    found.items[0].is_alive = found.items[1].is_alive = false;
    cr_expect_eq(workers_grow(db, &found, 1, NULL, NULL), ERR_NOT_FOUND);
}

Test(worker_orders, stop_and_restart_have_an_age)
{
    cr_expect_lt(of("a:0").stop_age_us, 0);
    OK(workers_stop(db, "a", NULL, &e));
    OK(workers_restart(db, "a:0", NULL, &e));
    cr_expect_geq(of("a:0").stop_age_us, 0);
    cr_expect_geq(of("a:0").restart_age_us, 0);
    cr_expect_lt(of("a:1").restart_age_us, 0);
    cr_expect_lt(of("b:0").stop_age_us, 0);
}

/* What the worker is told of the queue: 1, 0, or -1 for nothing. */
static int consumes(const char *name, const char *queue)
{
    struct worker_order order = of(name);

    for (size_t i = 0; i < order.consumer_count; i++)
        if (strcmp(order.consumers[i].queue, queue) == 0)
            return order.consumers[i].consumes;
    return -1;
}

Test(worker_orders, the_last_word_about_a_queue_counts_queue_by_queue)
{
    OK(workers_consume(db, "a:0", "mail", true, "ann", &e));
    OK(workers_consume(db, "a:0", "slow", false, "ann", &e));
    cr_expect_eq(consumes("a:0", "mail"), 1);
    cr_expect_eq(consumes("a:0", "slow"), 0);
    cr_expect_eq(consumes("a:1", "mail"), -1);
    OK(workers_consume(db, "all", "mail", false, NULL, &e));
    cr_expect_eq(consumes("a:0", "mail"), 0, "an order to all comes after that to the worker");
    cr_expect_eq(consumes("b:9", "mail"), 0);
    cr_expect_eq(consumes("a:0", "slow"), 0, "which was said of another queue");
    OK(workers_consume(db, "a", "mail", true, NULL, &e));
    cr_expect_eq(consumes("a:0", "mail"), 1);
    cr_expect_eq(consumes("b:9", "mail"), 0);
    OK(workers_forget(db, "all", NULL, &e));
    cr_expect_eq(consumes("a:0", "mail"), -1);
    cr_expect_eq(consumes("a:0", "slow"), -1);
}

Test(worker_orders, so_many_queues_and_no_more)
{
    char name[32];

    for (int i = 0; i < WORKER_QUEUES_MAX; i++) {
        (void)snprintf(name, sizeof name, "queue-%d", i);
        OK(workers_consume(db, "a:0", name, i % 2 == 0, NULL, &e));
    }
    cr_expect_eq(of("a:0").consumer_count, (size_t)WORKER_QUEUES_MAX);
    OK(workers_consume(db, "a:0", "queue-7", true, NULL, &e));
    cr_expect_eq(workers_consume(db, "a:0", "one-more", true, NULL, &e), ERR_INVALID);
    cr_expect(strstr(e.text, "reset"), "%s", e.text);
    cr_expect_eq(workers_consume(db, "a:0", "a b", true, NULL, NULL), ERR_INVALID);
    cr_expect_eq(workers_consume(db, "a:0", "", true, NULL, NULL), ERR_INVALID);
}

Test(worker_orders, what_was_ordered_is_listed_and_forgotten)
{
    AUTO_VALUE(worker_order_list_release) struct worker_order_list list = {0};
    int64_t count = 0;

    OK(workers_quiet(db, "b:0", true, "ann", &e));
    OK(workers_scale(db, "all", 7, NULL, &e));
    OK(worker_orders_list(db, &list, &e));
    cr_assert_eq(list.count, 2);
    cr_expect_str_eq(list.items[0].whom, "all");
    cr_expect_eq(list.items[0].slots, 7);
    cr_expect_str_eq(list.items[1].ordered_by, "ann");
    OK(workers_forget(db, "b", &count, &e));
    cr_expect_eq(count, 1);
    cr_expect_not(of("b:0").says_quiet);
    OK(workers_forget(db, "all", &count, &e));
    cr_expect_not(of("b:0").says_size);
}

Test(worker_orders, a_name_is_checked)
{
    static const char *const wrong[] = {
        "", "a b", "a\n", "\xff\xfe",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        cr_expect_eq(workers_quiet(db, wrong[i], true, NULL, NULL), ERR_INVALID, "%s", wrong[i]);
    OK(workers_quiet(db, "';DROP%$1", true, "'", &e));
}
