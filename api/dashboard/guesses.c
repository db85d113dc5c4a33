/* SPDX-License-Identifier: MIT
 *
 * Counts of wrong passwords; see guesses.h. The tables never grow: what finds its row full takes
 * the place of the count that was changed longest ago. One address adds no more than GUESSES_PAIR
 * to a name's count, or it alone would make all others wait. Names and addresses are hashed with a
 * key of this process, so nobody outside can tell what shares a row. `lock` guards all of it.
 */
#include "api/dashboard/guesses.h"

#include <pthread.h>
#include <string.h>

#include <sodium.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/queue_throttle.h"

enum { ROWS = 512, ROW_SLOTS = 8, HASH_SIZE = 16, ADDRESS_S = 60 };

enum kind { BY_ADDRESS, BY_NAME, BY_PAIR, BY_OTHER_NAME, BY_OTHER_PAIR, KINDS };

struct count {
    unsigned char hash[HASH_SIZE];
    int64_t wrong;
    int64_t since_us;   /* the first wrong one */
    int64_t changed_us; /* 0: free */
    int64_t told;       /* of a pair: how many of them its name has counted */
    int64_t right_us;   /* of a pair: when the right password came; 0: never */
    int64_t gate_us;    /* of a name: nobody unknown guesses before */
};

struct guesses {
    pthread_mutex_t lock;
    unsigned char key[crypto_generichash_KEYBYTES];
    struct count counts[KINDS][ROWS][ROW_SLOTS];
};

struct guesses *guesses_new(void)
{
    struct guesses *guesses = mem_alloc(sizeof *guesses);

    (void)pthread_mutex_init(&guesses->lock, NULL);
    randombytes_buf(guesses->key, sizeof guesses->key);
    return guesses;
}

void guesses_free(struct guesses *guesses)
{
    if (!guesses)
        return;
    (void)pthread_mutex_destroy(&guesses->lock);
    mem_free(guesses);
}

static void hash_both(const struct guesses *guesses, const char *first, const char *second,
                      unsigned char out[HASH_SIZE])
{
    crypto_generichash_state state;

    (void)crypto_generichash_init(&state, guesses->key, sizeof guesses->key, HASH_SIZE);
    /* The zero byte between them keeps "a" + "bc" from being "ab" + "c". */
    (void)crypto_generichash_update(&state, (const unsigned char *)first, strlen(first) + 1);
    (void)crypto_generichash_update(&state, (const unsigned char *)second, strlen(second));
    (void)crypto_generichash_final(&state, out, HASH_SIZE);
}

/* Which of two is given up first: never a known address for one that guesses. */
static bool is_lesser(const struct count *one, const struct count *other)
{
    if ((one->right_us != 0) != (other->right_us != 0))
        return one->right_us == 0;
    return one->changed_us < other->changed_us;
}

static struct count *find(struct guesses *guesses, enum kind kind, const char *first,
                          const char *second, int64_t now_us)
{
    unsigned char hash[HASH_SIZE];
    struct count *row;
    struct count *oldest;

    hash_both(guesses, first, second, hash);
    row = guesses->counts[kind][(hash[0] * 256 + hash[1]) % ROWS];
    oldest = row;
    for (size_t i = 0; i < ROW_SLOTS; i++) {
        if (row[i].changed_us && memcmp(row[i].hash, hash, HASH_SIZE) == 0)
            return &row[i];
        if (is_lesser(&row[i], oldest))
            oldest = &row[i];
    }
    *oldest = (struct count){.changed_us = now_us};
    memcpy(oldest->hash, hash, HASH_SIZE);
    return oldest;
}

/* The three counts of a guess, each of them forgotten when its time is over. */
struct found {
    struct count *address;
    struct count *name;
    struct count *pair;
};

static void forget(struct count *count, int64_t since_us, int64_t seconds, int64_t now_us)
{
    if (now_us - since_us >= seconds * US_PER_S) {
        count->wrong = 0;
        count->gate_us = 0;
    }
}

static struct found look(struct guesses *guesses, const struct guess *guess)
{
    int64_t now_us = guess->now_us;
    struct found found = {
        .address = find(guesses, BY_ADDRESS, guess->address, "", now_us),
        .name = find(guesses, guess->is_user ? BY_NAME : BY_OTHER_NAME, guess->name, "", now_us),
        .pair = find(guesses, guess->is_user ? BY_PAIR : BY_OTHER_PAIR, guess->name, guess->address,
                     now_us)};

    forget(found.address, found.address->since_us, ADDRESS_S, now_us);
    if (now_us - found.pair->changed_us >= THROTTLE_FORGET_S * US_PER_S)
        found.pair->told = 0;
    forget(found.pair, found.pair->since_us, GUESSES_PAIR_S, now_us);
    forget(found.name, found.name->changed_us, THROTTLE_FORGET_S, now_us);
    return found;
}

static int64_t left_s(int64_t until_us, int64_t now_us)
{
    return until_us > now_us ? (until_us - now_us + US_PER_S - 1) / US_PER_S : 0;
}

/* Past the free ones of all addresses: one at a time, with a wait that doubles. */
static int64_t pass_gate(struct count *name, int64_t now_us)
{
    int64_t wait_s = throttle_wait_s(name->wrong - GUESSES_NAME + THROTTLE_FREE);
    int64_t left = left_s(name->gate_us, now_us);

    if (wait_s == 0 || left > 0)
        return wait_s ? left : 0;
    name->gate_us = now_us + wait_s * US_PER_S;
    return 0;
}

int64_t guesses_begin(struct guesses *guesses, const struct guess *guess)
{
    int64_t now_us = guess->now_us;
    int64_t wait_s;
    struct found found;
    bool is_known;

    (void)pthread_mutex_lock(&guesses->lock);
    found = look(guesses, guess);
    is_known = found.pair->right_us && now_us - found.pair->right_us < GUESSES_KNOWN_S * US_PER_S;
    if (found.address->wrong >= (*guess->address ? GUESSES_ADDRESS : GUESSES_LOCAL))
        wait_s = left_s(found.address->since_us + ADDRESS_S * US_PER_S, now_us);
    else if (found.pair->wrong >= GUESSES_PAIR)
        wait_s = left_s(found.pair->since_us + GUESSES_PAIR_S * US_PER_S, now_us);
    else
        wait_s = is_known ? 0 : pass_gate(found.name, now_us);
    (void)pthread_mutex_unlock(&guesses->lock);
    return wait_s;
}

static void add_wrong(struct count *count, int64_t now_us)
{
    if (count->wrong++ == 0)
        count->since_us = now_us;
    count->changed_us = now_us;
}

/* A right one forgives the wrong ones at its own address alone: else who guesses elsewhere would
 * begin anew each time that its user logs in. */
void guesses_end(struct guesses *guesses, const struct guess *guess, bool was_right)
{
    struct found found;

    (void)pthread_mutex_lock(&guesses->lock);
    found = look(guesses, guess);
    if (was_right) {
        found.pair->wrong = 0;
        found.pair->right_us = found.pair->changed_us = guess->now_us;
        found.name->gate_us = 0;
    } else {
        add_wrong(found.address, guess->now_us);
        add_wrong(found.pair, guess->now_us);
        if (found.pair->told < GUESSES_PAIR) {
            found.pair->told++;
            add_wrong(found.name, guess->now_us);
        }
    }
    (void)pthread_mutex_unlock(&guesses->lock);
}
