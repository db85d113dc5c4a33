/* SPDX-License-Identifier: MIT
 *
 * Allocation that ends the program instead of returning NULL.
 */
#include "common/mem.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void out_of_memory(void)
{
    static const char message[] = "out of memory\n";

    (void)!write(STDERR_FILENO, message, sizeof message - 1);
    abort();
}

void *mem_alloc(size_t size) { return mem_array(1, size); }

void *mem_array(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);

    if (!p)
        out_of_memory();
    return p;
}

void *mem_resize(void *p, size_t size)
{
    void *bigger = realloc(p, size ? size : 1);

    if (!bigger)
        out_of_memory();
    return bigger;
}

char *mem_dup(const char *s) { return s ? mem_dup_n(s, strlen(s)) : NULL; }

char *mem_dup_n(const char *s, size_t len)
{
    char *copy = malloc(len + 1);

    if (!copy)
        out_of_memory();
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

void mem_free(void *p) { free(p); }

void mem_wipe_free(char *secret)
{
    if (!secret)
        return;
    explicit_bzero(secret, strlen(secret));
    free(secret);
}

void mem_share_heaps(void)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): before any thread */
    if (!getenv("MALLOC_ARENA_MAX"))
        (void)mallopt(M_ARENA_MAX, 2);
}
