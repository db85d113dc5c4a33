/* SPDX-License-Identifier: MIT
 *
 * A password for a verb: from a file or from standard input, never from the command line, where
 * everybody could read it.
 */
#ifndef CLI_SECRET_H
#define CLI_SECRET_H

enum { CLI_PASSWORD_SIZE = 1024 };

/* The first line of the file, or of standard input when `path` is NULL (a terminal does not show
 * it). An exit code: EXIT_USAGE with a message when there is none. Wipe it after use. */
int cli_read_password(const char *path, char out[CLI_PASSWORD_SIZE]);

#endif
