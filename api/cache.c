/* SPDX-License-Identifier: MIT
 *
 * Kept answers; see cache.h. Never a stale one: the version was read from the database with the
 * user who asks, and an answer is kept only when nobody was writing while it was made. Of many who
 * miss at once one makes the answer: the others of this process wait for it until their deadline
 * (flights.h), other processes for a moment. What is kept is also what those others may have.
 */
#include "api/cache.h"

#include <string.h>

#include <poll.h>

#include "api/answers.h"
#include "api/api.h"
#include "api/flights.h"
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

/* An answer that is wanted, and who waits for it. */
struct wanted {
    const struct buf *name;
    struct flight *flight; /* that this request leads; NULL: none */
    char key[CACHE_KEY_SIZE];
};

static void keep(const struct request *req, const struct wanted *wanted, bool in_redis,
                 const struct reply *reply)
{
    struct err ignored = {0};

    answers_keep(wanted->name, api_of(req)->catalogue_version, &reply->body);
    flight_land(wanted->flight, &reply->body);
    if (in_redis &&
        cache_put(api_redis(req), wanted->key, reply->body.data, reply->body.len, &ignored))
        log_debug("cache_failed", L_ERR(&ignored));
}

/* Makes the answer; Redis gets it from who has its lock there. */
static enum err_code make(struct request *req, const struct wanted *wanted, bool in_redis,
                          struct reply *reply, http_handler *handler, struct err *e)
{
    struct err ignored = {0};
    bool is_still = false;
    int64_t position = 0;
    enum err_code rc = catalogue_is_still(api_db(req), &is_still, &position, &ignored);

    if (rc)
        is_still = false;
    if (!is_still) /* it may be of a moment that is over for who comes later */
        flight_land(wanted->flight, NULL);
    rc = is_still ? replica_serve_at(req, reply, position, handler, e)
                  : replica_serve(req, reply, handler, e);
    if (!rc && is_still && reply->status == 200)
        keep(req, wanted, in_redis, reply);
    if (in_redis && cache_end_fill(api_redis(req), wanted->key, &ignored))
        log_debug("cache_failed", L_ERR(&ignored));
    return rc;
}

/* Out of Redis, or made and kept there; without Redis, made and kept in memory. */
static enum err_code serve(struct request *req, struct wanted *wanted, struct reply *reply,
                           http_handler *handler, struct err *e)
{
    struct api *api = api_of(req);
    struct err ignored = {0};
    bool found = false;
    bool is_mine = false;

    cache_key(wanted->key, (long long)api->catalogue_version, wanted->name->data);
    if (look(req, wanted->key, reply, &found, &ignored)) {
        metrics_add(METRIC_CACHE_FAILED);
        return make(req, wanted, false, reply, handler, e);
    }
    metrics_add(found ? METRIC_CACHE_HIT : METRIC_CACHE_MISS);
    if (!found) {
        if (cache_begin_fill(api_redis(req), wanted->key, &is_mine, &ignored))
            return make(req, wanted, false, reply, handler, e);
        if (is_mine || !wait_for_other(req, wanted->key, reply))
            return make(req, wanted, is_mine, reply, handler, e);
    }
    keep(req, wanted, false, reply);
    return ERR_OK;
}

/* Made by this request, or by the one of this process that is making it. */
static enum err_code serve_one(struct request *req, const struct buf *name, struct reply *reply,
                               http_handler *handler, struct err *e)
{
    bool leads;
    AUTO(flight_leave)
    struct flight *flight = flight_join(name, api_of(req)->catalogue_version, &leads);
    struct wanted wanted = {.name = name, .flight = leads ? flight : NULL};
    enum flight_end end = FLIGHT_APART;
    enum err_code rc;

    if (!leads) {
        api_give_back(req); /* who leads may need one */
        end = flight_wait(flight, req->deadline_us, &reply->body);
    }
    if (end == FLIGHT_LATE)
        return err_set(e, ERR_UNAVAILABLE, "the answer was not made in time");
    if (end == FLIGHT_SHARED) {
        metrics_add(METRIC_CACHE_HIT);
        metrics_add(METRIC_CACHE_SHARED);
        reply->status = 200;
        return ERR_OK;
    }
    rc = serve(req, &wanted, reply, handler, e);
    flight_land(wanted.flight, NULL);
    return rc;
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
        return serve_one(req, &name, reply, handler, e);
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
