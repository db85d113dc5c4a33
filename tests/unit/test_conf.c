/* SPDX-License-Identifier: MIT
 *
 * Where a setting comes from, and everything that refuses to start. Each test runs in a process of
 * its own (Criterion), so the environment is its own, too.
 */
#include "common/conf.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/mem.h"

enum { ARGS_MAX = 16 };

static struct conf conf;
static struct conf_request request;
static struct err e;
static char *args[ARGS_MAX];
static char paths[8][64];
static int path_count;

/* A complete environment for every program; tests change it. */
static void start(void)
{
    (void)clearenv();
    (void)setenv("DATABASE_URL", "postgresql://till@localhost/till", 1);
    (void)setenv("GATEWAY_SECRET_KEY", "sk_test_x", 1);
    (void)setenv("JWT_SECRET", "0123456789abcdef0123456789abcdef", 1);
}

static void forget(void)
{
    conf_release(&conf);
    for (int i = 0; i < ARGS_MAX; i++) {
        mem_free(args[i]);
        args[i] = NULL;
    }
}

static void finish(void)
{
    forget();
    for (int i = 0; i < path_count; i++)
        (void)unlink(paths[i]);
}

TestSuite(conf, .init = start, .fini = finish);

/* Loads with the flags given, NULL at the end. argv is a copy, since conf_load() reorders it. */
static enum err_code load(enum program program, const char *const *flags)
{
    static char *argv[ARGS_MAX];
    int argc = 0;

    forget();
    argv[argc++] = args[0] = mem_dup("till");
    for (; flags && flags[argc - 1]; argc++)
        argv[argc] = args[argc] = mem_dup(flags[argc - 1]);
    e = (struct err){0};
    return conf_load(&conf, program, argc, argv, &request, &e);
}

#define FLAGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* A file in the temporary directory; finish() removes it. */
static const char *write_file(const void *text, size_t len)
{
    char *path = paths[path_count++];
    int fd;

    cr_assert(text_format(path, sizeof paths[0], "/tmp/till-test-conf-XXXXXX"));
    fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, len), (ssize_t)len);
    (void)close(fd);
    return path;
}

static const char *write_text(const char *text) { return write_file(text, strlen(text)); }

static void expect_refused(enum err_code rc, const char *words)
{
    cr_expect_eq(rc, ERR_INVALID, "%s", words);
    cr_expect_not_null(strstr(e.text, words), "\"%s\" lacks \"%s\"", e.text, words);
}

/* ---- precedence ---- */

Test(conf, default)
{
    cr_assert_eq(load(PROGRAM_WORKER, NULL), ERR_OK, "%s", e.text);
    cr_assert_eq(conf.worker_concurrency, 8);
    cr_assert_str_eq(conf.redis_url, "redis://127.0.0.1:6379/0");
    cr_assert_str_eq(conf.log_level, "info");
}

Test(conf, flag_over_environment_over_file_over_default)
{
    const char *file = write_text("TILL_WORKER_CONCURRENCY=3\nTILL_WORKER_PROCESSES=4\n"
                                  "TILL_LEASE_SECONDS=50\n");

    (void)setenv("TILL_WORKER_CONCURRENCY", "5", 1);
    (void)setenv("TILL_WORKER_PROCESSES", "6", 1);
    cr_assert_eq(load(PROGRAM_WORKER, FLAGS("--config", file, "--concurrency", "7")), ERR_OK, "%s",
                 e.text);
    cr_assert_eq(conf.worker_concurrency, 7);
    cr_assert_eq(conf.worker_processes, 6);
    cr_assert_eq(conf.lease_seconds, 50);
    cr_assert_eq(conf.worker_prefetch, 1024);
}

Test(conf, last_flag_wins)
{
    cr_assert_eq(load(PROGRAM_WORKER, FLAGS("--concurrency=7", "--concurrency", "9")), ERR_OK);
    cr_assert_eq(conf.worker_concurrency, 9);
}

/* ---- flags ---- */

Test(conf, the_rest_of_the_command_line_is_left)
{
    cr_assert_eq(load(PROGRAM_CLI, FLAGS("enqueue", "--log-level=debug", "till.tasks.noop",
                                         "--queue", "q", "--", "--log-level=error")),
                 ERR_OK, "%s", e.text);
    cr_assert_str_eq(conf.log_level, "debug");
    cr_assert_eq(request.argc, 7);
    cr_assert_str_eq(request.argv[0], "till");
    cr_assert_str_eq(request.argv[1], "enqueue");
    cr_assert_str_eq(request.argv[2], "till.tasks.noop");
    cr_assert_str_eq(request.argv[3], "--queue");
    cr_assert_str_eq(request.argv[4], "q");
    cr_assert_str_eq(request.argv[5], "--");
    cr_assert_str_eq(request.argv[6], "--log-level=error");
    cr_assert_null(request.argv[7]);
}

Test(conf, requests)
{
    cr_assert_eq(load(PROGRAM_API, FLAGS("--check")), ERR_OK, "%s", e.text);
    cr_assert(request.check);
    cr_assert_not(request.help);
    (void)clearenv();
    cr_assert_eq(load(PROGRAM_API, FLAGS("-h")), ERR_OK, "help needs no settings: %s", e.text);
    cr_assert(request.help);
    cr_assert_eq(load(PROGRAM_API, FLAGS("--version")), ERR_OK);
    cr_assert(request.version);
}

Test(conf, flag_without_value)
{
    expect_refused(load(PROGRAM_WORKER, FLAGS("--concurrency")), "--concurrency");
    expect_refused(load(PROGRAM_WORKER, FLAGS("--config")), "--config");
}

Test(conf, a_flag_of_another_program_is_left_to_the_caller)
{
    cr_assert_eq(load(PROGRAM_API, FLAGS("--concurrency", "3")), ERR_OK);
    cr_assert_eq(request.argc, 3);
    cr_assert_str_eq(request.argv[1], "--concurrency");
}

Test(conf, some_secrets_have_no_flag)
{
    cr_assert_eq(load(PROGRAM_API, FLAGS("--jwt-secret=x")), ERR_OK);
    cr_assert_eq(request.argc, 2, "not understood, so left");
    cr_assert_str_eq(conf.jwt_secret, "0123456789abcdef0123456789abcdef");
}

/* ---- unknown names ---- */

Test(conf, unknown_till_name_in_the_environment)
{
    (void)setenv("TILL_LEASE_SECOND", "5", 1);
    expect_refused(load(PROGRAM_WORKER, NULL), "TILL_LEASE_SECOND");
}

Test(conf, unknown_till_name_of_any_length)
{
    (void)setenv("TILL_THIS_NAME_IS_LONGER_THAN_ANY_NAME_IN_THE_TABLE_OF_ALL_SETTINGS", "5", 1);
    expect_refused(load(PROGRAM_WORKER, NULL), "TILL_THIS_NAME");
}

Test(conf, file_form_of_a_name_that_is_no_secret)
{
    (void)setenv("TILL_LEASE_SECONDS_FILE", "/dev/null", 1);
    expect_refused(load(PROGRAM_WORKER, NULL), "TILL_LEASE_SECONDS_FILE");
}

Test(conf, other_programs_names_are_known)
{
    (void)setenv("TILL_API_LISTEN", "0.0.0.0:80", 1);
    (void)setenv("HOME", "/root", 1);
    cr_assert_eq(load(PROGRAM_SCHEDULER, NULL), ERR_OK, "%s", e.text);
    cr_assert_null(conf.api_listen, "a program reads only its own");
}

Test(conf, unknown_name_in_the_file)
{
    const char *file = write_text("\n# comment\nLOG_LEVEL=debug\nHOME=/root\n");

    expect_refused(load(PROGRAM_API, FLAGS("--config", file)), "HOME");
    cr_expect_not_null(strstr(e.text, "line 4"), "%s", e.text);
}

/* ---- the file ---- */

Test(conf, file_forms)
{
    const char *file = write_text("# comment\n; comment\n\n  LOG_LEVEL = debug  \r\n"
                                  "MAIL_FROM=\"A # b; 'c' <d@e>\"\n"
                                  "SMTP_URL=\"\"\n"
                                  "TILL_QUEUES='a=2,b=1'\n"
                                  "GATEWAY_URL=http://one\nGATEWAY_URL=http://two");

    cr_assert_eq(load(PROGRAM_WORKER, FLAGS("--config", file)), ERR_OK, "%s", e.text);
    cr_assert_str_eq(conf.log_level, "debug");
    cr_assert_str_eq(conf.mail_from, "A # b; 'c' <d@e>");
    cr_assert_str_eq(conf.smtp_url, "");
    cr_assert_str_eq(conf.queues, "a=2,b=1");
    cr_assert_str_eq(conf.gateway_url, "http://two");
}

Test(conf, queues_that_make_no_sense_are_refused)
{
    expect_refused(load(PROGRAM_WORKER, FLAGS("--queues", "a=1,b")), "TILL_QUEUES");
    expect_refused(load(PROGRAM_WORKER, FLAGS("--queues", "a,a")), "TILL_QUEUES");
}

Test(conf, values_are_quoted_and_escaped_as_systemd_has_it)
{
    const char *file = write_text("MAIL_FROM=\"a \\\"b\\\" \\\\ \\$ \\n\"\n"
                                  "SMTP_URL='a\\b\"c'\n"
                                  "GATEWAY_URL=a\\ b\\\\c\"d\n"
                                  "GATEWAY_CA_FILE=\"a\"'b' \"c\" d\n"
                                  "SMTP_CA_FILE=\"\"\n");

    cr_assert_eq(load(PROGRAM_WORKER, FLAGS("--config", file)), ERR_OK, "%s", e.text);
    cr_expect_str_eq(conf.mail_from, "a \"b\" \\ $ \\n");
    cr_expect_str_eq(conf.smtp_url, "a\\b\"c");
    cr_expect_str_eq(conf.gateway_url, "a b\\c\"d");
    cr_expect_str_eq(conf.gateway_ca_file, "abcd");
    cr_expect_str_eq(conf.smtp_ca_file, "");
}

Test(conf, what_systemd_would_join_with_the_next_line_is_refused)
{
    static const char *const bad[] = {"MAIL_FROM=\"x", "MAIL_FROM='", "MAIL_FROM=x\\",
                                      "MAIL_FROM=\"x\\\"", "MAIL_FROM=\"x\" 'y"};

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const char *file = write_text(bad[i]);

        expect_refused(load(PROGRAM_WORKER, FLAGS("--config", file)), "line 1: MAIL_FROM");
    }
}

Test(conf, line_without_equals)
{
    const char *file = write_text("LOG_LEVEL=debug\nLOG_FORMAT json\n");

    expect_refused(load(PROGRAM_API, FLAGS("--config", file)), "line 2");
}

Test(conf, line_that_is_too_long)
{
    static char text[5000] = "MAIL_FROM=";

    memset(text + 10, 'x', sizeof text - 11);
    expect_refused(load(PROGRAM_WORKER, FLAGS("--config", write_text(text))), "line 1");
}

Test(conf, missing_file)
{
    expect_refused(load(PROGRAM_API, FLAGS("--config=/nonexistent/till.env")),
                   "/nonexistent/till.env");
}

Test(conf, directory_as_file)
{
    expect_refused(load(PROGRAM_API, FLAGS("--config", "/tmp")), "/tmp");
}

/* ---- secrets from files ---- */

Test(conf, secret_from_a_file)
{
    (void)unsetenv("JWT_SECRET");
    (void)setenv("JWT_SECRET_FILE", write_text("  fedcba9876543210fedcba9876543210\n"), 1);
    cr_assert_eq(load(PROGRAM_API, NULL), ERR_OK, "%s", e.text);
    cr_assert_str_eq(conf.jwt_secret, "fedcba9876543210fedcba9876543210");
}

Test(conf, secret_file_named_in_the_settings_file)
{
    const char *secret = write_text("sk_from_file\n");
    char line[100];

    (void)unsetenv("GATEWAY_SECRET_KEY");
    cr_assert(text_format(line, sizeof line, "GATEWAY_SECRET_KEY_FILE=%s\n", secret));
    cr_assert_eq(load(PROGRAM_WORKER, FLAGS("--config", write_text(line))), ERR_OK, "%s", e.text);
    cr_assert_str_eq(conf.gateway_secret_key, "sk_from_file");
}

Test(conf, the_value_itself_is_preferred_to_its_file)
{
    (void)setenv("JWT_SECRET_FILE", "/nonexistent", 1);
    cr_assert_eq(load(PROGRAM_API, NULL), ERR_OK, "%s", e.text);
}

Test(conf, secret_file_that_cannot_be_read)
{
    (void)unsetenv("JWT_SECRET");
    (void)setenv("JWT_SECRET_FILE", "/nonexistent/key", 1);
    expect_refused(load(PROGRAM_API, NULL), "JWT_SECRET_FILE");
    (void)setenv("JWT_SECRET_FILE", "/tmp", 1);
    expect_refused(load(PROGRAM_API, NULL), "JWT_SECRET_FILE");
}

Test(conf, secret_file_that_is_too_long_is_not_cut)
{
    static char text[5000];

    memset(text, 'x', sizeof text - 1);
    (void)unsetenv("JWT_SECRET");
    (void)setenv("JWT_SECRET_FILE", write_text(text), 1);
    expect_refused(load(PROGRAM_API, NULL), "JWT_SECRET_FILE");
}

Test(conf, secret_file_with_a_nul_byte)
{
    (void)unsetenv("JWT_SECRET");
    (void)setenv("JWT_SECRET_FILE", write_file("0123456789abcdef0123456789abcdef\0x", 34), 1);
    expect_refused(load(PROGRAM_API, NULL), "JWT_SECRET_FILE");
}

Test(conf, empty_secret_file_is_a_missing_secret)
{
    (void)unsetenv("JWT_SECRET");
    (void)setenv("JWT_SECRET_FILE", write_text("\n"), 1);
    expect_refused(load(PROGRAM_API, NULL), "JWT_SECRET");
}

/* ---- values ---- */

Test(conf, integers_that_are_none)
{
    static const char *const bad[] = {"",
                                      "x",
                                      "8x",
                                      " 8",
                                      "8 ",
                                      "+8",
                                      "1.5",
                                      "0x8",
                                      "-1",
                                      "0",
                                      "257",
                                      "1e2",
                                      "99999999999999999999"};

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        (void)setenv("TILL_WORKER_CONCURRENCY", bad[i], 1);
        expect_refused(load(PROGRAM_WORKER, NULL), "TILL_WORKER_CONCURRENCY");
        cr_expect_not_null(strstr(e.text, "environment"), "names the source: %s", e.text);
    }
}

Test(conf, integers_at_their_bounds)
{
    (void)setenv("TILL_WORKER_CONCURRENCY", "256", 1);
    (void)setenv("TILL_WORKER_PREFETCH", "0", 1);
    (void)setenv("TILL_LEASE_SECONDS", "2", 1);
    cr_assert_eq(load(PROGRAM_WORKER, NULL), ERR_OK, "%s", e.text);
    cr_assert_eq(conf.worker_concurrency, 256);
    cr_assert_eq(conf.worker_prefetch, 0);
    cr_assert_eq(conf.lease_seconds, 2);
}

Test(conf, missing_setting)
{
    (void)unsetenv("DATABASE_URL");
    expect_refused(load(PROGRAM_API, NULL), "DATABASE_URL");
}

Test(conf, empty_is_missing)
{
    (void)setenv("DATABASE_URL", "", 1);
    expect_refused(load(PROGRAM_SCHEDULER, NULL), "DATABASE_URL");
}

Test(conf, the_command_line_may_lack_settings)
{
    (void)clearenv();
    cr_assert_eq(load(PROGRAM_CLI, NULL), ERR_OK, "%s", e.text);
    cr_assert_null(conf.database_url);
}

Test(conf, log_settings)
{
    expect_refused(load(PROGRAM_API, FLAGS("--log-level", "loud")), "LOG_LEVEL");
    expect_refused(load(PROGRAM_API, FLAGS("--log-format", "xml")), "LOG_FORMAT");
}

Test(conf, weak_and_placeholder_secrets)
{
    (void)setenv("JWT_SECRET", "0123456789abcdef0123456789abcde", 1);
    expect_refused(load(PROGRAM_API, NULL), "JWT_SECRET");
    (void)setenv("GATEWAY_SECRET_KEY", "ChangeMe", 1);
    expect_refused(load(PROGRAM_WORKER, NULL), "GATEWAY_SECRET_KEY");
    (void)setenv("TILL_DASHBOARD_AUTH", "nocolon", 1);
    expect_refused(load(PROGRAM_DASHBOARD, NULL), "TILL_DASHBOARD_AUTH");
}

Test(conf, errors_never_show_a_secret)
{
    (void)setenv("JWT_SECRET", "hunter2", 1);
    expect_refused(load(PROGRAM_API, NULL), "JWT_SECRET");
    cr_assert_null(strstr(e.text, "hunter2"), "%s", e.text);
    (void)setenv("TILL_DASHBOARD_AUTH", "hunter2", 1);
    expect_refused(load(PROGRAM_DASHBOARD, NULL), "TILL_DASHBOARD_AUTH");
    cr_assert_null(strstr(e.text, "hunter2"), "%s", e.text);
}

Test(conf, release_forgets_all)
{
    cr_assert_eq(load(PROGRAM_WORKER, NULL), ERR_OK);
    conf_release(&conf);
    cr_assert_null(conf.database_url);
    cr_assert_eq(conf.worker_concurrency, 0);
    conf_release(&conf);
}

/* ---- help ---- */

static char *help_of(enum program program)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    conf_print_help(program, out);
    (void)fclose(out);
    return text;
}

Test(conf, help_shows_what_the_program_reads)
{
    AUTO(mem_free) char *api = help_of(PROGRAM_API);
    AUTO(mem_free) char *worker = help_of(PROGRAM_WORKER);

    cr_assert_not_null(strstr(api, "TILL_API_LISTEN"));
    cr_assert_null(strstr(api, "TILL_WORKER_CONCURRENCY"));
    cr_assert_not_null(strstr(worker, "--concurrency"));
    cr_assert_not_null(strstr(api, "JWT_SECRET_FILE"));
    cr_assert_not_null(strstr(api, "127.0.0.1:8000"));
}

Test(conf, sample_has_each_setting_once_and_sorted)
{
    AUTO(mem_free) char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    char before[64] = "";
    int count = 0;

    conf_print_sample(out);
    (void)fclose(out);
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save), count++) {
        cr_expect_gt(strcmp(line, before), 0, "%s after %s", line, before);
        cr_assert(text_format(before, sizeof before, "%.*s", (int)strcspn(line, "="), line));
    }
    cr_assert_gt(count, 20);
}

/* ---- what a type and a range cannot say ---- */

Test(conf_check, refuses_placeholders_and_pools_that_contradict_themselves)
{
    static char level[] = "info", format[] = "json", other[] = "xml", queues[] = "default";
    static char key[] = "sk_live_of_the_shop", placeholder[] = "changeme";
    const struct conf good = {
        .log_level = level, .log_format = format, .gateway_secret_key = key, .queues = queues};
    struct conf bad[] = {good, good, good, good};

    bad[0].log_format = other;
    bad[1].gateway_secret_key = placeholder;
    bad[2].worker_autoscale_min = 4;
    bad[2].worker_autoscale_max = 2;
    bad[3].worker_max_bytes = 4096;
    cr_assert_eq(conf_check(&good, PROGRAM_WORKER, NULL), ERR_OK);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_eq(conf_check(&bad[i], PROGRAM_WORKER, NULL), ERR_INVALID, "%zu", i);
}
