/* SPDX-License-Identifier: MIT
 *
 * Tasks as the pages read them: lists with filters, the feed that keeps a list fresh, one task with
 * its attempts, counts.
 *
 * The feed is the list itself, asked again with `since`: the fingerprints of the rows that the
 * client holds. It gets the order of the ids as they are now, and the rows that it does not hold or
 * that have changed. Nothing is remembered of a client, so it cannot miss a change, whatever was
 * restarted, and one that is up to date costs a few bytes a row. What the list is like is read once
 * for all who look at it (shared.h); which rows each gets is decided after that.
 */
#include <string.h>

#include <sodium.h>

#include "api/dashboard/dashboard.h"
#include "api/dashboard/shared.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/job_json.h"
#include "common/job_logs.h"
#include "common/jobs_view.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/task_secrets.h"
#include "common/text.h"

enum {
    LIMIT_DEFAULT = 50,
    LIMIT_MAX = 200,
    PRINT_BYTES = 6, /* of a row's fingerprint: 2^-48 that a change goes unseen */
    PRINT_TEXT = 2 * PRINT_BYTES,
};

/* ---- filters ---- */

/* The texts of a filter while it is in use. */
struct params {
    char *state;
    char *task;
    char *queue;
    char *worker;
    char *text;
    char *search;
    char *cursor;
    char *limit;
    char *order;
    char *from;
    char *to;
    char *due_from;
    char *due_to;
    char *since;
};

static void params_release(struct params *params)
{
    mem_free(params->state);
    mem_free(params->task);
    mem_free(params->queue);
    mem_free(params->worker);
    mem_free(params->text);
    mem_free(params->search);
    mem_free(params->cursor);
    mem_free(params->limit);
    mem_free(params->order);
    mem_free(params->from);
    mem_free(params->to);
    mem_free(params->due_from);
    mem_free(params->due_to);
    mem_free(params->since);
}

static struct params take_params(const struct request *req)
{
    return (struct params){
        .state = request_query(req, "state"),
        .task = request_query(req, "task"),
        .queue = request_query(req, "queue"),
        .worker = request_query(req, "worker"),
        .text = request_query(req, "text"),
        .search = request_query(req, "search"),
        .cursor = request_query(req, "cursor"),
        .limit = request_query(req, "limit"),
        .order = request_query(req, "order"),
        .from = request_query(req, "from"),
        .to = request_query(req, "to"),
        .due_from = request_query(req, "due_from"),
        .due_to = request_query(req, "due_to"),
        .since = request_query(req, "since"),
    };
}

enum err_code jobs_filter_time(const char *name, const char *text, int64_t *value, struct err *e)
{
    if (!text || !*text || (clock_parse(text, value) && *value > 0))
        return ERR_OK;
    return err_set(e, ERR_INVALID, "%s is a time like 2026-11-21T19:19:16Z", name);
}

static enum err_code take_times(const struct params *params, struct jobs_filter *filter,
                                struct err *e)
{
    enum err_code rc = jobs_filter_time("from", params->from, &filter->created_from_us, e);

    if (!rc)
        rc = jobs_filter_time("to", params->to, &filter->created_to_us, e);
    if (!rc)
        rc = jobs_filter_time("due_from", params->due_from, &filter->due_from_us, e);
    return rc ? rc : jobs_filter_time("due_to", params->due_to, &filter->due_to_us, e);
}

static enum err_code filter_of(const struct params *params, struct job_search *search,
                               struct jobs_filter *ret_filter, struct err *e)
{
    struct jobs_filter filter = {
        .state = JOBS_ANY_STATE,
        .task = params->task,
        .queue = params->queue,
        .worker = params->worker,
        .text = params->text,
        .cursor = params->cursor,
        .limit = LIMIT_DEFAULT,
    };
    enum job_state state;
    int64_t limit;

    if (params->state && *params->state) {
        if (!job_state_parse(params->state, &state))
            return err_set(e, ERR_INVALID, "there is no state \"%.20s\"", params->state);
        filter.state = (int)state;
    }
    if (params->limit) {
        if (!text_to_int(params->limit, 1, LIMIT_MAX, &limit))
            return err_set(e, ERR_INVALID, "limit is a number from 1 to %d", LIMIT_MAX);
        filter.limit = (int)limit;
    }
    if (jobs_filter_order(params->order, &filter, e) || take_times(params, &filter, e))
        return ERR_INVALID;
    if (params->search && *params->search && job_search_take(params->search, search, &filter, e))
        return ERR_INVALID;
    *ret_filter = filter;
    return ERR_OK;
}

/* Fingerprints as write_page() puts them, or the "-" of a page whose list is empty. Other text
 * would match no row, and its sender would take the whole list for what has changed. */
static enum err_code check_since(const char *since, struct err *e)
{
    size_t len = since ? strlen(since) : 0;

    if (len == 0 || strcmp(since, "-") == 0 ||
        (len % PRINT_TEXT == 0 && strspn(since, "0123456789abcdef") == len))
        return ERR_OK;
    return err_set(e, ERR_INVALID,
                   "since is what the last answer gave as \"since\"; for tasks since a time, say "
                   "from=2026-11-21T19:19:16Z");
}

/* ---- lists ---- */

static void print_of(const char *job, char out[PRINT_TEXT + 1])
{
    unsigned char hash[crypto_generichash_BYTES_MIN];

    crypto_generichash(hash, sizeof hash, (const unsigned char *)job, strlen(job), NULL, 0);
    (void)sodium_bin2hex(out, PRINT_TEXT + 1, hash, PRINT_BYTES);
}

static bool holds(const char *since, const char *print)
{
    size_t len = strlen(since);

    for (size_t i = 0; i + PRINT_TEXT <= len; i += PRINT_TEXT)
        if (memcmp(since + i, print, PRINT_TEXT) == 0)
            return true;
    return false;
}

/* The first line is what every answer ends with; then each row has a line, of its fingerprint and
 * its JSON. */
static enum err_code write_page(const struct jobs_filter *filter, const struct jobs_page *page,
                                struct buf *out, struct err *e)
{
    AUTO(json_decref) json_t *ids = json_array();
    AUTO(json_decref) json_t *rest = NULL;
    AUTO(mem_free) char *end = NULL;
    AUTO_VALUE(buf_release) struct buf lines;
    AUTO_VALUE(buf_release) struct buf prints;
    char next[JOBS_CURSOR_SIZE];

    jobs_cursor(filter, page, next);
    buf_init(&lines, HTTP_REPLY_MAX);
    buf_init(&prints, JOBS_LIMIT_MAX * PRINT_TEXT);
    for (size_t i = 0; i < page->count; i++) {
        AUTO(json_decref) json_t *job = job_json(&page->items[i]);
        AUTO(mem_free) char *text = job ? json_dumps(job, JSON_COMPACT) : NULL;
        char print[PRINT_TEXT + 1];

        if (!text)
            return err_set(e, ERR_NOMEM, "a job does not fit into memory");
        print_of(text, print);
        buf_add_str(&prints, print);
        buf_addf(&lines, "%s%s\n", print, text);
        (void)json_array_append_new(ids, json_string(page->items[i].id.text));
    }
    rest = json_pack("{s:O, s:s, s:s?, s:b}", "ids", ids, "since", prints.data, "next",
                     *next ? next : NULL, "is_cut", page->is_cut);
    if (rest && page->sorted_of)
        (void)json_object_set_new(rest, "sorted_of", json_integer(page->sorted_of));
    end = rest ? json_dumps(rest, JSON_COMPACT) : NULL;
    if (!end)
        return err_set(e, ERR_NOMEM, "out of memory");
    buf_addf(out, "%s\n", end + 1); /* without its brace */
    buf_add(out, lines.data, lines.len);
    return lines.overflow || out->overflow ? err_set(e, ERR_INTERNAL, "the answer is too large")
                                           : ERR_OK;
}

/* The list as write_page() puts it, which client does not matter. */
static enum err_code make_page(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(params_release) struct params params = take_params(req);
    AUTO_VALUE(jobs_page_release) struct jobs_page page = {0};
    AUTO_VALUE(job_search_release) struct job_search search = {0};
    struct jobs_filter filter;
    enum err_code rc = filter_of(&params, &search, &filter, e);

    if (!rc)
        rc = jobs_list(thread_of(req)->db, &filter, &page, e);
    reply->status = 200;
    return rc ? rc : write_page(&filter, &page, &reply->body, e);
}

/* The lines as an answer to who holds what `since` says. */
static void answer_lines(const char *lines, const char *since, struct buf *out)
{
    const char *end = strchr(lines, '\n');
    const char *separator = "";

    buf_add_str(out, "{\"tasks\":[");
    for (const char *line = end + 1; *line; line = strchr(line, '\n') + 1) {
        if (since && holds(since, line))
            continue;
        buf_add_str(out, separator);
        buf_add(out, line + PRINT_TEXT, strcspn(line + PRINT_TEXT, "\n"));
        separator = ",";
    }
    buf_add_str(out, "],");
    buf_add(out, lines, (size_t)(end - lines));
}

/* What tells one list from another: all that is asked but `since`. */
static bool key_of(const struct params *params, char out[SHARED_KEY_MAX + 1])
{
    const char *const texts[] = {params->state, params->task,   params->queue,  params->worker,
                                 params->text,  params->search, params->cursor, params->limit,
                                 params->order, params->from,   params->to,     params->due_from,
                                 params->due_to};
    AUTO_VALUE(buf_release) struct buf key;

    buf_init(&key, SHARED_KEY_MAX);
    buf_add_str(&key, "tasks");
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        buf_addf(&key, " %zu:%s", texts[i] ? strlen(texts[i]) : 0, texts[i] ? texts[i] : "");
    return !key.overflow && text_format(out, SHARED_KEY_MAX + 1, "%s", key.data);
}

enum err_code tasks_list(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(params_release) struct params params = take_params(req);
    AUTO_VALUE(reply_release) struct reply page;
    char key[SHARED_KEY_MAX + 1];
    enum err_code rc;

    reply_init(&page);
    rc = check_since(params.since, e);
    if (!rc)
        rc = key_of(&params, key) ? shared_answer(req, key, make_page, &page, e)
                                  : make_page(req, &page, e);
    if (rc)
        return rc;
    reply->status = 200;
    reply->type = "application/json";
    buf_clear(&reply->body);
    answer_lines(page.body.data, params.since, &reply->body);
    return reply->body.overflow ? err_set(e, ERR_INTERNAL, "the answer is too large") : ERR_OK;
}

/* ---- one task, names, counts ---- */

enum err_code task_show(struct request *req, struct reply *reply, struct err *e)
{
    AUTO_VALUE(job_detail_release) struct job_detail detail = {0};
    AUTO(json_decref) json_t *value = NULL;
    struct uuid id;
    enum err_code rc;

    if (!uuid_parse(request_param(req, 0), &id))
        return err_set(e, ERR_NOT_FOUND, "there is no such task");
    rc = jobs_find(thread_of(req)->db, &id, &detail, e);
    if (rc)
        return rc;
    value = job_detail_json(&detail);
    if (!value)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (detail.job.state == JOB_REVOKED && detail.job.worker && *detail.job.worker)
        (void)json_object_set_new(
            value, "still_runs",
            json_boolean(worker_reports_job(thread_of(req), detail.job.worker, id.text)));
    rc = replay_describe(thread_of(req)->db, &id, value, e);
    return rc ? rc : reply_json(reply, 200, TAKE(value), e);
}

/* The lines that it has said, after the one numbered `after`. */
enum err_code task_logs(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(mem_free) char *after = request_query(req, "after");
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(job_shown_release) struct job_shown shown = {0};
    int64_t number = 0;
    struct uuid id;
    json_t *lines;
    enum err_code rc;

    if (!uuid_parse(request_param(req, 0), &id))
        return err_set(e, ERR_NOT_FOUND, "there is no such task");
    if (after && *after && !text_to_int(after, 0, INT64_MAX, &number))
        return err_set(e, ERR_INVALID, "after is a number");
    rc = job_logs_list(thread_of(req)->db, &id, number, JOB_LOG_LINES_MAX, &rows, e);
    if (!rc && db_rows(rows) > 0)
        rc = job_shown_find(thread_of(req)->db, &id, &shown, e);
    if (rc)
        return rc;
    lines = json_array();
    for (int i = 0; i < db_rows(rows); i++)
        (void)json_array_append_new(
            lines, json_pack("{s:I, s:I, s:o, s:s, s:o}", "number", (json_int_t)db_int(rows, i, 0),
                             "attempt", (json_int_t)db_int(rows, i, 1), "at",
                             job_time_json(db_int(rows, i, 2)), "level",
                             job_log_level_name((enum job_log_level)db_int(rows, i, 3)), "text",
                             job_shown_text(&shown, db_text(rows, i, 4))));
    return reply_json(reply, 200, json_pack("{s:o}", "lines", lines), e);
}

enum err_code task_names_list(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    json_t *names;
    enum err_code rc = jobs_list_tasks(thread_of(req)->db, &rows, e);

    if (rc)
        return rc;
    names = json_array();
    for (int i = 0; i < db_rows(rows); i++)
        (void)json_array_append_new(names, json_string(db_text(rows, i, 0)));
    return reply_json(reply, 200, json_pack("{s:o}", "names", names), e);
}

static enum err_code make_summary(struct request *req, struct reply *reply, struct err *e)
{
    struct jobs_counts counts;
    json_t *states;
    enum err_code rc = jobs_count(thread_of(req)->db, &counts, e);

    if (rc)
        return rc;
    states = json_object();
    for (int i = 0; i < JOB_STATE_COUNT; i++)
        (void)json_object_set_new(states, job_state_name((enum job_state)i),
                                  sum_json(counts.states[i]));
    return reply_json(
        reply, 200, json_pack("{s:o, s:o}", "states", states, "total", sum_json(counts.total)), e);
}

enum err_code summary_show(struct request *req, struct reply *reply, struct err *e)
{
    return shared_get(req, make_summary, reply, e);
}
