/* SPDX-License-Identifier: MIT
 *
 * Questions asked together; see groups.h. One thread at a time leads.
 */
#include "api/groups.h"

#include <errno.h>

#include "common/clock.h"

enum { APART_MS = 5000 };

void group_member_init(struct group_member *member) { (void)sem_init(&member->turn, 0, 0); }

void group_member_release(struct group_member *member) { (void)sem_destroy(&member->turn); }

enum group_role group_join(struct group *group, struct group_member *mine)
{
    bool apart;
    bool leads = false;

    (void)pthread_mutex_lock(&group->lock);
    apart = group->apart_until_us > 0 && clock_mono_us() < group->apart_until_us;
    if (!apart) {
        STAILQ_INSERT_TAIL(&group->waiting, mine, entry);
        mine->leads = false;
        leads = !group->is_led;
        group->is_led = true;
    }
    (void)pthread_mutex_unlock(&group->lock);
    if (apart)
        return GROUP_APART;
    while (!leads && sem_wait(&mine->turn) != 0 && errno == EINTR)
        continue;
    return leads || mine->leads ? GROUP_LEADS : GROUP_ANSWERED;
}

size_t group_take(struct group *group, struct group_members *taken, size_t max)
{
    struct group_member *next;
    size_t count = 0;

    STAILQ_INIT(taken);
    (void)pthread_mutex_lock(&group->lock);
    while (count < max && (next = STAILQ_FIRST(&group->waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&group->waiting, entry);
        STAILQ_INSERT_TAIL(taken, next, entry);
        count++;
    }
    (void)pthread_mutex_unlock(&group->lock);
    return count;
}

void group_hand_over(struct group *group, bool failed)
{
    struct group_member *next;

    (void)pthread_mutex_lock(&group->lock);
    if (failed)
        group->apart_until_us = clock_mono_us() + APART_MS * US_PER_MS;
    next = STAILQ_FIRST(&group->waiting);
    group->is_led = next != NULL;
    if (next)
        next->leads = true;
    (void)pthread_mutex_unlock(&group->lock);
    if (next)
        (void)sem_post(&next->turn);
}

void group_release(struct group_members *taken, const struct group_member *mine)
{
    struct group_member *one;

    while ((one = STAILQ_FIRST(taken)) != NULL) {
        STAILQ_REMOVE_HEAD(taken, entry);
        if (one != mine)
            (void)sem_post(&one->turn);
    }
}
