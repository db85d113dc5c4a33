/* SPDX-License-Identifier: MIT
 *
 * Candidates of a search, segment by segment; see job_segments.h. Most segments follow each other
 * in time; those of jobs that ended late lie across them. So a round takes some segments in order,
 * the best candidates of each (job_picks.h), and gives only what comes before the next segment and
 * before what it has left out.
 *
 * A segment's rarest gram is asked for first. Others are asked for only where that one is, and only
 * as long as they save looking at more jobs than they cost.
 */
#include "common/job_segments.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/job_picks.h"
#include "common/mem.h"
#include "common/statements.h"

enum {
    ROUND_FIRST = 2,  /* segments of the first round; a common word is found in them ... */
    ROUND_GROWTH = 8, /* ... and for a rare one each has so many times those of the one before */
    ROUND_MAX = 512,
    ROUND_PICKS = 512, /* of a round, before it takes no further segment */
    SAMPLES = 3,       /* segments that tell how common a gram is */
    LOOK_COST = 8,     /* of looking at a job, if 1 is that of asking a segment for a gram ... */
    GRAM_BYTES = 256,  /* ... and 1 for each so many bytes of it */
    BATCH = 2, /* grams that are asked for at once: what they do tells whether others will */
    ARRAY_MAX = 1024 * 1024,
};

enum { LIST, WEIGHTS, GRAMS };

/* One by one, whatever the statistics say of a table that grows: an index that is walked through
 * for a segment's grams reads all of them. */
#define LOOKED_UP                                                                                  \
    "unnest($1::bigint[]) AS segments (segment) CROSS JOIN unnest($2::int[]) AS grams (gram)"      \
    " CROSS JOIN LATERAL (SELECT places FROM job_grams g WHERE g.segment = segments.segment"       \
    " AND g.gram = grams.gram OFFSET 0) p"

static const struct db_stmt statements[] = {
    [LIST] = {"job_segments_list",
              "SELECT id, jobs, first_id, last_id FROM job_segments WHERE replaced_at IS NULL"
              " AND last_id >= $1 AND first_id <= $2 ORDER BY last_id DESC LIMIT $3",
              3},
    /* By the length of their places, which need not be read for it. One byte is "all jobs". */
    [WEIGHTS] = {"job_segments_weights",
                 "SELECT gram, sum(CASE octet_length(places) WHEN 1 THEN 65536"
                 " ELSE octet_length(places) END) FROM " LOOKED_UP " GROUP BY gram",
                 2},
    [GRAMS] = {"job_segments_grams", "SELECT segment, places FROM " LOOKED_UP " ORDER BY segment",
               2},
};

DB_STATEMENTS(job_segments, statements);

/* ---- segments ---- */

void segments_release(struct segments *segments)
{
    for (size_t i = 0; i < segments->count; i++)
        mem_free(segments->items[i].places);
    mem_free(segments->items);
    *segments = (struct segments){0};
}

void segments_plan(struct segments *segments, const struct jobs_filter *filter)
{
    job_needs_plan(&segments->needs, filter);
}

static int order_up(const void *a, const void *b)
{
    return strcmp(((const struct segment *)a)->first.text, ((const struct segment *)b)->first.text);
}

/* How common the grams are, by the newest segment, the oldest and one between. */
static enum err_code weigh(struct segments *segments, struct db *db, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf grams;
    struct job_needs *needs = &segments->needs;
    enum err_code rc;

    buf_init(&ids, ARRAY_MAX);
    buf_init(&grams, ARRAY_MAX);
    if (needs->count < 2 || segments->count == 0)
        return ERR_OK;
    for (size_t i = 0; i < SAMPLES; i++)
        db_array_add_int(&ids, segments->items[(segments->count - 1) * i / (SAMPLES - 1)].id);
    for (size_t i = 0; i < needs->count; i++)
        db_array_add_int(&grams, (int64_t)needs->grams[i]);
    db_array_end(&ids);
    db_array_end(&grams);
    rc = db_query(db, &statements[WEIGHTS], DB_ARGS(DB_TEXT(ids.data), DB_TEXT(grams.data)), &rows,
                  e);
    for (int row = 0; !rc && row < db_rows(rows); row++)
        for (size_t i = 0; i < needs->count; i++)
            if ((int64_t)needs->grams[i] == db_int(rows, row, 0))
                needs->weights[i] = db_int(rows, row, 1);
    return rc;
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
    return weigh(segments, db, e);
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

/* A segment whose jobs may still fit: those in `places`. */
struct live {
    struct segment *segment;
    struct job_places *places; /* owned */
    size_t found;
};

struct lives {
    struct live *items; /* owned; ascending by the id of the segment */
    size_t count;
};

static void lives_release(struct lives *lives)
{
    for (size_t i = 0; i < lives->count; i++)
        mem_free(lives->items[i].places);
    mem_free(lives->items);
}

static size_t count_places(const struct job_places *places)
{
    size_t count = 0;

    for (size_t i = 0; i < COUNT_OF(places->bits); i++)
        count += (size_t)__builtin_popcountll(places->bits[i]);
    return count;
}

/* The rows of one segment, from `row` on, one a gram; gives the row behind them. */
static int narrow(struct live *live, const struct db_result *rows, int row, size_t grams)
{
    unsigned char bytes[JOB_PLACES_BYTES];
    struct job_places places;
    size_t seen = 0;

    for (; row < db_rows(rows) && db_int(rows, row, 0) == live->segment->id; row++) {
        if (!job_places_read(bytes, read_bytes(db_text(rows, row, 1), bytes, sizeof bytes),
                             live->segment->jobs, &places))
            continue;
        seen++;
        for (size_t i = 0; i < COUNT_OF(places.bits); i++)
            live->places->bits[i] &= places.bits[i];
    }
    live->found = seen < grams ? 0 : count_places(live->places);
    return row;
}

/* Asks for some grams of the segments that are left, and leaves those that have all of them. */
static enum err_code ask(const struct job_needs *needs, struct db *db, const size_t *order,
                         size_t count, struct lives *lives, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    AUTO_VALUE(buf_release) struct buf grams;
    size_t kept = 0;
    int row = 0;
    enum err_code rc;

    buf_init(&ids, ARRAY_MAX);
    buf_init(&grams, ARRAY_MAX);
    for (size_t i = 0; i < lives->count; i++)
        db_array_add_int(&ids, lives->items[i].segment->id);
    for (size_t i = 0; i < count; i++)
        db_array_add_int(&grams, (int64_t)needs->grams[order[i]]);
    db_array_end(&ids);
    db_array_end(&grams);
    rc =
        db_query(db, &statements[GRAMS], DB_ARGS(DB_TEXT(ids.data), DB_TEXT(grams.data)), &rows, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < lives->count; i++) {
        struct live *live = &lives->items[i];

        row = narrow(live, rows, row, count);
        if (live->found > 0)
            lives->items[kept++] = *live;
        else
            mem_free(live->places);
    }
    lives->count = kept;
    return ERR_OK;
}

static size_t count_found(const struct lives *lives)
{
    size_t count = 0;

    for (size_t i = 0; i < lives->count; i++)
        count += lives->items[i].found;
    return count;
}

/* What it costs to ask a segment for a gram: long ones are more to fetch. */
static size_t cost_of(const struct job_needs *needs, size_t gram)
{
    return 1 + (size_t)needs->weights[gram] / (SAMPLES * GRAM_BYTES);
}

/* How many of some grams are worth it, each for all segments that are left, when `saved` jobs are
 * then likely not to be looked at. */
static size_t count_worth(const struct job_needs *needs, const size_t *order, size_t count,
                          size_t segments, size_t saved)
{
    size_t worth = 0;

    while (worth < count && cost_of(needs, order[worth]) * segments <= saved * LOOK_COST)
        worth++;
    return worth;
}

/* The jobs of some segments that may fit one alternative. Further grams are taken to do what the
 * last ones did; of those of other words nothing is known. */
static enum err_code read_alternative(const struct segments *segments, struct db *db,
                                      size_t alternative, struct lives *lives, struct err *e)
{
    size_t order[JOB_NEEDS_MAX];
    size_t terms = 0;
    size_t count = job_needs_order(&segments->needs, alternative, order, &terms);
    size_t before = count_found(lives);
    size_t asked = 0;
    size_t batch = count > 0;

    while (batch > 0 && lives->count > 0) {
        size_t now;
        size_t saved;
        enum err_code rc = ask(&segments->needs, db, order + asked, batch, lives, e);

        if (rc)
            return rc;
        asked += batch;
        now = count_found(lives);
        saved = asked < terms ? now / 2 : (before - now) * now / before;
        before = now;
        batch = count_worth(&segments->needs, order + asked,
                            asked + BATCH < count ? BATCH : count - asked, lives->count, saved);
    }
    return ERR_OK;
}

static int by_id(const void *a, const void *b)
{
    const struct live *x = a;
    const struct live *y = b;

    return (x->segment->id > y->segment->id) - (x->segment->id < y->segment->id);
}

/* All jobs of those segments that have not been read. */
static void begin_alternative(const struct segments *segments, size_t end, struct lives *ret_lives)
{
    struct lives lives = {.items = mem_array(end + 1, sizeof lives.items[0])};

    for (size_t i = 0; i < end; i++) {
        struct segment *segment = &segments->items[i];
        struct live *live = &lives.items[lives.count];

        if (segment->is_read)
            continue;
        *live = (struct live){segment, mem_alloc(sizeof *live->places), segment->jobs};
        memset(live->places, 0xff, sizeof *live->places);
        lives.count++;
    }
    if (lives.count > 0)
        qsort(lives.items, lives.count, sizeof lives.items[0], by_id);
    *ret_lives = lives;
}

/* Reads what the first `end` segments say, as far as they have not been read. */
static enum err_code read_segments(struct segments *segments, struct db *db, size_t end,
                                   struct err *e)
{
    for (size_t i = 0; i < end; i++)
        if (!segments->items[i].places)
            segments->items[i].places = mem_alloc(sizeof(struct job_places));
    for (size_t a = 0; a < segments->needs.alternative_count; a++) {
        AUTO_VALUE(lives_release) struct lives lives = {0};
        enum err_code rc;

        begin_alternative(segments, end, &lives);
        rc = read_alternative(segments, db, a, &lives, e);
        if (rc)
            return rc;
        for (size_t i = 0; i < lives.count; i++)
            for (size_t k = 0; k < COUNT_OF(lives.items[i].places->bits); k++)
                lives.items[i].segment->places->bits[k] |= lives.items[i].places->bits[k];
    }
    for (size_t i = 0; i < end; i++)
        segments->items[i].is_read = true;
    return ERR_OK;
}

/* ---- a round ---- */

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

/* Whether all of an item comes after all of a segment of which not all was picked. */
static bool is_behind(const struct segments *segments, const struct segment *cut,
                      const struct segment *item)
{
    return segments->up ? strcmp(item->first.text, cut->last.text) > 0
                        : strcmp(item->last.text, cut->first.text) < 0;
}

static bool ends_before(const struct segments *segments, const struct segment *a,
                        const struct segment *b)
{
    return segments->up ? strcmp(a->last.text, b->last.text) < 0
                        : strcmp(a->first.text, b->first.text) > 0;
}

/* Picks in order, until the round has enough; gives the number of the first segment left out. */
static size_t pick_round(const struct segments *segments, const struct uuid *cursor, size_t end,
                         struct picks *picks)
{
    const struct segment *cut = NULL;

    for (size_t i = 0; i < end; i++) {
        const struct segment *item = &segments->items[i];
        struct uuid edge = edge_of(segments, i);

        if (picks->count >= ROUND_PICKS && id_is_before(cursor, &edge, segments->up))
            return i;
        if (cut && is_behind(segments, cut, item))
            return i;
        picks_take(picks, segments, i);
        if (picks->is_cut[i] && (!cut || ends_before(segments, item, cut)))
            cut = item;
    }
    return end;
}

/* How many segments are read by the end of the next round: as many as are likely to have what is
 * wanted if they have as much as those so far, and not very many more than those. */
static size_t next_round(const struct segments *segments, size_t end)
{
    size_t grown = segments->round * ROUND_GROWTH < ROUND_MAX ? segments->round * ROUND_GROWTH
                                                              : segments->round + ROUND_MAX;
    size_t likely = segments->given > 0 ? end + end * segments->wanted / segments->given : grown;

    if (likely < segments->round + segments->round / 4 + 2)
        likely = segments->round + segments->round / 4 + 2;
    return likely < grown ? likely : grown;
}

enum err_code segments_next(struct segments *segments, struct db *db, struct uuid *cursor,
                            struct found_ids *ret_ids, bool *ret_is_over, struct err *e)
{
    size_t end = round_end(segments, cursor);
    AUTO_VALUE(picks_release) struct picks picks = {0};
    AUTO_VALUE(found_ids_release) struct found_ids list = {0};
    struct uuid stop = {.text = UUID_FIRST};
    size_t kept = 0;
    enum err_code rc = read_segments(segments, db, end, e);

    if (segments->up)
        stop = (struct uuid){.text = UUID_LAST};
    if (!rc)
        rc = picks_begin(&picks, segments, db, end, cursor, e);
    if (rc)
        return rc;
    end = pick_round(segments, cursor, end, &picks);
    rc = picks_fetch(&picks, segments, db, &list, &stop, e);
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
    segments->given += list.count;
    segments->round = next_round(segments, end);
    *ret_is_over = strcmp(stop.text, segments->up ? UUID_LAST : UUID_FIRST) == 0;
    *cursor = stop;
    *ret_ids = list;
    list = (struct found_ids){0};
    return ERR_OK;
}
