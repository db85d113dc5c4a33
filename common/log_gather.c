/* SPDX-License-Identifier: MIT
 *
 * Gathered lines; see log_gather.h. What is written at once is no more than a pipe takes in one
 * piece, so that the lines of other threads never come in between.
 *
 * Locks: `lock` guards everything here; nobody holds it while he writes, so that others may go on
 * gathering. `writing` is taken under it and held for the write, so that lines come in their order.
 * The thread is woken only when it has nothing to wait for: no more than once in LOG_GATHER_MS.
 */
#include "common/log_gather.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "common/clock.h"

static struct {
    pthread_mutex_t lock;
    pthread_mutex_t writing;
    pthread_cond_t begun; /* there is something to write, or it is over */
    pthread_cond_t over;
    pthread_t writer;
    bool is_running;
    bool is_over;
    bool is_idle; /* the writer waits for the first line */
    size_t len;
    char text[PIPE_BUF];
} gathered = {.lock = PTHREAD_MUTEX_INITIALIZER, .writing = PTHREAD_MUTEX_INITIALIZER};

static void flush(void)
{
    char text[sizeof gathered.text];
    size_t len = gathered.len;

    if (len == 0)
        return;
    memcpy(text, gathered.text, len);
    gathered.len = 0;
    (void)pthread_mutex_lock(&gathered.writing);
    (void)pthread_mutex_unlock(&gathered.lock);
    log_put(text, len);
    (void)pthread_mutex_unlock(&gathered.writing);
    (void)pthread_mutex_lock(&gathered.lock);
}

static void *run_writer(void *unused)
{
    (void)unused;
    (void)pthread_mutex_lock(&gathered.lock);
    while (!gathered.is_over) {
        struct timespec until;

        gathered.is_idle = gathered.len == 0;
        if (gathered.is_idle) {
            (void)pthread_cond_wait(&gathered.begun, &gathered.lock);
            continue;
        }
        until = clock_timespec(clock_mono_us() + LOG_GATHER_MS * US_PER_MS);
        (void)pthread_cond_timedwait(&gathered.over, &gathered.lock, &until);
        flush();
    }
    flush();
    (void)pthread_mutex_unlock(&gathered.lock);
    return NULL;
}

void log_gather_start(void)
{
    (void)pthread_cond_init(&gathered.begun, NULL);
    clock_cond_init(&gathered.over);
    gathered.is_over = false;
    gathered.is_running = pthread_create(&gathered.writer, NULL, run_writer, NULL) == 0;
}

void log_gather_stop(void)
{
    if (!gathered.is_running)
        return;
    (void)pthread_mutex_lock(&gathered.lock);
    gathered.is_over = true;
    gathered.is_running = false;
    (void)pthread_cond_signal(&gathered.begun);
    (void)pthread_cond_signal(&gathered.over);
    (void)pthread_mutex_unlock(&gathered.lock);
    (void)pthread_join(gathered.writer, NULL);
    (void)pthread_cond_destroy(&gathered.begun);
    (void)pthread_cond_destroy(&gathered.over);
}

void log_gather(const char *line, size_t len, bool at_once)
{
    (void)pthread_mutex_lock(&gathered.lock);
    while (gathered.len > 0 && gathered.len + len > sizeof gathered.text)
        flush();
    if (len > sizeof gathered.text) {
        (void)pthread_mutex_lock(&gathered.writing);
        log_put(line, len);
        (void)pthread_mutex_unlock(&gathered.writing);
    } else {
        memcpy(gathered.text + gathered.len, line, len);
        gathered.len += len;
        if (at_once || !gathered.is_running)
            flush();
        else if (gathered.is_idle)
            (void)pthread_cond_signal(&gathered.begun);
        gathered.is_idle = gathered.is_idle && gathered.len == 0;
    }
    (void)pthread_mutex_unlock(&gathered.lock);
}
