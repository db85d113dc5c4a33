/* SPDX-License-Identifier: MIT
 *
 * Ids of candidates; see job_picks.h. Places that lie near each other are fetched as one slice of a
 * segment's ids.
 */
#include "common/job_picks.h"

#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/statements.h"

enum {
    PICK_MIN = 128,  /* of a segment and round, if no more are wanted, ... */
    PICK_MAX = 1024, /* ... and if they are */
    SLICE_GAP = 32,  /* ids between two picks that are fetched with them */
    ID_DIGITS = 32,
    ARRAY_MAX = 1024 * 1024,
};

enum { BOUNDS, SLICES };

static const struct db_stmt statements[] = {
    /* How many places come before the cursor; $2 of each segment. */
    [BOUNDS] = {"job_picks_bounds",
                "SELECT id, job_place(ids, jobs, $2) FROM job_segments"
                " WHERE id = ANY ($1::bigint[])",
                2},
    [SLICES] = {"job_picks_slices",
                "SELECT c.number - 1, substring(s.ids FROM c.place * 16 + 1 FOR c.count * 16)"
                " FROM unnest($1::bigint[], $2::int[], $3::int[])"
                " WITH ORDINALITY AS c(segment, place, count, number)"
                " JOIN job_segments s ON s.id = c.segment",
                3},
};

DB_STATEMENTS(job_picks, statements);

void picks_release(struct picks *picks)
{
    mem_free(picks->items);
    mem_free(picks->bounds);
    mem_free(picks->is_cut);
    *picks = (struct picks){0};
}

enum err_code picks_begin(struct picks *picks, const struct segments *segments, struct db *db,
                          size_t end, const struct uuid *cursor, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    const struct uuid from = segments->up ? id_just_before(cursor, false) : *cursor;
    enum err_code rc;

    picks->bounds = mem_array(segments->count + 1, sizeof picks->bounds[0]);
    picks->is_cut = mem_array(segments->count + 1, sizeof picks->is_cut[0]);
    buf_init(&ids, ARRAY_MAX);
    for (size_t i = 0; i < end; i++) {
        const struct segment *item = &segments->items[i];

        picks->bounds[i] = strcmp(item->first.text, from.text) < 0 ? item->jobs : 0;
        if (strcmp(item->first.text, from.text) <= 0 && strcmp(item->last.text, from.text) >= 0)
            db_array_add_int(&ids, item->id);
    }
    if (ids.len == 0)
        return ERR_OK;
    db_array_end(&ids);
    rc =
        db_query(db, &statements[BOUNDS], DB_ARGS(DB_TEXT(ids.data), DB_TEXT(from.text)), &rows, e);
    for (int row = 0; !rc && row < db_rows(rows); row++)
        for (size_t i = 0; i < end; i++)
            if (segments->items[i].id == db_int(rows, row, 0))
                picks->bounds[i] = (size_t)db_int(rows, row, 1);
    return rc;
}

enum { NONE = JOB_SEGMENT_MAX };

/* The first place from there on, below `end`; NONE. */
static size_t find_up(const struct job_places *places, size_t from, size_t end)
{
    for (size_t i = from / 64; i * 64 < end; i++) {
        uint64_t bits = places->bits[i];

        if (i == from / 64)
            bits &= UINT64_MAX << from % 64;
        if (bits) {
            size_t place = i * 64 + (size_t)__builtin_ctzll(bits);

            return place < end ? place : NONE;
        }
    }
    return NONE;
}

/* The last place below that; NONE. */
static size_t find_down(const struct job_places *places, size_t end)
{
    for (size_t i = (end + 63) / 64; i-- > 0;) {
        uint64_t bits = places->bits[i];

        if (i == end / 64)
            bits &= ~(UINT64_MAX << end % 64);
        if (bits)
            return i * 64 + 63 - (size_t)__builtin_clzll(bits);
    }
    return NONE;
}

static size_t find_next(const struct segments *segments, const struct segment *segment,
                        size_t bound)
{
    return segments->up ? find_up(segment->places, bound, segment->jobs)
                        : find_down(segment->places, bound);
}

static size_t most_of(const struct segments *segments)
{
    if (segments->wanted < PICK_MIN)
        return PICK_MIN;
    return segments->wanted < PICK_MAX ? segments->wanted : PICK_MAX;
}

void picks_take(struct picks *picks, const struct segments *segments, size_t number)
{
    const struct segment *segment = &segments->items[number];
    size_t most = most_of(segments);
    size_t place = find_next(segments, segment, picks->bounds[number]);

    picks->items = mem_resize(picks->items, (picks->count + most) * sizeof picks->items[0]);
    for (size_t picked = 0; place != NONE && picked < most; picked++) {
        picks->items[picks->count++] = (struct pick){number, place};
        place = find_next(segments, segment, segments->up ? place + 1 : place);
    }
    picks->is_cut[number] = place != NONE;
}

/* ---- slices ---- */

/* Picks of one segment that follow each other, with the places between them. */
struct slice {
    size_t first; /* pick */
    size_t count; /* of picks */
    size_t low;   /* places */
    size_t high;
};

static bool is_near(const struct picks *picks, const struct slice *slice, size_t number)
{
    const struct pick *pick = &picks->items[number];

    return picks->items[slice->first].segment == pick->segment &&
           pick->place + SLICE_GAP > slice->low && pick->place < slice->high + SLICE_GAP;
}

static size_t cut_slices(const struct picks *picks, struct slice *slices)
{
    size_t count = 0;

    for (size_t i = 0; i < picks->count; i++) {
        size_t place = picks->items[i].place;
        struct slice *slice = count > 0 ? &slices[count - 1] : NULL;

        if (!slice || !is_near(picks, slice, i)) {
            slices[count++] = (struct slice){i, 1, place, place};
            continue;
        }
        slice->count++;
        slice->low = place < slice->low ? place : slice->low;
        slice->high = place > slice->high ? place : slice->high;
    }
    return count;
}

/* The ids of a slice's picks in its bytes, which the server writes as \x and two digits each. */
static void read_ids(const char *text, const struct picks *picks, const struct slice *slice,
                     struct found_ids *list)
{
    if (strlen(text) < 2 + (slice->high - slice->low + 1) * ID_DIGITS)
        return;
    for (size_t i = slice->first; i < slice->first + slice->count; i++) {
        const char *at = text + 2 + (picks->items[i].place - slice->low) * ID_DIGITS;
        char id[sizeof(struct uuid)];

        (void)snprintf(id, sizeof id, "%.8s-%.4s-%.4s-%.4s-%.12s", at, at + 8, at + 12, at + 16,
                       at + 20);
        if (uuid_parse(id, &list->items[list->count]))
            list->count++;
    }
}

static enum err_code query(const struct picks *picks, const struct segments *segments,
                           struct db *db, const struct slice *slices, size_t count,
                           struct db_result **ret_rows, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf places;
    AUTO_VALUE(buf_release) struct buf counts;

    buf_init(&ids, ARRAY_MAX);
    buf_init(&places, ARRAY_MAX);
    buf_init(&counts, ARRAY_MAX);
    for (size_t i = 0; i < count; i++) {
        db_array_add_int(&ids, segments->items[picks->items[slices[i].first].segment].id);
        db_array_add_int(&places, (int64_t)slices[i].low);
        db_array_add_int(&counts, (int64_t)(slices[i].high - slices[i].low + 1));
    }
    db_array_end(&ids);
    db_array_end(&places);
    db_array_end(&counts);
    return db_query(db, &statements[SLICES],
                    DB_ARGS(DB_TEXT(ids.data), DB_TEXT(places.data), DB_TEXT(counts.data)),
                    ret_rows, e);
}

enum err_code picks_fetch(const struct picks *picks, const struct segments *segments, struct db *db,
                          struct found_ids *ret_ids, struct uuid *stop, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO(mem_free) struct slice *slices = mem_array(picks->count + 1, sizeof *slices);
    AUTO(mem_free) struct uuid *last = mem_array(segments->count + 1, sizeof *last);
    struct found_ids list = {0};
    size_t count = cut_slices(picks, slices);
    enum err_code rc = ERR_OK;

    if (count > 0)
        rc = query(picks, segments, db, slices, count, &rows, e);
    if (rc || count == 0)
        return rc;
    list.items = mem_array(picks->count + 1, sizeof list.items[0]);
    for (int row = 0; row < db_rows(rows); row++) {
        const struct slice *slice = &slices[db_int(rows, row, 0)];

        struct uuid *of = &last[picks->items[slice->first].segment];
        size_t begin = list.count;

        read_ids(db_text(rows, row, 1), picks, slice, &list);
        for (size_t i = begin; i < list.count; i++)
            if (!*of->text || id_is_before(of, &list.items[i], segments->up))
                *of = list.items[i];
    }
    for (size_t i = 0; i < segments->count; i++)
        if (picks->is_cut[i] && *last[i].text && id_is_before(&last[i], stop, segments->up))
            *stop = last[i];
    found_ids_sort(&list, segments->up);
    *ret_ids = list;
    return ERR_OK;
}
