/* SPDX-License-Identifier: MIT
 *
 * Every setting of every program, from one table in conf.c. A value is taken from the first that
 * has it: flag, environment, file (--config, in systemd's EnvironmentFile form), default. A secret
 * may also come from a file named by NAME_FILE, and never from a flag.
 *
 * The struct is filled once at the start and is read-only afterwards; its strings belong to it.
 */
#ifndef COMMON_CONF_H
#define COMMON_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/log.h"

/* A program asks only for the settings it uses; the others may be absent. */
enum program {
    PROGRAM_API = 1 << 0,
    PROGRAM_WORKER = 1 << 1,
    PROGRAM_SCHEDULER = 1 << 2,
    PROGRAM_DASHBOARD = 1 << 3,
    PROGRAM_CLI = 1 << 4,
};

struct conf {
    char *database_url;
    char *database_replica_url; /* "": none */
    char *redis_url;
    char *smtp_url;
    char *smtp_ca_file; /* "": the machine's own authorities */
    char *mail_from;
    char *gateway_url;
    char *gateway_ca_file; /* as smtp_ca_file */
    char *gateway_secret_key;
    char *gateway_webhook_secret;
    char *jwt_secret;
    char *jwt_secret_previous; /* "": none */
    char *log_level;
    char *log_format;
    char *api_listen;
    char *cors_origins;
    char *dashboard_listen;
    char *dashboard_auth;
    char *dashboard_users;
    char *path_prefix;
    char *queues;
    char *schedules_file;
    char *time_zone;
    int64_t admission_database_ms;
    int64_t admission_seconds;
    int64_t api_cache_mib;
    int64_t api_connections;
    int64_t api_lookup_ms;
    int64_t api_threads;
    int64_t rate_address;
    int64_t replica_lag_ms;
    int64_t rate_user;
    int64_t dashboard_threads;
    int64_t dashboard_read_only;
    int64_t worker_processes;
    int64_t worker_concurrency;
    int64_t worker_prefetch;
    int64_t worker_autoscale_min;
    int64_t worker_autoscale_max; /* 0: no autoscaling */
    int64_t worker_autoscale_seconds;
    int64_t worker_max_bytes; /* 0: no limit */
    int64_t worker_max_jobs;  /* likewise */
    int64_t worker_events;
    int64_t lease_seconds;
    int64_t shutdown_seconds;
    int64_t heal_seconds;
    int64_t search_index;
    int64_t retry_base_ms;
    int64_t order_expire_minutes;
    int64_t reconcile_minutes;
    int64_t retry_max_seconds;
    int64_t retention_seconds;
    int64_t dead_retention_seconds;
    int64_t audit_retention_seconds;
    int64_t event_retention_seconds;
};

/* What the command line asked for besides settings. */
struct conf_request {
    bool check; /* --check: validate and exit */
    bool help;  /* --help */
    bool version;
    int argc; /* what is left after the settings, argv[0] included; borrowed from argv */
    char **argv;
};

/* Reads flags, environment and file. Unknown TILL_* names, bad values and missing settings are
 * ERR_INVALID with a text that names the setting and its source. */
enum err_code conf_load(struct conf *conf, enum program program, int argc, char **argv,
                        struct conf_request *ret_request, struct err *e) MUST_CHECK;

/* The rules that conf_load() ends with: what a type and a range cannot say. */
enum err_code conf_check(const struct conf *conf, enum program program, struct err *e) MUST_CHECK;

void conf_release(struct conf *conf); /* wipes secrets */

/* The table of the settings that `program` reads, for --help. */
void conf_print_help(enum program program, FILE *out);

/* An object of the settings that `program` reads, with their values; secrets are left out. */
void conf_add_json(const struct conf *conf, enum program program, struct buf *out);

/* Every setting in the form of the sample file etc/till.env, so that a check can compare them. */
void conf_print_sample(FILE *out);

/* The same with what each is for, an object a line: name, default (or null), secret, help. */
void conf_print_json(FILE *out);

#endif
