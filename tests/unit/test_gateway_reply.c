/* SPDX-License-Identifier: MIT
 *
 * The gateway's client against a server that answers byte for byte what a case says: what each
 * answer means, and what goes over the wire for it: one request a call, the key, no secret but in
 * its header.
 */
#include "worker/gateway.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/clock.h"
#include "tests/unit/peer.h"

#define SECRET "sk_test_51NotAKeyOfAnybody"
#define PAYMENT "0193506d-3c51-7b8e-9e4f-aabbccddeeff"
#define KEY "11111111-2222-4333-8444-555555555555"
#define REFUND_KEY "99999999-2222-4333-8444-555555555555"

#define OURS "\"amount\":1999,\"currency\":\"eur\",\"metadata\":{\"payment_id\":\"" PAYMENT "\"}"
#define INTENT(status, rest)                                                                       \
    "{\"id\":\"pi_1\",\"object\":\"payment_intent\",\"status\":\"" status "\"," rest "}"
#define FAILED(type, code)                                                                         \
    "{\"error\":{\"type\":\"" type "\",\"code\":\"" code "\",\"message\":\"No.\"}}"

enum { CALL_US = 5 * 1000 * 1000 };

static struct gateway *open_gateway(const char *url)
{
    return gateway_open(&(struct gateway_place){.url = url, .ca_file = "", .secret_key = SECRET});
}

/* ---- the server ---- */

struct script {
    struct buf head; /* up to the empty line; nothing in it: closes without a word */
    struct buf body;
    bool hang;     /* after the body: the connection stays open */
    int close_gap; /* so many bytes of the body are left out, and the connection is closed */
    atomic_int requests;
    char request[16 * 1024]; /* the last one */
};

static bool read_request(int fd, struct script *script)
{
    const char *length;
    const char *end;
    size_t body = 0;

    script->request[0] = '\0';
    if (!peer_read_until(fd, script->request, sizeof script->request, "\r\n\r\n"))
        return false;
    length = strcasestr(script->request, "\r\nContent-Length: ");
    for (const char *p = length ? length + 18 : ""; *p >= '0' && *p <= '9'; p++)
        body = body * 10 + (size_t)(*p - '0');
    end = strstr(script->request, "\r\n\r\n") + 4;
    while (strlen(end) < body) {
        size_t len = strlen(script->request);
        ssize_t got = recv(fd, script->request + len, sizeof script->request - 1 - len, 0);

        if (got <= 0)
            return false;
        script->request[len + (size_t)got] = '\0';
    }
    return true;
}

static void serve(int fd, void *context)
{
    struct script *script = context;

    if (!read_request(fd, script))
        return;
    atomic_fetch_add(&script->requests, 1);
    if (script->head.len > 0 && peer_send(fd, script->head.data, script->head.len))
        (void)peer_send(fd, script->body.data, script->body.len - (size_t)script->close_gap);
    if (script->hang)
        peer_hang(fd);
}

/* ---- one call ---- */

static const struct charge charge = {
    .payment = {PAYMENT},
    .order_id = 42,
    .amount = 1999,
    .currency = "eur",
    .token = "pm_card_visa&amount=1",
    .key = {KEY},
    .refund_key = {REFUND_KEY},
    .reference = "pi_1",
};

enum way { CHARGE, FIND, REFUND };

/* Makes one call and asserts what is true of every one. */
static void call(enum way way, struct script *script, int64_t timeout_us,
                 struct gateway_reply *reply)
{
    struct peer peer = {.serve = serve, .context = script};
    struct gateway *gateway;
    char *secret;
    char url[64];

    peer_start(&peer);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/", peer.port);
    gateway_global_init();
    gateway = open_gateway(url);
    if (way == CHARGE)
        gateway_charge(gateway, &charge, timeout_us, reply);
    else if (way == FIND)
        gateway_find(gateway, &charge, timeout_us, reply);
    else
        gateway_refund(gateway, &charge, timeout_us, reply);
    gateway_close(gateway);
    peer_stop(&peer);
    cr_assert_eq(atomic_load(&script->requests), 1, "one request a call, not %d",
                 atomic_load(&script->requests));
    secret = strstr(script->request, SECRET);
    cr_assert_not_null(secret);
    cr_assert_eq(memcmp(secret - 24, "\r\nAuthorization: Bearer ", 24), 0);
    cr_assert_null(strstr(secret + 1, SECRET), "the secret stands once");
    cr_assert_eq(reply->answer.arrived, *reply->transport == '\0');
    cr_assert_null(strstr(reply->transport, SECRET));
}

static void script_init(struct script *script, const char *status, const char *headers,
                        const char *body)
{
    memset(script, 0, sizeof *script);
    buf_init(&script->body, 4 * 1024 * 1024);
    buf_add_str(&script->body, body);
    buf_init(&script->head, 4 * 1024 * 1024);
    buf_addf(&script->head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n",
             status, strlen(body), headers);
}

static void script_release(struct script *script)
{
    buf_release(&script->body);
    buf_release(&script->head);
}

#define JSON "Content-Type: application/json\r\n"

/* ---- what a charge's answers mean ---- */

struct answer_case {
    const char *name;
    const char *status;
    const char *headers;
    const char *body;
    enum gateway_outcome outcome;
    const char *code; /* what reply->code is */
};

static const struct answer_case answers[] = {
    {"success", "200 OK", JSON, INTENT("succeeded", OURS), GATEWAY_SUCCEEDED, ""},
    {"success with a charset", "200 OK", "content-type: Application/JSON; charset=utf-8\r\n",
     INTENT("succeeded", OURS), GATEWAY_SUCCEEDED, ""},
    {"another amount", "200 OK", JSON,
     INTENT("succeeded", "\"amount\":1998,\"currency\":\"eur\",\"metadata\":{\"payment_id\":"
                         "\"" PAYMENT "\"}"),
     GATEWAY_MISMATCH, ""},
    {"an amount that is no integer", "200 OK", JSON,
     INTENT("succeeded", "\"amount\":1999.0,\"currency\":\"eur\",\"metadata\":{\"payment_id\":"
                         "\"" PAYMENT "\"}"),
     GATEWAY_MISMATCH, ""},
    {"another currency", "200 OK", JSON,
     INTENT("succeeded", "\"amount\":1999,\"currency\":\"usd\",\"metadata\":{\"payment_id\":"
                         "\"" PAYMENT "\"}"),
     GATEWAY_MISMATCH, ""},
    {"another payment", "200 OK", JSON,
     INTENT("succeeded", "\"amount\":1999,\"currency\":\"eur\",\"metadata\":{\"payment_id\":"
                         "\"x\"}"),
     GATEWAY_MISMATCH, ""},
    {"no metadata", "200 OK", JSON,
     INTENT("succeeded", "\"amount\":1999,\"currency\":\"eur\",\"metadata\":[]"), GATEWAY_MISMATCH,
     ""},
    {"processing", "200 OK", JSON, INTENT("processing", OURS), GATEWAY_RETRY, ""},
    {"held", "200 OK", JSON, INTENT("requires_capture", OURS), GATEWAY_RETRY, ""},
    {"a status from the future", "200 OK", JSON, INTENT("half_done", OURS), GATEWAY_RETRY, ""},
    {"needs the customer", "200 OK", JSON, INTENT("requires_action", OURS), GATEWAY_DECLINED, ""},
    {"declined in the intent", "200 OK", JSON,
     INTENT("requires_payment_method",
            OURS ",\"last_payment_error\":{\"type\":\"card_error\",\"code\":\"card_declined\","
                 "\"decline_code\":\"lost_card\"}"),
     GATEWAY_DECLINED, "lost_card"},
    {"another object", "200 OK", JSON,
     "{\"id\":\"ch_1\",\"object\":\"charge\",\"status\":\"succeeded\"," OURS "}", GATEWAY_RETRY,
     ""},
    {"no id", "200 OK", JSON, "{\"object\":\"payment_intent\",\"status\":\"succeeded\"," OURS "}",
     GATEWAY_RETRY, ""},
    {"an error with 200", "200 OK", JSON, FAILED("api_error", "x"), GATEWAY_RETRY, "x"},
    {"402", "402 Payment Required", JSON, FAILED("card_error", "card_declined"), GATEWAY_DECLINED,
     "card_declined"},
    {"400 on the token", "400 Bad Request", JSON,
     "{\"error\":{\"type\":\"invalid_request_error\",\"param\":\"payment_method\","
     "\"code\":\"resource_missing\"}}",
     GATEWAY_DECLINED, "resource_missing"},
    {"400 on anything else", "400 Bad Request", JSON,
     "{\"error\":{\"type\":\"invalid_request_error\",\"param\":\"amount\"}}", GATEWAY_REFUSED, ""},
    {"400 on what the order comes to", "400 Bad Request", JSON,
     "{\"error\":{\"type\":\"invalid_request_error\",\"param\":\"amount\","
     "\"code\":\"amount_too_small\"}}",
     GATEWAY_DECLINED, "amount_too_small"},
    {"400 without a reason", "400 Bad Request", "", "", GATEWAY_REFUSED, ""},
    {"400 to be retried", "400 Bad Request", JSON "Stripe-Should-Retry: true\r\n",
     FAILED("invalid_request_error", "x"), GATEWAY_RETRY, "x"},
    {"not to be retried", "409 Conflict", JSON "Stripe-Should-Retry: false\r\n",
     FAILED("idempotency_error", "x"), GATEWAY_RETRY, "x"},
    {"401", "401 Unauthorized", JSON, FAILED("invalid_request_error", "x"), GATEWAY_RETRY, "x"},
    {"409", "409 Conflict", JSON, FAILED("invalid_request_error", "lock_timeout"), GATEWAY_RETRY,
     "lock_timeout"},
    {"429", "429 Too Many Requests", JSON, FAILED("rate_limit_error", "rate_limit"), GATEWAY_RETRY,
     "rate_limit"},
    {"500", "500 Internal Server Error", JSON, FAILED("api_error", ""), GATEWAY_RETRY, ""},
    {"a proxy's 502", "502 Bad Gateway", "Content-Type: text/html\r\n", "<h1>Bad Gateway</h1>",
     GATEWAY_RETRY, ""},
    {"a redirect", "307 Temporary Redirect", JSON "Location: /elsewhere\r\n", "", GATEWAY_RETRY,
     ""},
    {"a redirect with an intent", "302 Found", JSON "Location: http://127.0.0.1:1/\r\n",
     INTENT("succeeded", OURS), GATEWAY_RETRY, ""},
    {"nothing", "200 OK", JSON, "", GATEWAY_RETRY, ""},
    {"garbage", "200 OK", JSON, "}{ \xff\xfe", GATEWAY_RETRY, ""},
    {"half of it", "200 OK", JSON, "{\"id\":\"pi_1\",\"object\":\"payment_intent\"", GATEWAY_RETRY,
     ""},
    {"more after it", "200 OK", JSON, INTENT("succeeded", OURS) "x", GATEWAY_RETRY, ""},
    {"no object", "200 OK", JSON, "[" INTENT("succeeded", OURS) "]", GATEWAY_RETRY, ""},
    {"types of another world", "200 OK", JSON,
     "{\"id\":1,\"object\":[\"payment_intent\"],\"status\":true,\"error\":null}", GATEWAY_RETRY,
     ""},
    {"a page", "200 OK", "Content-Type: text/html\r\n", INTENT("succeeded", OURS), GATEWAY_RETRY,
     ""},
    {"no type", "200 OK", "", INTENT("succeeded", OURS), GATEWAY_RETRY, ""},
    {"a status twice", "200 OK", JSON, INTENT("succeeded", "\"status\":\"succeeded\"," OURS),
     GATEWAY_RETRY, ""},
    {"labelled gzip", "200 OK", JSON "Content-Encoding: gzip\r\n", "\x1f\x8b\x08\x01\x02",
     GATEWAY_RETRY, ""},
    {"204", "204 No Content", "", "", GATEWAY_RETRY, ""},
};

Test(gateway_charge, each_answer_means_what_it_must)
{
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        const struct answer_case *c = &answers[i];
        AUTO_VALUE(script_release) struct script script;
        struct gateway_reply reply;

        script_init(&script, c->status, c->headers, c->body);
        call(CHARGE, &script, CALL_US, &reply);
        cr_expect(reply.answer.arrived, "%s: %s", c->name, reply.transport);
        cr_expect_eq(payment_judge(&reply.answer), c->outcome, "%s: %d, not %d", c->name,
                     (int)payment_judge(&reply.answer), (int)c->outcome);
        cr_expect_str_eq(reply.code, c->code, "%s: \"%s\"", c->name, reply.code);
        cr_expect_eq(reply.answer.status, strtol(c->status, NULL, 10), "%s", c->name);
        cr_expect_eq(strncmp(script.request, "POST /v1/payment_intents HTTP/1.1\r\n", 35), 0);
    }
}

Test(gateway_charge, sends_the_form_and_the_stored_key)
{
    static const char form[] =
        "\r\n\r\namount=1999&currency=eur&payment_method=pm_card_visa%26amount%3D1&confirm=true"
        "&payment_method_types[0]=card&metadata[order_id]=42&metadata[payment_id]=" PAYMENT;
    AUTO_VALUE(script_release) struct script script;
    struct gateway_reply reply;

    script_init(&script, "200 OK", JSON "Request-Id:   req_7 \t\r\n", INTENT("succeeded", OURS));
    call(CHARGE, &script, CALL_US, &reply);
    cr_expect_not_null(strstr(script.request, "\r\nIdempotency-Key: " KEY "\r\n"));
    cr_expect_null(strstr(script.request, REFUND_KEY));
    cr_expect_null(strcasestr(script.request, "\r\nExpect:"));
    cr_expect_null(strcasestr(script.request, "\r\nAccept-Encoding:"));
    cr_expect_str_eq(strstr(script.request, "\r\n\r\n"), form);
    cr_expect_str_eq(reply.request_id, "req_7");
    cr_expect_str_eq(reply.reference, "pi_1");
    cr_expect_str_eq(reply.intent_status, "succeeded");
}

Test(gateway_charge, waits_as_long_as_it_is_told_but_an_hour_at_most)
{
    static const struct {
        const char *header;
        int64_t seconds;
    } cases[] = {
        {"Retry-After: 7\r\n", 7},
        {"retry-after:7\r\n", 7},
        {"Retry-After: 3600\r\n", 3600},
        {"Retry-After: 3601\r\n", 0},
        {"Retry-After: 99999999999999999999999\r\n", 0},
        {"Retry-After: -5\r\n", 0},
        {"Retry-After: 7.5\r\n", 0},
        {"Retry-After: 0x10\r\n", 0},
        {"Retry-After:\r\n", 0},
        {"Retry-After: Fri, 31 Dec 2027 23:59:59 GMT\r\n", 0},
        {"X-Retry-After: 7\r\n", 0},
        {"Retry-After-That: 7\r\n", 0},
        {"", 0},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO_VALUE(script_release) struct script script;
        AUTO_VALUE(buf_release) struct buf headers;
        struct gateway_reply reply;

        buf_init(&headers, 1024);
        buf_addf(&headers, JSON "%s", cases[i].header);
        script_init(&script, "429 Too Many Requests", headers.data, FAILED("a", "b"));
        call(CHARGE, &script, CALL_US, &reply);
        cr_expect_eq(reply.retry_after_us, cases[i].seconds * US_PER_S, "%s", cases[i].header);
    }
}

Test(gateway_charge, long_texts_are_cut)
{
    AUTO_VALUE(script_release) struct script script;
    AUTO_VALUE(buf_release) struct buf body;
    struct gateway_reply reply;

    buf_init(&body, 64 * 1024);
    buf_add_str(&body, "{\"error\":{");
    for (int i = 0; i < 5; i++) {
        static const char *const members[] = {"type", "param", "code", "decline_code", "message"};

        buf_addf(&body, "%s\"%s\":\"", i > 0 ? "," : "", members[i]);
        for (int k = 0; k < 2000; k++)
            buf_add_char(&body, 'x');
        buf_add_char(&body, '"');
    }
    buf_add_str(&body, "}}");
    script_init(&script, "402 Payment Required", JSON, body.data);
    call(CHARGE, &script, CALL_US, &reply);
    cr_expect_eq(strlen(reply.message), sizeof reply.message - 1);
    cr_expect_eq(strlen(reply.code), sizeof reply.code - 1);
    cr_expect_eq(payment_judge(&reply.answer), GATEWAY_DECLINED);
}

/* ---- answers that do not come, or never end ---- */

static void expect_no_answer(const struct gateway_reply *reply)
{
    cr_expect_not(reply->answer.arrived);
    cr_expect_neq(reply->transport[0], '\0');
    cr_expect_not(reply->answer.is_readable);
    cr_expect_not(reply->is_found);
    cr_expect_eq(payment_judge(&reply->answer), GATEWAY_RETRY);
}

Test(gateway_charge, a_closed_connection_is_no_answer)
{
    for (enum way way = CHARGE; way <= REFUND; way++) {
        struct script script = {.hang = false};
        struct gateway_reply reply;

        call(way, &script, CALL_US, &reply);
        expect_no_answer(&reply);
    }
}

Test(gateway_charge, half_a_body_is_no_answer)
{
    for (enum way way = CHARGE; way <= REFUND; way++) {
        AUTO_VALUE(script_release) struct script script;
        struct gateway_reply reply;

        script_init(&script, "200 OK", JSON, INTENT("succeeded", OURS));
        script.close_gap = 1;
        call(way, &script, CALL_US, &reply);
        expect_no_answer(&reply);
    }
}

Test(gateway_charge, a_server_that_hangs_is_left_in_time)
{
    static const int64_t limits_us[] = {200 * US_PER_MS, US_PER_MS, 999, 0, -US_PER_S};

    for (size_t i = 0; i < COUNT_OF(limits_us); i++) {
        struct script script = {.hang = true};
        struct peer peer = {.serve = serve, .context = &script};
        struct gateway_reply reply;
        int64_t began_us = clock_mono_us();
        struct gateway *gateway;
        char url[64];

        peer_start(&peer);
        (void)snprintf(url, sizeof url, "http://127.0.0.1:%d", peer.port);
        gateway = open_gateway(url);
        gateway_charge(gateway, &charge, limits_us[i], &reply);
        gateway_close(gateway);
        cr_expect_lt(clock_mono_us() - began_us, 5 * US_PER_S, "%" PRId64 " us", limits_us[i]);
        expect_no_answer(&reply);
        peer_stop(&peer);
        cr_expect_leq(atomic_load(&script.requests), 1);
    }
}

Test(gateway_charge, a_body_that_is_too_long_is_no_answer)
{
    AUTO_VALUE(buf_release) struct buf body;

    buf_init(&body, 4 * 1024 * 1024);
    buf_add_str(&body, "{\"filler\":\"");
    while (body.len < 2 * 1024 * 1024)
        buf_add_str(&body,
                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    buf_add_str(&body, "\"," OURS "}");
    for (int announced = 0; announced < 2; announced++) {
        AUTO_VALUE(script_release) struct script script;
        struct gateway_reply reply;

        script_init(&script, "200 OK", JSON, body.data);
        if (!announced) {
            buf_clear(&script.head);
            buf_add_str(&script.head, "HTTP/1.1 200 OK\r\n" JSON "Connection: close\r\n\r\n");
        }
        call(CHARGE, &script, CALL_US, &reply);
        expect_no_answer(&reply);
    }
}

Test(gateway_charge, many_headers_do_no_harm)
{
    AUTO_VALUE(script_release) struct script script;
    AUTO_VALUE(buf_release) struct buf headers;
    struct gateway_reply reply;

    buf_init(&headers, 1024 * 1024);
    buf_add_str(&headers, JSON "Request-Id: ");
    for (int i = 0; i < 4000; i++)
        buf_add_char(&headers, 'r');
    buf_add_str(&headers, "\r\n");
    for (int i = 0; i < 2000; i++)
        buf_addf(&headers, "X-Filler-%d: %0100d\r\n", i, i);
    script_init(&script, "200 OK", headers.data, INTENT("succeeded", OURS));
    call(CHARGE, &script, CALL_US, &reply);
    cr_expect_eq(strlen(reply.request_id), reply.answer.arrived ? sizeof reply.request_id - 1 : 0);
    cr_expect_eq(payment_judge(&reply.answer),
                 reply.answer.arrived ? GATEWAY_SUCCEEDED : GATEWAY_RETRY);
}

Test(gateway_charge, a_port_where_nobody_listens_is_no_answer)
{
    struct peer peer = {.serve = serve};
    struct gateway_reply reply;
    struct gateway *gateway;
    char url[64];

    peer_start(&peer);
    peer_stop(&peer);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d", peer.port);
    gateway = open_gateway(url);
    gateway_charge(gateway, &charge, CALL_US, &reply);
    gateway_close(gateway);
    expect_no_answer(&reply);
    gateway_close(NULL);
}

/* ---- looking up ---- */

#define LIST(data) "{\"object\":\"search_result\",\"data\":[" data "]}"

Test(gateway_find, asks_by_our_id_and_charges_nothing)
{
    AUTO_VALUE(script_release) struct script script;
    struct gateway_reply reply;

    script_init(&script, "200 OK", JSON, LIST(INTENT("succeeded", OURS)));
    call(FIND, &script, CALL_US, &reply);
    cr_expect_eq(
        strncmp(script.request,
                "GET /v1/payment_intents/search?query=metadata%5B%27payment_id%27%5D%3A%27" PAYMENT
                "%27 HTTP/1.1\r\n",
                122),
        0, "%s", script.request);
    cr_expect_null(strcasestr(script.request, "Idempotency-Key"));
    cr_expect_null(strcasestr(script.request, "Content-Length"));
    cr_expect(reply.is_found);
    cr_expect_str_eq(reply.reference, "pi_1");
    cr_expect_eq(payment_judge(&reply.answer), GATEWAY_SUCCEEDED);
}

Test(gateway_find, tells_what_is_there)
{
    static const struct {
        const char *body;
        bool is_readable;
        bool is_found;
        enum gateway_outcome outcome; /* when found */
    } cases[] = {
        {LIST(""), true, false, GATEWAY_RETRY},
        {LIST(INTENT("processing", OURS)), true, true, GATEWAY_RETRY},
        {LIST(INTENT("canceled", OURS)), true, true, GATEWAY_DECLINED},
        {LIST(INTENT("succeeded", "\"amount\":1")), true, true, GATEWAY_MISMATCH},
        {LIST(INTENT("canceled", OURS) "," INTENT("succeeded", OURS)), true, true,
         GATEWAY_SUCCEEDED},
        {LIST(INTENT("succeeded", OURS) "," INTENT("canceled", OURS)), true, true,
         GATEWAY_SUCCEEDED},
        {LIST("7"), false, true, GATEWAY_RETRY},
        {"{\"data\":{}}", false, false, GATEWAY_RETRY},
        {"{}", false, false, GATEWAY_RETRY},
        {"[]", false, false, GATEWAY_RETRY},
        {"", false, false, GATEWAY_RETRY},
        {FAILED("api_error", "x"), false, false, GATEWAY_RETRY},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO_VALUE(script_release) struct script script;
        struct gateway_reply reply;

        script_init(&script, "200 OK", JSON, cases[i].body);
        call(FIND, &script, CALL_US, &reply);
        cr_expect_eq(reply.answer.is_readable, cases[i].is_readable, "%s", cases[i].body);
        cr_expect_eq(reply.is_found, cases[i].is_found, "%s", cases[i].body);
        if (cases[i].is_found)
            cr_expect_eq(payment_judge(&reply.answer), cases[i].outcome, "%s", cases[i].body);
    }
}

/* ---- refunds ---- */

Test(gateway_refund, sends_its_own_key)
{
    AUTO_VALUE(script_release) struct script script;
    struct gateway_reply reply;

    script_init(&script, "200 OK", JSON,
                "{\"id\":\"re_1\",\"object\":\"refund\",\"status\":\"succeeded\"}");
    call(REFUND, &script, CALL_US, &reply);
    cr_expect_eq(strncmp(script.request, "POST /v1/refunds HTTP/1.1\r\n", 27), 0);
    cr_expect_not_null(strstr(script.request, "\r\nIdempotency-Key: " REFUND_KEY "\r\n"));
    cr_expect_str_eq(strstr(script.request, "\r\n\r\n"),
                     "\r\n\r\npayment_intent=pi_1&metadata[payment_id]=" PAYMENT);
    cr_expect(reply.answer.is_readable);
    cr_expect_str_eq(reply.intent_status, "succeeded");
}

Test(gateway_refund, another_object_is_not_readable)
{
    static const char *const bodies[] = {"", "{}", "[]", INTENT("succeeded", OURS),
                                         FAILED("invalid_request_error", "charge_disputed")};

    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        AUTO_VALUE(script_release) struct script script;
        struct gateway_reply reply;

        script_init(&script, "200 OK", JSON, bodies[i]);
        call(REFUND, &script, CALL_US, &reply);
        cr_expect_not(reply.answer.is_readable, "%s", bodies[i]);
    }
}
