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

/* Without the blanks around it: they make a common password no better. */
static bool is_common(const char *password)
{
    char wanted[32];
    size_t len = strlen(password);
    size_t low = 0;
    size_t high = password_common_count;

    text_trim(&password, &len);
    if (len >= sizeof wanted)
        return false;
    for (size_t i = 0; i < len; i++)
        wanted[i] = lower(password[i]);
    wanted[len] = '\0';
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

/* The digits beyond ASCII that Python's isdigit() knows (Unicode 14): from, to. */
static const uint32_t digits[][2] = {
    {0xb2, 0xb3},       {0xb9, 0xb9},       {0x660, 0x669},     {0x6f0, 0x6f9},
    {0x7c0, 0x7c9},     {0x966, 0x96f},     {0x9e6, 0x9ef},     {0xa66, 0xa6f},
    {0xae6, 0xaef},     {0xb66, 0xb6f},     {0xbe6, 0xbef},     {0xc66, 0xc6f},
    {0xce6, 0xcef},     {0xd66, 0xd6f},     {0xde6, 0xdef},     {0xe50, 0xe59},
    {0xed0, 0xed9},     {0xf20, 0xf29},     {0x1040, 0x1049},   {0x1090, 0x1099},
    {0x1369, 0x1371},   {0x17e0, 0x17e9},   {0x1810, 0x1819},   {0x1946, 0x194f},
    {0x19d0, 0x19da},   {0x1a80, 0x1a89},   {0x1a90, 0x1a99},   {0x1b50, 0x1b59},
    {0x1bb0, 0x1bb9},   {0x1c40, 0x1c49},   {0x1c50, 0x1c59},   {0x2070, 0x2070},
    {0x2074, 0x2079},   {0x2080, 0x2089},   {0x2460, 0x2468},   {0x2474, 0x247c},
    {0x2488, 0x2490},   {0x24ea, 0x24ea},   {0x24f5, 0x24fd},   {0x24ff, 0x24ff},
    {0x2776, 0x277e},   {0x2780, 0x2788},   {0x278a, 0x2792},   {0xa620, 0xa629},
    {0xa8d0, 0xa8d9},   {0xa900, 0xa909},   {0xa9d0, 0xa9d9},   {0xa9f0, 0xa9f9},
    {0xaa50, 0xaa59},   {0xabf0, 0xabf9},   {0xff10, 0xff19},   {0x104a0, 0x104a9},
    {0x10a40, 0x10a43}, {0x10d30, 0x10d39}, {0x10e60, 0x10e68}, {0x11052, 0x1105a},
    {0x11066, 0x1106f}, {0x110f0, 0x110f9}, {0x11136, 0x1113f}, {0x111d0, 0x111d9},
    {0x112f0, 0x112f9}, {0x11450, 0x11459}, {0x114d0, 0x114d9}, {0x11650, 0x11659},
    {0x116c0, 0x116c9}, {0x11730, 0x11739}, {0x118e0, 0x118e9}, {0x11950, 0x11959},
    {0x11c50, 0x11c59}, {0x11d50, 0x11d59}, {0x11da0, 0x11da9}, {0x16a60, 0x16a69},
    {0x16ac0, 0x16ac9}, {0x16b50, 0x16b59}, {0x1d7ce, 0x1d7ff}, {0x1e140, 0x1e149},
    {0x1e2f0, 0x1e2f9}, {0x1e950, 0x1e959}, {0x1f100, 0x1f10a}, {0x1fbf0, 0x1fbf9}};

/* The character at *text, which is UTF-8, and past it. */
static uint32_t next_char(const char **text)
{
    const unsigned char *p = (const unsigned char *)*text;
    size_t tail = p[0] < 0x80 ? 0 : p[0] < 0xe0 ? 1 : p[0] < 0xf0 ? 2 : 3;
    uint32_t value = tail == 0 ? p[0] : p[0] & (0x3fU >> tail);

    for (size_t i = 1; i <= tail && p[i]; i++)
        value = value << 6 | (p[i] & 0x3fU);
    *text += 1 + strnlen(*text + 1, tail);
    return value;
}

static bool is_digit(uint32_t c)
{
    for (size_t i = 0; c >= 0x80 && i < COUNT_OF(digits); i++)
        if (c >= digits[i][0] && c <= digits[i][1])
            return true;
    return c >= '0' && c <= '9';
}

static bool is_numeric(const char *password)
{
    bool is_one = *password;

    while (is_one && *password)
        is_one = is_digit(next_char(&password));
    return is_one;
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
    if (is_numeric(password))
        add_fault(ret_faults, "This password is entirely numeric.", "");
}
