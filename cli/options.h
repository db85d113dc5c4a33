/* SPDX-License-Identifier: MIT
 *
 * The options of `till enqueue` that say how a job is to be treated: unique key, expiry, headers,
 * trace, retention, limits.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "cli/cli.h"
#include "common/jobs.h"

#define OPTIONS_USAGE                                                                              \
    " [--expires S|T] [--unique KEY [--unique-ttl S] [--on-conflict keep|replace|refuse]]"         \
    " [--header NAME=VALUE]... [--traceparent TRACE] [--retention S]"                              \
    " [--limit-key KEY] [--time-limit S] [--soft-time-limit S]"

/* Whole seconds, or with up to three digits behind the point; up to ten years. */
bool read_seconds(const char *text, int64_t *ret_us);

/* Takes them out of the words into `job`, which has its scheduled_us. `ret_headers` gets the text
 * that job->headers points to, to be freed by the caller (mem_free()); NULL without headers.
 * `ret_expires_in`: job->expires_us was told as seconds, and is by this machine's clock. An exit
 * code. */
int read_options(struct cli *cli, struct job_new *job, char **ret_headers, bool *ret_expires_in);

#endif
