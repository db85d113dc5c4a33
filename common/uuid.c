/* SPDX-License-Identifier: MIT
 *
 * UUID versions 4 and 7; see uuid.h. Needs sodium_init() (program_start() calls it).
 */
#include "common/uuid.h"

#include <stddef.h>
#include <string.h>

#include <sodium.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/entropy.h"

/* Where the digits of each byte stand. */
static const unsigned char places[16] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};

static struct uuid format(unsigned char bytes[16], unsigned version)
{
    static const char hex[] = "0123456789abcdef";
    struct uuid id = {"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"};

    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | (version << 4));
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    for (int i = 0; i < 16; i++) {
        id.text[places[i]] = hex[bytes[i] >> 4];
        id.text[places[i] + 1] = hex[bytes[i] & 15];
    }
    return id;
}

struct uuid uuid_v4(void)
{
    unsigned char bytes[16];

    randombytes_buf(bytes, sizeof bytes);
    return format(bytes, 4);
}

static void put_time(unsigned char bytes[16], int64_t ms)
{
    for (int i = 5; i >= 0; i--, ms >>= 8)
        bytes[i] = (unsigned char)ms;
}

/* RFC 9562, 6.2 method 3: milliseconds and a fraction of 12 bits, one more than the last when time
 * has not moved since. A clock that was set back by more than a second is followed. */
static int64_t next_stamp(void)
{
    static _Thread_local int64_t last;
    int64_t us = clock_wall_us();
    int64_t stamp = us / US_PER_MS * 4096 + us % US_PER_MS * 4096 / 1000;

    if (stamp <= last && last - stamp < INT64_C(1000) * 4096)
        stamp = last + 1;
    last = stamp;
    return stamp;
}

struct uuid uuid_v7(void)
{
    unsigned char bytes[16];
    int64_t stamp = next_stamp();

    entropy_take(bytes, sizeof bytes);
    put_time(bytes, stamp / 4096);
    bytes[6] = (unsigned char)(stamp % 4096 >> 8);
    bytes[7] = (unsigned char)stamp;
    return format(bytes, 7);
}

struct uuid uuid_from_bytes(int64_t ms, const void *data, uint64_t len)
{
    unsigned char bytes[16];

    (void)crypto_generichash(bytes, sizeof bytes, data, len, NULL, 0);
    put_time(bytes, ms);
    return format(bytes, 7);
}

/* The digit in lower case, NUL for what is none. */
static char hex_digit(char c)
{
    static const char digits[256] = {
        ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5',
        ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['a'] = 'a', ['b'] = 'b',
        ['c'] = 'c', ['d'] = 'd', ['e'] = 'e', ['f'] = 'f', ['A'] = 'a', ['B'] = 'b',
        ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f',
    };

    return digits[(unsigned char)c];
}

static bool is_hyphen(size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }

bool uuid_parse(const char *text, struct uuid *ret_id)
{
    struct uuid id;

    bool is_good = strnlen(text, sizeof id.text) == sizeof id.text - 1;

    for (size_t i = 0; is_good && i < COUNT_OF(places); i++) {
        char high = hex_digit(text[places[i]]);
        char low = hex_digit(text[places[i] + 1]);

        is_good = high && low;
        id.text[places[i]] = high;
        id.text[places[i] + 1] = low;
    }
    for (size_t i = 8; is_good && i < 24; i += 5) {
        is_good = text[i] == '-';
        id.text[i] = '-';
    }
    id.text[sizeof id.text - 1] = '\0';
    if (is_good)
        *ret_id = id;
    return is_good;
}

static unsigned nibble(char digit)
{
    return (unsigned)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

void uuid_bytes(const struct uuid *id, unsigned char ret_bytes[16])
{
    const char *digit = id->text;

    for (int i = 0; i < 16; i++, digit += 2) {
        if (*digit == '-')
            digit++;
        ret_bytes[i] = (unsigned char)(nibble(digit[0]) << 4 | nibble(digit[1]));
    }
}

struct uuid uuid_least_of(int64_t ms)
{
    struct uuid id = {UUID_FIRST};

    if (ms > 0)
        (void)snprintf(id.text, sizeof id.text, "%08x-%04x-0000-0000-000000000000",
                       (unsigned)(ms >> 16), (unsigned)(ms & 0xffff));
    return id;
}

bool uuid_range(const char *text, struct uuid *ret_from, struct uuid *ret_to)
{
    struct uuid from = {UUID_FIRST};
    struct uuid to = {UUID_LAST};
    size_t len = strlen(text);

    if (len < 8 || len > 36)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = is_hyphen(i) ? '-' : hex_digit(text[i]);

        if (!c || (c == '-' && text[i] != '-'))
            return false;
        from.text[i] = to.text[i] = c;
    }
    *ret_from = from;
    *ret_to = to;
    return true;
}
