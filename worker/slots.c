/* SPDX-License-Identifier: MIT
 *
 * The threads that run jobs; see slots.h. The pool decides who goes home; a thread that does leaves
 * a mark, and is joined the next time that somebody looks.
 */
#include "worker/slots.h"

#include <pthread.h>
#include <stdatomic.h>

#include "common/log.h"
#include "common/mem.h"
#include "worker/slot.h"

enum { STACK_BYTES = 512 * 1024 };

struct place {
    struct slot_place is; /* what the thread gets */
    pthread_t thread;
    bool taken;
    atomic_bool gone; /* its thread has ended, or is about to */
};

struct slots {
    struct process *process;
    int wanted;
    struct place places[SEAT_SLOTS_MAX];
};

struct slots *slots_new(struct process *process)
{
    struct slots *slots = mem_alloc(sizeof *slots);

    slots->process = process;
    for (int i = 0; i < SEAT_SLOTS_MAX; i++)
        slots->places[i].is = (struct slot_place){.process = process, .index = i};
    return slots;
}

static void *body(void *context)
{
    struct place *place = context;

    slot_main(&place->is);
    atomic_store(&place->gone, true);
    return NULL;
}

static void join_gone(struct slots *slots)
{
    for (int i = 0; i < SEAT_SLOTS_MAX; i++) {
        struct place *place = &slots->places[i];

        if (!place->taken || !atomic_load(&place->gone))
            continue;
        (void)pthread_join(place->thread, NULL);
        place->taken = false;
        atomic_store(&place->gone, false);
    }
}

/* One more thread at the first free place; those that are going home still hold theirs. */
static bool start_one(struct slots *slots)
{
    pthread_attr_t attr;
    int i = 0;

    while (i < SEAT_SLOTS_MAX && slots->places[i].taken)
        i++;
    if (i == SEAT_SLOTS_MAX)
        return false;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    slots->places[i].taken =
        pthread_create(&slots->places[i].thread, &attr, body, &slots->places[i]) == 0;
    pthread_attr_destroy(&attr);
    return slots->places[i].taken;
}

bool slots_fit(struct slots *slots, int wanted)
{
    int missing = pool_resize(slots->process->pool, wanted);
    int started = 0;

    join_gone(slots);
    slots->wanted = wanted;
    while (started < missing && start_one(slots))
        started++;
    if (started == missing)
        return true;
    pool_detach(slots->process->pool, missing - started);
    return false;
}

int slots_wanted(const struct slots *slots) { return slots->wanted; }

void slots_end(struct slots *slots)
{
    for (int i = 0; i < SEAT_SLOTS_MAX; i++)
        if (slots->places[i].taken)
            (void)pthread_join(slots->places[i].thread, NULL);
    mem_free(slots);
}
