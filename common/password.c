/* SPDX-License-Identifier: MIT
 *
 * Hashing and judging passwords; see password.h. The one lock of the tree is here: a semaphore that
 * bounds the memory of concurrent hashes.
 */
#include "common/password.h"

#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/text.h"

enum { OPSLIMIT = 2, MEMLIMIT = 19456 * 1024, MIN_CHARS = 8 };

static sem_t turns;
static char hash_of_nobody[PASSWORD_HASH_SIZE];
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static void prepare(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    char nobody[33];

    (void)sem_init(&turns, 0, cores > 0 ? (unsigned)cores : 1);
    for (size_t i = 0; i + 1 < sizeof nobody; i++)
        nobody[i] = (char)('a' + (char)randombytes_uniform(26));
    nobody[sizeof nobody - 1] = '\0';
    if (crypto_pwhash_str_alg(hash_of_nobody, nobody, strlen(nobody), OPSLIMIT, MEMLIMIT,
                              crypto_pwhash_ALG_ARGON2ID13) != 0)
        hash_of_nobody[0] = '\0';
}

static enum err_code take_turn(struct err *e)
{
    struct timespec until = clock_timespec(clock_mono_us() + PASSWORD_WAIT_S * US_PER_S);

    (void)pthread_once(&prepared, prepare);
    if (sem_clockwait(&turns, CLOCK_MONOTONIC, &until) != 0)
        return err_set(e, ERR_UNAVAILABLE, "too many passwords are being checked");
    return ERR_OK;
}

enum err_code password_hash(const char *password, char ret_hash[PASSWORD_HASH_SIZE], struct err *e)
{
    char hash[PASSWORD_HASH_SIZE] = "";
    enum err_code rc = take_turn(e);

    if (rc)
        return rc;
    if (crypto_pwhash_str_alg(hash, password, strlen(password), OPSLIMIT, MEMLIMIT,
                              crypto_pwhash_ALG_ARGON2ID13) != 0)
        rc = err_set(e, ERR_NOMEM, "out of memory");
    (void)sem_post(&turns);
    if (!rc)
        memcpy(ret_hash, hash, sizeof hash);
    return rc;
}

enum err_code password_verify(const char *hash, const char *password, bool *ret_matches,
                              struct err *e)
{
    char padded[PASSWORD_HASH_SIZE] = {0}; /* libsodium reads all of it */
    enum err_code rc = take_turn(e);
    bool matches;

    if (rc)
        return rc;
    if (!text_format(padded, sizeof padded, "%s", hash ? hash : hash_of_nobody))
        padded[0] = '\0';
    matches = crypto_pwhash_str_verify(padded, password, strlen(password)) == 0;
    (void)sem_post(&turns);
    *ret_matches = matches && hash;
    return ERR_OK;
}

/* ---- rules ---- */

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* quick_ratio() of Python's difflib, on bytes: 2 * (what both have in common) / both lengths; at
 * least 0.7 is too similar. */
static bool is_similar(const char *password, const char *part, size_t part_len)
{
    size_t available[256] = {0};
    size_t len = strlen(password);
    size_t common = 0;

    if (part_len == 0)
        return false;
    for (size_t i = 0; i < part_len; i++)
        available[(unsigned char)lower(part[i])]++;
    for (size_t i = 0; i < len; i++) {
        size_t *left = &available[(unsigned char)lower(password[i])];

        common += *left > 0;
        *left -= *left > 0;
    }
    return 20 * common >= 7 * (len + part_len);
}

/* Against the whole value and each of its words. */
static bool resembles(const char *password, const char *value)
{
    if (!value || !*value)
        return false;
    if (is_similar(password, value, strlen(value)))
        return true;
    for (const char *p = value; *p;) {
        size_t len = 0;

        while (is_word(p[len]))
            len++;
        if (is_similar(password, p, len))
            return true;
        p += len;
        while (*p && !is_word(*p))
            p++;
    }
    return false;
}

static bool is_common(const char *password)
{
    char wanted[32];
    size_t len = strlen(password);
    size_t low = 0;
    size_t high = password_common_count;

    if (len >= sizeof wanted)
        return false;
    for (size_t i = 0; i <= len; i++)
        wanted[i] = lower(password[i]);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(wanted, password_common_list[middle]);

        if (order == 0)
            return true;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

static void add_fault(struct password_faults *faults, const char *message, const char *what)
{
    size_t at = faults->count++;

    if (!text_format(faults->messages[at], PASSWORD_MESSAGE_SIZE, "%s%s%s", message, what,
                     *what ? "." : ""))
        faults->count = at; /* our own texts fit */
}

void password_judge(const char *password, const struct password_owner *owner,
                    struct password_faults *ret_faults)
{
    const struct {
        const char *value;
        const char *name;
    } attributes[] = {{owner->username, "username"},
                      {owner->first_name, "first name"},
                      {owner->last_name, "last name"},
                      {owner->email, "email"}};

    *ret_faults = (struct password_faults){0};
    for (size_t i = 0; i < COUNT_OF(attributes); i++) {
        if (resembles(password, attributes[i].value)) {
            /* Django stops at the first attribute. */
            add_fault(ret_faults, "The password is too similar to the ", attributes[i].name);
            break;
        }
    }
    if (text_count_chars(password) < MIN_CHARS)
        add_fault(ret_faults, "This password is too short. It must contain at least 8 characters.",
                  "");
    if (is_common(password))
        add_fault(ret_faults, "This password is too common.", "");
    if (*password && strspn(password, "0123456789") == strlen(password))
        add_fault(ret_faults, "This password is entirely numeric.", "");
}
