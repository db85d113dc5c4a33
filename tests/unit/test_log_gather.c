/* SPDX-License-Identifier: MIT
 *
 * Lines that may be late come all the same, whole, in their order, and without anybody's doing.
 */
#include "common/log_gather.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <poll.h>

#include "common/auto.h"
#include "common/log.h"
#include "tests/unit/captured.h"

enum { PATIENCE_MS = 60 * 1000, THREADS = 4, LINES = 300 };

static bool is_written(int timeout_ms)
{
    struct pollfd pfd = {.fd = pipe_end, .events = POLLIN};

    return poll(&pfd, 1, timeout_ms) == 1;
}

/* What one write has brought, or several. */
static size_t take(char *text, size_t size)
{
    ssize_t got = read(pipe_end, text, size - 1);

    text[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t)got : 0;
}

TestSuite(log_gather, .init = capture, .fini = release);

Test(log_gather, writes_at_once_without_its_thread)
{
    char text[100];

    log_gather("one\n", 4, false);
    cr_assert(is_written(0));
    (void)take(text, sizeof text);
    cr_expect_str_eq(text, "one\n");
}

Test(log_gather, writes_by_itself_after_a_while)
{
    char text[100];

    log_gather_start();
    for (int i = 0; i < 3; i++) {
        log_gather("late\n", 5, false);
        cr_assert(is_written(PATIENCE_MS));
        (void)take(text, sizeof text);
        cr_expect_str_eq(text, "late\n");
    }
    log_gather_stop();
    cr_expect_not(is_written(0));
}

Test(log_gather, writes_what_waits_before_a_line_that_may_not)
{
    char text[100];

    log_gather_start();
    log_gather("one\n", 4, false);
    log_gather("two\n", 4, true);
    for (size_t len = 0; len < 8;) {
        cr_assert(is_written(0));
        len += take(text + len, sizeof text - len);
    }
    cr_expect_str_eq(text, "one\ntwo\n");
    log_gather_stop();
}

Test(log_gather, writes_all_of_it_at_the_end)
{
    char text[100];

    log_gather_start();
    log_gather("last\n", 5, false);
    log_gather_stop();
    cr_assert(is_written(0));
    (void)take(text, sizeof text);
    cr_expect_str_eq(text, "last\n");
    log_gather("later\n", 6, false);
    cr_expect(is_written(0));
}

static void *gather_lines(void *data)
{
    const char *name = data;
    char line[700];

    for (int i = 0; i < LINES; i++) {
        int len = snprintf(line, sizeof line, "%s %d %0*d\n", name, i, i % 600 + 1, 0);

        log_gather(line, (size_t)len, i % 50 == 0);
    }
    return NULL;
}

static void *begin(pthread_t *thread, const char *name)
{
    cr_assert_eq(pthread_create(thread, NULL, gather_lines, (void *)(uintptr_t)name), 0);
    return NULL;
}

static int seen[THREADS];

/* Each thread's lines are whole and in their order. */
static void check_line(const char *line)
{
    int thread = line[0] - 'a';
    int number = 0;
    int zeros = 0;

    cr_assert(thread >= 0 && thread < THREADS, "%.40s", line);
    for (const char *p = line + 2; *p && *p != ' '; p++)
        number = number * 10 + *p - '0';
    zeros = (int)strlen(strrchr(line, ' ')) - 1;
    cr_assert_eq(number, seen[thread], "%.40s after %d", line, seen[thread]);
    cr_assert_eq(zeros, number % 600 + 1);
    seen[thread]++;
}

Test(log_gather, keeps_lines_of_many_threads_whole)
{
    static const char *const names[THREADS] = {"a", "b", "c", "d"};
    pthread_t threads[THREADS];
    FILE *lines = fdopen(pipe_end, "r");
    char line[1000];

    log_gather_start();
    for (int i = 0; i < THREADS; i++)
        (void)begin(&threads[i], names[i]);
    for (int i = 0; i < THREADS * LINES; i++) {
        cr_assert_not_null(fgets(line, sizeof line, lines));
        line[strcspn(line, "\n")] = '\0';
        check_line(line);
    }
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    log_gather_stop();
    (void)fclose(lines);
}

Test(log_gather, a_line_longer_than_a_pipe_takes_at_once_is_written_alone)
{
    static char line[PIPE_BUF + 10];
    char text[2 * PIPE_BUF];
    size_t len = 0;

    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    log_gather_start();
    log_gather("one\n", 4, false);
    log_gather(line, sizeof line, false);
    while (len < sizeof line + 4)
        len += take(text + len, sizeof text - len);
    cr_expect_eq(memcmp(text, "one\nx", 5), 0);
    log_gather_stop();
}

Test(log_gather, counts_each_line_that_was_lost)
{
    uint64_t before = log_dropped();

    (void)signal(SIGPIPE, SIG_IGN);
    (void)close(pipe_end);
    log_gather_start();
    for (int i = 0; i < 3; i++)
        log_gather("lost\n", 5, false);
    log_gather_stop();
    cr_expect_eq(log_dropped(), before + 3);
}
