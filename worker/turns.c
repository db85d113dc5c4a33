/* SPDX-License-Identifier: MIT
 *
 * Strict and weighted turns; see turns.h. A group is a list of sources in strict order: all of them
 * without weights, those of one queue with. Groups share by stride scheduling: each job moves its
 * group's pass on by STRIDE / weight, and the lowest pass is next. A group that had nothing does
 * not save its turns up: when it comes back it starts where the others are.
 */
#include "worker/turns.h"

#include <string.h>

#include "common/mem.h"

enum { STRIDE = 1000000, AHEAD_ROOM = 64 };

struct source {
    bool exists; /* open, and read by this number */
    bool is_joint;
    bool is_busy;  /* gave all it was asked for when it was last asked: it may have more */
    bool is_done;  /* has nothing more in this round */
    bool is_asked; /* in this round */
    int passed;    /* rounds of its group in which it was not asked, one after the other */
};

struct group {
    size_t first; /* source */
    size_t count;
    int64_t stride;
    int64_t pass;
    bool is_idle;    /* gave nothing in its last round */
    bool has_served; /* in this round */
    int rounds;      /* in which it passed something over, since the last guard */
    size_t guard;    /* the source to begin at in this round, or no source: SIZE_MAX */
};

struct turns {
    struct source *sources;
    struct group *groups;
    int64_t *passes; /* scratch */
    size_t group_count;
    struct turns *supposed; /* scratch: how it would stand, by turns_ahead() */
    size_t source_count;
};

static struct turns *turns_alloc(size_t queue_count, bool is_weighted)
{
    struct turns *turns = mem_alloc(sizeof *turns);

    turns->group_count = is_weighted ? queue_count : 1;
    turns->source_count = queue_count * TURNS_PRIORITIES;
    turns->sources = mem_array(turns->source_count, sizeof turns->sources[0]);
    turns->groups = mem_array(turns->group_count, sizeof turns->groups[0]);
    turns->passes = mem_array(turns->group_count, sizeof turns->passes[0]);
    return turns;
}

struct turns *turns_new(const struct turns_queue *queues, size_t count, bool is_weighted)
{
    struct turns *turns = turns_alloc(count, is_weighted);

    turns->supposed = turns_alloc(count, is_weighted);
    for (size_t i = 0; i < turns->source_count; i++) {
        const struct turns_queue *queue = &queues[i / TURNS_PRIORITIES];
        bool is_first = i % TURNS_PRIORITIES == 0;

        turns->sources[i] =
            (struct source){.exists = !queue->is_closed && (is_first || !queue->is_joint),
                            .is_joint = queue->is_joint,
                            .is_busy = true};
    }
    for (size_t g = 0; g < turns->group_count; g++)
        turns->groups[g] = (struct group){
            .first = g * TURNS_PRIORITIES,
            .count = is_weighted ? TURNS_PRIORITIES : count * TURNS_PRIORITIES,
            .stride = is_weighted && queues[g].weight > 0 ? STRIDE / queues[g].weight : STRIDE,
            .guard = SIZE_MAX,
        };
    return turns;
}

void turns_free(struct turns *turns)
{
    if (!turns)
        return;
    turns_free(turns->supposed);
    mem_free(turns->sources);
    mem_free(turns->groups);
    mem_free(turns->passes);
    mem_free(turns);
}

/* ---- the guard ---- */

/* Who has been passed over longest and was not asked in this round; SIZE_MAX: nobody. */
static size_t longest_passed(const struct turns *turns, const struct group *group)
{
    size_t longest = SIZE_MAX;

    for (size_t i = group->first; i < group->first + group->count; i++) {
        const struct source *source = &turns->sources[i];

        if (source->passed > 0 && !source->is_asked &&
            (longest == SIZE_MAX || source->passed > turns->sources[longest].passed))
            longest = i;
    }
    return longest;
}

/* Counts whom the last round passed over; after TURNS_GUARD such rounds the one that has waited
 * longest begins. */
static void set_guard(struct turns *turns, struct group *group)
{
    bool has_passed = false;

    group->guard = SIZE_MAX;
    for (size_t i = group->first; i < group->first + group->count; i++) {
        struct source *source = &turns->sources[i];

        if (group->has_served)
            source->passed = source->exists && !source->is_asked ? source->passed + 1 : 0;
        has_passed |= source->passed > 0;
        source->is_asked = false;
        source->is_done = !source->exists;
    }
    if (!group->has_served || !has_passed || ++group->rounds < TURNS_GUARD)
        return;
    group->rounds = 0;
    group->guard = longest_passed(turns, group);
}

void turns_begin(struct turns *turns)
{
    for (size_t g = 0; g < turns->group_count; g++) {
        set_guard(turns, &turns->groups[g]);
        turns->groups[g].has_served = false;
    }
}

static struct group *group_of(struct turns *turns, size_t source)
{
    return turns->group_count == 1 ? turns->groups : &turns->groups[source / TURNS_PRIORITIES];
}

/* ---- within a group ---- */

/* Whether a source is asked by a command of its own, for as many jobs as there is room for. All
 * others are asked together, for one job each. */
static bool is_asked_alone(const struct turns *turns, const struct group *group, size_t source)
{
    return turns->sources[source].is_busy || turns->sources[source].is_joint ||
           source == group->guard;
}

/* The first source that has not said all; SIZE_MAX: the group is done. */
static size_t head_of(const struct turns *turns, const struct group *group)
{
    if (group->guard != SIZE_MAX && !turns->sources[group->guard].is_done)
        return group->guard;
    for (size_t i = group->first; i < group->first + group->count; i++)
        if (!turns->sources[i].is_done)
            return i;
    return SIZE_MAX;
}

/* Adds the quiet sources that come before the first one to be asked alone, up to `max` in all. */
static void add_quiet(const struct turns *turns, const struct group *group, size_t max,
                      struct turns_ask *ask)
{
    size_t i = head_of(turns, group);

    for (; i < group->first + group->count && ask->count < max; i++) {
        if (turns->sources[i].is_done)
            continue;
        if (is_asked_alone(turns, group, i))
            return;
        ask->sources[ask->count++] = i;
    }
}

static void ask_group(const struct turns *turns, const struct group *group, int room,
                      struct turns_ask *ask)
{
    size_t head = head_of(turns, group);

    ask->count = 0;
    ask->max = 1;
    if (!is_asked_alone(turns, group, head)) {
        add_quiet(turns, group, (size_t)room, ask);
        return;
    }
    ask->sources[ask->count++] = head;
    ask->max = room;
}

/* ---- among groups ---- */

/* The group whose turn it is; the first of equals. NULL: all are done. */
static struct group *next_group(const struct turns *turns)
{
    struct group *next = NULL;

    for (size_t g = 0; g < turns->group_count; g++) {
        struct group *group = &turns->groups[g];

        if (head_of(turns, group) != SIZE_MAX && (!next || group->pass < next->pass))
            next = group;
    }
    return next;
}

/* How many of the next `room` jobs are this group's, if all that are not done have enough. */
static int share_of(const struct turns *turns, const struct group *of, int room)
{
    int share = 0;

    for (size_t g = 0; g < turns->group_count; g++)
        turns->passes[g] =
            head_of(turns, &turns->groups[g]) == SIZE_MAX ? INT64_MAX : turns->groups[g].pass;
    for (int i = 0; i < room; i++) {
        size_t lowest = 0;

        for (size_t g = 1; g < turns->group_count; g++)
            if (turns->passes[g] < turns->passes[lowest])
                lowest = g;
        turns->passes[lowest] += turns->groups[lowest].stride;
        share += &turns->groups[lowest] == of;
    }
    return share;
}

/* All quiet sources that stand before anything else of their group, when there is room for one of
 * each. */
static bool ask_all_quiet(const struct turns *turns, int room, struct turns_ask *ask)
{
    ask->count = 0;
    ask->max = 1;
    for (size_t g = 0; g < turns->group_count; g++)
        if (head_of(turns, &turns->groups[g]) != SIZE_MAX)
            add_quiet(turns, &turns->groups[g], TURNS_SOURCES_MAX, ask);
    return ask->count > 0 && ask->count <= (size_t)room;
}

bool turns_next(struct turns *turns, int room, struct turns_ask *ret_ask)
{
    struct group *group = room > 0 ? next_group(turns) : NULL;

    if (!group)
        return false;
    if (turns->group_count == 1)
        ask_group(turns, group, room, ret_ask);
    else if (!ask_all_quiet(turns, room, ret_ask))
        ask_group(turns, group, share_of(turns, group, room), ret_ask);
    return true;
}

/* The lowest pass of those that have had something; where one that comes back begins. */
static int64_t lowest_pass(const struct turns *turns, const struct group *except)
{
    int64_t lowest = INT64_MAX;

    for (size_t g = 0; g < turns->group_count; g++)
        if (&turns->groups[g] != except && !turns->groups[g].is_idle &&
            turns->groups[g].pass < lowest)
            lowest = turns->groups[g].pass;
    return lowest == INT64_MAX ? except->pass : lowest;
}

void turns_note(struct turns *turns, size_t source, int max, int got)
{
    struct group *group = group_of(turns, source);

    turns->sources[source].is_asked = true;
    turns->sources[source].is_busy = got >= max;
    turns->sources[source].is_done = got < max;
    group->has_served = true;
    if (got > 0 && group->is_idle) {
        int64_t pass = lowest_pass(turns, group);

        group->is_idle = false;
        if (group->pass < pass)
            group->pass = pass;
    }
    group->pass += got * group->stride;
    if (source == group->guard && got == 0)
        group->guard = longest_passed(turns, group); /* nobody waits there: the next one begins */
    if (head_of(turns, group) == SIZE_MAX)
        group->is_idle = true;
}

bool turns_ahead(struct turns *turns, int room, const struct turns_ask *ask,
                 struct turns_ask *ret_ahead)
{
    struct turns *supposed = turns->supposed;
    int left = room - (int)ask->count * ask->max;

    if (left < AHEAD_ROOM || ask->max > 1)
        return false;
    memcpy(supposed->sources, turns->sources, turns->source_count * sizeof turns->sources[0]);
    memcpy(supposed->groups, turns->groups, turns->group_count * sizeof turns->groups[0]);
    for (size_t i = 0; i < ask->count; i++)
        turns_note(supposed, ask->sources[i], ask->max, 0);
    return turns_next(supposed, left, ret_ahead) && ret_ahead->count == 1 && ret_ahead->max > 1 &&
           !turns->sources[ret_ahead->sources[0]].is_joint;
}

void turns_skip(struct turns *turns, size_t source)
{
    struct group *group = group_of(turns, source);

    turns->sources[source].is_done = true;
    if (head_of(turns, group) == SIZE_MAX)
        group->is_idle = true;
}

void turns_priorities(uint64_t reads, size_t order[TURNS_PRIORITIES])
{
    static const size_t orders[][TURNS_PRIORITIES] = {{0, 1, 2}, {2, 0, 1}, {1, 0, 2}};
    size_t which = reads % TURNS_GUARD != TURNS_GUARD - 1 ? 0 : 1 + reads / TURNS_GUARD % 2;

    for (size_t i = 0; i < TURNS_PRIORITIES; i++)
        order[i] = orders[which][i];
}
