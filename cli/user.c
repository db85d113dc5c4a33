/* SPDX-License-Identifier: MIT
 *
 * till user create: a user of the shop, the first member of staff above all. The password comes
 * from a file or from standard input, never from the command line, where everybody could read it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/secret.h"
#include "common/password.h"
#include "common/text.h"
#include "common/users.h"

/* One line, as the API takes it: what has blanks around it is found by nobody who types it. */
static bool is_line(const char *text, size_t max)
{
    const char *from = text;
    size_t len = strlen(text);
    size_t left = len;

    if (!text_is_utf8(text, len) || text_plain_span(text, len) < len)
        return false;
    text_trim(&from, &left);
    return left == len && text_count_chars(text) <= max;
}

static bool is_name(const char *text) { return !text || is_line(text, USER_NAME_MAX); }

static int check_user(const struct user_new *user)
{
    if (!user->username || !user->email)
        return cli_usage("user create needs --username and --email");
    if (!*user->username || !is_name(user->username))
        return cli_usage("--username is 1 to %d characters without blanks around them",
                         USER_NAME_MAX);
    if (!is_line(user->email, USER_EMAIL_MAX) || !text_is_email(user->email))
        return cli_usage("--email is an address such as rosa@example.com");
    if (!is_name(user->first_name) || !is_name(user->last_name))
        return cli_usage("--first-name and --last-name are at most %d characters each, without "
                         "blanks around them",
                         USER_NAME_MAX);
    return EXIT_DONE;
}

static int check_password(const char *password, const struct user_new *user)
{
    const struct password_owner owner = {.username = user->username,
                                         .email = user->email,
                                         .first_name = user->first_name,
                                         .last_name = user->last_name};
    struct password_faults faults;

    if (text_count_chars(password) > PASSWORD_MAX_CHARS)
        return cli_usage("a password is at most %d characters long: nobody can log in with more",
                         PASSWORD_MAX_CHARS);
    password_judge(password, &owner, &faults);
    for (size_t i = 0; i < faults.count; i++)
        (void)fprintf(stderr, "till: %s\n", faults.messages[i]);
    return faults.count ? EXIT_USAGE : EXIT_DONE;
}

static int create(struct cli *cli, struct user_new *user, const char *password)
{
    char hash[PASSWORD_HASH_SIZE];
    struct err e = {0};
    int64_t id = 0;
    enum err_code rc;

    if (password_hash(password, hash, &e))
        return cli_fail(&e);
    user->password_hash = hash;
    rc = users_create(cli_db(cli), user, &id, NULL, &e);
    user->password_hash = NULL;
    if (rc)
        return cli_fail(&e);
    (void)printf(cli->json ? "{\"id\":%" PRId64 "}\n" : "user %" PRId64 " created\n", id);
    return EXIT_DONE;
}

static int run_user_create(struct cli *cli)
{
    struct user_new user = {.username = cli_option(cli, "username"),
                            .email = cli_option(cli, "email"),
                            .first_name = cli_option(cli, "first-name"),
                            .last_name = cli_option(cli, "last-name"),
                            .is_staff = cli_flag(cli, "staff")};
    const char *path = cli_option(cli, "password-file");
    char password[CLI_PASSWORD_SIZE];
    int code;

    if (!cli_is_done(cli))
        return EXIT_USAGE;
    code = check_user(&user);
    if (code == EXIT_DONE)
        code = cli_read_password(path, password);
    if (code == EXIT_DONE)
        code = check_password(password, &user);
    if (code == EXIT_DONE)
        code = create(cli, &user, password);
    explicit_bzero(password, sizeof password);
    return code;
}

const struct command command_user_create = {
    "user create",
    "--username U --email E [--staff] [--first-name F] [--last-name L] [--password-file FILE]",
    "creates a user of the shop; the password is read from FILE or standard input",
    run_user_create};
