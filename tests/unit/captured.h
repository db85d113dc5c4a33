/* SPDX-License-Identifier: MIT
 *
 * Standard error into a pipe, for tests of the log: capture() before, release() after. A pipe holds
 * 64 KiB; who writes more waits for who reads.
 */
#ifndef TESTS_UNIT_CAPTURED_H
#define TESTS_UNIT_CAPTURED_H

#include <fcntl.h>
#include <unistd.h>

#include <criterion/criterion.h>

static int pipe_end = -1;
static int real_stderr = -1;

static inline void capture(void)
{
    int ends[2];

    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    pipe_end = ends[0];
    real_stderr = dup(STDERR_FILENO);
    cr_assert_geq(dup2(ends[1], STDERR_FILENO), 0);
    (void)close(ends[1]);
}

/* Closes the last writing end, too: whoever reads meets the end. */
static inline void release(void)
{
    (void)dup2(real_stderr, STDERR_FILENO);
    (void)close(real_stderr);
}

#endif
