/* SPDX-License-Identifier: MIT
 *
 * The table of settings and where their values come from; see conf.h. Adding a setting is one row
 * here, one member in struct conf, and its paragraph in etc/till.env (a check compares them).
 */
#include "common/conf.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/conf_source.h"
#include "common/mem.h"
#include "common/text.h"

extern char **environ;

#define ALL (PROGRAM_API | PROGRAM_WORKER | PROGRAM_SCHEDULER | PROGRAM_DASHBOARD | PROGRAM_CLI)
#define DAEMONS (ALL & ~PROGRAM_CLI)

enum setting_type { SETTING_TEXT, SETTING_INT };

struct setting {
    const char *key;
    const char *flag; /* without "--"; NULL: may not be given on a command line */
    enum setting_type type;
    size_t offset;        /* of the member in struct conf */
    const char *fallback; /* NULL: the programs in `users` cannot start without it */
    int64_t min;
    int64_t max;
    bool secret;    /* also read from KEY_FILE; never printed; wiped */
    unsigned users; /* programs that read it */
    const char *help;
};

#define TEXT(member) SETTING_TEXT, offsetof(struct conf, member)
#define INT(member) SETTING_INT, offsetof(struct conf, member)

/* Sorted by key. */
static const struct setting settings[] = {
    {"DATABASE_REPLICA_URL", NULL, TEXT(database_replica_url), "", 0, 0, true, PROGRAM_API,
     "a streaming standby of DATABASE_URL, for reads that may lag; empty: none"},
    {"DATABASE_URL", "database-url", TEXT(database_url), NULL, 0, 0, true, ALL,
     "PostgreSQL, as libpq reads it: postgresql://user:password@host:port/database"},
    {"GATEWAY_CA_FILE", "gateway-ca-file", TEXT(gateway_ca_file), "", 0, 0, false, PROGRAM_WORKER,
     "PEM file of the authorities that vouch for the gateway; empty: those of this machine"},
    {"GATEWAY_SECRET_KEY", NULL, TEXT(gateway_secret_key), NULL, 0, 0, true, PROGRAM_WORKER,
     "secret key of the payment gateway (sk_...)"},
    {"GATEWAY_URL", "gateway-url", TEXT(gateway_url), "https://api.stripe.com", 0, 0, false,
     PROGRAM_WORKER, "payment gateway that speaks Stripe's API; http:// on this machine alone"},
    {"GATEWAY_WEBHOOK_SECRET", NULL, TEXT(gateway_webhook_secret), "", 0, 0, true, PROGRAM_API,
     "signing secret of the gateway's webhooks (whsec_...); empty: they are refused"},
    {"JWT_SECRET", NULL, TEXT(jwt_secret), NULL, 0, 0, true, PROGRAM_API,
     "key of the access and refresh tokens, 32 bytes or more"},
    {"JWT_SECRET_PREVIOUS", NULL, TEXT(jwt_secret_previous), "", 0, 0, true, PROGRAM_API,
     "another key whose tokens are good, while JWT_SECRET is changed; empty: none"},
    {"LOG_FORMAT", "log-format", TEXT(log_format), "json", 0, 0, false, ALL,
     "json (one object a line) or text"},
    {"LOG_LEVEL", "log-level", TEXT(log_level), "info", 0, 0, false, ALL,
     "debug, info, warn or error"},
    {"MAIL_FROM", "mail-from", TEXT(mail_from), "Till shop <shop@localhost>", 0, 0, false,
     PROGRAM_WORKER, "sender of the shop's mail"},
    {"PATH_PREFIX", "path-prefix", TEXT(path_prefix), "", 0, 0, false, PROGRAM_DASHBOARD,
     "path below which a proxy shows the dashboard, such as /till"},
    {"REDIS_URL", "redis-url", TEXT(redis_url), "redis://127.0.0.1:6379/0", 0, 0, true, ALL,
     "redis://[user:password@]host:port/db or unix://[user:password@]/path[?db=n]"},
    {"SMTP_CA_FILE", "smtp-ca-file", TEXT(smtp_ca_file), "", 0, 0, false, PROGRAM_WORKER,
     "PEM file of the authorities that vouch for the mail server; empty: those of this machine"},
    {"SMTP_URL", "smtp-url", TEXT(smtp_url), "smtp://127.0.0.1:25", 0, 0, true, PROGRAM_WORKER,
     "mail server: smtp://host:port, or smtps://[user:password@]host:port with STARTTLS"},
    {"TILL_ADMISSION_DATABASE_MS", "admission-database-ms", INT(admission_database_ms), "5000", 0,
     60000, false, PROGRAM_API,
     "no new checkouts while the database takes longer than this for a look-up; 0: always"},
    {"TILL_ADMISSION_SECONDS", "admission-seconds", INT(admission_seconds), "300", 0, 86400, false,
     PROGRAM_API, "no new checkouts while a payment has waited longer than this; 0: always"},
    {"TILL_API_CACHE_MIB", "api-cache-mib", INT(api_cache_mib), "16", 0, 4096, false, PROGRAM_API,
     "memory for answers about the catalogue; 0: they are kept in Redis alone"},
    {"TILL_API_CONNECTIONS", "api-connections", INT(api_connections), "16", 1, 512, false,
     PROGRAM_API, "connections to the database, and as many to Redis, that requests share"},
    {"TILL_API_LISTEN", "api-listen", TEXT(api_listen), "127.0.0.1:8000", 0, 0, false, PROGRAM_API,
     "address and port of the REST API; port 0 takes a free one"},
    {"TILL_API_LOOKUP_MS", "api-lookup-ms", INT(api_lookup_ms), "10", 0, 20, false, PROGRAM_API,
     "how long reads of the catalogue share a look-up of who asks, under load; 0: they do not"},
    {"TILL_API_THREADS", "api-threads", INT(api_threads), "80", 1, 512, false, PROGRAM_API,
     "request threads: so many clients are served without waiting for each other"},
    {"TILL_AUDIT_RETENTION_SECONDS", "audit-retention-seconds", INT(audit_retention_seconds),
     "34560000", 86400, 3153600000, false, PROGRAM_WORKER,
     "how long the dashboard's audit log is kept"},
    {"TILL_CORS_ORIGINS", "cors-origins", TEXT(cors_origins), "", 0, 0, false, PROGRAM_API,
     "origins whose pages may read answers of the API, comma separated, each exact"},
    {"TILL_DASHBOARD_AUTH", NULL, TEXT(dashboard_auth), "", 0, 0, true, PROGRAM_DASHBOARD,
     "user:password of the dashboard; needed to listen on anything but loopback"},
    {"TILL_DASHBOARD_LISTEN", "dashboard-listen", TEXT(dashboard_listen), "127.0.0.1:5555", 0, 0,
     false, PROGRAM_DASHBOARD, "address and port of the dashboard; port 0 takes a free one"},
    {"TILL_DASHBOARD_READ_ONLY", "dashboard-read-only", INT(dashboard_read_only), "0", 0, 1, false,
     PROGRAM_DASHBOARD, "1: the dashboard shows everything and changes nothing"},
    {"TILL_DASHBOARD_THREADS", "dashboard-threads", INT(dashboard_threads), "16", 2, 256, false,
     PROGRAM_DASHBOARD, "request threads of the dashboard, each with its own connections"},
    {"TILL_DASHBOARD_USERS", "dashboard-users", TEXT(dashboard_users), "", 0, 0, false,
     PROGRAM_DASHBOARD, "file of the dashboard's users, roles and tokens: till dashboard user"},
    {"TILL_DEAD_RETENTION_SECONDS", "dead-retention-seconds", INT(dead_retention_seconds),
     "15552000", 60, 315360000, false, PROGRAM_WORKER, "how long dead jobs are kept"},
    {"TILL_EVENT_RETENTION_SECONDS", "event-retention-seconds", INT(event_retention_seconds),
     "7776000", 604800, 3153600000, false, PROGRAM_WORKER,
     "how long events of the gateway's webhooks are remembered"},
    {"TILL_HEAL_SECONDS", "heal-seconds", INT(heal_seconds), "5", 1, 3600, false, PROGRAM_SCHEDULER,
     "how often lost jobs are looked for, and how old they are then at least"},
    {"TILL_LEASE_SECONDS", "lease-seconds", INT(lease_seconds), "30", 2, 3600, false,
     PROGRAM_WORKER | PROGRAM_SCHEDULER | PROGRAM_DASHBOARD | PROGRAM_CLI,
     "a worker silent for this long has lost its jobs to others"},
    {"TILL_ORDER_EXPIRE_MINUTES", "order-expire-minutes", INT(order_expire_minutes), "60", 1,
     525600, false, PROGRAM_WORKER, "an order that is not paid by then gives its stock back"},
    {"TILL_QUEUES", "queues", TEXT(queues), "payments,mail,default", 0, 0, false, PROGRAM_WORKER,
     "queues to work on: a,b,c in strict order, or a=6,b=3,c=1 by weight"},
    {"TILL_RATE_ADDRESS", "rate-address", INT(rate_address), "3000", 0, 1000000, false, PROGRAM_API,
     "requests a minute from one address; 0: as many as it likes"},
    {"TILL_RATE_USER", "rate-user", INT(rate_user), "1200", 0, 1000000, false, PROGRAM_API,
     "requests a minute of one user; 0: as many as they like"},
    {"TILL_RECONCILE_MINUTES", "reconcile-minutes", INT(reconcile_minutes), "15", 1, 1440, false,
     PROGRAM_WORKER, "a payment without an answer for this long is looked up at the gateway"},
    {"TILL_REPLICA_LAG_MS", "replica-lag-ms", INT(replica_lag_ms), "5000", 1, 600000, false,
     PROGRAM_API, "what others wrote may be this old in reads from the replica"},
    {"TILL_RETENTION_SECONDS", "retention-seconds", INT(retention_seconds), "604800", 1, 315360000,
     false, PROGRAM_WORKER,
     "how long other finished jobs are kept, where neither job nor task says"},
    {"TILL_RETRY_BASE_MS", "retry-base-ms", INT(retry_base_ms), "2000", 1, 3600000, false,
     PROGRAM_WORKER, "wait before the second attempt; doubles from there, with jitter"},
    {"TILL_RETRY_MAX_SECONDS", "retry-max-seconds", INT(retry_max_seconds), "3600", 1, 86400, false,
     PROGRAM_WORKER, "longest wait between two attempts"},
    {"TILL_SCHEDULES_FILE", "schedules-file", TEXT(schedules_file), "", 0, 0, false,
     PROGRAM_SCHEDULER, "the schedules, as etc/schedules.conf has them; empty: as they are"},
    {"TILL_SEARCH_INDEX", "search-index", INT(search_index), "1", 0, 1, false, PROGRAM_SCHEDULER,
     "0: this scheduler never makes the index that finds jobs by words"},
    {"TILL_SHUTDOWN_SECONDS", "timeout", INT(shutdown_seconds), "25", 0, 3600, false, DAEMONS,
     "time to finish what has begun after TERM; what is left then goes to others"},
    {"TILL_TIME_ZONE", "time-zone", TEXT(time_zone), "UTC", 0, 0, false,
     PROGRAM_SCHEDULER | PROGRAM_WORKER,
     "the shop's: of its reports, and of schedules that name none"},
    {"TILL_WORKER_AUTOSCALE_MAX", "autoscale-max", INT(worker_autoscale_max), "0", 0, 256, false,
     PROGRAM_WORKER,
     "most jobs at the same time where a process finds its size itself; 0: it does not"},
    {"TILL_WORKER_AUTOSCALE_MIN", "autoscale-min", INT(worker_autoscale_min), "1", 1, 256, false,
     PROGRAM_WORKER, "fewest jobs at the same time where a process finds its size itself"},
    {"TILL_WORKER_AUTOSCALE_SECONDS", "autoscale-seconds", INT(worker_autoscale_seconds), "30", 1,
     3600, false, PROGRAM_WORKER, "a pool shrinks to what it used at most for about this long"},
    {"TILL_WORKER_CONCURRENCY", "concurrency", INT(worker_concurrency), "8", 1, 256, false,
     PROGRAM_WORKER, "jobs at the same time in each worker process"},
    {"TILL_WORKER_EVENTS", "events", INT(worker_events), "500", 0, 100000, false, PROGRAM_WORKER,
     "changes of jobs a second that a process publishes for live views; 0: none"},
    {"TILL_WORKER_MAX_BYTES", "max-bytes", INT(worker_max_bytes), "0", 0, 1099511627776, false,
     PROGRAM_WORKER, "a worker process that holds more memory is replaced; 0: never"},
    {"TILL_WORKER_MAX_JOBS", "max-jobs", INT(worker_max_jobs), "0", 0, 1099511627776, false,
     PROGRAM_WORKER, "a worker process that has run so many jobs is replaced; 0: never"},
    {"TILL_WORKER_PREFETCH", "prefetch", INT(worker_prefetch), "1024", 0, 1024, false,
     PROGRAM_WORKER, "jobs a process may hold ready beyond its slots while they are short"},
    {"TILL_WORKER_PROCESSES", "processes", INT(worker_processes), "2", 1, 256, false,
     PROGRAM_WORKER, "worker processes"},
};

static const struct setting *find_by_flag(enum program program, const char *flag, size_t len)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++)
        if (settings[i].flag && (settings[i].users & (unsigned)program) &&
            strlen(settings[i].flag) == len && strncmp(settings[i].flag, flag, len) == 0)
            return &settings[i];
    return NULL;
}

static bool is_known_key(const char *key)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        size_t len = strlen(settings[i].key);

        if (strncmp(settings[i].key, key, len) != 0)
            continue;
        if (!key[len] || (settings[i].secret && strcmp(key + len, "_FILE") == 0))
            return true;
    }
    return false;
}

/* ---- flags ---- */

/* Takes a setting's flag at argv[i]. Returns how many words it used, 0 when it is none. */
static int take_flag(struct conf_source *flags, enum program program, int i, int argc, char **argv,
                     struct err *e)
{
    const char *name = argv[i] + 2;
    const char *equals = strchr(name, '=');
    const struct setting *setting =
        find_by_flag(program, name, equals ? (size_t)(equals - name) : strlen(name));

    if (!setting)
        return 0;
    if (equals) {
        conf_source_add(flags, setting->key, strlen(setting->key), equals + 1);
        return 1;
    }
    if (i + 1 >= argc) {
        (void)err_set(e, ERR_INVALID, "flag \"--%s\" needs a value", name);
        return 1;
    }
    conf_source_add(flags, setting->key, strlen(setting->key), argv[i + 1]);
    return 2;
}

/* Splits argv into settings and the rest, which moves to its front. "--" ends the settings. */
static enum err_code read_flags(struct conf_source *flags, enum program program,
                                struct conf_request *request, const char **ret_file, int argc,
                                char **argv, struct err *e)
{
    int kept = 1;

    for (int i = 1; i < argc;) {
        int used;

        if (strcmp(argv[i], "--") == 0) {
            while (i < argc)
                argv[kept++] = argv[i++];
            break;
        }
        if (strcmp(argv[i], "--check") == 0) {
            request->check = true;
            i++;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            request->help = true;
            i++;
        } else if (strcmp(argv[i], "--version") == 0) {
            request->version = true;
            i++;
        } else if (strcmp(argv[i], "--config") == 0 || text_starts(argv[i], "--config=")) {
            const char *value = argv[i][8] ? argv[i] + 9 : argv[i + 1];

            if (!value)
                return err_set(e, ERR_INVALID, "flag \"--config\" needs a file name");
            *ret_file = value;
            i += argv[i][8] ? 1 : 2;
        } else if (text_starts(argv[i], "--") &&
                   (used = take_flag(flags, program, i, argc, argv, e)) > 0) {
            if (e->code)
                return e->code;
            i += used;
        } else {
            argv[kept++] = argv[i++];
        }
    }
    argv[kept] = NULL;
    request->argc = kept;
    request->argv = argv;
    return ERR_OK;
}

/* ---- environment ---- */

static enum err_code read_environment(struct conf_source *env, struct err *e)
{
    for (char **p = environ; p && *p; p++) { /* NULL after clearenv() */
        const char *equals = strchr(*p, '=');
        size_t len = equals ? (size_t)(equals - *p) : 0;
        char key[64];

        if (!equals)
            continue;
        if (text_format(key, sizeof key, "%.*s", (int)len, *p) && is_known_key(key))
            conf_source_add(env, key, len, equals + 1);
        else if (text_starts(key, "TILL_"))
            return err_set(e, ERR_INVALID, "unknown setting \"%s\" in the environment", key);
    }
    return ERR_OK;
}

/* ---- values ---- */

/* Finds the value of a setting in the sources, best first. NULL when none has it. */
static enum err_code find_value(const struct setting *setting, const struct conf_source *sources,
                                size_t count, char **ret_value, const char **ret_source,
                                struct err *e)
{
    char file_key[64];

    (void)snprintf(file_key, sizeof file_key, "%s_FILE", setting->key);
    for (size_t i = 0; i < count; i++) {
        const char *value = conf_source_find(&sources[i], setting->key);
        const char *path = setting->secret ? conf_source_find(&sources[i], file_key) : NULL;

        *ret_source = sources[i].name;
        if (value) {
            *ret_value = mem_dup(value);
            return ERR_OK;
        }
        if (path)
            return conf_source_read_secret(setting->key, path, ret_value, e);
    }
    *ret_source = "default";
    *ret_value = mem_dup(setting->fallback);
    return ERR_OK;
}

static enum err_code set_value(struct conf *conf, const struct setting *setting, char *take_value,
                               const char *source, struct err *e)
{
    void *member = (char *)conf + setting->offset;
    enum err_code rc = ERR_OK;

    if (setting->type == SETTING_TEXT) {
        *(char **)member = take_value;
        return ERR_OK;
    }
    if (!text_to_int(take_value, setting->min, setting->max, (int64_t *)member))
        rc = err_set(e, ERR_INVALID,
                     "%s=\"%.40s\" (%s) is not a whole number from %" PRId64 " to %" PRId64,
                     setting->key, take_value, source, setting->min, setting->max);
    mem_free(take_value);
    return rc;
}

static enum err_code apply(struct conf *conf, enum program program,
                           const struct conf_source *sources, size_t count, struct err *e)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        const struct setting *setting = &settings[i];
        char *value = NULL;
        const char *source = NULL;
        enum err_code rc;

        if (!(setting->users & (unsigned)program))
            continue;
        rc = find_value(setting, sources, count, &value, &source, e);
        if (rc)
            return rc;
        /* A command may need no server at all; what it needs, it asks for when it gets there. */
        if (program != PROGRAM_CLI && (!value || (!*value && !setting->fallback))) {
            mem_free(value);
            return err_set(
                e, ERR_INVALID,
                "setting %s is missing: %s; set it in the environment%s or with --config",
                setting->key, setting->help, setting->secret ? ", by _FILE" : "");
        }
        rc = set_value(conf, setting, value, source, e);
        if (rc)
            return rc;
    }
    return conf_check(conf, program, e);
}

enum err_code conf_load(struct conf *conf, enum program program, int argc, char **argv,
                        struct conf_request *ret_request, struct err *e)
{
    struct conf_source sources[3] = {{.name = "flag"}, {.name = "environment"}, {0}};
    struct err own = {0};
    enum err_code rc;

    *conf = (struct conf){0};
    *ret_request = (struct conf_request){0};
    rc = read_flags(&sources[0], program, ret_request, &sources[2].name, argc, argv, &own);
    if (!rc && !ret_request->help && !ret_request->version) {
        rc = read_environment(&sources[1], &own);
        if (!rc && sources[2].name)
            rc = conf_source_read(&sources[2], is_known_key, &own);
        if (!rc)
            rc = apply(conf, program, sources, COUNT_OF(sources), &own);
    }
    for (size_t i = 0; i < COUNT_OF(sources); i++)
        conf_source_release(&sources[i]);
    if (rc)
        (void)err_set(e, rc, "%s", own.text);
    return rc;
}

void conf_release(struct conf *conf)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++)
        if (settings[i].type == SETTING_TEXT)
            mem_wipe_free(*(char **)((char *)conf + settings[i].offset));
    *conf = (struct conf){0};
}

void conf_print_help(enum program program, FILE *out)
{
    (void)fprintf(out, "Settings (flag over environment over --config FILE over default):\n\n");
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        const struct setting *s = &settings[i];

        if (!(s->users & (unsigned)program))
            continue;
        (void)fprintf(out, "  %-24s %s%-22s %s\n", s->key, s->flag ? "--" : "  ",
                      s->flag ? s->flag : "", s->help);
        if (s->fallback && *s->fallback)
            (void)fprintf(out, "  %-24s   %-22s default: %s\n", "", "", s->fallback);
        if (s->secret)
            (void)fprintf(out, "  %-24s   %-22s or %s_FILE: a file that holds it\n", "", "",
                          s->key);
    }
    (void)fprintf(out, "\n  --config FILE   settings as NAME=value lines\n"
                       "  --check         validate the settings and exit\n"
                       "  --help, --version\n");
}

/* A URL without the user and password that may stand in it. */
static void add_public(struct buf *out, const char *text)
{
    const char *host = strstr(text, "://");
    const char *at = host ? strrchr(host, '@') : NULL;
    char shown[512];

    if (at && text_format(shown, sizeof shown, "%.*s%s", (int)(host + 3 - text), text, at + 1))
        buf_add_json(out, shown);
    else
        buf_add_json(out, at ? "" : text);
}

void conf_add_json(const struct conf *conf, enum program program, struct buf *out)
{
    const char *comma = "";

    buf_add_char(out, '{');
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        const struct setting *s = &settings[i];
        const void *member = (const char *)conf + s->offset;

        if (s->secret || !(s->users & (unsigned)program))
            continue;
        buf_addf(out, "%s\"%s\":", comma, s->key);
        comma = ",";
        if (s->type == SETTING_INT)
            buf_addf(out, "%" PRId64, *(const int64_t *)member);
        else if (*(char *const *)member)
            add_public(out, *(char *const *)member);
        else
            buf_add_str(out, "null");
    }
    buf_add_char(out, '}');
}

void conf_print_sample(FILE *out)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++)
        (void)fprintf(out, "%s=%s\n", settings[i].key,
                      settings[i].fallback ? settings[i].fallback : "");
}

void conf_print_json(FILE *out)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        const struct setting *s = &settings[i];
        AUTO_VALUE(buf_release) struct buf line;

        buf_init(&line, 4096);
        buf_addf(&line, "{\"name\":\"%s\",\"default\":", s->key);
        if (s->fallback)
            buf_add_json(&line, s->fallback);
        else
            buf_add_str(&line, "null");
        buf_addf(&line, ",\"secret\":%s,\"help\":", s->secret ? "true" : "false");
        buf_add_json(&line, s->help);
        (void)fprintf(out, "%s}\n", line.data);
    }
}
