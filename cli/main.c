/* SPDX-License-Identifier: MIT
 *
 * till: the command line. Finds the verb and runs it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "common/text.h"

static const char usage[] = "till VERB [WORDS] [--json]: migrate, enqueue, inspect and control\n";

static void print_help(FILE *out)
{
    (void)fprintf(out, "%s\nVerbs:\n", usage);
    for (const struct command *const *c = commands; *c; c++)
        (void)fprintf(out, "  till %s %s\n      %s\n", (*c)->name, (*c)->usage, (*c)->help);
    (void)fprintf(out,
                  "\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 for what never comes.\n\n");
    conf_print_help(PROGRAM_CLI, out);
}

/* How many words of the command line name this verb: 0 when they do not. */
static int match(const struct command *command, int argc, char **argv)
{
    const char *name = command->name;
    int words = 0;

    while (*name) {
        size_t len = strcspn(name, " ");

        if (words >= argc || strlen(argv[words]) != len || strncmp(argv[words], name, len) != 0)
            return 0;
        words++;
        name += len + (name[len] == ' ');
    }
    return words;
}

static int run(struct cli *cli)
{
    for (const struct command *const *c = commands; *c; c++) {
        int words = match(*c, cli->argc, cli->argv);

        if (words == 0)
            continue;
        cli->argc -= words;
        cli->argv += words;
        cli->json = cli_flag(cli, "json");
        return (*c)->run(cli);
    }
    if (cli->argc == 0) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    return cli_usage("unknown verb \"%.60s\"", cli->argv[0]);
}

/* "till VERB --help" tells of the verb alone. */
static int help(const struct conf_request *request)
{
    for (const struct command *const *c = commands; *c; c++) {
        if (match(*c, request->argc - 1, request->argv + 1) == 0)
            continue;
        (void)printf("till %s %s\n\n%s\n", (*c)->name, (*c)->usage, (*c)->help);
        return EXIT_DONE;
    }
    print_help(stdout);
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    struct conf conf;
    struct conf_request request;
    struct cli cli;
    int code;

    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            request = (struct conf_request){.argc = argc, .argv = argv};
            return help(&request);
        }
    }
    code = program_start("till", PROGRAM_CLI, usage, argc, argv, &conf, &request);
    if (code < 0) {
        cli = (struct cli){.conf = &conf, .argc = request.argc - 1, .argv = request.argv + 1};
        program_unblock_signals(); /* Ctrl-C ends a command at once */
        code = run(&cli);
        db_close(cli.db);
        redis_close(cli.redis);
    }
    conf_release(&conf);
    if (fflush(stdout) != 0)
        return EXIT_FAILED;
    return code;
}
