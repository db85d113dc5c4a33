/* SPDX-License-Identifier: MIT
 *
 * Random bytes are given out once, by threads and by a child after its fork, too.
 */
#include "common/entropy.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <sodium.h>
#include <sys/wait.h>

enum { THREADS = 4, EACH = 5000, FORKED = 50 };

static int compare(const void *a, const void *b) { return memcmp(a, b, sizeof(uint64_t)); }

static void check_distinct(uint64_t *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    for (size_t i = 1; i < count; i++)
        cr_assert_neq(values[i - 1], values[i]);
}

static void *take_many(void *values)
{
    for (size_t i = 0; i < EACH; i++)
        entropy_take((uint64_t *)values + i, sizeof(uint64_t));
    return NULL;
}

TestSuite(entropy, .init = (void (*)(void))sodium_init);

Test(entropy, gives_no_byte_twice)
{
    static uint64_t values[THREADS * EACH];
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, take_many, values + i * EACH), 0);
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    check_distinct(values, THREADS * EACH);
}

Test(entropy, is_another_after_a_fork)
{
    uint64_t values[2 * FORKED];
    int ends[2];
    pid_t child;

    cr_assert_eq(pipe(ends), 0);
    entropy_take(values, sizeof *values); /* now there is a pool to inherit */
    child = fork();
    cr_assert_geq(child, 0);
    for (size_t i = 0; i < FORKED; i++)
        entropy_take(values + i, sizeof *values);
    if (child == 0)
        _exit(write(ends[1], values, FORKED * sizeof *values) < 0);
    cr_assert_eq(read(ends[0], values + FORKED, FORKED * sizeof *values), FORKED * sizeof *values);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    check_distinct(values, 2 * FORKED);
}

Test(entropy, takes_any_length_up_to_its_maximum)
{
    unsigned char bytes[ENTROPY_MAX + 1] = {0};
    bool filled[ENTROPY_MAX + 1] = {0};

    for (int round = 0; round < 200; round++)
        for (size_t len = 0; len <= ENTROPY_MAX; len++) {
            memset(bytes, 0, sizeof bytes);
            entropy_take(bytes, len);
            cr_assert_eq(bytes[len], 0, "nothing behind the end is written");
            filled[len] |= len > 0 && bytes[len - 1] != 0;
        }
    for (size_t len = 1; len <= ENTROPY_MAX; len++)
        cr_assert(filled[len]);
}
