/* SPDX-License-Identifier: MIT
 *
 * till: the command line. Finds the verb and runs it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/shown.h"
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

/* The second word of a verb when its first is the noun, "list" of "task list"; else NULL. */
static const char *action_of(const struct command *command, const char *noun)
{
    size_t len = strlen(noun);

    return text_starts(command->name, noun) && command->name[len] == ' ' ? command->name + len + 1
                                                                         : NULL;
}

/* Prints the verbs of a noun; false when it is none. */
static bool print_noun(const char *noun, FILE *out)
{
    bool found = false;

    for (const struct command *const *c = commands; *c; c++) {
        if (!action_of(*c, noun))
            continue;
        (void)fprintf(out, "%still %s %s\n    %s\n", found ? "\n" : "", (*c)->name, (*c)->usage,
                      (*c)->help);
        found = true;
    }
    return found;
}

/* Words that are no verb: what the first one would need, if it is a noun. */
static int refuse(const struct cli *cli)
{
    const char *noun = cli->argv[0];
    char actions[400] = "";
    size_t len = 0;

    for (const struct command *const *c = commands; *c && len < sizeof actions; c++)
        if (action_of(*c, noun))
            len += (size_t)snprintf(actions + len, sizeof actions - len, "%s%s", len ? ", " : "",
                                    action_of(*c, noun));
    if (!len)
        return cli_usage("unknown verb \"%.60s\"", noun);
    if (cli->argc > 1 && !text_starts(cli->argv[1], "-"))
        return cli_usage("there is no \"%.60s %.60s\"; %s takes %s", noun, cli->argv[1], noun,
                         actions);
    return cli_usage("\"%s\" needs one of %s", noun, actions);
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
    return refuse(cli);
}

/* "till VERB --help", or "till help VERB", tells of the verb alone, or of all of a noun. */
static int help(int argc, char **argv)
{
    for (const struct command *const *c = commands; *c; c++) {
        if (match(*c, argc, argv) == 0)
            continue;
        (void)printf("till %s %s\n\n%s\n", (*c)->name, (*c)->usage, (*c)->help);
        return EXIT_DONE;
    }
    if (argc > 0 && print_noun(argv[0], stdout))
        return EXIT_DONE;
    if (argc > 0 && !text_starts(argv[0], "-"))
        return cli_usage("unknown verb \"%.60s\"", argv[0]);
    print_help(stdout);
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    struct conf conf;
    struct conf_request request;
    struct cli cli;
    int code;

    shown_begin();
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return program_end("till", help(argc - 1, argv + 1));
    }
    if (argc > 1 && strcmp(argv[1], "help") == 0)
        return program_end("till", help(argc - 2, argv + 2));
    code = program_start("till", PROGRAM_CLI, usage, argc, argv, &conf, &request);
    if (code < 0) {
        cli = (struct cli){.conf = &conf, .argc = request.argc - 1, .argv = request.argv + 1};
        program_unblock_signals(); /* Ctrl-C ends a command at once */
        code = run(&cli);
        db_close(cli.db);
        redis_close(cli.redis);
    }
    if (code == EXIT_DONE && request.check)
        code = program_check_done("till", &(struct err){.code = ERR_OK});
    conf_release(&conf);
    return program_end("till", code);
}
