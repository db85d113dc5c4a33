/* SPDX-License-Identifier: MIT
 *
 * Buckets of requests; see limits.h. A bucket is one number: the time at which it will be full
 * again. The table never grows: a name that finds its row full takes the place of the fullest
 * bucket in it, which forgets least. One lock a row, held for a few instructions.
 */
#include "api/limits.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <sodium.h>

#include "api/http.h"
#include "common/auto.h"
#include "common/clock.h"
#include "common/text.h"

enum { ROWS = 1024, ROW_SLOTS = 8, ADDRESS_SIZE = INET6_ADDRSTRLEN + sizeof("[]:65535") };

struct bucket {
    uint64_t key;    /* 0: free */
    int64_t full_us; /* when it is full again; in the past: it is */
};

static struct row {
    pthread_mutex_t lock;
    struct bucket slots[ROW_SLOTS];
} rows[ROWS];
static unsigned char seed[crypto_shorthash_KEYBYTES];
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static void prepare(void)
{
    crypto_shorthash_keygen(seed);
    for (size_t i = 0; i < ROWS; i++)
        (void)pthread_mutex_init(&rows[i].lock, NULL);
}

/* Nobody outside can tell which names share a row. */
static uint64_t key_of(char kind, const char *name)
{
    char text[LIMITS_NAME_SIZE + 2];
    uint64_t key = 0;

    if (!text_format(text, sizeof text, "%c%s", kind, name))
        text[sizeof text - 1] = '\0';
    (void)crypto_shorthash((unsigned char *)&key, (const unsigned char *)text, strlen(text), seed);
    return key ? key : 1;
}

static struct bucket *find(struct row *row, uint64_t key)
{
    struct bucket *best = &row->slots[0];

    for (size_t i = 0; i < ROW_SLOTS; i++) {
        if (row->slots[i].key == key)
            return &row->slots[i];
        if (row->slots[i].full_us < best->full_us)
            best = &row->slots[i];
    }
    *best = (struct bucket){.key = key};
    return best;
}

int64_t limits_take(char kind, const char *name, int64_t per_minute, int64_t cost, int64_t now_us)
{
    int64_t minute_us = 60 * US_PER_S;
    uint64_t key;
    struct row *row;
    struct bucket *bucket;
    int64_t full_us;
    int64_t wait_us;

    if (per_minute <= 0 || !*name)
        return 0;
    (void)pthread_once(&prepared, prepare);
    key = key_of(kind, name);
    row = &rows[key % ROWS];
    (void)pthread_mutex_lock(&row->lock);
    bucket = find(row, key);
    full_us = (bucket->full_us > now_us ? bucket->full_us : now_us) + cost * minute_us / per_minute;
    wait_us = full_us - now_us - minute_us;
    if (wait_us <= 0)
        bucket->full_us = full_us;
    (void)pthread_mutex_unlock(&row->lock);
    return wait_us <= 0 ? 0 : (wait_us + US_PER_S - 1) / US_PER_S;
}

/* ---- addresses ---- */

static bool is_loopback(const char *remote)
{
    return text_starts(remote, "127.") || strcmp(remote, "::1") == 0 ||
           text_starts(remote, "::ffff:127.");
}

/* The last address of the list: the one that our own proxy has seen. */
static void last_of(const char *list, char out[ADDRESS_SIZE])
{
    const char *comma = strrchr(list, ',');
    const char *start = comma ? comma + 1 : list;
    size_t len;

    start += strspn(start, " \t");
    len = strcspn(start, " \t");
    if (len >= ADDRESS_SIZE)
        len = 0;
    memcpy(out, start, len);
    out[len] = '\0';
}

/* "1.2.3.4:5678" and "[2001:db8::1]:5678" without the port, which some proxies write, and which is
 * another with each connection. */
static void cut_port(char text[ADDRESS_SIZE])
{
    char *first = strchr(text, ':');
    size_t len = strlen(text);

    if (*text == '[') {
        len = strcspn(text + 1, "]");
        memmove(text, text + 1, len);
    } else if (first && !strchr(first + 1, ':')) {
        len = (size_t)(first - text);
    }
    text[len] = '\0';
}

/* A network of IPv6 is one client. An address of IPv4 that came over a socket of both is itself:
 * its network would be all of IPv4. */
static void name_address(const char *text, char ret_name[LIMITS_NAME_SIZE])
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    unsigned char b[16];

    if (inet_pton(AF_INET6, text, b) != 1)
        (void)snprintf(ret_name, LIMITS_NAME_SIZE, "%s", text);
    else if (memcmp(b, mapped, sizeof mapped) == 0)
        (void)snprintf(ret_name, LIMITS_NAME_SIZE, "%d.%d.%d.%d", b[12], b[13], b[14], b[15]);
    else
        (void)snprintf(ret_name, LIMITS_NAME_SIZE, "%02x%02x:%02x%02x:%02x%02x:%02x%02x::/64", b[0],
                       b[1], b[2], b[3], b[4], b[5], b[6], b[7]);
}

void limits_name(const char *remote, const char *forwarded, char ret_name[LIMITS_NAME_SIZE])
{
    char text[ADDRESS_SIZE] = "";

    *ret_name = '\0';
    if (!is_loopback(remote)) {
        (void)snprintf(text, sizeof text, "%s", remote);
    } else if (forwarded) {
        last_of(forwarded, text);
        cut_port(text);
    }
    name_address(text, ret_name);
}

void limits_address(const struct request *req, char ret_name[LIMITS_NAME_SIZE])
{
    limits_name(req->remote, request_header(req, "X-Forwarded-For"), ret_name);
}
