/* SPDX-License-Identifier: MIT
 *
 * Candidates of a search, segment by segment; see job_segments.h. Most segments follow each other
 * in time; those of jobs that ended late lie across them. So a round takes some segments in order,
 * the best candidates of each, and gives only what comes before the next segment and before what
 * it has left out.
 */
#include "common/job_segments.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/statements.h"

enum {
    ROUND_FIRST =
        8, /* segments of the first round; each has four times as many as the one before */
    ROUND_MAX = 512,
    PICK_MAX = 128,    /* candidates of a segment and round */
    ROUND_PICKS = 512, /* of a round, before it takes no further segment */
    ARRAY_MAX = 1024 * 1024,
};

enum { LIST, GRAMS, BOUNDS, PICK };

static const struct db_stmt statements[] = {
    [LIST] = {"job_segments_list",
              "SELECT id, jobs, first_id, last_id FROM job_segments WHERE replaced_at IS NULL"
              " AND last_id >= $1 AND first_id <= $2 ORDER BY last_id DESC LIMIT $3",
              3},
    /* Not by the column itself: the index in that order would be read for all grams of a segment.
     */
    [GRAMS] = {"job_segments_grams",
               "SELECT segment, gram, places FROM job_grams WHERE segment = ANY ($1::bigint[])"
               " AND gram = ANY ($2::int[]) ORDER BY segment + 0",
               2},
    /* How many places come before the cursor; $2 of each segment. */
    [BOUNDS] = {"job_segments_bounds",
                "SELECT id, job_place(ids, jobs, $2) FROM job_segments"
                " WHERE id = ANY ($1::bigint[])",
                2},
    [PICK] = {"job_segments_pick",
              "SELECT encode(substring(s.ids FROM c.place * 16 + 1 FOR 16), 'hex')::uuid, s.id"
              " FROM unnest($1::bigint[], $2::int[]) AS c(segment, place)"
              " JOIN job_segments s ON s.id = c.segment",
              2},
};

DB_STATEMENTS(job_segments, statements);

/* ---- what is looked for ---- */

static void need(struct segments *segments, size_t alternative, uint32_t gram)
{
    size_t i = 0;

    while (i < segments->gram_count && segments->grams[i] != gram)
        i++;
    if (i == SEGMENTS_GRAMS_MAX) /* one less to choose by */
        return;
    if (i == segments->gram_count)
        segments->grams[segments->gram_count++] = gram;
    segments->needs[alternative][i] = true;
}

static void need_text(struct segments *segments, size_t alternative, const char *text)
{
    size_t len = strlen(text);
    size_t step = len / SEGMENTS_TERM_GRAMS > 3 ? len / SEGMENTS_TERM_GRAMS : 3;

    if (len < 3)
        return;
    for (size_t i = 0; i + 3 < len; i += step)
        need(segments, alternative, job_gram_of(text + i));
    need(segments, alternative, job_gram_of(text + len - 3));
}

static void need_term(struct segments *segments, size_t alternative,
                      const struct job_search_term *term)
{
    enum job_state state;

    switch (term->kind) {
    case SEARCH_STATE:
        if (job_state_parse(term->text, &state) && job_is_final(state))
            need(segments, alternative, job_gram_name(GRAM_STATE, term->text));
        break;
    case SEARCH_KWARGS:
        need_text(segments, alternative, term->key);
        if (*term->key && strlen(term->text) < JOB_PAIR_BYTES)
            need(segments, alternative, job_gram_pair(term->key, term->text));
        else
            need_text(segments, alternative, term->text);
        break;
    case SEARCH_ANY:
    case SEARCH_NAME:
    case SEARCH_WORKER:
    case SEARCH_ARGS:
    case SEARCH_RESULT:
    case SEARCH_QUEUE:
    case SEARCH_ERROR:
        need_text(segments, alternative, term->text);
        break;
    }
}

static void need_name(struct segments *segments, size_t alternative, enum job_gram_kind kind,
                      const char *name)
{
    if (name && *name)
        need(segments, alternative, job_gram_name(kind, name));
}

void segments_plan(struct segments *segments, const struct jobs_filter *filter)
{
    const struct job_search *search = filter->search;
    bool is_search = search && search->count > 0;

    segments->alternative_count = is_search ? search->alternative_count : 1;
    for (size_t i = 0; i < segments->alternative_count; i++) {
        need_name(segments, i, GRAM_TASK, filter->task);
        need_name(segments, i, GRAM_QUEUE, filter->queue);
        /* Who is not finished has neither state nor worker here, and is among the open ones. */
        if (filter->state != JOBS_ANY_STATE && job_is_final((enum job_state)filter->state))
            need_name(segments, i, GRAM_STATE, job_state_name((enum job_state)filter->state));
        need_name(segments, i, GRAM_WORKER, filter->worker);
        for (size_t k = 0; is_search && k < search->term_count; k++)
            if (search->alternatives[i] & UINT32_C(1) << k)
                need_term(segments, i, &search->terms[k]);
    }
}

/* ---- segments ---- */

void segments_release(struct segments *segments)
{
    for (size_t i = 0; i < segments->count; i++)
        mem_free(segments->items[i].places);
    mem_free(segments->items);
    *segments = (struct segments){0};
}

static int order_up(const void *a, const void *b)
{
    return strcmp(((const struct segment *)a)->first.text, ((const struct segment *)b)->first.text);
}

enum err_code segments_open(struct segments *segments, struct db *db, const struct uuid *from,
                            const struct uuid *to, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc =
        db_query(db, &statements[LIST],
                 DB_ARGS(DB_TEXT(from->text), DB_TEXT(to->text), DB_INT(SEGMENTS_MAX)), &rows, e);

    if (rc)
        return rc;
    segments->items = mem_array((size_t)db_rows(rows) + 1, sizeof segments->items[0]);
    for (int row = 0; row < db_rows(rows); row++) {
        struct segment *item = &segments->items[segments->count];

        item->id = db_int(rows, row, 0);
        item->jobs = (size_t)db_int(rows, row, 1);
        if (item->jobs <= JOB_SEGMENT_MAX && uuid_parse(db_text(rows, row, 2), &item->first) &&
            uuid_parse(db_text(rows, row, 3), &item->last))
            segments->count++;
    }
    if (segments->up && segments->count > 0)
        qsort(segments->items, segments->count, sizeof segments->items[0], order_up);
    segments->round = ROUND_FIRST;
    return ERR_OK;
}

static void add_number(struct buf *array, int64_t number)
{
    char text[24] = "";

    (void)snprintf(text, sizeof text, "%lld", (long long)number);
    db_array_add(array, text);
}

static int hex_digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* bytea as the server writes it: \x and two digits a byte. */
static size_t read_bytes(const char *text, unsigned char *out, size_t size)
{
    size_t len = 0;

    for (text += 2; text[0] && text[1] && len < size; text += 2)
        out[len++] = (unsigned char)(hex_digit(text[0]) << 4 | hex_digit(text[1]));
    return len;
}

/* The places of each gram that a segment has; NULL where it has none. */
struct gram_sets {
    struct job_places *items[SEGMENTS_GRAMS_MAX];
};

static void gram_sets_release(struct gram_sets *sets)
{
    for (size_t i = 0; i < SEGMENTS_GRAMS_MAX; i++)
        mem_free(sets->items[i]);
}

/* All of an alternative's grams, any of the alternatives. One without grams lets all through. */
static void combine(const struct segments *segments, const struct gram_sets *sets,
                    struct segment *segment)
{
    for (size_t a = 0; a < segments->alternative_count; a++) {
        struct job_places all;
        bool is_empty = false;

        memset(&all, 0xff, sizeof all);
        for (size_t g = 0; g < segments->gram_count && !is_empty; g++) {
            if (!segments->needs[a][g])
                continue;
            is_empty = !sets->items[g];
            for (size_t i = 0; !is_empty && i < COUNT_OF(all.bits); i++)
                all.bits[i] &= sets->items[g]->bits[i];
        }
        for (size_t i = 0; !is_empty && i < COUNT_OF(all.bits); i++)
            segment->places->bits[i] |= all.bits[i];
    }
}

static struct segment *segment_of(const struct segments *segments, int64_t id)
{
    for (size_t i = 0; i < segments->count; i++)
        if (segments->items[i].id == id)
            return &segments->items[i];
    return NULL;
}

/* The rows of one segment, from `row` on; gives the row behind them. */
static int read_segment(const struct segments *segments, const struct db_result *rows, int row)
{
    AUTO_VALUE(gram_sets_release) struct gram_sets sets = {0};
    unsigned char bytes[JOB_PLACES_BYTES];
    int64_t id = db_int(rows, row, 0);
    struct segment *segment = segment_of(segments, id);

    for (; row < db_rows(rows) && db_int(rows, row, 0) == id; row++) {
        struct job_places *places;
        size_t g = 0;

        while (g < segments->gram_count && segments->grams[g] != (uint32_t)db_int(rows, row, 1))
            g++;
        if (!segment || g == segments->gram_count || sets.items[g])
            continue;
        places = mem_alloc(sizeof *places);
        if (job_places_read(bytes, read_bytes(db_text(rows, row, 2), bytes, sizeof bytes),
                            segment->jobs, places))
            sets.items[g] = places;
        else
            mem_free(places);
    }
    if (segment)
        combine(segments, &sets, segment);
    return row;
}

/* Whether there is an alternative that no gram can refuse. */
static bool lets_all_through(const struct segments *segments)
{
    for (size_t a = 0; a < segments->alternative_count; a++)
        if (!memchr(segments->needs[a], 1, segments->gram_count))
            return true;
    return false;
}

/* Reads the grams of the first `end` segments, as far as they have not been read. */
static enum err_code read_grams(struct segments *segments, struct db *db, size_t end, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf grams;
    enum err_code rc;

    buf_init(&ids, ARRAY_MAX);
    buf_init(&grams, ARRAY_MAX);
    for (size_t i = 0; i < end; i++)
        if (!segments->items[i].places)
            add_number(&ids, segments->items[i].id);
    for (size_t i = 0; i < segments->gram_count; i++)
        add_number(&grams, (int64_t)segments->grams[i]);
    if (ids.len == 0)
        return ERR_OK;
    db_array_end(&ids);
    db_array_end(&grams);
    rc =
        db_query(db, &statements[GRAMS], DB_ARGS(DB_TEXT(ids.data), DB_TEXT(grams.data)), &rows, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < end; i++) {
        struct segment *item = &segments->items[i];

        if (item->places)
            continue;
        item->places = mem_alloc(sizeof *item->places);
        if (lets_all_through(segments))
            memset(item->places, 0xff, sizeof *item->places);
    }
    for (int row = 0; row < db_rows(rows);)
        row = read_segment(segments, rows, row);
    return ERR_OK;
}

/* ---- a round ---- */

/* How many jobs of each segment come before the cursor, by id: where to begin. */
static enum err_code find_bounds(const struct segments *segments, struct db *db, size_t end,
                                 const struct uuid *cursor, size_t *bounds, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    enum err_code rc;

    buf_init(&ids, ARRAY_MAX);
    for (size_t i = 0; i < end; i++) {
        const struct segment *item = &segments->items[i];

        bounds[i] = strcmp(item->first.text, cursor->text) < 0 ? item->jobs : 0;
        if (strcmp(item->first.text, cursor->text) <= 0 &&
            strcmp(item->last.text, cursor->text) >= 0)
            add_number(&ids, item->id);
    }
    if (ids.len == 0)
        return ERR_OK;
    db_array_end(&ids);
    rc = db_query(db, &statements[BOUNDS], DB_ARGS(DB_TEXT(ids.data), DB_TEXT(cursor->text)), &rows,
                  e);
    for (int row = 0; !rc && row < db_rows(rows); row++)
        for (size_t i = 0; i < end; i++)
            if (segments->items[i].id == db_int(rows, row, 0))
                bounds[i] = (size_t)db_int(rows, row, 1);
    return rc;
}

static bool has_place(const struct segment *segment, size_t place)
{
    return segment->places->bits[place / 64] >> place % 64 & 1;
}

/* What a round has chosen, before the ids are known. */
struct picks {
    struct buf segments; /* arrays of the same length */
    struct buf places;
    size_t count;
    bool *is_cut; /* of each segment: it has more */
};

static void picks_release(struct picks *picks)
{
    buf_release(&picks->segments);
    buf_release(&picks->places);
    mem_free(picks->is_cut);
}

/* The next places of a segment after the cursor. */
static void pick_places(const struct segments *segments, size_t number, size_t bound,
                        struct picks *picks)
{
    const struct segment *segment = &segments->items[number];
    size_t picked = 0;

    for (size_t i = 0; i < (segments->up ? segment->jobs - bound : bound); i++) {
        size_t place = segments->up ? bound + i : bound - 1 - i;

        if (!has_place(segment, place))
            continue;
        picks->is_cut[number] = picked == PICK_MAX;
        if (picked == PICK_MAX)
            break;
        add_number(&picks->segments, segment->id);
        add_number(&picks->places, (int64_t)place);
        picked++;
    }
    picks->count += picked;
}

/* The ids of what was picked; where a segment has more, only up to its last one. */
static enum err_code fetch_picks(const struct segments *segments, struct db *db,
                                 struct picks *picks, struct found_ids *list, struct uuid *stop,
                                 struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO(mem_free) struct uuid *last = mem_array(segments->count + 1, sizeof *last);
    enum err_code rc;

    if (picks->count == 0)
        return ERR_OK;
    db_array_end(&picks->segments);
    db_array_end(&picks->places);
    rc = db_query(db, &statements[PICK],
                  DB_ARGS(DB_TEXT(picks->segments.data), DB_TEXT(picks->places.data)), &rows, e);
    if (rc)
        return rc;
    list->items = mem_array((size_t)db_rows(rows) + 1, sizeof list->items[0]);
    for (int row = 0; row < db_rows(rows); row++) {
        const struct segment *segment = segment_of(segments, db_int(rows, row, 1));
        struct uuid *id = &list->items[list->count];
        size_t i = (size_t)(segment - segments->items);

        if (!uuid_parse(db_text(rows, row, 0), id))
            continue;
        list->count++;
        if (!*last[i].text || id_is_before(&last[i], id, segments->up))
            last[i] = *id;
    }
    for (size_t i = 0; i < segments->count; i++)
        if (picks->is_cut[i] && *last[i].text && id_is_before(&last[i], stop, segments->up))
            *stop = last[i];
    found_ids_sort(list, segments->up);
    return ERR_OK;
}

/* Where a segment begins, seen from the cursor: the last id that does not belong to it. */
static struct uuid edge_of(const struct segments *segments, size_t i)
{
    const struct segment *item = &segments->items[i];

    return id_just_before(segments->up ? &item->first : &item->last, segments->up);
}

/* As many segments as the round has, and all that the cursor stands in. */
static size_t round_end(const struct segments *segments, const struct uuid *cursor)
{
    size_t end = segments->round < segments->count ? segments->round : segments->count;

    while (end < segments->count) {
        struct uuid edge = edge_of(segments, end);

        if (id_is_before(cursor, &edge, segments->up))
            break;
        end++;
    }
    return end;
}

static enum err_code pick_round(const struct segments *segments, struct db *db,
                                const struct uuid *cursor, size_t *end, struct picks *picks,
                                struct err *e)
{
    AUTO(mem_free) size_t *bounds = mem_array(*end + 1, sizeof *bounds);
    struct uuid from = segments->up ? id_just_before(cursor, false) : *cursor;
    enum err_code rc = find_bounds(segments, db, *end, &from, bounds, e);

    for (size_t i = 0; !rc && i < *end; i++) {
        struct uuid edge = edge_of(segments, i);

        if (picks->count >= ROUND_PICKS && id_is_before(cursor, &edge, segments->up))
            *end = i;
        else
            pick_places(segments, i, bounds[i], picks);
    }
    return rc;
}

enum err_code segments_next(struct segments *segments, struct db *db, struct uuid *cursor,
                            struct found_ids *ret_ids, bool *ret_is_over, struct err *e)
{
    const struct uuid last = {.text = UUID_LAST};
    const struct uuid first = {.text = UUID_FIRST};
    size_t end = round_end(segments, cursor);
    AUTO_VALUE(picks_release)
    struct picks picks = {.is_cut = mem_array(segments->count + 1, sizeof(bool))};
    AUTO_VALUE(found_ids_release) struct found_ids list = {0};
    struct uuid stop = segments->up ? last : first;
    size_t kept = 0;
    enum err_code rc = read_grams(segments, db, end, e);

    buf_init(&picks.segments, ARRAY_MAX);
    buf_init(&picks.places, ARRAY_MAX);
    if (!rc)
        rc = pick_round(segments, db, cursor, &end, &picks, e);
    if (!rc)
        rc = fetch_picks(segments, db, &picks, &list, &stop, e);
    if (rc)
        return rc;
    if (end < segments->count) {
        struct uuid edge = edge_of(segments, end);

        if (id_is_before(&edge, &stop, segments->up))
            stop = edge;
    }
    while (kept < list.count && !id_is_before(&stop, &list.items[kept], segments->up))
        kept++;
    list.count = kept;
    segments->round =
        segments->round * 4 < ROUND_MAX ? segments->round * 4 : segments->round + ROUND_MAX;
    *ret_is_over = strcmp(stop.text, segments->up ? UUID_LAST : UUID_FIRST) == 0;
    *cursor = stop;
    *ret_ids = list;
    list = (struct found_ids){0};
    return ERR_OK;
}
