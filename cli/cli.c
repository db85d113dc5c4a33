/* SPDX-License-Identifier: MIT
 *
 * Reading the words of a verb and telling what went wrong; see cli.h.
 */
#include "cli/cli.h"

#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/text.h"

enum { CLI_REDIS_TIMEOUT_MS = 5000, PASSWD_BYTES = 4096 };

struct db *cli_db(struct cli *cli)
{
    const char *url = cli->conf->database_url;

    if (!cli->db)
        cli->db = db_open(url ? url : "", "till"); /* "" is told as a setting that is missing */
    return cli->db;
}

struct redis *cli_redis(struct cli *cli)
{
    if (!cli->redis)
        cli->redis = redis_open(cli->conf->redis_url, "till", CLI_REDIS_TIMEOUT_MS);
    return cli->redis;
}

static void remove_words(struct cli *cli, int at, int count)
{
    memmove(&cli->argv[at], &cli->argv[at + count],
            (size_t)(cli->argc - at - count) * sizeof cli->argv[0]);
    cli->argc -= count;
}

const char *cli_option(struct cli *cli, const char *name)
{
    size_t len = strlen(name);

    for (int i = 0; i < cli->argc; i++) {
        const char *word = cli->argv[i];
        const char *value;

        if (strcmp(word, "--") == 0)
            break;
        if (!text_starts(word, "--") || strncmp(word + 2, name, len) != 0)
            continue;
        if (word[2 + len] == '=') {
            remove_words(cli, i, 1);
            return word + 2 + len + 1;
        }
        if (word[2 + len])
            continue;
        if (i + 1 >= cli->argc)
            exit(cli_usage("option --%s needs a value", name));
        value = cli->argv[i + 1];
        remove_words(cli, i, 2);
        return value;
    }
    return NULL;
}

bool cli_flag(struct cli *cli, const char *name)
{
    for (int i = 0; i < cli->argc && strcmp(cli->argv[i], "--") != 0; i++) {
        if (text_starts(cli->argv[i], "--") && strcmp(cli->argv[i] + 2, name) == 0) {
            remove_words(cli, i, 1);
            return true;
        }
    }
    return false;
}

const char *cli_word(struct cli *cli)
{
    const char *word;

    if (cli->argc > 0 && strcmp(cli->argv[0], "--") == 0)
        remove_words(cli, 0, 1);
    else if (cli->argc > 0 && text_starts(cli->argv[0], "--"))
        return NULL; /* an option that nobody took: cli_is_done() names it */
    if (cli->argc == 0)
        return NULL;
    word = cli->argv[0];
    remove_words(cli, 0, 1);
    return word;
}

void cli_user(char *out, size_t size)
{
    char bytes[PASSWD_BYTES];
    struct passwd entry;
    struct passwd *user = NULL;

    (void)getpwuid_r(geteuid(), &entry, bytes, sizeof bytes, &user);
    (void)snprintf(out, size, "%s", user ? user->pw_name : "");
}

bool cli_is_done(struct cli *cli)
{
    if (cli->argc == 0)
        return true;
    (void)cli_usage("\"%.100s\" is not understood here%s", cli->argv[0],
                    text_starts(cli->argv[0], "--") ? ", or was given twice" : "");
    return false;
}

int cli_fail(const struct err *e)
{
    if (*e->detail)
        (void)fprintf(stderr, "till: %s (%s)\n", e->text, e->detail);
    else
        (void)fprintf(stderr, "till: %s\n", e->text);
    return e->code == ERR_INVALID ? EXIT_USAGE : EXIT_FAILED;
}

int cli_usage(const char *format, ...)
{
    va_list args;

    (void)fprintf(stderr, "till: ");
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fprintf(stderr, "; see till --help\n");
    return EXIT_USAGE;
}
