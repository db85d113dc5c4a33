/* SPDX-License-Identifier: MIT
 *
 * The list of all verbs, in the order of the help page.
 */
#include "cli/cli.h"

#define COMMANDS(X)                                                                                \
    X(migrate)                                                                                     \
    X(seed)                                                                                        \
    X(user_create)                                                                                 \
    X(enqueue)                                                                                     \
    X(task_list)                                                                                   \
    X(task_show)                                                                                   \
    X(queue_list)                                                                                  \
    X(worker_list)                                                                                 \
    X(settings)

#define X(name) extern const struct command command_##name;
COMMANDS(X)
#undef X

const struct command *const commands[] = {
#define X(name) &command_##name,
    COMMANDS(X)
#undef X
        NULL,
};
