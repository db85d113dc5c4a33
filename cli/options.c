/* SPDX-License-Identifier: MIT
 *
 * Reading the options of `till enqueue`; see options.h. What they may say is judged by
 * job_options_check(), as for every producer.
 */
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/job_options.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/text.h"

enum { SECONDS_MAX = 10 * 366 * 86400 };

bool read_seconds(const char *text, int64_t *ret_us)
{
    int64_t number;

    if (text_to_int(text, 0, SECONDS_MAX, &number))
        *ret_us = number * US_PER_S;
    else if (text_to_ms(text, SECONDS_MAX * INT64_C(1000), &number))
        *ret_us = number * US_PER_MS;
    else
        return false;
    return true;
}

/* NAME=VALUE as a member; a name that comes twice is refused. */
static int add_header(json_t *headers, const char *text)
{
    const char *equals = strchr(text, '=');
    AUTO(mem_free) char *name = mem_dup_n(text, equals ? (size_t)(equals - text) : 0);

    if (!equals || !*name)
        return cli_usage("--header is NAME=VALUE, not \"%.60s\"", text);
    if (json_object_get(headers, name))
        return cli_usage("--header %.60s is given twice", name);
    if (json_object_set_new(headers, name, json_string(equals + 1)) < 0)
        return cli_usage("the value of --header %.60s is not UTF-8", name);
    return EXIT_DONE;
}

static int read_headers(struct cli *cli, char **ret_headers)
{
    static const struct {
        const char *option;
        const char *header;
    } limits[] = {{"time-limit", JOB_HEADER_TIME_LIMIT},
                  {"soft-time-limit", JOB_HEADER_SOFT_TIME_LIMIT}};
    AUTO(json_decref) json_t *headers = json_object();
    const char *text;

    while ((text = cli_option(cli, "header")) != NULL) {
        int code = add_header(headers, text);

        if (code != EXIT_DONE)
            return code;
    }
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        text = cli_option(cli, limits[i].option);
        if (text && json_object_get(headers, limits[i].header))
            return cli_usage("--%s and --header %s= say the same", limits[i].option,
                             limits[i].header);
        if (text)
            (void)json_object_set_new(headers, limits[i].header, json_string(text));
    }
    *ret_headers = json_object_size(headers) > 0 ? json_write(headers) : NULL;
    return EXIT_DONE;
}

static int read_duration(struct cli *cli, const char *name, int64_t *ret_seconds)
{
    const char *text = cli_option(cli, name);

    if (text && !text_to_int(text, 1, JOB_DURATION_MAX_S, ret_seconds))
        return cli_usage("--%s is a number of seconds from 1 to %d", name, JOB_DURATION_MAX_S);
    return EXIT_DONE;
}

/* Seconds from now, or a time. */
static int read_expiry(struct cli *cli, struct job_new *job, bool *ret_expires_in)
{
    const char *text = cli_option(cli, "expires");
    int64_t us;

    if (!text)
        return EXIT_DONE;
    *ret_expires_in = read_seconds(text, &us);
    if (*ret_expires_in)
        job->expires_us = clock_wall_us() + us;
    else if (!clock_parse(text, &job->expires_us))
        return cli_usage("--expires is a number of seconds up to ten years, such as 90 or 0.5, or "
                         "a time such as 2026-12-24T18:00:00Z");
    return EXIT_DONE;
}

static int read_unique(struct cli *cli, struct job_new *job)
{
    const char *conflict = cli_option(cli, "on-conflict");
    int code = read_duration(cli, "unique-ttl", &job->unique_ttl_s);

    job->unique_key = cli_option(cli, "unique");
    if (code != EXIT_DONE)
        return code;
    if (conflict && !job_conflict_parse(conflict, &job->on_conflict))
        return cli_usage("--on-conflict is keep, replace or refuse");
    if (!job->unique_key && (conflict || job->unique_ttl_s))
        return cli_usage("--unique-ttl and --on-conflict belong to --unique");
    return EXIT_DONE;
}

int read_options(struct cli *cli, struct job_new *job, char **ret_headers, bool *ret_expires_in)
{
    AUTO(mem_free) char *headers = NULL;
    struct err e = {0};
    int code = read_headers(cli, &headers);

    job->headers = headers;
    job->traceparent = cli_option(cli, "traceparent");
    job->limit_key = cli_option(cli, "limit-key");
    if (code == EXIT_DONE)
        code = read_duration(cli, "retention", &job->retention_s);
    if (code == EXIT_DONE)
        code = read_expiry(cli, job, ret_expires_in);
    if (code == EXIT_DONE)
        code = read_unique(cli, job);
    if (code != EXIT_DONE)
        return code;
    if (job_options_check(job, &e))
        return cli_usage("%s", e.text);
    *ret_headers = TAKE(headers);
    return EXIT_DONE;
}
