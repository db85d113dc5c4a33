/* SPDX-License-Identifier: MIT
 *
 * Reading the system's zoneinfo; see zone.h. What comes from a file is not trusted: sizes are
 * checked before use, changes must ascend, offsets lie within a day.
 *
 * Changes that leave the offset alone (a new abbreviation, another flag) are dropped when the file
 * is read, so that whoever walks from span to span meets nothing but changes of the clock.
 */
#include "common/zone.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/mem.h"
#include "common/text.h"

#define ZONE_FOLDER "/usr/share/zoneinfo/"
/* RFC 8536, appendix A: nothing is known of earlier times, and nobody needs later ones. */
#define TIME_LIMIT_S (INT64_C(1) << 59)

enum {
    HEADER_SIZE = 44,
    TYPES_MAX = 256,
    OFFSET_LIMIT_S = 26 * 3600, /* RFC 8536, 3.2: between -25 h and +26 h */
    RULE_TIME_LIMIT_H = 167,
    RULE_MAX = 200,
};

/* ---- bytes ---- */

struct reader {
    const unsigned char *at;
    const unsigned char *end;
};

/* Counts of one data block, in the order of the header. */
struct counts {
    uint32_t is_utc;
    uint32_t is_standard;
    uint32_t leaps;
    uint32_t changes;
    uint32_t types;
    uint32_t chars;
};

static uint32_t take_u32(struct reader *r)
{
    uint32_t value = (uint32_t)r->at[0] << 24 | (uint32_t)r->at[1] << 16 | (uint32_t)r->at[2] << 8 |
                     (uint32_t)r->at[3];

    r->at += 4;
    return value;
}

static int32_t take_i32(struct reader *r)
{
    uint32_t bits = take_u32(r);
    int32_t value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static int64_t take_i64(struct reader *r)
{
    uint64_t bits = (uint64_t)take_u32(r) << 32;
    int64_t value;

    bits |= take_u32(r);
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool has(const struct reader *r, uint64_t len) { return (uint64_t)(r->end - r->at) >= len; }

static bool take_header(struct reader *r, unsigned char *ret_version, struct counts *ret)
{
    if (!has(r, HEADER_SIZE) || memcmp(r->at, "TZif", 4) != 0)
        return false;
    *ret_version = r->at[4];
    r->at += 20; /* 15 of them are reserved */
    ret->is_utc = take_u32(r);
    ret->is_standard = take_u32(r);
    ret->leaps = take_u32(r);
    ret->changes = take_u32(r);
    ret->types = take_u32(r);
    ret->chars = take_u32(r);
    return true;
}

static uint64_t block_size(const struct counts *c, uint64_t time_size)
{
    return c->changes * time_size + c->changes + c->types * UINT64_C(6) + c->chars +
           c->leaps * (time_size + 4) + c->is_standard + (uint64_t)c->is_utc;
}

static void add_change(struct zone *zone, int64_t at, int32_t offset)
{
    zone->rule_from = at;
    if (zone->offset[zone->count] == offset)
        return;
    zone->at[zone->count] = at;
    zone->offset[++zone->count] = offset;
}

/* The 64-bit block. */
static bool take_block(struct reader *r, const struct counts *c, struct zone *zone)
{
    struct reader times = *r;
    struct reader indexes = {r->at + c->changes * 8UL, r->end};
    struct reader types = {indexes.at + c->changes, r->end};
    int32_t offsets[TYPES_MAX] = {0};

    for (uint32_t i = 0; i < c->types; i++) {
        offsets[i] = take_i32(&types);
        types.at += 2; /* the flag and the abbreviation */
        if (offsets[i] <= -OFFSET_LIMIT_S || offsets[i] >= OFFSET_LIMIT_S)
            return false;
    }
    zone->offset[0] = offsets[0];
    for (uint32_t i = 0; i < c->changes; i++) {
        int64_t at = take_i64(&times);

        if (indexes.at[i] >= c->types || (i > 0 && at <= zone->rule_from) || at < -TIME_LIMIT_S ||
            at > TIME_LIMIT_S)
            return false;
        add_change(zone, at, offsets[indexes.at[i]]);
    }
    r->at += block_size(c, 8);
    return true;
}

/* ---- the closing rule ---- */

static bool take_digits(const char **p, int max, int *ret)
{
    int value = 0;

    if (**p < '0' || **p > '9')
        return false;
    for (; **p >= '0' && **p <= '9'; (*p)++) {
        value = value * 10 + (**p - '0');
        if (value > max)
            return false;
    }
    *ret = value;
    return true;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(const char **p, int max_hours, int32_t *ret_s)
{
    int sign = **p == '-' ? -1 : 1;
    int part[3] = {0};

    if (**p == '+' || **p == '-')
        (*p)++;
    if (!take_digits(p, max_hours, &part[0]))
        return false;
    for (int i = 1; i < 3 && **p == ':'; i++) {
        (*p)++;
        if (!take_digits(p, 59, &part[i]))
            return false;
    }
    *ret_s = sign * (part[0] * 3600 + part[1] * 60 + part[2]);
    return true;
}

/* <+0330> or EST: it must be there, and nobody wants it. */
static bool skip_name(const char **p)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    bool quoted = **p == '<';
    size_t len;

    if (quoted)
        (*p)++;
    len = strspn(*p, letters);
    if (quoted)
        len = strcspn(*p, ">");
    *p += len;
    if (quoted && **p != '>')
        return false;
    *p += quoted;
    return len >= 3;
}

static bool take_comma(const char **p, char mark)
{
    if (**p != mark)
        return false;
    (*p)++;
    return true;
}

/* Mm.w.d, Jn or n, each with /time. */
static bool take_date(const char **p, struct zone_date *ret)
{
    bool good;

    *ret = (struct zone_date){.time_s = 2 * 3600};
    if (take_comma(p, 'M')) {
        ret->kind = ZONE_DATE_MONTH;
        good = take_digits(p, 12, &ret->month) && ret->month >= 1 && take_comma(p, '.') &&
               take_digits(p, 5, &ret->week) && ret->week >= 1 && take_comma(p, '.') &&
               take_digits(p, 6, &ret->day);
    } else if (take_comma(p, 'J')) {
        ret->kind = ZONE_DATE_DAY_NO_LEAP;
        good = take_digits(p, 365, &ret->day) && ret->day >= 1;
    } else {
        ret->kind = ZONE_DATE_DAY;
        good = take_digits(p, 365, &ret->day);
    }
    if (good && take_comma(p, '/'))
        good = take_time(p, RULE_TIME_LIMIT_H, &ret->time_s);
    return good;
}

/* A POSIX TZ text, with the longer times of TZif version 3. An empty one says nothing. */
static bool parse_rule(const char *text, int32_t last_offset, struct zone_rule *ret)
{
    struct zone_rule rule = {.standard = last_offset, .summer = last_offset};
    const char *p = text;

    if (*p) {
        if (!skip_name(&p) || !take_time(&p, 24, &rule.standard))
            return false;
        rule.standard = -rule.standard; /* POSIX counts west of Greenwich */
        rule.summer = rule.standard;
    }
    if (*p) {
        if (!skip_name(&p))
            return false;
        rule.summer = rule.standard + 3600;
        if (*p != ',') {
            if (!take_time(&p, 24, &rule.summer))
                return false;
            rule.summer = -rule.summer;
        }
        if (!take_comma(&p, ',') || !take_date(&p, &rule.to_summer) || !take_comma(&p, ',') ||
            !take_date(&p, &rule.to_standard) || *p)
            return false;
    }
    rule.changes = rule.summer != rule.standard;
    *ret = rule;
    return true;
}

/* "\n" text "\n" at the end of the file. */
static bool take_footer(struct reader *r, struct zone *zone)
{
    char text[RULE_MAX];
    const unsigned char *end;
    size_t len;

    if (!has(r, 2) || *r->at != '\n')
        return false;
    r->at++;
    end = memchr(r->at, '\n', (size_t)(r->end - r->at));
    len = end ? (size_t)(end - r->at) : sizeof text;
    if (len >= sizeof text || memchr(r->at, '\0', len))
        return false;
    memcpy(text, r->at, len);
    text[len] = '\0';
    return parse_rule(text, zone->offset[zone->count], &zone->rule);
}

/* ---- files ---- */

static enum err_code refuse(const char *name, const char *why, struct err *e)
{
    char shown[61];
    size_t len = 0;

    for (; len < sizeof shown - 1 && name[len]; len++)
        shown[len] = (char)(name[len] < ' ' || name[len] > '~' ? '?' : name[len]);
    shown[len] = '\0';
    return err_set(e, ERR_INVALID, "time zone \"%s\": %s", shown, why);
}

enum err_code zone_parse(const char *name, const unsigned char *bytes, size_t len,
                         struct zone *ret_zone, struct err *e)
{
    struct reader r = {bytes, bytes + len};
    struct counts counts;
    unsigned char version = 0;

    memset(ret_zone, 0, sizeof *ret_zone);
    ret_zone->rule_from = INT64_MIN;
    (void)snprintf(ret_zone->name, sizeof ret_zone->name, "%s", name);
    if (!take_header(&r, &version, &counts))
        return refuse(name, "its file in the zoneinfo is no TZif file", e);
    if (version < '2')
        return refuse(name, "its file in the zoneinfo is of version 1, which ends in 2037", e);
    if (!has(&r, block_size(&counts, 4)))
        return refuse(name, "its file in the zoneinfo is cut off", e);
    r.at += block_size(&counts, 4);
    if (!take_header(&r, &version, &counts) || counts.types == 0 || counts.types > TYPES_MAX ||
        counts.changes > ZONE_CHANGES_MAX || !has(&r, block_size(&counts, 8)))
        return refuse(name, "its file in the zoneinfo is damaged", e);
    if (counts.leaps > 0)
        return refuse(name, "zones that count leap seconds are not supported", e);
    if (!take_block(&r, &counts, ret_zone) || !take_footer(&r, ret_zone))
        return refuse(name, "its file in the zoneinfo is damaged", e);
    return ERR_OK;
}

/* Area/City: what leads nowhere but into the folder. "localtime" is the host's zone, which must not
 * matter. */
static bool is_zone_name(const char *name)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/";
    size_t len = strlen(name);

    return len > 0 && len <= ZONE_NAME_MAX && strspn(name, letters) == len && name[0] != '/' &&
           name[len - 1] != '/' && !strstr(name, "//") && strcmp(name, "localtime") != 0;
}

/* Reads the whole file; false when it is none or too long. */
static bool read_all(int fd, unsigned char *bytes, size_t max, size_t *ret_len)
{
    struct stat info;
    size_t len = 0;

    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        return false;
    while (len < max) {
        ssize_t got = read(fd, bytes + len, max - len);

        if (got < 0)
            return false;
        if (got == 0)
            break;
        len += (size_t)got;
    }
    *ret_len = len;
    return len < max;
}

enum err_code zone_read(const char *name, struct zone *ret_zone, struct err *e)
{
    AUTO(mem_free) unsigned char *bytes = NULL;
    char path[ZONE_NAME_MAX + sizeof ZONE_FOLDER];
    size_t len = 0;
    bool good;
    int fd;

    if (strcmp(name, "UTC") == 0) {
        memset(ret_zone, 0, sizeof *ret_zone);
        ret_zone->rule_from = INT64_MIN;
        (void)snprintf(ret_zone->name, sizeof ret_zone->name, "UTC");
        return ERR_OK;
    }
    if (!is_zone_name(name) || !text_format(path, sizeof path, ZONE_FOLDER "%s", name))
        return refuse(name, "this is no zone; write Area/City, as in Europe/Berlin, or UTC", e);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return refuse(name, "there is no such zone in " ZONE_FOLDER, e);
    bytes = mem_alloc(ZONE_FILE_MAX);
    good = read_all(fd, bytes, ZONE_FILE_MAX, &len);
    (void)close(fd);
    return good ? zone_parse(name, bytes, len, ret_zone, e)
                : refuse(name, "this is no zone; write Area/City, as in Europe/Berlin", e);
}
