/* SPDX-License-Identifier: MIT
 *
 * The gateway's client; see gateway.h. Holds one CURL handle, made at the first call. Bodies are
 * bounded, secrets are wiped, and nothing of an answer but the facts leaves this file.
 */
#include "worker/gateway.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/job_headers.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/money.h"
#include "common/program.h"
#include "common/text.h"
#include "common/trace.h"

enum {
    GATEWAY_BODY_MAX = 1024 * 1024,
    GATEWAY_CONNECT_MS = 3000,
    GATEWAY_RETRY_AFTER_MAX_S = 3600,
};

struct gateway {
    CURL *curl; /* NULL until the first call */
    char *url;
    char *ca_file;       /* "": the machine's */
    char *authorization; /* header line */
    bool has_trace;
    struct trace trace;
    const json_t *headers;        /* of the job, borrowed, or NULL */
    char reason[CURL_ERROR_SIZE]; /* of the last call that failed */
};

/* What one call sends. */
struct call {
    const char *path;
    const char *form; /* body of a POST, or NULL for a GET */
    const char *key;  /* Idempotency-Key, or NULL */
    int64_t timeout_us;
};

void gateway_global_init(void) { (void)curl_global_init(CURL_GLOBAL_DEFAULT); }

struct gateway *gateway_open(const struct gateway_place *place)
{
    struct gateway *gateway = mem_alloc(sizeof *gateway);
    AUTO_VALUE(buf_release) struct buf line;
    size_t len = strlen(place->url);

    buf_init(&line, 4096);
    buf_addf(&line, "Authorization: Bearer %s", place->secret_key);
    gateway->authorization = buf_take(&line);
    gateway->url = mem_dup_n(place->url, len > 0 && place->url[len - 1] == '/' ? len - 1 : len);
    gateway->ca_file = mem_dup(place->ca_file);
    return gateway;
}

void gateway_close(struct gateway *gateway)
{
    if (!gateway)
        return;
    if (gateway->curl)
        curl_easy_cleanup(gateway->curl);
    mem_wipe_free(gateway->authorization);
    mem_free(gateway->url);
    mem_free(gateway->ca_file);
    mem_free(gateway);
}

void gateway_set_trace(struct gateway *gateway, const char *traceparent)
{
    gateway->has_trace = traceparent && trace_parse(traceparent, &gateway->trace);
}

void gateway_set_headers(struct gateway *gateway, const json_t *headers)
{
    gateway->headers = headers;
}

/* ---- what comes back ---- */

static size_t take_body(char *data, size_t size, size_t count, void *context)
{
    struct buf *body = context;

    buf_add(body, data, size * count);
    return body->overflow ? 0 : size * count; /* 0 makes libcurl give up */
}

/* "Name: value\r\n" of the wanted name: its value, trimmed, into out. */
static void copy_header(const char *line, size_t len, const char *name, char *out, size_t size)
{
    size_t name_len = strlen(name);

    if (len <= name_len || line[name_len] != ':' || strncasecmp(line, name, name_len) != 0)
        return;
    line += name_len + 1;
    len -= name_len + 1;
    while (len > 0 && (*line == ' ' || *line == '\t')) {
        line++;
        len--;
    }
    while (len > 0 && strchr(" \t\r\n", line[len - 1]))
        len--;
    (void)snprintf(out, size, "%.*s", (int)len, line);
}

static size_t take_header(char *data, size_t size, size_t count, void *context)
{
    struct gateway_reply *reply = context;
    size_t len = size * count;
    char text[32] = "";
    int64_t seconds;

    copy_header(data, len, "Request-Id", reply->request_id, sizeof reply->request_id);
    copy_header(data, len, "Stripe-Should-Retry", text, sizeof text);
    if (strcmp(text, "true") == 0)
        reply->answer.should_retry = true;
    text[0] = '\0';
    copy_header(data, len, "Retry-After", text, sizeof text);
    if (*text && text_to_int(text, 0, GATEWAY_RETRY_AFTER_MAX_S, &seconds))
        reply->retry_after_us = seconds * US_PER_S;
    return len;
}

static void copy_member(const json_t *object, const char *key, char *out, size_t size)
{
    const char *text = json_member_text(object, key);

    if (text)
        (void)snprintf(out, size, "%s", text);
}

static void read_error(const json_t *error, struct gateway_reply *reply)
{
    copy_member(error, "type", reply->error_type, sizeof reply->error_type);
    copy_member(error, "param", reply->error_param, sizeof reply->error_param);
    copy_member(error, "code", reply->code, sizeof reply->code);
    copy_member(error, "decline_code", reply->code, sizeof reply->code);
    copy_member(error, "message", reply->message, sizeof reply->message);
    copy_member(json_object_get(error, "payment_intent"), "id", reply->reference,
                sizeof reply->reference);
}

/* Whether the intent is the one we asked for: amount, currency and our own id. */
static bool is_ours(const json_t *intent, const struct charge *charge)
{
    const json_t *amount = json_object_get(intent, "amount");
    const char *currency = json_member_text(intent, "currency");
    const char *payment = json_member_text(json_object_get(intent, "metadata"), "payment_id");

    return json_is_integer(amount) && json_integer_value(amount) == charge->amount && currency &&
           strcmp(currency, charge->currency) == 0 && payment &&
           strcmp(payment, charge->payment.text) == 0;
}

static void read_intent(const json_t *intent, const struct charge *charge,
                        struct gateway_reply *reply)
{
    const char *object = json_member_text(intent, "object");

    copy_member(intent, "id", reply->reference, sizeof reply->reference);
    copy_member(intent, "status", reply->intent_status, sizeof reply->intent_status);
    reply->answer.is_readable = object && strcmp(object, "payment_intent") == 0 &&
                                *reply->reference && *reply->intent_status;
    reply->answer.matches = is_ours(intent, charge);
    if (strcmp(reply->intent_status, "succeeded") != 0)
        read_error(json_object_get(intent, "last_payment_error"), reply);
}

/* ---- sending ---- */

static void set_safe_options(CURL *curl, const char *url)
{
    const char *protocols = text_starts(url, "http://") ? "http" : "https";

    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, protocols);
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXFILESIZE, (long)GATEWAY_BODY_MAX);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)GATEWAY_CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "Till/" TILL_VERSION);
}

static void slist_free(struct curl_slist **list) { curl_slist_free_all(*list); }

static struct curl_slist *add_headers(struct curl_slist *list, const json_t *headers)
{
    char line[JOB_HEADER_OUT_NAME + JOB_HEADER_OUT_VALUE + 4];
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)headers, name, value)
    {
        if (text_format(line, sizeof line, "%s: %s", name, json_string_value(value)))
            list = curl_slist_append(list, line);
    }
    return list;
}

static CURLcode perform(struct gateway *gateway, const struct call *call, struct buf *body,
                        struct gateway_reply *reply)
{
    AUTO_VALUE(slist_free) struct curl_slist *headers = NULL;
    AUTO_VALUE(buf_release) struct buf url;
    char key[64];
    char text[TRACE_TEXT_SIZE];
    char traceparent[TRACE_TEXT_SIZE + 16];

    buf_init(&url, 4096);
    buf_addf(&url, "%s%s", gateway->url, call->path);
    headers = curl_slist_append(headers, gateway->authorization);
    headers = curl_slist_append(headers, "Expect:");
    if (call->key) {
        (void)snprintf(key, sizeof key, "Idempotency-Key: %s", call->key);
        headers = curl_slist_append(headers, key);
    }
    if (gateway->has_trace) {
        struct trace span = trace_child(&gateway->trace);

        trace_format(&span, text);
        (void)snprintf(traceparent, sizeof traceparent, "traceparent: %s", text);
        headers = curl_slist_append(headers, traceparent);
    }
    headers = add_headers(headers, gateway->headers);
    set_safe_options(gateway->curl, gateway->url);
    if (*gateway->ca_file) {
        curl_easy_setopt(gateway->curl, CURLOPT_CAINFO, gateway->ca_file);
        curl_easy_setopt(gateway->curl, CURLOPT_CAPATH, NULL);
    }
    curl_easy_setopt(gateway->curl, CURLOPT_ERRORBUFFER, gateway->reason);
    curl_easy_setopt(gateway->curl, CURLOPT_URL, url.data);
    curl_easy_setopt(gateway->curl, CURLOPT_HTTPHEADER, headers);
    /* 0 would mean no limit at all. */
    curl_easy_setopt(gateway->curl, CURLOPT_TIMEOUT_MS,
                     call->timeout_us > US_PER_MS ? (long)(call->timeout_us / US_PER_MS) : 1L);
    curl_easy_setopt(gateway->curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(gateway->curl, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(gateway->curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(gateway->curl, CURLOPT_HEADERDATA, reply);
    if (call->form)
        curl_easy_setopt(gateway->curl, CURLOPT_POSTFIELDS, call->form);
    return curl_easy_perform(gateway->curl);
}

/* Something else than the gateway may have answered: a proxy's page says nothing about a charge. */
static bool is_json(CURL *curl)
{
    const char *type = NULL;

    return curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type &&
           strncasecmp(type, "application/json", 16) == 0;
}

/* Not one byte of the request went out, so nothing was charged: then whoever runs this can do
 * something about it, which this tells. NULL: it went out, or may have. */
static const char *unsent_because(CURL *curl, CURLcode code)
{
    long sent = 0;

    if (curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &sent) != CURLE_OK || sent != 0)
        return NULL;
    if (code == CURLE_COULDNT_RESOLVE_HOST)
        return "its name is not found: see GATEWAY_URL";
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT)
        return "it is not reachable: see GATEWAY_URL";
    if (code == CURLE_PEER_FAILED_VERIFICATION)
        return "its certificate is not valid: see GATEWAY_URL, GATEWAY_CA_FILE and the clock";
    if (code == CURLE_SSL_CONNECT_ERROR)
        return "the TLS handshake failed: it must speak TLS 1.2 or later";
    if (code == CURLE_SSL_CACERT_BADFILE)
        return "GATEWAY_CA_FILE cannot be read";
    return NULL;
}

static void note_failure(const struct gateway *gateway, CURLcode code, struct gateway_reply *reply)
{
    const char *reason = *gateway->reason ? gateway->reason : curl_easy_strerror(code);

    (void)snprintf(reply->transport, sizeof reply->transport, "%s", reason);
    reply->unsent = unsent_because(gateway->curl, code);
}

/* One exchange. Gives the JSON of the answer (owned), or NULL; `reply` has the rest. */
static json_t *exchange(struct gateway *gateway, const struct call *call,
                        struct gateway_reply *reply)
{
    AUTO_VALUE(buf_release) struct buf body;
    json_t *json = NULL;
    CURLcode code;

    memset(reply, 0, sizeof *reply);
    reply->answer.intent_status = reply->intent_status;
    reply->answer.error_type = reply->error_type;
    reply->answer.error_param = reply->error_param;
    reply->answer.error_code = reply->code;
    buf_init(&body, GATEWAY_BODY_MAX);
    gateway->reason[0] = '\0';
    if (!gateway->curl)
        gateway->curl = curl_easy_init();
    if (!gateway->curl) {
        (void)snprintf(reply->transport, sizeof reply->transport, "out of memory");
        return NULL;
    }
    code = perform(gateway, call, &body, reply);
    if (code != CURLE_OK) {
        note_failure(gateway, code, reply);
        return NULL;
    }
    reply->answer.arrived = true;
    (void)curl_easy_getinfo(gateway->curl, CURLINFO_RESPONSE_CODE, &reply->answer.status);
    if (!is_json(gateway->curl) || json_read(body.data, body.len, GATEWAY_BODY_MAX, &json, NULL))
        return NULL;
    read_error(json_object_get(json, "error"), reply);
    return json;
}

static void add_escaped(struct buf *form, const char *name, const char *value)
{
    char *escaped = curl_easy_escape(NULL, value, 0);

    buf_addf(form, "%s%s=%s", form->len ? "&" : "", name, escaped ? escaped : "");
    curl_free(escaped);
}

void gateway_charge(struct gateway *gateway, const struct charge *charge, int64_t timeout_us,
                    struct gateway_reply *reply)
{
    AUTO_VALUE(buf_release) struct buf form;
    AUTO(json_decref) json_t *json = NULL;
    struct call call = {.path = "/v1/payment_intents", .timeout_us = timeout_us};

    buf_init(&form, 8192);
    buf_addf(&form, "amount=%" PRId64, charge->amount);
    add_escaped(&form, "currency", charge->currency);
    add_escaped(&form, "payment_method", charge->token);
    buf_addf(&form, "&confirm=true&payment_method_types[0]=card");
    buf_addf(&form, "&metadata[order_id]=%" PRId64, charge->order_id);
    add_escaped(&form, "metadata[payment_id]", charge->payment.text);
    call.form = form.data;
    call.key = charge->key.text;
    json = exchange(gateway, &call, reply);
    if (json && !json_object_get(json, "error"))
        read_intent(json, charge, reply);
}

/* Of several intents, the one that took the money, else one that may still take it. */
static const json_t *choose_intent(const json_t *list)
{
    static const char *const urgent[] = {"succeeded", "processing", "requires_capture"};
    const json_t *intent;
    size_t i;

    for (size_t k = 0; k < COUNT_OF(urgent); k++) {
        json_array_foreach(list, i, intent)
        {
            const char *status = json_member_text(intent, "status");

            if (status && strcmp(status, urgent[k]) == 0)
                return intent;
        }
    }
    return json_array_get(list, 0);
}

void gateway_find(struct gateway *gateway, const struct charge *charge, int64_t timeout_us,
                  struct gateway_reply *reply)
{
    AUTO_VALUE(buf_release) struct buf path;
    AUTO(json_decref) json_t *json = NULL;
    struct call call = {.timeout_us = timeout_us};
    char query[96];
    const json_t *list;
    const json_t *intent;

    (void)snprintf(query, sizeof query, "metadata['payment_id']:'%s'", charge->payment.text);
    buf_init(&path, 1024);
    add_escaped(&path, "query", query);
    {
        AUTO(mem_free) char *parameters = buf_take(&path);

        buf_addf(&path, "/v1/payment_intents/search?%s", parameters);
    }
    call.path = path.data;
    json = exchange(gateway, &call, reply);
    list = json_object_get(json, "data");
    reply->answer.is_readable = json_is_array(list);
    intent = choose_intent(list);
    reply->is_found = intent != NULL;
    if (intent)
        read_intent(intent, charge, reply);
}

/* What was given back, or is on its way. */
static int64_t sum_refunds(const json_t *list)
{
    const json_t *refund;
    int64_t sum = 0;
    size_t i;

    json_array_foreach(list, i, refund)
    {
        const char *status = json_member_text(refund, "status");
        int64_t amount = json_integer_value(json_object_get(refund, "amount"));

        if (status && (strcmp(status, "succeeded") == 0 || strcmp(status, "pending") == 0) &&
            amount > 0 && amount <= MONEY_MAX)
            sum += amount;
    }
    return sum;
}

void gateway_find_refund(struct gateway *gateway, const struct charge *charge, int64_t timeout_us,
                         struct gateway_reply *reply)
{
    AUTO_VALUE(buf_release) struct buf path;
    AUTO(json_decref) json_t *json = NULL;
    struct call call = {.timeout_us = timeout_us};
    const json_t *list;

    buf_init(&path, 1024);
    buf_add_str(&path, "/v1/refunds?limit=100");
    add_escaped(&path, "payment_intent", charge->reference);
    call.path = path.data;
    json = exchange(gateway, &call, reply);
    list = json_object_get(json, "data");
    reply->answer.is_readable = json_is_array(list);
    reply->is_found = reply->answer.is_readable && sum_refunds(list) >= charge->amount;
}

void gateway_refund(struct gateway *gateway, const struct charge *charge, int64_t timeout_us,
                    struct gateway_reply *reply)
{
    AUTO_VALUE(buf_release) struct buf form;
    AUTO(json_decref) json_t *json = NULL;
    struct call call = {.path = "/v1/refunds", .timeout_us = timeout_us};
    const char *object;

    buf_init(&form, 1024);
    add_escaped(&form, "payment_intent", charge->reference);
    add_escaped(&form, "metadata[payment_id]", charge->payment.text);
    call.form = form.data;
    call.key = charge->refund_key.text;
    json = exchange(gateway, &call, reply);
    object = json_member_text(json, "object");
    copy_member(json, "status", reply->intent_status, sizeof reply->intent_status);
    reply->answer.is_readable = object && strcmp(object, "refund") == 0;
}
