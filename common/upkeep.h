/* SPDX-License-Identifier: MIT
 *
 * What the shop's schedules do to its tables: orders that nobody paid expire, payments without an
 * answer get a job that looks them up, and staff get the sales of a day.
 */
#ifndef COMMON_UPKEEP_H
#define COMMON_UPKEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/reconcile.h"
#include "common/uuid.h"

#define TASK_RECONCILE_PAYMENT "payments.tasks.reconcile_payment"
#define TASK_SEND_DAILY_SALES "reports.tasks.send_daily_sales"

/* Expires orders that were made longer ago than `age_s` and have no payment that is alive or has
 * succeeded, and gives their stock back: at most `max`, in one transaction of its own. */
enum err_code orders_expire(struct db *db, int64_t age_s, int max, int64_t *ret_count,
                            struct err *e) MUST_CHECK;

/* Adds a job for each payment that has had no answer for `age_s`, has no job that works on it, and
 * was not looked up for a quarter of its age: at most `max`, oldest first. */
enum err_code payments_reconcile_stuck(struct db *db, int64_t age_s, int max, int64_t *ret_count,
                                       struct err *e) MUST_CHECK;

/* What is known of the job that had to charge a payment. */
enum err_code payments_read_history(struct db *db, const struct uuid *payment,
                                    struct reconcile_history *ret_history,
                                    struct err *e) MUST_CHECK;

enum { SALES_DAY_SIZE = 11 };

/* The day before the one that an instant (RFC 3339) lies in, by the clock of a zone. */
enum err_code sales_day_before(struct db *db, const char *at, const char *zone,
                               char ret_day[SALES_DAY_SIZE], struct err *e) MUST_CHECK;

/* Adds the mail's job for each active member of staff who has none for this day yet. ERR_INVALID
 * when the day is none. */
enum err_code sales_report_start(struct db *db, const char *day, int64_t *ret_mails,
                                 struct err *e) MUST_CHECK;

/* Amounts are texts of numeric(12,2); all texts are owned. */
struct sales_total {
    char *currency;
    char *gross;
    char *refunded;
    char *net;
    int64_t orders;
    int64_t refunds;
    int64_t items;
};

struct sales_product {
    char *name;
    int64_t items;
};

/* sales_report_release() frees it. */
struct sales_report {
    char *email; /* NULL: not staff any more */
    char *name;
    int64_t placed; /* orders made that day */
    struct sales_total *totals;
    size_t totals_count;
    struct sales_product *products; /* the most sold */
    size_t products_count;
};

void sales_report_release(struct sales_report *report);

/* The sales of a day, by the clock of `zone`, for a user. */
enum err_code sales_report_read(struct db *db, const char *day, const char *zone, int64_t user_id,
                                struct sales_report *ret_report, struct err *e) MUST_CHECK;

#endif
