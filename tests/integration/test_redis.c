/* SPDX-License-Identifier: MIT
 *
 * The Redis driver against the real server: bytes, pipelines that stay in step, what survives.
 */
#include "common/redis.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/buf.h"
#include "common/clock.h"
#include "tests/integration/redis_words.h"
#include "tests/integration/stores.h"

static struct redis *redis;
static struct redis *other; /* a second connection, for what is done to the first */
static struct err e;

static void start(void)
{
    const char *url = need_setting("REDIS_URL");

    (void)signal(SIGPIPE, SIG_IGN); /* as program_start() does: hiredis writes with write(2) */
    redis = redis_open(url, "test_redis", 5000);
    other = redis_open(url, "test_redis_other", 5000);
    cr_assert_eq(redis_connect(redis, &e), ERR_OK, "%s: %s", e.text, e.detail);
}

static void finish(void)
{
    redis_close(redis);
    redis_close(other);
}

TestSuite(redis, .init = start, .fini = finish, .timeout = 60);

static enum err_code call(struct redis *on, const char *const *words, redisReply **ret_reply)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = args_of(words);

    e = (struct err){0};
    return redis_call(on, &args, ret_reply, &e);
}

static void append(const char *const *words)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = args_of(words);

    cr_assert_eq(redis_append(redis, &args, &e), ERR_OK, "%s", e.text);
}

static void expect_text(struct redis *on, const char *const *words, const char *expected)
{
    AUTO(freeReplyObject) redisReply *reply = NULL;

    cr_assert_eq(call(on, words, &reply), ERR_OK, "%s: %s", words[0], e.detail);
    cr_assert(redis_is_text(reply), "%s", words[0]);
    cr_expect_str_eq(reply->str, expected);
}

static int64_t number(struct redis *on, const char *const *words)
{
    AUTO(freeReplyObject) redisReply *reply = NULL;

    cr_assert_eq(call(on, words, &reply), ERR_OK, "%s: %s", words[0], e.detail);
    cr_assert_eq(reply->type, REDIS_REPLY_INTEGER, "%s", words[0]);
    return reply->integer;
}

/* Both ends of a loss: who it is, then its end by the other one. */
static int64_t connection_id(void) { return number(redis, WORDS("CLIENT", "ID")); }

static void kill_connection(int64_t id)
{
    char text[24];

    cr_assert(text_format(text, sizeof text, "%" PRId64, id));
    cr_assert_eq(number(other, WORDS("CLIENT", "KILL", "ID", text)), 1);
}

/* ---- arguments ---- */

Test(redis, arguments_are_bytes)
{
    static const char value[] = "a b\0c\r\n$3\r\nxyz\xff %s %b";
    AUTO_VALUE(redis_args_release) struct redis_args set = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;

    redis_add(&set, "SET");
    redis_add_bytes(&set, "test\0key", 8);
    redis_add_bytes(&set, value, sizeof value);
    cr_assert_eq(redis_call(redis, &set, NULL, &e), ERR_OK, "%s", e.detail);
    set.words[0] = "GET";
    set.count = 2;
    cr_assert_eq(redis_call(redis, &set, &reply, &e), ERR_OK, "%s", e.detail);
    cr_assert_eq(reply->len, sizeof value);
    cr_assert_eq(memcmp(reply->str, value, sizeof value), 0);
}

Test(redis, empty_argument)
{
    do_it(redis, WORDS("SET", "test_empty", ""));
    expect_text(redis, WORDS("GET", "test_empty"), "");
}

Test(redis, many_arguments)
{
    AUTO_VALUE(redis_args_release) struct redis_args args = {0};
    AUTO(freeReplyObject) redisReply *reply = NULL;

    do_it(redis, WORDS("DEL", "test_list"));
    redis_add(&args, "RPUSH");
    redis_add(&args, "test_list");
    for (int i = 0; i < 5000; i++)
        redis_add(&args, "x");
    cr_assert_eq(redis_call(redis, &args, &reply, &e), ERR_OK);
    cr_assert_eq(reply->integer, 5000);
}

/* ---- pipelines ---- */

Test(redis, pipeline_answers_in_order)
{
    for (int i = 0; i < 1000; i++) {
        char text[16];

        cr_assert(text_format(text, sizeof text, "%d", i));
        append(WORDS("ECHO", text));
    }
    for (int i = 0; i < 1000; i++) {
        AUTO(freeReplyObject) redisReply *reply = NULL;
        char text[16];

        cr_assert(text_format(text, sizeof text, "%d", i));
        cr_assert_eq(redis_take(redis, &reply, &e), ERR_OK);
        cr_assert_str_eq(reply->str, text);
    }
}

Test(redis, after_an_error_in_a_pipeline_the_next_command_gets_its_own_answer)
{
    redisReply *reply = NULL;

    do_it(redis, WORDS("SET", "test_text", "x"));
    append(WORDS("ECHO", "one"));
    append(WORDS("LPUSH", "test_text", "x"));
    append(WORDS("ECHO", "three"));
    append(WORDS("ECHO", "four"));
    cr_assert_eq(redis_take(redis, NULL, &e), ERR_OK);
    cr_assert_eq(redis_take(redis, &reply, &e), ERR_PROTOCOL);
    cr_assert_null(reply);
    cr_assert_str_eq(redis_error_word(redis), "WRONGTYPE");
    expect_text(redis, WORDS("ECHO", "own"), "own");
}

Test(redis, take_all_goes_on_after_an_error_and_returns_it)
{
    do_it(redis, WORDS("SET", "test_text", "x"));
    append(WORDS("LPUSH", "test_text", "x"));
    append(WORDS("SET", "test_text", "y"));
    append(WORDS("NOSUCHCOMMAND"));
    cr_assert_eq(redis_take_all(redis, 3, &e), ERR_PROTOCOL);
    cr_assert_not_null(strstr(e.text, "WRONGTYPE"), "the first: %s", e.text);
    expect_text(redis, WORDS("GET", "test_text"), "y");
}

Test(redis, take_each_leaves_out_what_is_an_error)
{
    redisReply *replies[3];

    do_it(redis, WORDS("SET", "test_text", "x"));
    append(WORDS("LPUSH", "test_text", "x"));
    append(WORDS("ECHO", "two"));
    append(WORDS("NOSUCHCOMMAND"));
    cr_assert_eq(redis_take_each(redis, replies, 3, &e), ERR_PROTOCOL);
    cr_assert_not_null(strstr(e.text, "WRONGTYPE"), "the first: %s", e.text);
    cr_assert_str_eq(redis_error_word(redis), "WRONGTYPE");
    cr_assert_null(replies[0]);
    cr_assert_str_eq(replies[1]->str, "two");
    cr_assert_null(replies[2]);
    freeReplyObject(replies[1]);
    expect_text(redis, WORDS("ECHO", "own"), "own");
}

Test(redis, taking_what_is_not_due_is_an_error_and_no_wait)
{
    int64_t begun = clock_mono_us();

    cr_assert_eq(redis_take(redis, NULL, &e), ERR_INTERNAL);
    cr_assert_lt(clock_mono_us() - begun, US_PER_S);
    expect_text(redis, WORDS("ECHO", "own"), "own");
}

/* ---- errors ---- */

Test(redis, error_words_become_codes)
{
    static const struct {
        const char *text;
        const char *word;
        enum err_code code;
    } cases[] = {
        {"OOM command not allowed when used memory > 'maxmemory'.", "OOM", ERR_UNAVAILABLE},
        {"LOADING Redis is loading the dataset in memory", "LOADING", ERR_UNAVAILABLE},
        {"MISCONF Errors writing to the AOF file", "MISCONF", ERR_UNAVAILABLE},
        {"NOREPLICAS Not enough good replicas to write.", "NOREPLICAS", ERR_UNAVAILABLE},
        {"MASTERDOWN Link with MASTER is down", "MASTERDOWN", ERR_UNAVAILABLE},
        {"NOGROUP No such key", "NOGROUP", ERR_UNAVAILABLE},
        {"BUSYGROUP Consumer Group name already exists", "BUSYGROUP", ERR_PROTOCOL},
        {"WRONGTYPE Operation against a key", "WRONGTYPE", ERR_PROTOCOL},
        {"NOPERM this user has no permissions", "NOPERM", ERR_PROTOCOL},
        {"ERR syntax error", "ERR", ERR_PROTOCOL},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cr_expect_eq(call(redis,
                          WORDS("EVAL", "return redis.error_reply(ARGV[1])", "0", cases[i].text),
                          NULL),
                     cases[i].code, "%s", cases[i].text);
        cr_expect_str_eq(redis_error_word(redis), cases[i].word);
        cr_expect(redis_is_connected(redis));
    }
    do_it(redis, WORDS("PING"));
    cr_assert_str_empty(redis_error_word(redis));
}

Test(redis, nogroup_of_the_server_itself)
{
    do_it(redis, WORDS("DEL", "test_stream"));
    cr_assert_eq(
        call(redis, WORDS("XREADGROUP", "GROUP", "g", "c", "STREAMS", "test_stream", ">"), NULL),
        ERR_UNAVAILABLE);
    cr_assert_str_eq(redis_error_word(redis), "NOGROUP");
    cr_assert(err_is_transient(e.code));
}

Test(redis, a_demoted_server_is_left)
{
    cr_assert_eq(call(redis,
                      WORDS("EVAL", "return redis.error_reply(ARGV[1])", "0",
                            "READONLY You can't write against a read only replica."),
                      NULL),
                 ERR_UNAVAILABLE);
    cr_assert_not(redis_is_connected(redis));
    do_it(redis, WORDS("PING"));
}

/* ---- loss ---- */

Test(redis, reconnects_after_client_kill_as_it_was)
{
    uint64_t generation = redis_generation(redis);

    kill_connection(connection_id());
    cr_assert_eq(call(redis, WORDS("PING"), NULL), ERR_UNAVAILABLE,
                 "only the caller knows whether it may run again");
    cr_assert_not(redis_is_connected(redis));
    expect_text(redis, WORDS("PING"), "PONG");
    cr_assert_eq(redis_generation(redis), generation + 1);
    expect_text(redis, WORDS("CLIENT", "GETNAME"), "test_redis");
}

Test(redis, loss_amid_a_pipeline_leaves_nothing_behind)
{
    int64_t id = connection_id();

    append(WORDS("ECHO", "one"));
    append(WORDS("ECHO", "two"));
    kill_connection(id);
    cr_assert_eq(redis_take(redis, NULL, &e), ERR_UNAVAILABLE);
    cr_assert_eq(redis_take(redis, NULL, &e), ERR_UNAVAILABLE);
    expect_text(redis, WORDS("ECHO", "own"), "own");
}

Test(redis, a_silent_server_is_left_at_the_timeout)
{
    AUTO(redis_close) struct redis *hasty = redis_open(need_setting("REDIS_URL"), "hasty", 100);
    int64_t begun = clock_mono_us();

    cr_assert_eq(call(hasty, WORDS("BLPOP", "test_nothing", "0"), NULL), ERR_UNAVAILABLE);
    cr_assert_lt(clock_mono_us() - begun, 10 * US_PER_S);
    cr_assert_not(redis_is_connected(hasty), "the late answer must meet nobody");
    expect_text(hasty, WORDS("ECHO", "own"), "own");
}

Test(redis, unreachable_server)
{
    AUTO(redis_close)
    struct redis *nowhere = redis_open("unix:///nonexistent/redis.sock", "test", 1000);
    int64_t begun = clock_mono_us();

    for (int i = 0; i < 1000; i++)
        cr_assert_eq(call(nowhere, WORDS("PING"), NULL), ERR_UNAVAILABLE);
    cr_assert_lt(clock_mono_us() - begun, 5 * US_PER_S, "refuses at once between its tries");
}

Test(redis, wrong_url)
{
    AUTO(redis_close) struct redis *wrong = redis_open("http://localhost", "test", 1000);
    AUTO(redis_close) struct redis *missing = redis_open(NULL, "test", 1000);

    cr_assert_eq(call(wrong, WORDS("PING"), NULL), ERR_INVALID);
    cr_assert_eq(call(missing, WORDS("PING"), NULL), ERR_UNAVAILABLE, "made to refuse");
    redis_close(NULL);
}

/* ---- TCP, user, password, database ---- */

/* The port the server listens on; it is asked to, when it does not. */
static int tcp_port(void)
{
    AUTO(freeReplyObject) redisReply *reply = NULL;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    char text[16];
    int fd;

    cr_assert_eq(call(other, WORDS("CONFIG", "GET", "port"), &reply), ERR_OK);
    if (strcmp(reply->element[1]->str, "0") != 0)
        return (int)strtol(reply->element[1]->str, NULL, 10);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    (void)close(fd);
    cr_assert(text_format(text, sizeof text, "%d", ntohs(address.sin_port)));
    do_it(other, WORDS("CONFIG", "SET", "port", text));
    return ntohs(address.sin_port);
}

Test(redis, tcp_with_user_password_and_database)
{
    int port = tcp_port();
    char url[100];

    do_it(other, WORDS("ACL", "SETUSER", "test:user", "on", ">p@ss:/%", "~*", "+@all"));
    cr_assert(text_format(url, sizeof url,
                          "redis://test%%3Auser:p%%40ss%%3A%%2F%%25@127.0.0.1:%d/3", port));
    {
        AUTO(redis_close) struct redis *tcp = redis_open(url, "test_tcp", 5000);
        AUTO(freeReplyObject) redisReply *info = NULL;

        expect_text(tcp, WORDS("ACL", "WHOAMI"), "test:user");
        cr_assert_eq(call(tcp, WORDS("CLIENT", "INFO"), &info), ERR_OK);
        cr_assert_not_null(strstr(info->str, " db=3 "), "%s", info->str);
        cr_assert_not_null(strstr(info->str, " name=test_tcp "), "%s", info->str);
    }
    cr_assert(text_format(url, sizeof url, "redis://test%%3Auser:wrong@127.0.0.1:%d", port));
    {
        AUTO(redis_close) struct redis *tcp = redis_open(url, "test_tcp", 5000);

        cr_assert_eq(call(tcp, WORDS("PING"), NULL), ERR_PROTOCOL);
        cr_assert_not_null(strstr(e.text, "WRONGPASS"), "%s", e.text);
        cr_assert_null(strstr(e.detail, "wrong@"), "%s", e.detail);
    }
    do_it(other, WORDS("ACL", "DELUSER", "test:user"));
}
