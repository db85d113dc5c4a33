/* SPDX-License-Identifier: MIT
 *
 * Remembered tokens; see tokens.h. The table never grows: a token that finds its row full takes the
 * place of the one that expires first. One lock a row, held for a comparison.
 */
#include "api/tokens.h"

#include <pthread.h>
#include <string.h>

#include <sodium.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/mem.h"

/* Ours have about 340 bytes; a longer one is verified each time. */
enum { ROWS = 256, ROW_SLOTS = 8, TEXT_MAX = 448, HASHED_MAX = 16 };

struct known {
    struct token_claims claims; /* expires_us 0: free */
    size_t len;
    char text[TEXT_MAX];
};

static struct row {
    pthread_mutex_t lock;
    struct known slots[ROW_SLOTS];
} rows[ROWS];
static unsigned char seed[crypto_shorthash_KEYBYTES];
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static void prepare(void)
{
    crypto_shorthash_keygen(seed);
    for (size_t i = 0; i < ROWS; i++)
        (void)pthread_mutex_init(&rows[i].lock, NULL);
}

/* Nobody outside can tell which tokens share a row. Their signatures, at their end, tell them
 * apart. */
static struct row *row_of(const char *text, size_t len)
{
    size_t hashed = len < HASHED_MAX ? len : HASHED_MAX;
    uint64_t hash = 0;

    (void)pthread_once(&prepared, prepare);
    (void)crypto_shorthash((unsigned char *)&hash, (const unsigned char *)text + len - hashed,
                           hashed, seed);
    return &rows[hash % ROWS];
}

/* As token_read() judges it. */
static bool is_over(const struct token_claims *claims, int64_t now_us)
{
    return claims->expires_us / US_PER_S + TOKEN_SKEW_S <= now_us / US_PER_S;
}

static bool find(struct row *row, const char *text, size_t len, int64_t now_us,
                 struct token_claims *ret_claims)
{
    bool found = false;

    (void)pthread_mutex_lock(&row->lock);
    for (size_t i = 0; i < ROW_SLOTS && !found; i++) {
        const struct known *known = &row->slots[i];

        found = known->len == len && !is_over(&known->claims, now_us) &&
                memcmp(known->text, text, len) == 0;
        if (found)
            *ret_claims = known->claims;
    }
    (void)pthread_mutex_unlock(&row->lock);
    return found;
}

static void keep(struct row *row, const char *text, size_t len, const struct token_claims *claims)
{
    struct known *place = &row->slots[0];

    (void)pthread_mutex_lock(&row->lock);
    for (size_t i = 1; i < ROW_SLOTS; i++)
        if (row->slots[i].claims.expires_us < place->claims.expires_us)
            place = &row->slots[i];
    place->claims = *claims;
    place->len = len;
    memcpy(place->text, text, len);
    (void)pthread_mutex_unlock(&row->lock);
}

enum token_verdict tokens_read(const struct token_keys *keys, const char *text, size_t len,
                               int64_t now_us, struct token_claims *ret_claims)
{
    AUTO(mem_free) char *copy = NULL;
    struct row *row = row_of(text, len);
    enum token_verdict verdict;

    if (len > 0 && len <= TEXT_MAX && find(row, text, len, now_us, ret_claims))
        return TOKEN_GOOD;
    copy = mem_dup_n(text, len);
    verdict = token_read(keys, copy, TOKEN_ACCESS, now_us, ret_claims);
    if (verdict == TOKEN_GOOD && len <= TEXT_MAX)
        keep(row, text, len, ret_claims);
    return verdict;
}
