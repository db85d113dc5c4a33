/* SPDX-License-Identifier: MIT
 *
 * The decisions about a deaf consumer; see deaf.h.
 */
#include "worker/deaf.h"

#include <string.h>

#include "common/mem.h"

/* The entry that was first seen waiting in a stream. */
struct candidate {
    char entry[QUEUE_ENTRY_SIZE]; /* "": none */
    uint64_t asked;               /* how often the stream had been asked by then */
    int64_t since_us;
};

struct deaf {
    size_t count;
    uint64_t got;
    int64_t got_at_us;   /* when something was last read, or could not have been */
    int64_t asked_at_us; /* when we last looked */
    bool suspect;
    struct candidate candidates[];
};

struct deaf *deaf_new(size_t stream_count)
{
    struct deaf *deaf = mem_alloc(sizeof *deaf + stream_count * sizeof deaf->candidates[0]);

    deaf->count = stream_count;
    return deaf;
}

void deaf_free(struct deaf *deaf) { mem_free(deaf); }

static void clear(struct deaf *deaf)
{
    for (size_t i = 0; i < deaf->count; i++)
        deaf->candidates[i].entry[0] = '\0';
}

void deaf_forget(struct deaf *deaf, int64_t now_us)
{
    clear(deaf);
    deaf->got_at_us = now_us;
}

void deaf_note(struct deaf *deaf, const struct process_asked *asked, int64_t now_us)
{
    uint64_t got = 0;

    for (size_t i = 0; i < deaf->count; i++)
        got += atomic_load_explicit(&asked[i].got, memory_order_relaxed);
    if (got == deaf->got && deaf->got_at_us)
        return;
    deaf->got = got;
    deaf->suspect = false;
    deaf_forget(deaf, now_us);
}

bool deaf_should_ask(struct deaf *deaf, int64_t now_us)
{
    if (now_us - deaf->got_at_us < DEAF_ASK_US || now_us - deaf->asked_at_us < DEAF_ASK_US)
        return false;
    deaf->asked_at_us = now_us;
    return true;
}

bool deaf_judge(struct deaf *deaf, const struct process_asked *asked,
                char (*entries)[QUEUE_ENTRY_SIZE], int64_t now_us, size_t *ret_stream)
{
    bool waits = false;

    for (size_t i = 0; i < deaf->count; i++) {
        struct candidate *candidate = &deaf->candidates[i];
        uint64_t count = atomic_load_explicit(&asked[i].count, memory_order_relaxed);

        waits = waits || entries[i][0];
        if (strcmp(candidate->entry, entries[i]) != 0) {
            memcpy(candidate->entry, entries[i], sizeof candidate->entry);
            candidate->asked = count;
            candidate->since_us = now_us;
        } else if (entries[i][0] && count > candidate->asked &&
                   now_us - candidate->since_us >= DEAF_AFTER_US) {
            *ret_stream = i;
            deaf->suspect = true;
            clear(deaf);
            return true;
        }
    }
    deaf->suspect = deaf->suspect && waits;
    return false;
}

bool deaf_is_suspect(const struct deaf *deaf) { return deaf->suspect; }
