/* SPDX-License-Identifier: MIT
 *
 * Log lines as they leave the process: stderr is a pipe here, and each line is read back.
 */
#include "common/log.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <jansson.h>
#include <sys/wait.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/json.h"
#include "tests/unit/captured.h"

enum { CAPTURE_MAX = 60000 }; /* below what a pipe holds */

/* What was written since capture(), and stderr back in its place. */
static const char *captured(void)
{
    static char text[CAPTURE_MAX + 1];
    ssize_t len = 0;
    ssize_t got;

    release();
    while ((got = read(pipe_end, text + len, (size_t)(CAPTURE_MAX - len))) > 0)
        len += got;
    (void)close(pipe_end);
    text[len] = '\0';
    return text;
}

static json_t *captured_object(void)
{
    const char *line = captured();
    json_error_t error;
    json_t *value = json_loads(line, JSON_REJECT_DUPLICATES, &error);

    cr_assert_not_null(value, "%s in %s", error.text, line);
    cr_assert_eq(strchr(line, '\n'), line + strlen(line) - 1, "one line: %s", line);
    return value;
}

static void start(void) { log_init("test", LOG_INFO, true); }

TestSuite(log, .init = start);

/* The pid stands ready-made, and a child has another. */
Test(log, carries_the_process_that_writes)
{
    pid_t child;
    json_t *line;

    log_init("test", LOG_INFO, true);
    capture();
    child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        log_info("hello");
        _exit(0);
    }
    cr_assert_eq(waitpid(child, NULL, 0), child);
    line = captured_object();
    cr_assert_eq(json_integer_value(json_object_get(line, "pid")), child);
    json_decref(line);
}

Test(log, a_line_is_one_json_object)
{
    AUTO(json_decref) json_t *line = NULL;

    clock_fix(INT64_C(1795288756082437), 0);
    capture();
    log_info("job_done", L_STR("job_id", "abc"), L_INT("attempt", -3), L_INT("big", INT64_MAX),
             L_BOOL("late", true), L_BOOL("first", false));
    line = captured_object();
    cr_assert_str_eq(json_member_text(line, "time"), "2026-11-21T19:19:16.082437Z");
    cr_assert_str_eq(json_member_text(line, "level"), "info");
    cr_assert_str_eq(json_member_text(line, "event"), "job_done");
    cr_assert_str_eq(json_member_text(line, "program"), "test");
    cr_assert_eq(json_integer_value(json_object_get(line, "pid")), getpid());
    cr_assert_str_eq(json_member_text(line, "job_id"), "abc");
    cr_assert_eq(json_integer_value(json_object_get(line, "attempt")), -3);
    cr_assert_eq(json_integer_value(json_object_get(line, "big")), INT64_MAX);
    cr_assert(json_is_true(json_object_get(line, "late")));
    cr_assert(json_is_false(json_object_get(line, "first")));
}

Test(log, hostile_values_stay_in_their_line)
{
    AUTO(json_decref) json_t *line = NULL;

    capture();
    log_info("e", L_STR("a", "x\n{\"level\":\"error\"}\r\n"), L_STR("b", "\x1b[2J\xc2\x9b\xff\""),
             L_STR("c", "\xe2\x80\xa8"));
    line = captured_object();
    cr_assert_str_eq(json_member_text(line, "a"), "x\n{\"level\":\"error\"}\r\n");
    cr_assert_str_eq(json_member_text(line, "b"), "\x1b[2J\xc2\x9b\xef\xbf\xbd\"");
}

Test(log, no_control_byte_reaches_the_terminal)
{
    const char *text;

    log_init("test", LOG_INFO, false);
    capture();
    log_info("e", L_STR("a", "\x1b[2J\x7f\x07\n\xc2\x9b"
                             "1m"));
    text = captured();
    for (const char *p = text; *p; p++)
        cr_expect((unsigned char)*p >= 0x20 || p[1] == '\0', "%s", text);
    cr_expect_null(strstr(text, "\xc2\x9b"), "%s", text);
}

Test(log, levels_below_the_set_one_are_silent)
{
    const char *text;

    log_init("test", LOG_WARN, true);
    capture();
    log_debug("no");
    log_info("no");
    log_warn("yes_warn");
    log_error("yes_error");
    text = captured();
    cr_assert_null(strstr(text, "\"no\""));
    cr_assert_not_null(strstr(text, "yes_warn"));
    cr_assert_not_null(strstr(text, "yes_error"));
}

Test(log, error_fields_and_absent_strings)
{
    AUTO(json_decref) json_t *line = NULL;
    struct err e = {0};

    (void)err_set(&e, ERR_TIMEOUT, "no answer");
    capture();
    log_error("failed", L_ERR(&e), L_STR("gone", NULL));
    line = captured_object();
    cr_assert_str_eq(json_member_text(line, "error"), "no answer");
    cr_assert_str_eq(json_member_text(line, "code"), "timeout");
    cr_assert_null(json_object_get(line, "detail"));
}

Test(log, context_stands_on_each_line_until_it_is_cleared)
{
    AUTO(json_decref) json_t *first = NULL;
    AUTO(json_decref) json_t *second = NULL;

    log_context_set("job_id", "one");
    log_context_set("worker", "w");
    log_context_set("job_id", "two");
    capture();
    log_info("a");
    first = captured_object();
    cr_assert_str_eq(json_member_text(first, "job_id"), "two");
    cr_assert_str_eq(json_member_text(first, "worker"), "w");
    log_context_set("worker", NULL);
    log_context_set("never_set", NULL);
    capture();
    log_info("b");
    second = captured_object();
    cr_assert_str_eq(json_member_text(second, "job_id"), "two");
    cr_assert_null(json_object_get(second, "worker"));
    log_context_clear();
    capture();
    log_info("c");
    cr_assert_null(strstr(captured(), "job_id"));
}

Test(log, a_value_that_is_json_stands_as_it_is)
{
    static const char headers[] = "{\"tenant\":\"a b\"}";
    AUTO(json_decref) json_t *first = NULL;
    AUTO(json_decref) json_t *second = NULL;

    log_context_set_json("headers", headers);
    capture();
    log_info("a", L_JSON("more", "[1]"), L_JSON("none", NULL));
    first = captured_object();
    cr_assert_str_eq(json_member_text(json_object_get(first, "headers"), "tenant"), "a b");
    cr_assert_eq(json_array_size(json_object_get(first, "more")), 1);
    cr_assert_null(json_object_get(first, "none"));
    log_context_set_json("headers", NULL);
    capture();
    log_info("b");
    second = captured_object();
    cr_assert_null(json_object_get(second, "headers"));
}

Test(log, context_is_bounded_and_copied)
{
    AUTO(json_decref) json_t *line = NULL;
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
    char value[LOG_CONTEXT_VALUE_MAX + 100];

    _Static_assert(COUNT_OF(keys) == LOG_CONTEXT_MAX + 1, "one too many");
    memset(value, 'v', sizeof value);
    value[sizeof value - 1] = '\0';
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        log_context_set(keys[i], value);
    memset(value, 'w', sizeof value - 1);
    capture();
    log_info("x");
    line = captured_object();
    cr_assert_eq(strlen(json_member_text(line, "a")), LOG_CONTEXT_VALUE_MAX);
    cr_assert_eq(json_member_text(line, "a")[0], 'v');
    cr_assert_not_null(json_object_get(line, "h"));
    cr_assert_null(json_object_get(line, "i"), "beyond LOG_CONTEXT_MAX");
}

static void *log_elsewhere(void *unused)
{
    log_info("other_thread");
    return unused;
}

Test(log, a_number_of_the_context_is_one_like_that_of_a_field)
{
    AUTO(json_decref) json_t *line = NULL;

    log_context_set_int("attempt", 7);
    capture();
    log_info("x", L_INT("of", 9));
    line = captured_object();
    cr_assert_eq(json_integer_value(json_object_get(line, "attempt")), 7);
    cr_assert_eq(json_integer_value(json_object_get(line, "of")), 9);
    log_context_set("attempt", "8");
    json_decref(line);
    capture();
    log_info("x");
    line = captured_object();
    cr_assert_str_eq(json_member_text(line, "attempt"), "8");
    log_context_clear();
}

Test(log, context_belongs_to_its_thread)
{
    AUTO(json_decref) json_t *line = NULL;
    pthread_t thread;

    log_context_set("job_id", "mine");
    capture();
    cr_assert_eq(pthread_create(&thread, NULL, log_elsewhere, NULL), 0);
    (void)pthread_join(thread, NULL);
    line = captured_object();
    cr_assert_null(json_object_get(line, "job_id"));
}

Test(log, a_line_that_is_too_long_says_so_and_parses)
{
    static char value[40000];
    AUTO(json_decref) json_t *line = NULL;

    memset(value, 'x', sizeof value - 1);
    capture();
    log_info("big", L_STR("value", value));
    line = captured_object();
    cr_assert_str_eq(json_member_text(line, "event"), "big");
    cr_assert_not_null(json_member_text(line, "log"));
    cr_assert_null(json_object_get(line, "value"));
}

/* Every length near the ceiling: the closing brace and line break always get their place. */
Test(log, lines_near_the_ceiling_parse)
{
    static char value[17000];

    memset(value, 'x', sizeof value - 1);
    for (size_t len = 16150; len < 16400; len++) {
        AUTO(json_decref) json_t *line = NULL;

        value[len] = '\0';
        capture();
        log_info("big", L_STR("value", value));
        line = captured_object();
        value[len] = 'x';
    }
}

Test(log, text_form_has_time_level_program_event_fields)
{
    char expected[200];

    clock_fix(INT64_C(1795288756082437), 0);
    log_init("till-api", LOG_INFO, false);
    log_context_set("request", "r1");
    (void)snprintf(expected, sizeof expected,
                   "2026-11-21T19:19:16.082437Z warn  till-api[%d] slow request=\"r1\" ms=12 "
                   "path=\"/a b\" ok=true\n",
                   (int)getpid());
    capture();
    log_warn("slow", L_INT("ms", 12), L_STR("path", "/a b"), L_BOOL("ok", true));
    cr_assert_str_eq(captured(), expected);
}

Test(log, what_cannot_be_written_is_counted_and_harms_nobody)
{
    int ends[2];
    uint64_t before = log_dropped();
    uint64_t after;

    (void)signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    real_stderr = dup(STDERR_FILENO);
    (void)dup2(ends[1], STDERR_FILENO);
    (void)close(ends[0]);
    (void)close(ends[1]);
    log_info("lost");
    log_info("lost");
    after = log_dropped();
    (void)dup2(real_stderr, STDERR_FILENO);
    cr_assert_eq(after, before + 2);
}

Test(log, level_names)
{
    enum log_level level = LOG_ERROR;

    cr_assert(log_level_parse("debug", &level));
    cr_assert_eq(level, LOG_DEBUG);
    cr_assert(log_level_parse("warn", &level));
    cr_assert_eq(level, LOG_WARN);
    cr_assert_not(log_level_parse("WARN", &level));
    cr_assert_not(log_level_parse("", &level));
    cr_assert_not(log_level_parse("warning", &level));
    cr_assert_eq(level, LOG_WARN);
}
