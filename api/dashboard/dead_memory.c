/* SPDX-License-Identifier: MIT
 *
 * Remembering the dead; see dead_memory.h. Who asks takes the pieces along, so that the lock is
 * held for a moment only; another who asks meanwhile begins without.
 */
#include "api/dashboard/dead_memory.h"

#include <pthread.h>
#include <string.h>

#include "common/mem.h"

struct entry {
    char *queue; /* owned; NULL: free */
    struct dead_pieces pieces;
    uint64_t put; /* number of the putting: the smallest makes room */
};

struct dead_memory {
    pthread_mutex_t lock;
    struct entry entries[DEAD_MEMORY_QUEUES];
    uint64_t puts;
};

struct dead_memory *dead_memory_new(void)
{
    struct dead_memory *memory = mem_alloc(sizeof *memory);

    (void)pthread_mutex_init(&memory->lock, NULL);
    return memory;
}

static void drop(struct entry *entry)
{
    mem_free(entry->queue);
    dead_pieces_release(&entry->pieces);
    *entry = (struct entry){0};
}

void dead_memory_free(struct dead_memory *memory)
{
    if (!memory)
        return;
    for (size_t i = 0; i < DEAD_MEMORY_QUEUES; i++)
        drop(&memory->entries[i]);
    (void)pthread_mutex_destroy(&memory->lock);
    mem_free(memory);
}

/* No queue has an empty name. */
static const char *key_of(const char *queue) { return queue ? queue : ""; }

void dead_memory_take(struct dead_memory *memory, const char *queue, struct dead_pieces *ret_pieces)
{
    *ret_pieces = (struct dead_pieces){0};
    (void)pthread_mutex_lock(&memory->lock);
    for (size_t i = 0; i < DEAD_MEMORY_QUEUES; i++) {
        struct entry *entry = &memory->entries[i];

        if (!entry->queue || strcmp(entry->queue, key_of(queue)) != 0)
            continue;
        *ret_pieces = entry->pieces;
        entry->pieces = (struct dead_pieces){0};
        drop(entry);
        break;
    }
    (void)pthread_mutex_unlock(&memory->lock);
}

/* The entry of the same queue, where somebody else has put it back meanwhile, else the oldest. */
static struct entry *place_for(struct dead_memory *memory, const char *queue)
{
    struct entry *oldest = &memory->entries[0];

    for (size_t i = 0; i < DEAD_MEMORY_QUEUES; i++) {
        struct entry *entry = &memory->entries[i];

        if (entry->queue && strcmp(entry->queue, key_of(queue)) == 0)
            return entry;
        if (entry->put < oldest->put)
            oldest = entry;
    }
    return oldest;
}

void dead_memory_put(struct dead_memory *memory, const char *queue, struct dead_pieces *pieces)
{
    struct entry *entry;

    if (dead_pieces_count(pieces) > DEAD_MEMORY_GROUPS) {
        dead_pieces_release(pieces);
        return;
    }
    (void)pthread_mutex_lock(&memory->lock);
    entry = place_for(memory, queue);
    drop(entry);
    *entry =
        (struct entry){.queue = mem_dup(key_of(queue)), .pieces = *pieces, .put = ++memory->puts};
    (void)pthread_mutex_unlock(&memory->lock);
    *pieces = (struct dead_pieces){0};
}
