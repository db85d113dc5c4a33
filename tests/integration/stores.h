/* SPDX-License-Identifier: MIT
 *
 * For the Criterion programs that need servers: tests/run.py gives each its own migrated database
 * in DATABASE_URL and an empty Redis in REDIS_URL. Without them a test is skipped, and says so.
 */
#ifndef TESTS_INTEGRATION_STORES_H
#define TESTS_INTEGRATION_STORES_H

#include <stdlib.h>

#include <criterion/criterion.h>

static inline const char *need_setting(const char *name)
{
    const char *value = getenv(name);

    if (!value || !*value)
        cr_skip_test("%s is not set: run it by tests/run.py", name);
    return value;
}

#endif
