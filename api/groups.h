/* SPDX-License-Identifier: MIT
 *
 * Questions that many requests ask at once, put to the database by one statement for all who wait:
 * requests that come while one is under way wait for its end and then share the next one, as
 * transactions share a flush of the log. So each statement begins after its request has come, and
 * what it finds is as fresh as one of the request's own; who comes alone waits for nobody.
 *
 *   switch (group_join(&group, &mine->member)) {
 *   case GROUP_LEADS:
 *       group_take(&group, &taken, MAX); ... group_hand_over(&group, failed); ...
 *       group_release(&taken, &mine->member);
 */
#ifndef API_GROUPS_H
#define API_GROUPS_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

STAILQ_HEAD(group_members, group_member);

/* One request thread among those that wait; to stand first in what it asks. */
struct group_member {
    STAILQ_ENTRY(group_member) entry;
    sem_t turn; /* posted once: it has been answered, or leads */
    bool leads;
};
void group_member_init(struct group_member *member);
void group_member_release(struct group_member *member);

struct group {
    pthread_mutex_t lock; /* for all else */
    struct group_members waiting;
    bool is_led;
    int64_t apart_until_us; /* monotonic */
};
#define GROUP_INITIALIZER(group)                                                                   \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, STAILQ_HEAD_INITIALIZER((group).waiting), false, 0              \
    }

enum group_role {
    GROUP_APART,    /* a statement has just failed: everybody goes alone for a while */
    GROUP_ANSWERED, /* somebody else has asked */
    GROUP_LEADS,    /* asks for all who wait, itself among them, and alone touches the connection */
};
enum group_role group_join(struct group *group, struct group_member *mine);

/* ---- by who leads ---- */

/* Takes those who wait, `max` at most: they are the leader's until they are released. */
size_t group_take(struct group *group, struct group_members *taken, size_t max);
/* To the first of those who have come meanwhile; the connection is free. */
void group_hand_over(struct group *group, bool failed);
/* All have been answered; `mine` knows. */
void group_release(struct group_members *taken, const struct group_member *mine);

#endif
