/* SPDX-License-Identifier: MIT
 *
 * till dashboard user, token: lines for the file that TILL_DASHBOARD_USERS names. They are printed,
 * not put into the file, so that whoever keeps it keeps it in their own way.
 */
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "cli/cli.h"
#include "cli/secret.h"
#include "common/auto.h"
#include "common/buf.h"
#include "common/password.h"
#include "common/text.h"

enum { NAME_BYTES = 60, HASH_BYTES = 32, TOKEN_SIZE = 50 };

#define TOKEN_PREFIX "till_"

static int read_line(struct cli *cli, const char *verb, const char **ret_name,
                     const char **ret_role)
{
    static const char *const roles[] = {"viewer", "operator", "admin"};
    const char *role = cli_option(cli, "role");
    const char *name = cli_word(cli);

    if (!cli_is_done(cli))
        return EXIT_USAGE;
    if (!name || !*name || strlen(name) > NAME_BYTES || strpbrk(name, ": \t\r\n#"))
        return cli_usage("dashboard %s needs a name of at most %d bytes, without colon, blank or #",
                         verb, NAME_BYTES);
    for (size_t i = 0; role && i < COUNT_OF(roles); i++) {
        if (strcmp(role, roles[i]) == 0) {
            *ret_name = name;
            *ret_role = role;
            return EXIT_DONE;
        }
    }
    return cli_usage("--role is viewer, operator or admin");
}

static int check_password(const char *name, const char *password)
{
    const struct password_owner owner = {.username = name};
    struct password_faults faults;

    password_judge(password, &owner, &faults);
    for (size_t i = 0; i < faults.count; i++)
        (void)fprintf(stderr, "till: %s\n", faults.messages[i]);
    return faults.count ? EXIT_USAGE : EXIT_DONE;
}

static void print_line(const struct cli *cli, const char *name, const char *role, const char *hash,
                       const char *token)
{
    AUTO_VALUE(buf_release) struct buf line;
    AUTO_VALUE(buf_release) struct buf out;

    buf_init(&line, 1024);
    buf_init(&out, 4096);
    buf_addf(&line, "%s:%s:%s", name, role, hash);
    if (!cli->json) {
        if (token)
            (void)fprintf(stderr, "The token, which is shown this once: %s\n", token);
        (void)puts(line.data);
        return;
    }
    buf_add_str(&out, "{\"line\":");
    buf_add_json(&out, line.data);
    if (token)
        buf_addf(&out, ",\"token\":\"%s\"", token);
    (void)printf("%s}\n", out.data);
}

static int run_user(struct cli *cli)
{
    const char *path = cli_option(cli, "password-file");
    char password[CLI_PASSWORD_SIZE];
    char hash[PASSWORD_HASH_SIZE];
    const char *name = NULL;
    const char *role = NULL;
    struct err e = {0};
    int code = read_line(cli, "user", &name, &role);

    if (code == EXIT_DONE)
        code = cli_read_password(path, password);
    if (code != EXIT_DONE)
        return code;
    code = check_password(name, password);
    if (code == EXIT_DONE && password_hash(password, hash, &e))
        code = cli_fail(&e);
    if (code == EXIT_DONE)
        print_line(cli, name, role, hash, NULL);
    explicit_bzero(password, sizeof password);
    return code;
}

const struct command command_dashboard_user = {
    "dashboard user", "NAME --role viewer|operator|admin [--password-file FILE]",
    "prints the line of a dashboard user for the file of TILL_DASHBOARD_USERS; the password is "
    "read "
    "from FILE or standard input",
    run_user};

static int run_token(struct cli *cli)
{
    unsigned char bytes[HASH_BYTES];
    unsigned char digest[HASH_BYTES];
    char token[sizeof TOKEN_PREFIX + TOKEN_SIZE] = TOKEN_PREFIX;
    char hash[sizeof "$token$" + 2 * HASH_BYTES] = "$token$";
    const char *name = NULL;
    const char *role = NULL;
    int code = read_line(cli, "token", &name, &role);

    if (code != EXIT_DONE)
        return code;
    randombytes_buf(bytes, sizeof bytes);
    (void)sodium_bin2base64(token + strlen(TOKEN_PREFIX), TOKEN_SIZE, bytes, sizeof bytes,
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    crypto_generichash(digest, sizeof digest, (const unsigned char *)token, strlen(token), NULL, 0);
    (void)sodium_bin2hex(hash + strlen(hash), sizeof hash - strlen(hash), digest, sizeof digest);
    print_line(cli, name, role, hash, token);
    return EXIT_DONE;
}

const struct command command_dashboard_token = {
    "dashboard token", "NAME --role viewer|operator|admin",
    "makes an API token and prints the line of its hash for the file of TILL_DASHBOARD_USERS",
    run_token};
