/* SPDX-License-Identifier: MIT
 *
 * Kept answers; see cache.h. Never a stale one. An answer is kept under the version of the whole
 * catalogue, when nobody was writing while it was made, and under the versions of the rows that it
 * shows (common/catalogue.h): of a list, when nobody was changing the shape meanwhile. Both are
 * read from the database after the request has come: the version with the user who asks, the rows
 * only where that has changed (row_versions.h). Which rows, the answer of that name tells that is
 * in memory. One of the two is enough: the version
 * tells of all answers at once, the rows tell of this one whatever is written elsewhere.
 *
 * Of many who miss at once one makes the answer: the others of this process wait for it until their
 * deadline (flights.h), other processes for a moment. What is kept is also what those others may
 * have. They know each other by the version or, while that changes all the time, by the rows: who
 * wants the same rows in the same versions gets what shows just these.
 */
#include "api/cache.h"

#include <string.h>

#include <poll.h>

#include "api/answers.h"
#include "api/api.h"
#include "api/flights.h"
#include "api/metrics.h"
#include "api/replica.h"
#include "api/row_versions.h"
#include "common/catalogue.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/queue_cache.h"

enum {
    NAME_MAX_BYTES = 20 * 1024,
    NAME_USUAL = 256,
    WAIT_STEP_MS = 3,
    WAIT_STEPS = 40,
    CALM_US = 100 * 1000, /* after which the version is worth that something be made anew for it */
};

/* All that the answer depends on besides the catalogue: links carry the host. */
static void make_name(const struct request *req, struct buf *name)
{
    buf_add_str(name, req->path);
    buf_add_char(name, '\n');
    buf_add_str(name, req->query);
    buf_add_char(name, '\n');
    request_origin(req, name);
}

void cache_note_rows(const struct request *req, const char *rows)
{
    struct api *api = api_of(req);

    api->has_made = catalogue_rows_read(rows, &api->made);
}

void cache_forget_rows(const struct request *req) { api_of(req)->has_made = false; }

static int64_t token_of(enum cache_part part, const struct catalogue_rows *rows, int64_t shape)
{
    if (part == CACHE_ROW)
        return rows->count == 1 ? catalogue_token(rows, 0) : 0;
    return shape ? catalogue_token(rows, shape) : 0;
}

/* An answer that is wanted, and who waits for it. */
struct wanted {
    const struct buf *name;
    enum cache_part part;
    bool knows_rows;
    struct catalogue_rows rows; /* of the answer there was, as they are now */
    int64_t token;              /* of what it has to be made of; 0: nobody knows */
    int64_t version;       /* by which others know it: the token or the version of the catalogue */
    bool by_token;         /* which */
    struct flight *flight; /* that this request leads; NULL: none */
    char key[CACHE_KEY_SIZE];
};

/* Member by member: mostly nobody asks for rows, and they are large. */
static void want(struct wanted *wanted, const struct buf *name, enum cache_part part)
{
    wanted->name = name;
    wanted->part = part;
    wanted->knows_rows = false;
    wanted->rows.count = 0;
    wanted->token = 0;
    wanted->version = 0;
    wanted->by_token = false;
    wanted->flight = NULL;
    wanted->key[0] = '\0';
}

/* Asks for the token of what the answer has to be made of, as that is now. It takes a kept answer
 * of the same name, which tells which rows it shows. False: nobody knows. */
static bool ask_rows(const struct request *req, struct wanted *wanted)
{
    struct api *api = api_of(req);
    int64_t shape = 0;

    wanted->rows.count = 0;
    wanted->knows_rows = wanted->part == CACHE_SHAPE || answers_rows(wanted->name, &wanted->rows);
    if (wanted->knows_rows && row_versions_ask(api->row_asker, &wanted->rows, &shape))
        wanted->token = token_of(wanted->part, &wanted->rows, shape);
    return wanted->token != 0;
}

static bool find_in_memory(const struct request *req, const struct wanted *wanted,
                           struct reply *reply)
{
    const struct api *api = api_of(req);
    struct answers_now now = {
        .version = api->catalogue_version,
        .token = wanted->token,
        .is_leased = api->is_leased,
        .us = req->begun_us,
    };
    char tag[ANSWER_TAG_SIZE];

    if (now.token) {
        now.stamp = api->moment.stamp;
        now.wants_version = req->begun_us - api->moment.same_us > CALM_US;
    }
    if (!answers_find(wanted->name, &now, &reply->body, tag))
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

/* What came from others is what was asked for. */
static void keep_found(const struct request *req, const struct wanted *wanted,
                       const struct reply *reply)
{
    struct answers_made of = {.rows = wanted->knows_rows ? &wanted->rows : NULL};

    if (wanted->by_token) {
        of.token = wanted->token;
        of.stamp = api_of(req)->moment.stamp;
    } else {
        of.version = wanted->version;
    }
    answers_keep(wanted->name, &of, &reply->body);
    flight_land(wanted->flight, &reply->body);
}

/* The token of what was just made; 0: it is not to be kept by one. */
static int64_t token_made(const struct request *req, const struct wanted *wanted,
                          const struct catalogue_state *state)
{
    struct api *api = api_of(req);

    if (wanted->part == CACHE_SHAPE) {
        api->made.count = 0;
        api->has_made = true;
    }
    if (!api->has_made || (wanted->part != CACHE_ROW && !state->is_shape_still))
        return 0;
    return token_of(wanted->part, &api->made, state->shape);
}

/* What was made is this process's; others get it when it is just what they want, too. */
static void keep_made(const struct request *req, const struct wanted *wanted, bool in_redis,
                      const struct answers_made *of, const struct reply *reply)
{
    struct err ignored = {0};
    bool is_wanted = wanted->by_token ? of->token == wanted->token : of->version == wanted->version;

    if (of->version || of->token)
        answers_keep(wanted->name, of, &reply->body);
    if (!is_wanted)
        return;
    flight_land(wanted->flight, &reply->body);
    if (in_redis &&
        cache_put(api_redis(req), wanted->key, reply->body.data, reply->body.len, &ignored))
        log_debug("cache_failed", L_ERR(&ignored));
}

/* Makes the answer; Redis gets it from who has its lock there. */
static enum err_code make(struct request *req, const struct wanted *wanted, bool in_redis,
                          struct reply *reply, http_handler *handler, struct err *e)
{
    struct api *api = api_of(req);
    struct catalogue_state state = {0};
    struct err ignored = {0};
    struct answers_made of = {0};
    bool is_exact;
    enum err_code rc;

    if (catalogue_look(api_db(req), &state, &ignored))
        state = (struct catalogue_state){0};
    /* Of what moment it is: a replica may lag behind what else it would be kept under. */
    is_exact = state.is_still || (api->moment.is_busy && state.is_shape_still);
    if (!(wanted->by_token ? is_exact : state.is_still))
        flight_land(wanted->flight, NULL); /* it may be of one that is over for who comes later */
    api->has_made = false;
    rc = is_exact ? replica_serve_at(req, reply, state.position, handler, e)
                  : replica_serve(req, reply, handler, e);
    if (!rc && reply->status == 200) {
        of.version = state.is_still ? api->catalogue_version : 0;
        if (is_exact || !api_backends(req)->replica)
            of.token = token_made(req, wanted, &state);
        if (of.token) {
            of.rows = &api->made;
            of.stamp = api->moment.stamp;
        }
        keep_made(req, wanted, in_redis, &of, reply);
    }
    if (in_redis && cache_end_fill(api_redis(req), wanted->key, &ignored))
        log_debug("cache_failed", L_ERR(&ignored));
    return rc;
}

/* Out of Redis, or made and kept there; without Redis, made and kept in memory. */
static enum err_code serve(struct request *req, struct wanted *wanted, struct reply *reply,
                           http_handler *handler, struct err *e)
{
    struct err ignored = {0};
    bool found = false;
    bool is_mine = false;

    cache_key(wanted->key, (long long)wanted->version, wanted->name->data);
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
    keep_found(req, wanted, reply);
    return ERR_OK;
}

/* Made by this request, or by the one of this process that is making it. */
static enum err_code serve_one(struct request *req, struct wanted *wanted, struct reply *reply,
                               http_handler *handler, struct err *e)
{
    bool leads;
    AUTO(flight_leave) struct flight *flight = NULL;
    enum flight_end end = FLIGHT_APART;
    enum err_code rc;

    wanted->by_token = wanted->token != 0 && api_of(req)->moment.is_busy;
    wanted->version = wanted->by_token ? wanted->token : api_of(req)->catalogue_version;
    flight = flight_join(wanted->name, wanted->version, &leads);
    wanted->flight = leads ? flight : NULL;
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
    rc = serve(req, wanted, reply, handler, e);
    flight_land(wanted->flight, NULL);
    return rc;
}

enum err_code cache_serve(struct request *req, struct reply *reply, enum cache_part part,
                          http_handler *handler, struct err *e)
{
    AUTO_VALUE(buf_release) struct buf name;
    char space[NAME_USUAL];
    struct wanted wanted;
    bool was_leased = api_of(req)->is_leased;
    bool found;

    buf_init_in(&name, space, sizeof space, NAME_MAX_BYTES);
    make_name(req, &name);
    want(&wanted, &name, part);
    found = find_in_memory(req, &wanted, reply);
    if (!found && was_leased) { /* a lease is good for what is in memory alone */
        if (!guard_look_up(req, reply))
            return ERR_OK;
        was_leased = false;
        found = find_in_memory(req, &wanted, reply);
    }
    if (!found && ask_rows(req, &wanted)) {
        found = find_in_memory(req, &wanted, reply);
        if (found)
            metrics_add(METRIC_CACHE_ROWS);
    }
    if (!found)
        return serve_one(req, &wanted, reply, handler, e);
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
