/* SPDX-License-Identifier: MIT
 *
 * The frame of the command line: one verb = one file = one `const struct command`, listed in
 * commands.c. A verb reads its own words with cli_option() and friends, prints for people or with
 * --json for programs, and returns an exit code.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "common/conf.h"
#include "common/db.h"
#include "common/err.h"
#include "common/program.h"
#include "common/redis.h"

/* What a verb works with. Connections are made when first asked for. */
struct cli {
    const struct conf *conf;
    int argc; /* words after the verb; options are removed as they are read */
    char **argv;
    bool json;
    struct db *db;
    struct redis *redis;
};

struct command {
    const char *name;  /* "task list" */
    const char *usage; /* what follows the name */
    const char *help;  /* one line */
    int (*run)(struct cli *cli);
};

extern const struct command *const commands[]; /* ends with NULL */

struct db *cli_db(struct cli *cli);
struct redis *cli_redis(struct cli *cli);

/* Takes "--name VALUE" or "--name=VALUE" out of the words; NULL when it is not there. An option
 * without its value ends the program with EXIT_USAGE. */
const char *cli_option(struct cli *cli, const char *name);
bool cli_flag(struct cli *cli, const char *name); /* "--name" */

/* The next word that is no option, or NULL; call it after all options were taken. */
const char *cli_word(struct cli *cli);

/* Who runs the command, for what keeps the name of who ordered it; "" when nobody knows. */
void cli_user(char *out, size_t size);

/* Whether nothing is left; else prints which word is not understood. */
bool cli_is_done(struct cli *cli);

/* Prints "till: text" to stderr, with the driver's detail, and gives the exit code of the error. */
int cli_fail(const struct err *e);
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
