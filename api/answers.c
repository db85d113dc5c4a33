/* SPDX-License-Identifier: MIT
 *
 * Kept answers in memory; see answers.h. The table is cut into shards by the hash of the name, each
 * with its lock and its share of the bytes.
 */
#include "api/answers.h"

#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

#include <sodium.h>

#include "common/clock.h"
#include "common/mem.h"

enum {
    SHARDS = 16,
    BUCKETS = 512,   /* of a shard */
    SHARE_PARTS = 4, /* what needs more than such a part of a shard is not kept */
    TAG_BYTES = 16,
    /* A database that was restored from a copy may come to an old version a second time. */
    KEEP_US = 600 * 1000 * 1000,
    RENEW_FINDS = 8, /* see wants_version */
};

struct answer {
    LIST_ENTRY(answer) in_bucket;
    TAILQ_ENTRY(answer) in_use; /* most lately used first */
    uint64_t hash;
    int64_t version;
    int64_t token;
    struct lease_stamp stamp;
    int64_t kept_us; /* monotonic */
    int finds;       /* by its rows, where its version was wanted */
    size_t name_len;
    size_t body_len;
    bool has_rows;
    size_t rows_count;
    char tag[ANSWER_TAG_SIZE];
    char *bytes;   /* name, then body, behind: */
    int64_t ids[]; /* of its rows */
};

static struct shard {
    pthread_mutex_t lock;
    size_t bytes;
    LIST_HEAD(bucket, answer) buckets[BUCKETS];
    TAILQ_HEAD(uses, answer) uses;
} shards[SHARDS];
static size_t share; /* bytes of a shard */
static unsigned char seed[crypto_shorthash_KEYBYTES];

void answers_init(size_t bytes_max)
{
    crypto_shorthash_keygen(seed);
    share = bytes_max / SHARDS;
    for (size_t i = 0; i < SHARDS; i++) {
        (void)pthread_mutex_init(&shards[i].lock, NULL);
        TAILQ_INIT(&shards[i].uses);
    }
}

static uint64_t hash_of(const struct buf *name)
{
    uint64_t hash = 0;

    (void)crypto_shorthash((unsigned char *)&hash, (const unsigned char *)name->data, name->len,
                           seed);
    return hash;
}

static size_t size_of(const struct answer *answer)
{
    return sizeof *answer + answer->rows_count * sizeof answer->ids[0] + answer->name_len +
           answer->body_len;
}

static void drop(struct shard *shard, struct answer *answer)
{
    LIST_REMOVE(answer, in_bucket);
    TAILQ_REMOVE(&shard->uses, answer, in_use);
    shard->bytes -= size_of(answer);
    mem_free(answer);
}

static struct answer *find(const struct shard *shard, uint64_t hash, const struct buf *name)
{
    struct answer *answer;

    LIST_FOREACH(answer, &shard->buckets[hash / SHARDS % BUCKETS], in_bucket)
    if (answer->hash == hash && answer->name_len == name->len &&
        memcmp(answer->bytes, name->data, name->len) == 0)
        break;
    return answer;
}

static bool is_old(const struct answer *answer, int64_t now_us)
{
    return now_us - answer->kept_us > KEEP_US;
}

static bool is_good(struct answer *answer, const struct answers_now *now)
{
    bool has_rows = now->token != 0 && answer->token == now->token;

    if (is_old(answer, now->us))
        return false;
    if (has_rows && now->stamp.at_us > answer->stamp.at_us)
        answer->stamp = now->stamp;
    if (answer->version == now->version)
        return true;
    if (now->is_leased)
        return leases_cover(&answer->stamp, now->us);
    return has_rows && !(now->wants_version && ++answer->finds % RENEW_FINDS == 0);
}

bool answers_find(const struct buf *name, const struct answers_now *now, struct buf *body,
                  char ret_tag[ANSWER_TAG_SIZE])
{
    uint64_t hash = hash_of(name);
    struct shard *shard = &shards[hash % SHARDS];
    struct answer *answer;

    if (share == 0)
        return false;
    (void)pthread_mutex_lock(&shard->lock);
    answer = find(shard, hash, name);
    if (answer && !is_good(answer, now))
        answer = NULL;
    if (answer) {
        if (answer != TAILQ_FIRST(&shard->uses)) {
            TAILQ_REMOVE(&shard->uses, answer, in_use);
            TAILQ_INSERT_HEAD(&shard->uses, answer, in_use);
        }
        buf_add(body, answer->bytes + answer->name_len, answer->body_len);
        memcpy(ret_tag, answer->tag, sizeof answer->tag);
    }
    (void)pthread_mutex_unlock(&shard->lock);
    return answer != NULL;
}

bool answers_rows(const struct buf *name, struct catalogue_rows *ret_rows)
{
    uint64_t hash = hash_of(name);
    struct shard *shard = &shards[hash % SHARDS];
    const struct answer *answer;
    bool has_rows;

    if (share == 0)
        return false;
    (void)pthread_mutex_lock(&shard->lock);
    answer = find(shard, hash, name);
    has_rows = answer && answer->has_rows;
    if (has_rows) {
        ret_rows->count = answer->rows_count;
        memcpy(ret_rows->ids, answer->ids, answer->rows_count * sizeof answer->ids[0]);
    }
    (void)pthread_mutex_unlock(&shard->lock);
    return has_rows;
}

static struct answer *make(uint64_t hash, const struct buf *name, const struct answers_made *of,
                           const struct buf *body)
{
    size_t rows_count = of->rows ? of->rows->count : 0;
    size_t rows_size = rows_count * sizeof of->rows->ids[0];
    struct answer *answer = mem_alloc(sizeof *answer + rows_size + name->len + body->len);

    answer->hash = hash;
    answer->version = of->version;
    answer->token = of->token;
    answer->stamp = of->stamp;
    answer->kept_us = clock_mono_us();
    answer->has_rows = of->rows != NULL;
    answer->rows_count = rows_count;
    answer->name_len = name->len;
    answer->body_len = body->len;
    answers_tag(body, answer->tag);
    answer->bytes = (char *)&answer->ids[rows_count];
    if (rows_count > 0)
        memcpy(answer->ids, of->rows->ids, rows_size);
    memcpy(answer->bytes, name->data, name->len);
    memcpy(answer->bytes + name->len, body->data, body->len);
    return answer;
}

/* The one of an earlier version does not take the place of one that was made faster. */
static bool is_older(const struct answer *made, const struct answer *before)
{
    return made->version > 0 && before->version > made->version && !is_old(before, made->kept_us);
}

void answers_keep(const struct buf *name, const struct answers_made *of, const struct buf *body)
{
    uint64_t hash = hash_of(name);
    struct shard *shard = &shards[hash % SHARDS];
    struct answer *made;
    struct answer *before;

    if (sizeof *made + name->len + body->len > share / SHARE_PARTS)
        return;
    made = make(hash, name, of, body);
    (void)pthread_mutex_lock(&shard->lock);
    before = find(shard, hash, name);
    if (before && is_older(made, before)) {
        mem_free(made);
    } else {
        if (before)
            drop(shard, before);
        while (shard->bytes + size_of(made) > share)
            drop(shard, TAILQ_LAST(&shard->uses, uses));
        LIST_INSERT_HEAD(&shard->buckets[hash / SHARDS % BUCKETS], made, in_bucket);
        TAILQ_INSERT_HEAD(&shard->uses, made, in_use);
        shard->bytes += size_of(made);
    }
    (void)pthread_mutex_unlock(&shard->lock);
}

void answers_tag(const struct buf *body, char ret_tag[ANSWER_TAG_SIZE])
{
    unsigned char hash[TAG_BYTES];

    (void)crypto_generichash(hash, sizeof hash, (const unsigned char *)body->data, body->len, NULL,
                             0);
    *ret_tag = '"';
    (void)sodium_bin2hex(ret_tag + 1, 2 * sizeof hash + 1, hash, sizeof hash);
    ret_tag[2 * sizeof hash + 1] = '"';
    ret_tag[2 * sizeof hash + 2] = '\0';
}

void answers_end(void)
{
    for (size_t i = 0; i < SHARDS; i++)
        while (!TAILQ_EMPTY(&shards[i].uses))
            drop(&shards[i], TAILQ_FIRST(&shards[i].uses));
}
