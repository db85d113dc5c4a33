/* SPDX-License-Identifier: MIT
 *
 * A pool of random bytes for each thread; see entropy.h. A child would begin with a copy of its
 * parent's pool, so every fork makes all pools void.
 */
#include "common/entropy.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum { POOL = 1024 };

static atomic_uint forks;
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static void note_fork(void) { (void)atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed); }

static void prepare(void)
{
    note_fork(); /* no pool is of generation 0 */
    (void)pthread_atfork(NULL, NULL, note_fork);
}

void entropy_take(void *out, size_t len)
{
    static _Thread_local struct {
        unsigned char bytes[POOL];
        size_t left;
        unsigned forks; /* when it was filled */
    } pool;
    unsigned now;

    if (len > ENTROPY_MAX)
        abort(); /* our own mistake */
    (void)pthread_once(&prepared, prepare);
    now = atomic_load_explicit(&forks, memory_order_relaxed);
    if (pool.left < len || pool.forks != now) {
        randombytes_buf(pool.bytes, POOL);
        pool.left = POOL;
        pool.forks = now;
    }
    pool.left -= len;
    memcpy(out, pool.bytes + pool.left, len);
    memset(pool.bytes + pool.left, 0, len);
}
