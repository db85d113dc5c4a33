/* SPDX-License-Identifier: MIT
 *
 * Kept answers; see cache.h. Never a stale one: the version was read from the database with the
 * user who asks, and an answer is kept only when nobody was writing while it was made. Of many who
 * miss at once one makes the answer; the others wait for it a moment.
 */
#include "api/cache.h"

#include <string.h>

#include <poll.h>

#include "api/answers.h"
#include "api/api.h"
#include "api/metrics.h"
#include "api/replica.h"
#include "common/catalogue.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/queue_cache.h"

enum { NAME_MAX_BYTES = 20 * 1024, NAME_USUAL = 256, WAIT_STEP_MS = 3, WAIT_STEPS = 40 };

/* All that the answer depends on besides the catalogue: links carry the host. */
static void make_name(const struct request *req, struct buf *name)
{
    buf_add_str(name, req->path);
    buf_add_char(name, '\n');
    buf_add_str(name, req->query);
    buf_add_char(name, '\n');
    request_origin(req, name);
}

static bool find_in_memory(const struct request *req, const struct buf *name, struct reply *reply)
{
    char tag[ANSWER_TAG_SIZE];

    if (!answers_find(name, api_of(req)->catalogue_version, req->begun_us, &reply->body, tag))
        return false;
    reply->status = 200;
    reply_header(reply, "ETag", tag);
    return true;
}

/* Fills the reply from Redis. ERR_OK and false: it is not there. */
static enum err_code look(const struct request *req, const char *key, struct reply *reply,
                          bool *ret_found, struct err *e)
{
    enum err_code rc = cache_get(api_redis(req), key, &reply->body, ret_found, e);

    if (!rc && *ret_found)
        reply->status = 200;
    return rc;
}

/* Until who fills it has done so. */
static bool wait_for_other(const struct request *req, const char *key, struct reply *reply)
{
    bool found = false;

    for (int i = 0; i < WAIT_STEPS && !found; i++) {
        (void)poll(NULL, 0, WAIT_STEP_MS);
        if (look(req, key, reply, &found, NULL))
            return false;
    }
    return found;
}

static void keep(const struct request *req, const struct buf *name, const char *key,
                 const struct reply *reply)
{
    const struct api *api = api_of(req);
    struct err ignored = {0};

    answers_keep(name, api->catalogue_version, &reply->body);
    if (cache_put(api_redis(req), key, reply->body.data, reply->body.len, &ignored))
        log_debug("cache_failed", L_ERR(&ignored));
}

static enum err_code fill(struct request *req, const struct buf *name, const char *key,
                          struct reply *reply, http_handler *handler, struct err *e)
{
    struct err ignored = {0};
    bool is_still = false;
    int64_t position = 0;
    enum err_code rc = catalogue_is_still(api_db(req), &is_still, &position, &ignored);

    if (rc)
        is_still = false;
    rc = is_still ? replica_serve_at(req, reply, position, handler, e)
                  : replica_serve(req, reply, handler, e);
    if (!rc && is_still && reply->status == 200)
        keep(req, name, key, reply);
    if (cache_end_fill(api_redis(req), key, &ignored))
        log_debug("cache_failed", L_ERR(&ignored));
    return rc;
}

/* Out of Redis, or made and kept there. */
static enum err_code serve(struct request *req, const struct buf *name, struct reply *reply,
                           http_handler *handler, struct err *e)
{
    struct api *api = api_of(req);
    struct err ignored = {0};
    char key[CACHE_KEY_SIZE];
    bool found = false;
    bool is_mine = false;

    cache_key(key, (long long)api->catalogue_version, name->data);
    if (look(req, key, reply, &found, &ignored)) {
        metrics_add(METRIC_CACHE_FAILED);
        return replica_serve(req, reply, handler, e);
    }
    metrics_add(found ? METRIC_CACHE_HIT : METRIC_CACHE_MISS);
    if (!found) {
        if (cache_begin_fill(api_redis(req), key, &is_mine, &ignored))
            return replica_serve(req, reply, handler, e);
        if (is_mine)
            return fill(req, name, key, reply, handler, e);
        if (!wait_for_other(req, key, reply))
            return replica_serve(req, reply, handler, e);
    }
    answers_keep(name, api->catalogue_version, &reply->body);
    return ERR_OK;
}

enum err_code cache_serve(struct request *req, struct reply *reply, http_handler *handler,
                          struct err *e)
{
    AUTO_VALUE(buf_release) struct buf name;
    char space[NAME_USUAL];
    bool was_leased = api_of(req)->is_leased;
    bool found;

    buf_init_in(&name, space, sizeof space, NAME_MAX_BYTES);
    make_name(req, &name);
    found = find_in_memory(req, &name, reply);
    if (!found && was_leased) { /* a lease is good for what is in memory alone */
        if (!guard_look_up(req, reply))
            return ERR_OK;
        was_leased = false;
        found = find_in_memory(req, &name, reply);
    }
    if (!found)
        return serve(req, &name, reply, handler, e);
    metrics_add(METRIC_CACHE_HIT);
    metrics_add(METRIC_CACHE_MEMORY);
    if (was_leased)
        metrics_add(METRIC_LEASED);
    return ERR_OK;
}

/* ---- ETag ---- */

bool cache_matches(const char *header, const char *tag)
{
    size_t wanted = strlen(tag);

    while (*header) {
        size_t blanks = strspn(header, " \t");
        size_t len = strcspn(header, ",");
        size_t end = len;

        if (header[blanks] == '*')
            return true;
        if (strncmp(header + blanks, "W/", 2) == 0)
            blanks += 2;
        while (end > blanks && (header[end - 1] == ' ' || header[end - 1] == '\t'))
            end--;
        if (end - blanks == wanted && memcmp(header + blanks, tag, wanted) == 0)
            return true;
        header += len + (header[len] == ',');
    }
    return false;
}

/* The ETag of the reply, which what came out of memory has already. */
static const char *tag_of(struct reply *reply, char made[ANSWER_TAG_SIZE])
{
    for (size_t i = 0; i < reply->headers_count; i++)
        if (strcmp(reply->headers[i].name, "ETag") == 0)
            return reply->headers[i].value;
    answers_tag(&reply->body, made);
    reply_header(reply, "ETag", made);
    return made;
}

void cache_tag(const struct request *req, struct reply *reply)
{
    char made[ANSWER_TAG_SIZE];
    const char *tag;
    const char *known = request_header(req, "If-None-Match");

    if (reply->status != 200 ||
        (strcmp(req->method, "GET") != 0 && strcmp(req->method, "HEAD") != 0))
        return;
    tag = tag_of(reply, made);
    if (known && cache_matches(known, tag)) {
        reply->status = 304;
        buf_clear(&reply->body);
    }
}
