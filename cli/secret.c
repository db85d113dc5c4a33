/* SPDX-License-Identifier: MIT
 *
 * Reading a password; see secret.h.
 */
#include "cli/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/text.h"

/* The first line, without its end; one that does not fit is none. */
static bool read_line(FILE *in, char out[CLI_PASSWORD_SIZE])
{
    if (!fgets(out, CLI_PASSWORD_SIZE, in) || strlen(out) == CLI_PASSWORD_SIZE - 1)
        return false;
    out[strcspn(out, "\r\n")] = '\0';
    return *out && text_is_utf8(out, strlen(out)) && !text_has_mark(out, strlen(out));
}

static bool ask(char out[CLI_PASSWORD_SIZE])
{
    struct termios shown;
    struct termios hidden;
    bool is_terminal = tcgetattr(STDIN_FILENO, &shown) == 0;
    bool read;

    if (is_terminal) {
        hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        (void)fprintf(stderr, "Password: ");
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    }
    read = read_line(stdin, out);
    if (is_terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
        (void)fprintf(stderr, "\n");
    }
    return read;
}

int cli_read_password(const char *path, char out[CLI_PASSWORD_SIZE])
{
    FILE *in;
    bool read;

    if (!path) {
        if (ask(out))
            return EXIT_DONE;
        return cli_usage("no password on standard input");
    }
    in = fopen(path, "re");
    if (!in)
        return cli_usage("cannot read \"%s\": %s", path, strerrordesc_np(errno));
    read = read_line(in, out);
    (void)fclose(in);
    return read ? EXIT_DONE : cli_usage("\"%s\" holds no password", path);
}
