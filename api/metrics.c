/* SPDX-License-Identifier: MIT
 *
 * Counting and telling; see metrics.h. Everything is an atomic counter in a table of fixed size,
 * read while others write: a sum may be one ahead of its parts for a moment.
 */
#include "api/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "api/api.h"
#include "api/replica.h"
#include "common/clock.h"

enum { ROUTES_MAX = 128, CLASSES = 5, OTHER_STATUS = 0 };

/* Upper ends in microseconds; the last bucket has none. */
static const int64_t buckets[] = {1000,   2500,   5000,   10000,   25000,   50000,
                                  100000, 250000, 500000, 1000000, 2500000, 10000000};
enum { BUCKETS = sizeof buckets / sizeof buckets[0] };

/* Statuses with a counter of their own; the first stands for all others. */
static const int statuses[] = {OTHER_STATUS, 200, 201, 202, 204, 301, 304, 400, 401, 403, 404,
                               405,          406, 408, 409, 413, 415, 422, 429, 500, 502, 503};
enum { STATUSES = sizeof statuses / sizeof statuses[0] };

static struct {
    atomic_uint_fast64_t by_status[STATUSES];
    struct {
        atomic_uint_fast64_t buckets[BUCKETS + 1];
        atomic_uint_fast64_t sum_us;
    } by_class[CLASSES];
} routes[ROUTES_MAX + 1]; /* the last: what has no row in the table */
static atomic_uint_fast64_t counters[METRICS_COUNT];

static void add(atomic_uint_fast64_t *counter, uint64_t n)
{
    (void)atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t read(atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void metrics_add(enum metrics_counter counter) { add(&counters[counter], 1); }

/* The row of a request: that of its route when it has its method. */
static size_t row_of(const struct request *req)
{
    const struct route *route = req->match.route;
    bool is_head = strcmp(req->method, "HEAD") == 0;
    size_t row = route ? (size_t)(route - api_routes) : ROUTES_MAX;

    if (row >= ROUTES_MAX || strcmp(route->method, is_head ? "GET" : req->method) != 0)
        return ROUTES_MAX;
    return row;
}

static size_t slot_of(int status)
{
    for (size_t i = 1; i < STATUSES; i++)
        if (statuses[i] == status)
            return i;
    return 0;
}

void metrics_note(const struct request *req, const struct reply *reply)
{
    int64_t took_us = clock_mono_us() - req->begun_us;
    size_t class =
        reply->status >= 100 && reply->status < 600 ? (size_t)reply->status / 100 - 1 : 4;
    size_t row = row_of(req);
    size_t at = 0;

    while (at < BUCKETS && took_us > buckets[at])
        at++;
    add(&routes[row].by_status[slot_of(reply->status)], 1);
    add(&routes[row].by_class[class].buckets[at], 1);
    add(&routes[row].by_class[class].sum_us, (uint64_t)(took_us > 0 ? took_us : 0));
}

/* ---- telling ---- */

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_addf(out, "# HELP till_api_%s %s\n# TYPE till_api_%s %s\n", name, help, name, type);
}

/* Patterns and methods are our own and need no escaping. */
static void add_route(struct buf *out, size_t row)
{
    const struct route *route = row < api_routes_count ? &api_routes[row] : NULL;

    buf_addf(out, "method=\"%s\",route=\"%s\"", route ? route->method : "-",
             route ? route->pattern : "-");
}

static void tell_requests(struct buf *out)
{
    head(out, "requests_total", "counter", "Answers by route and status.");
    for (size_t row = 0; row <= ROUTES_MAX; row++)
        for (size_t i = 0; i < STATUSES; i++) {
            uint64_t count = read(&routes[row].by_status[i]);

            if (count == 0)
                continue;
            buf_add_str(out, "till_api_requests_total{");
            add_route(out, row);
            if (statuses[i] == OTHER_STATUS)
                buf_addf(out, ",status=\"other\"} %" PRIu64 "\n", count);
            else
                buf_addf(out, ",status=\"%d\"} %" PRIu64 "\n", statuses[i], count);
        }
}

static void tell_histogram(struct buf *out, size_t row, size_t class)
{
    static const char name[] = "till_api_request_seconds";
    uint64_t count = 0;

    for (size_t i = 0; i <= BUCKETS; i++) {
        count += read(&routes[row].by_class[class].buckets[i]);
        buf_addf(out, "%s_bucket{", name);
        add_route(out, row);
        if (i < BUCKETS)
            buf_addf(out, ",status=\"%zuxx\",le=\"%" PRId64 ".%04" PRId64 "\"} %" PRIu64 "\n",
                     class + 1, buckets[i] / US_PER_S, buckets[i] % US_PER_S / 100, count);
        else
            buf_addf(out, ",status=\"%zuxx\",le=\"+Inf\"} %" PRIu64 "\n", class + 1, count);
    }
    buf_addf(out, "%s_sum{", name);
    add_route(out, row);
    buf_addf(out, ",status=\"%zuxx\"} %" PRIu64 ".%06" PRIu64 "\n", class + 1,
             read(&routes[row].by_class[class].sum_us) / US_PER_S,
             read(&routes[row].by_class[class].sum_us) % US_PER_S);
    buf_addf(out, "%s_count{", name);
    add_route(out, row);
    buf_addf(out, ",status=\"%zuxx\"} %" PRIu64 "\n", class + 1, count);
}

static bool is_used(size_t row, size_t class)
{
    for (size_t i = 0; i <= BUCKETS; i++)
        if (read(&routes[row].by_class[class].buckets[i]) > 0)
            return true;
    return false;
}

static void tell_durations(struct buf *out)
{
    head(out, "request_seconds", "histogram", "Time to an answer, by route and class of status.");
    for (size_t row = 0; row <= ROUTES_MAX; row++)
        for (size_t class = 0; class < CLASSES; class ++)
            if (is_used(row, class))
                tell_histogram(out, row, class);
}

static void tell_gauge(struct buf *out, const char *name, const char *help, int64_t value)
{
    head(out, name, "gauge", help);
    buf_addf(out, "till_api_%s %" PRId64 "\n", name, value);
}

enum err_code metrics_show(struct request *req, struct reply *reply, struct err *e)
{
    static const struct {
        const char *metric;
        const char *help;
    } texts[] = {
#define X(name, metric, help) {metric, help},
        METRICS_COUNTERS(X)
#undef X
    };
    struct buf *out = &reply->body;

    reply_bytes(reply, 200, "text/plain; version=0.0.4; charset=utf-8", "", 0);
    tell_requests(out);
    tell_durations(out);
    for (size_t i = 0; i < METRICS_COUNT; i++) {
        head(out, texts[i].metric, "counter", texts[i].help);
        buf_addf(out, "till_api_%s %" PRIu64 "\n", texts[i].metric, read(&counters[i]));
    }
    tell_gauge(out, "requests_in_flight", "Requests between their head and their answer.",
               server_requests(req->server));
    tell_gauge(out, "connections", "Connections that a thread has taken.",
               server_connections(req->server));
    tell_gauge(out, "replica_up", "1 while the replica is used.", replica_is_up());
    tell_gauge(out, "threads", "Request threads.", api_of(req)->conf->api_threads);
    tell_gauge(out, "backends", "Connections to the database that requests share.",
               api_of(req)->conf->api_connections);
    tell_gauge(out, "backends_lent", "Those of them that a request has.", backends_lent());
    tell_gauge(out, "backends_waiting", "Requests that wait for one.", backends_waiting());
    return out->overflow ? err_set(e, ERR_INTERNAL, "the figures are too long") : ERR_OK;
}
