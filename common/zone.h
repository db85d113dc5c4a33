/* SPDX-License-Identifier: MIT
 *
 * The rules of a time zone, from the system's zoneinfo (TZif, RFC 8536): where its offset from UTC
 * changes, and by how much. Whether a change is called daylight saving does not matter here, and
 * neither does the zone of the host. Past the last change that the file lists, its closing rule
 * goes on for ever.
 *
 * A struct zone is plain memory of about 25 kB without anything to free: mem_alloc() one.
 */
#ifndef COMMON_ZONE_H
#define COMMON_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum {
    ZONE_NAME_MAX = 100,
    ZONE_CHANGES_MAX = 2048, /* the fullest file of 2025 has 310 */
    ZONE_FILE_MAX = 128 * 1024,
    ZONE_TEXT_SIZE = 40, /* zone_format() */
};

/* One day of each year, and a time on it that may lie days away (RFC 8536, 3.3.1). */
struct zone_date {
    enum { ZONE_DATE_MONTH, ZONE_DATE_DAY, ZONE_DATE_DAY_NO_LEAP } kind;
    int month;
    int week; /* 1 to 5, 5 is the last */
    int day;  /* of the week, or of the year */
    int32_t time_s;
};

/* What is done with a clock each year after the last listed change. */
struct zone_rule {
    bool changes; /* false: nothing */
    int32_t standard;
    int32_t summer;
    struct zone_date to_summer;   /* in standard time */
    struct zone_date to_standard; /* in summer time */
};

struct zone {
    char name[ZONE_NAME_MAX + 1];
    int count;
    int64_t at[ZONE_CHANGES_MAX];         /* seconds since 1970, ascending */
    int32_t offset[ZONE_CHANGES_MAX + 1]; /* [i + 1] from at[i] on; [0] before; seconds east */
    int64_t rule_from;                    /* the last change that the file lists */
    struct zone_rule rule;
};

/* A stretch of time with one offset. */
struct zone_span {
    int64_t start; /* INT64_MIN: for ever before */
    int64_t end;   /* the first second after it; INT64_MAX: for ever */
    int32_t offset;
    int32_t before; /* offset of the stretch before it */
};

/* Reads a zone by its name ("Europe/Berlin"). "UTC" is always there. ERR_INVALID when there is no
 * such zone, with a text for whoever wrote the name. */
enum err_code zone_read(const char *name, struct zone *ret_zone, struct err *e) MUST_CHECK;

/* The same from the bytes of a file. Nothing else is touched, so this is what the fuzzer calls. */
enum err_code zone_parse(const char *name, const unsigned char *bytes, size_t len,
                         struct zone *ret_zone, struct err *e) MUST_CHECK;

/* The stretch that an instant lies in. */
struct zone_span zone_span_at(const struct zone *zone, int64_t at);

/* An instant as RFC 3339 with the zone's offset: "2024-03-10T03:00:00-04:00". An offset that has
 * seconds is written as the nearest that has none, with the local time to match (RFC 3339, 5.8). */
void zone_format(const struct zone *zone, int64_t at, char out[ZONE_TEXT_SIZE]);

#endif
