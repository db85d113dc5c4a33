/* SPDX-License-Identifier: MIT
 *
 * Grams and their places; see job_grams.h. The bytes of a gram begin with the form of the rest:
 * the differences between its places as numbers of 7 bits a byte, low ones first, the high bit set
 * on all but the last; or one bit a place, when that is shorter; or nothing: all jobs have it.
 */
#include "common/job_grams.h"

#include <ctype.h>
#include <string.h>

#include "common/mem.h"

enum { FORM_LIST = 'L', FORM_BITS = 'B', FORM_ALL = 'A' };
enum { TABLE_MIN = 8192, BYTES_MIN = 8, NUMBER_MAX = 5 };

/* Above what three bytes can be. */
#define NAME_GRAM UINT32_C(0x40000000)

static unsigned lower(char c)
{
    return (unsigned char)c < 0x80 ? (unsigned)tolower((unsigned char)c) : (unsigned char)c;
}

uint32_t job_gram_of(const char *text)
{
    return lower(text[0]) << 16 | lower(text[1]) << 8 | lower(text[2]);
}

/* FNV-1a. Two names that meet cost time, not truth: what is found is looked at. */
static uint32_t hash(uint32_t value, const char *text)
{
    for (; *text; text++)
        value = (value ^ (unsigned char)*text) * UINT32_C(16777619);
    return value;
}

uint32_t job_gram_name(enum job_gram_kind kind, const char *name)
{
    const char first[] = {(char)kind, '\0'};

    return NAME_GRAM | (hash(hash(UINT32_C(2166136261), first), name) & (NAME_GRAM - 1));
}

uint32_t job_gram_pair(const char *key, const char *value)
{
    char low[JOB_PAIR_BYTES + 1] = "";

    for (size_t i = 0; i < JOB_PAIR_BYTES && value[i]; i++)
        low[i] = (char)lower(value[i]);
    return NAME_GRAM | (hash(hash(hash(UINT32_C(2166136261), "k"), key), low) & (NAME_GRAM - 1));
}

/* ---- the table ---- */

void job_grams_release(struct job_grams *grams)
{
    for (size_t i = 0; i < grams->size; i++)
        mem_free(grams->items[i].bytes);
    mem_free(grams->items);
    *grams = (struct job_grams){0};
}

static struct job_gram *find(const struct job_grams *grams, uint32_t gram)
{
    size_t at = (gram * UINT32_C(2654435761) >> 7) & (grams->size - 1);

    while (grams->items[at].count > 0 && grams->items[at].gram != gram)
        at = (at + 1) & (grams->size - 1);
    return &grams->items[at];
}

static void grow(struct job_grams *grams)
{
    struct job_grams wide = {.size = grams->size ? grams->size * 2 : TABLE_MIN,
                             .count = grams->count};

    wide.items = mem_array(wide.size, sizeof *wide.items);
    for (size_t i = 0; i < grams->size; i++)
        if (grams->items[i].count > 0)
            *find(&wide, grams->items[i].gram) = grams->items[i];
    mem_free(grams->items);
    *grams = wide;
}

void job_grams_add(struct job_grams *grams, uint32_t place, uint32_t gram)
{
    struct job_gram *item;
    uint32_t step;

    if (grams->count * 2 >= grams->size)
        grow(grams);
    item = find(grams, gram);
    if (item->count > 0 && item->last == place)
        return;
    step = item->count > 0 ? place - item->last : place;
    if (item->count == 0) {
        item->gram = gram;
        grams->count++;
    }
    if (item->len + NUMBER_MAX > item->size) {
        item->size = item->size ? item->size * 2 : BYTES_MIN;
        item->bytes = mem_resize(item->bytes, item->size);
    }
    for (; step >= 0x80; step >>= 7)
        item->bytes[item->len++] = (unsigned char)(step | 0x80);
    item->bytes[item->len++] = (unsigned char)step;
    item->last = place;
    item->count++;
}

void job_grams_add_text(struct job_grams *grams, uint32_t place, const char *text)
{
    if (!text[0] || !text[1])
        return;
    for (; text[2]; text++)
        job_grams_add(grams, place, job_gram_of(text));
}

/* ---- forms ---- */

static bool read_list(const unsigned char *bytes, size_t len, size_t jobs,
                      struct job_places *places)
{
    size_t place = 0;

    for (size_t i = 0; i < len;) {
        size_t step = 0;
        unsigned shift = 0;

        while (i < len && bytes[i] & 0x80 && shift < 28) {
            step |= (size_t)(bytes[i++] & 0x7f) << shift;
            shift += 7;
        }
        if (i == len)
            return false;
        step |= (size_t)bytes[i++] << shift;
        place += step;
        if (place >= jobs)
            return false;
        places->bits[place / 64] |= UINT64_C(1) << place % 64;
    }
    return true;
}

static void set_all(size_t jobs, struct job_places *places)
{
    memset(places->bits, 0xff, jobs / 64 * 8);
    if (jobs % 64)
        places->bits[jobs / 64] = (UINT64_C(1) << jobs % 64) - 1;
}

bool job_places_read(const unsigned char *bytes, size_t len, size_t jobs,
                     struct job_places *ret_places)
{
    *ret_places = (struct job_places){0};
    if (len == 0 || jobs > JOB_SEGMENT_MAX)
        return false;
    switch (bytes[0]) {
    case FORM_ALL:
        set_all(jobs, ret_places);
        return len == 1;
    case FORM_BITS:
        if (len != (jobs + 7) / 8 + 1)
            return false;
        for (size_t i = 0; i < len - 1; i++)
            ret_places->bits[i / 8] |= (uint64_t)bytes[i + 1] << i % 8 * 8;
        if (jobs % 64)
            ret_places->bits[jobs / 64] &= (UINT64_C(1) << jobs % 64) - 1;
        return true;
    case FORM_LIST:
        return read_list(bytes + 1, len - 1, jobs, ret_places);
    default:
        return false;
    }
}

static void give_form(struct job_gram *item, size_t jobs)
{
    size_t bits_len = (jobs + 7) / 8;
    struct job_places places = {0};

    if (item->count == jobs) {
        item->bytes[0] = FORM_ALL;
        item->len = 1;
    } else if (item->len <= bits_len) {
        if (item->len == item->size)
            item->bytes = mem_resize(item->bytes, ++item->size);
        memmove(item->bytes + 1, item->bytes, item->len);
        item->bytes[0] = FORM_LIST;
        item->len++;
    } else {
        (void)read_list(item->bytes, item->len, jobs, &places);
        item->bytes[0] = FORM_BITS; /* there is room: the list was longer */
        for (size_t i = 0; i < bits_len; i++)
            item->bytes[i + 1] = (unsigned char)(places.bits[i / 8] >> i % 8 * 8);
        item->len = (uint32_t)bits_len + 1;
    }
}

void job_grams_end(struct job_grams *grams, size_t jobs)
{
    for (size_t i = 0; i < grams->size; i++)
        if (grams->items[i].count > 0)
            give_form(&grams->items[i], jobs);
}
