/* SPDX-License-Identifier: MIT
 *
 * Dead tasks by what they have in common: their task and why they died. A group is changed batch by
 * batch, the first that died first, for as long as a request may last; `next` says where to go on.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/dashboard/actions.h"
#include "api/dashboard/change.h"
#include "api/dashboard/dashboard.h"
#include "api/dashboard/dead_memory.h"
#include "api/dashboard/shared.h"
#include "common/clock.h"
#include "common/jobs_desk.h"
#include "common/jobs_heal.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/redact.h"
#include "common/task_secrets.h"
#include "common/text.h"

enum { CURSOR_SIZE = 96 };

/* ---- which ---- */

/* A reason that hides something is told by the id of a job that died of it. That job is changed
 * last, so that its reason can be asked for until then. */
static enum err_code find_reason(struct request *req, const char *given, struct dead_walk *walk,
                                 char **ret_reason, struct err *e)
{
    if (!text_starts(given, "of:") || !uuid_parse(given + 3, &walk->except)) {
        *ret_reason = mem_dup(given);
        return ERR_OK;
    }
    return jobs_dead_reason(thread_of(req)->db, &walk->except, walk->task, ret_reason, e);
}

static void write_cursor(const struct dead_walk *walk, char out[CURSOR_SIZE])
{
    (void)snprintf(out, CURSOR_SIZE, "%" PRId64 ".%" PRId64 ".%s", walk->until_us, walk->after_us,
                   walk->after_id.text);
}

/* From the beginning without a cursor: then those that are dead by now. */
static enum err_code read_cursor(struct request *req, const char *cursor, struct dead_walk *walk,
                                 struct err *e)
{
    char until[CURSOR_SIZE];
    const char *after = cursor ? strchr(cursor, '.') : NULL;
    const char *id = after ? strchr(after + 1, '.') : NULL;
    char after_us[CURSOR_SIZE];

    if (!cursor) {
        walk->after_id = (struct uuid){UUID_FIRST};
        return jobs_server_time(thread_of(req)->db, &walk->until_us, e);
    }
    if (id && text_format(until, sizeof until, "%.*s", (int)(after - cursor), cursor) &&
        text_format(after_us, sizeof after_us, "%.*s", (int)(id - after - 1), after + 1) &&
        text_to_int(until, 0, INT64_MAX, &walk->until_us) &&
        text_to_int(after_us, 0, INT64_MAX, &walk->after_us) && uuid_parse(id + 1, &walk->after_id))
        return ERR_OK;
    return err_set(e, ERR_INVALID, "the cursor is none");
}

/* ---- changing them ---- */

/* Moves the walk on; `has_more`: there may be another batch. */
static enum err_code change_batch(struct request *req, enum change change, struct dead_walk *walk,
                                  size_t *ret_changed, bool *ret_has_more, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO(mem_free) struct uuid *ids = NULL;
    AUTO(mem_free) char *shown = redact_text(walk->reason);
    AUTO_VALUE(buf_release) struct buf target;
    size_t count;
    enum err_code rc = jobs_dead_of(thread_of(req)->db, walk, CHANGE_BATCH, &rows, e);

    buf_init(&target, 2048);
    *ret_changed = 0;
    if (rc)
        return rc;
    count = (size_t)db_rows(rows);
    *ret_has_more = count == CHANGE_BATCH;
    ids = mem_array(count + 1, sizeof ids[0]);
    for (size_t i = 0; i < count; i++)
        (void)uuid_parse(db_text(rows, (int)i, 0), &ids[i]);
    if (count > 0) {
        walk->after_us = db_int(rows, (int)count - 1, 1);
        walk->after_id = ids[count - 1];
    }
    if (!*ret_has_more && *walk->except.text)
        ids[count++] = walk->except;
    buf_addf(&target, "dead %s: %s", walk->task, *walk->except.text ? REDACTED : shown);
    return count ? change_some(req, change, target.data, ids, count, ret_changed, e) : ERR_OK;
}

enum err_code dead_change(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(json_decref) json_t *body = NULL;
    AUTO(mem_free) char *reason = NULL;
    int64_t end_us = clock_mono_us() + CHANGE_BUDGET_MS * US_PER_MS;
    struct dead_walk walk = {0};
    enum change change = CHANGE_RETRY;
    char next[CURSOR_SIZE];
    const char *given;
    json_t *answer;
    bool has_more = true;
    size_t total = 0;
    enum err_code rc = read_body(req, &body, e);

    if (!rc)
        rc = read_change(req, body, &change, e);
    if (rc)
        return rc;
    walk.task = json_member_text(body, "task");
    given = json_member_text(body, "reason");
    if (!walk.task || !given || (change != CHANGE_RETRY && change != CHANGE_DELETE))
        return err_set(e, ERR_INVALID, "the body has action (retry, delete), task and reason");
    rc = read_cursor(req, json_member_text(body, "cursor"), &walk, e);
    if (!rc)
        rc = find_reason(req, given, &walk, &reason, e);
    walk.reason = reason;
    while (!rc && has_more && clock_mono_us() < end_us) {
        size_t changed = 0;

        rc = change_batch(req, change, &walk, &changed, &has_more, e);
        total += changed;
    }
    if (rc)
        return rc;
    write_cursor(&walk, next);
    answer = json_pack("{s:I, s:b}", "changed", (json_int_t)total, "more", has_more && total > 0);
    if (has_more)
        (void)json_object_set_new(answer, "next", json_string(next));
    return reply_json(reply, 200, answer, e);
}

/* ---- showing them ---- */

/* Jobs of a group may name a secret of theirs in the error: it is shown redacted, and a group whose
 * error hides something is called by its last job instead. What is hidden is found in the error as
 * it is: an asterisk in its midst would hide only a part of it. */
static enum err_code group_json(struct request *req, const struct dead_group *group,
                                const char *names, json_t **ret_value, struct err *e)
{
    AUTO_VALUE(secrets_release) struct secrets secrets = {0};
    AUTO(mem_free) char *visible = NULL;
    const struct job_view last = {.id = group->last_id, .secrets = names};
    char by_job[48] = "";
    bool is_hidden;
    enum err_code rc = job_secrets_read(thread_of(req)->db, &last, &secrets, e);

    if (rc)
        return rc;
    visible = redact_text_of(&secrets, group->line);
    is_hidden = strcmp(visible, group->line) != 0 || text_starts(group->reason, "of:");
    (void)snprintf(by_job, sizeof by_job, "of:%s", last.id.text);
    *ret_value = json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:s}", "task", group->task,
                           "reason", is_hidden ? by_job : group->reason, "shown",
                           is_hidden ? visible : group->reason, "last_error", visible, "count",
                           (json_int_t)group->count, "first_at", group->first, "last_at",
                           group->last, "last_id", last.id.text, "queue", group->queue);
    return ERR_OK;
}

/* The secret names of a group's task, asked once for all groups of it. */
static enum err_code names_of(struct request *req, const struct dead_group *groups, size_t number,
                              char **names, struct err *e)
{
    for (size_t i = 0; i < number; i++) {
        if (strcmp(groups[i].task, groups[number].task) == 0) {
            names[number] = mem_dup(names[i]);
            return ERR_OK;
        }
    }
    return task_secrets_find(thread_of(req)->db, groups[number].task, &names[number], e);
}

static enum err_code groups_json(struct request *req, const struct dead_pieces *pieces,
                                 json_t *list, struct err *e)
{
    AUTO(mem_free) struct dead_group *groups = mem_array(DEAD_GROUPS_MAX, sizeof *groups);
    AUTO(mem_free) char **names = mem_array(DEAD_GROUPS_MAX, sizeof *names);
    size_t count = dead_groups_sum(pieces, groups);
    enum err_code rc = ERR_OK;

    for (size_t i = 0; !rc && i < count; i++) {
        json_t *group = NULL;

        rc = names_of(req, groups, i, names, e);
        if (!rc)
            rc = group_json(req, &groups[i], names[i], &group, e);
        if (!rc)
            (void)json_array_append_new(list, group);
    }
    for (size_t i = 0; i < count; i++)
        mem_free(names[i]);
    return rc;
}

static enum err_code make_dead(struct request *req, struct reply *reply, struct err *e)
{
    AUTO(mem_free) char *queue = request_query(req, "queue");
    AUTO_VALUE(dead_pieces_release) struct dead_pieces pieces = {0};
    AUTO(json_decref) json_t *groups = json_array();
    struct dead_memory *memory = thread_of(req)->dashboard->dead;
    const char *of = queue && *queue ? queue : NULL;
    enum err_code rc;

    dead_memory_take(memory, of, &pieces);
    rc = dead_pieces_update(&pieces, thread_of(req)->db, of, e);
    if (!rc)
        rc = groups_json(req, &pieces, groups, e);
    if (rc)
        return rc;
    dead_memory_put(memory, of, &pieces);
    return reply_json(reply, 200, json_pack("{s:O}", "groups", groups), e);
}

enum err_code dead_show(struct request *req, struct reply *reply, struct err *e)
{
    return shared_get(req, make_dead, reply, e);
}
