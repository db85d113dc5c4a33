/* SPDX-License-Identifier: MIT
 *
 * Jobs under a limit of their task or key are parked by the claim when there is no room for them.
 * Who gives a place back notes which bucket it was in and notifies; what is a matter of time has
 * its time in the bucket. So this looks at buckets in which something has changed, and at no
 * others.
 */
#include "scheduler/parked.h"

#include "common/crashpoint.h"
#include "common/limits.h"
#include "common/log.h"

enum { RELEASE_BATCH = 500 };

enum err_code release_parked(struct scheduler *scheduler, int64_t *ret_wait_us, struct err *e)
{
    enum err_code rc;
    int64_t wait_us = 0;
    size_t count;

    do {
        AUTO_VALUE(job_list_release) struct job_list jobs = {0};

        rc = limits_release(scheduler->db, RELEASE_BATCH, &jobs, &wait_us, e);
        count = jobs.count;
        if (!rc && count > 0) {
            CRASH_POINT("parked.marked");
            log_info("jobs_let_go", L_INT("count", count));
            rc = job_list_push(&jobs, scheduler->redis, e);
            CRASH_POINT("parked.pushed");
        }
    } while (!rc && wait_us == 0 && count > 0 && scheduler_has_time(scheduler));
    *ret_wait_us = wait_us;
    return rc;
}
