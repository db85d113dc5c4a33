/* SPDX-License-Identifier: MIT
 *
 * Reading jobs into a segment of the index and writing it; see job_segment_new.h. What goes in is
 * what people may see of a job, never a secret.
 */
#include "common/job_segment_new.h"

#include <string.h>

#include "common/buf.h"
#include "common/job_find.h"
#include "common/task_secrets.h"
#include "common/mem.h"
#include "common/statements.h"

enum { RANGE, IDS, SECRETS, INSERT, INSERT_GRAMS };
enum {
    READ_BATCH = 500, /* rows that are held at once: they may be large */
    WRITE_BYTES = 512 * 1024,
    ARRAY_MAX = 4 * 1024 * 1024,
};

#define VALUE(column)                                                                              \
    "CASE WHEN pg_column_size(" column ") <= 65536 AND octet_length(" column                       \
    "::text) <= 65536 THEN " column "::text END"
_Static_assert(JOB_FIND_BYTES == 65536, "VALUE has it as text");
#define COLUMNS                                                                                    \
    "id, task, queue, worker, state, " VALUE("args") ", " VALUE("kwargs") ", " VALUE(              \
        "result") ", left(error, 65536), result IS NOT NULL"

static const struct db_stmt statements[] = {
    [RANGE] = {"job_segment_range",
               "SELECT " COLUMNS " FROM jobs WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3", 3},
    [IDS] = {"job_segment_ids",
             "SELECT " COLUMNS " FROM jobs WHERE id = ANY ($1::uuid[]) ORDER BY id", 1},
    [SECRETS] = {"job_segment_secrets", "SELECT job_secrets($1)", 1},
    [INSERT] = {"job_segment_insert",
                "INSERT INTO job_segments (first_id, last_id, jobs, ids, is_late)"
                " SELECT $1, $2, $3, string_agg(uuid_send(id), '' ORDER BY place), $5"
                " FROM unnest($4::uuid[]) WITH ORDINALITY AS x(id, place) RETURNING id",
                5},
    /* The places of all grams in one value: $3 and $4 say where those of each begin and end. */
    [INSERT_GRAMS] = {"job_grams_insert",
                      "INSERT INTO job_grams (segment, gram, places)"
                      " SELECT $1, gram, substring($5::bytea FROM at + 1 FOR len)"
                      " FROM unnest($2::int[], $3::int[], $4::int[]) AS x(gram, at, len)",
                      5},
};

DB_STATEMENTS(job_segment_new, statements);

void segment_new_init(struct segment_new *segment)
{
    *segment = (struct segment_new){
        .ids = mem_array(JOB_SEGMENT_MAX, sizeof segment->ids[0]),
        .open = mem_array(JOB_SEGMENT_MAX, sizeof segment->open[0]),
    };
}

void segment_new_release(struct segment_new *segment)
{
    job_grams_release(&segment->grams);
    mem_free(segment->ids);
    mem_free(segment->open);
    for (size_t i = 0; i < segment->secrets_count; i++) {
        mem_free(segment->secrets[i].task);
        mem_free(segment->secrets[i].names);
    }
    *segment = (struct segment_new){0};
}

/* ---- reading ---- */

/* The secret names of a task, asked once. */
static enum err_code find_secrets(struct segment_new *segment, struct db *db, const char *task,
                                  const char **ret_names, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    size_t i = 0;
    enum err_code rc;

    while (i < segment->secrets_count && strcmp(segment->secrets[i].task, task) != 0)
        i++;
    if (i == segment->secrets_count) {
        rc = db_query(db, &statements[SECRETS], DB_ARGS(DB_TEXT(task)), &rows, e);
        if (rc)
            return rc;
        if (i == SEGMENT_SECRETS_MAX) { /* the oldest makes room */
            mem_free(segment->secrets[0].task);
            mem_free(segment->secrets[0].names);
            memmove(segment->secrets, segment->secrets + 1, --i * sizeof segment->secrets[0]);
            segment->secrets_count--;
        }
        segment->secrets[i].task = mem_dup(task);
        segment->secrets[i].names = db_is_null(rows, 0, 0) ? NULL : mem_dup(db_text(rows, 0, 0));
        segment->secrets_count++;
    }
    *ret_names = segment->secrets[i].names;
    return ERR_OK;
}

static const char *text_or_null(const struct db_result *rows, int row, int col)
{
    return db_is_null(rows, row, col) ? NULL : db_text(rows, row, col);
}

static void add_pairs(struct segment_new *segment, uint32_t place, const json_t *kwargs)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)kwargs, key, value)
    {
        AUTO(mem_free)
        char *text = json_is_string(value) ? mem_dup(json_string_value(value))
                                           : json_dumps(value, JSON_ENCODE_ANY | JSON_SORT_KEYS);

        if (text && strlen(text) < JOB_PAIR_BYTES)
            job_grams_add(&segment->grams, place, job_gram_pair(key, text));
    }
}

/* A job that is not finished has no state and no worker here: both change. */
static void add_job(struct segment_new *segment, const struct job_view *job)
{
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
    AUTO_VALUE(job_words_release) struct job_words words = {0};
    uint32_t place = (uint32_t)segment->count;
    struct job_grams *grams = &segment->grams;

    job_shown_make(job, &shown);
    job_words_make(job, &shown, &words);
    job_grams_add(grams, place, job_gram_name(GRAM_TASK, job->task));
    job_grams_add(grams, place, job_gram_name(GRAM_QUEUE, job->queue));
    if (job_is_final(job->state)) {
        job_grams_add(grams, place, job_gram_name(GRAM_STATE, words.state));
        job_grams_add_text(grams, place, words.state);
        if (job->worker) {
            job_grams_add(grams, place, job_gram_name(GRAM_WORKER, job->worker));
            job_grams_add_text(grams, place, job->worker);
        }
    } else {
        segment->open[segment->open_count++] = job->id;
    }
    add_pairs(segment, place, shown.kwargs);
    job_grams_add_text(grams, place, words.task);
    job_grams_add_text(grams, place, words.queue);
    job_grams_add_text(grams, place, words.args ? words.args : "");
    job_grams_add_text(grams, place, words.kwargs ? words.kwargs : "");
    job_grams_add_text(grams, place, words.result ? words.result : "");
    job_grams_add_text(grams, place, words.error ? words.error : "");
    segment->ids[segment->count++] = job->id;
}

/* A value that is not here is longer than is read. */
static int64_t bytes_of(const char *text, bool is_there)
{
    return text || !is_there ? 0 : JOB_FIND_BYTES + 1;
}

static enum err_code add_row(struct segment_new *segment, struct db *db, struct job_view job,
                             struct err *e)
{
    AUTO_VALUE(secrets_release) struct secrets in_long = {0};
    enum err_code rc = find_secrets(segment, db, job.task, &job.secrets, e);

    if (!rc && job_has_unread(&job))
        rc = job_secrets_read(db, &job, &in_long, e);
    if (rc)
        return rc;
    job.in_long = &in_long;
    add_job(segment, &job);
    return ERR_OK;
}

static enum err_code add_rows(struct segment_new *segment, struct db *db,
                              const struct db_result *rows, struct err *e)
{
    for (int row = 0; row < db_rows(rows) && segment->count < JOB_SEGMENT_MAX; row++) {
        struct job_view job = {
            .task = db_text(rows, row, 1),
            .queue = db_text(rows, row, 2),
            .worker = text_or_null(rows, row, 3),
            .args = text_or_null(rows, row, 5),
            .kwargs = text_or_null(rows, row, 6),
            .result = text_or_null(rows, row, 7),
            .error = text_or_null(rows, row, 8),
            .shows_max = JOB_FIND_BYTES,
        };
        enum err_code rc;

        if (!uuid_parse(db_text(rows, row, 0), &job.id) ||
            !job_state_parse(db_text(rows, row, 4), &job.state))
            continue;
        job.args_bytes = bytes_of(job.args, true);
        job.kwargs_bytes = bytes_of(job.kwargs, true);
        job.result_bytes = bytes_of(job.result, db_bool(rows, row, 9));
        rc = add_row(segment, db, job, e);
        if (rc)
            return rc;
    }
    return ERR_OK;
}

enum err_code segment_new_read_range(struct segment_new *segment, struct db *db,
                                     const struct uuid *after, const struct uuid *until,
                                     struct err *e)
{
    struct uuid last = *after;
    int found = READ_BATCH;

    while (found == READ_BATCH && segment->count < JOB_SEGMENT_MAX) {
        AUTO(db_result_free) struct db_result *rows = NULL;
        enum err_code rc = db_query(
            db, &statements[RANGE],
            DB_ARGS(DB_TEXT(last.text), DB_TEXT(until->text), DB_INT(READ_BATCH)), &rows, e);

        if (!rc)
            rc = add_rows(segment, db, rows, e);
        if (rc)
            return rc;
        found = db_rows(rows);
        if (found > 0)
            (void)uuid_parse(db_text(rows, found - 1, 0), &last);
    }
    return ERR_OK;
}

enum err_code segment_new_read_ids(struct segment_new *segment, struct db *db,
                                   const struct uuid *ids, size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i += READ_BATCH) {
        AUTO(db_result_free) struct db_result *rows = NULL;
        AUTO_VALUE(buf_release) struct buf array;
        enum err_code rc;

        buf_init(&array, ARRAY_MAX);
        for (size_t k = i; k < count && k < i + READ_BATCH; k++)
            db_array_add(&array, ids[k].text);
        db_array_end(&array);
        rc = db_query(db, &statements[IDS], DB_ARGS(DB_TEXT(array.data)), &rows, e);
        if (!rc)
            rc = add_rows(segment, db, rows, e);
        if (rc)
            return rc;
    }
    return ERR_OK;
}

/* ---- writing ---- */

/* A part of the grams, for one statement. */
struct part {
    struct buf grams; /* arrays of the same length */
    struct buf at;
    struct buf len;
    struct buf bytes;
};

static void part_release(struct part *part)
{
    buf_release(&part->grams);
    buf_release(&part->at);
    buf_release(&part->len);
    buf_release(&part->bytes);
}

static void part_init(struct part *part)
{
    buf_init(&part->grams, ARRAY_MAX);
    buf_init(&part->at, ARRAY_MAX);
    buf_init(&part->len, ARRAY_MAX);
    buf_init(&part->bytes, ARRAY_MAX);
}

static void part_add(struct part *part, const struct job_gram *item)
{
    const char *separator = part->grams.len ? "," : "{";

    buf_addf(&part->grams, "%s%u", separator, (unsigned)item->gram);
    buf_addf(&part->at, "%s%zu", separator, part->bytes.len);
    buf_addf(&part->len, "%s%u", separator, (unsigned)item->len);
    buf_add(&part->bytes, item->bytes, item->len);
}

static enum err_code part_write(struct part *part, struct db *db, int64_t segment, struct err *e)
{
    enum err_code rc;

    if (part->grams.len == 0)
        return ERR_OK;
    db_array_end(&part->grams);
    db_array_end(&part->at);
    db_array_end(&part->len);
    rc = db_exec(db, &statements[INSERT_GRAMS],
                 DB_ARGS(DB_INT(segment), DB_TEXT(part->grams.data), DB_TEXT(part->at.data),
                         DB_TEXT(part->len.data), DB_BYTES(part->bytes.data, part->bytes.len)),
                 NULL, e);
    buf_clear(&part->grams);
    buf_clear(&part->at);
    buf_clear(&part->len);
    buf_clear(&part->bytes);
    return rc;
}

static enum err_code write_grams(const struct job_grams *grams, struct db *db, int64_t segment,
                                 struct err *e)
{
    AUTO_VALUE(part_release) struct part part;
    enum err_code rc = ERR_OK;

    part_init(&part);
    for (size_t i = 0; i < grams->size && !rc; i++) {
        if (grams->items[i].count == 0)
            continue;
        part_add(&part, &grams->items[i]);
        if (part.bytes.len > WRITE_BYTES)
            rc = part_write(&part, db, segment, e);
    }
    return rc ? rc : part_write(&part, db, segment, e);
}

enum err_code segment_new_write(struct segment_new *segment, struct db *db, bool is_late,
                                struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf ids;
    enum err_code rc;

    buf_init(&ids, ARRAY_MAX);
    if (segment->count == 0)
        return ERR_OK;
    for (size_t i = 0; i < segment->count; i++)
        db_array_add(&ids, segment->ids[i].text);
    db_array_end(&ids);
    job_grams_end(&segment->grams, segment->count);
    rc = db_query(db, &statements[INSERT],
                  DB_ARGS(DB_TEXT(segment->ids[0].text),
                          DB_TEXT(segment->ids[segment->count - 1].text), DB_INT(segment->count),
                          DB_TEXT(ids.data), DB_BOOL(is_late)),
                  &rows, e);
    return rc ? rc : write_grams(&segment->grams, db, db_int(rows, 0, 0), e);
}
