/* SPDX-License-Identifier: MIT
 *
 * Allocation for our own small, bounded objects. These never return NULL: a program without memory
 * for them ends at once, which delivery at least once makes a tested path (see style: D3). Sizes
 * that come from outside are bounded before they get here. Everything is freed with mem_free().
 */
#ifndef COMMON_MEM_H
#define COMMON_MEM_H

#include <stddef.h>

#include "common/auto.h"

void *mem_alloc(size_t size); /* zeroed */
void *mem_array(size_t count, size_t size);
void *mem_resize(void *p, size_t size);
char *mem_dup(const char *s); /* NULL gives NULL */
char *mem_dup_n(const char *s, size_t len);
void mem_free(void *p);

/* Overwrites a secret before its memory is given back; NULL is allowed. */
void mem_wipe_free(char *secret);

AUTO_DEFINE(char *, mem_wipe_free);

/* Has all threads share two heaps. Else glibc makes one for each, which keeps what its thread once
 * needed: some 400 KiB for each slot of a worker. Before any thread; an operator's own
 * MALLOC_ARENA_MAX stands. */
void mem_share_heaps(void);

static inline void mem_free_auto(void *p) { mem_free(*(void **)p); }

#endif
