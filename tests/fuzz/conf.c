/* SPDX-License-Identifier: MIT
 *
 * The settings file: any bytes are either settings or refused with the number of their line.
 */
#include "tests/fuzz/target.h"

#include <stdio.h>
#include <unistd.h>

#include "common/conf.h"

FUZZ_TARGET(conf, text, size)
{
    char path[] = "/tmp/till-fuzz-conf-XXXXXX";
    char program[] = "till";
    char flag[] = "--config";
    char *argv[] = {program, flag, path, NULL};
    int fd = mkstemp(path);
    struct conf conf;
    struct conf_request request;
    struct err e = {0};
    enum err_code rc;

    MUST(fd >= 0 && write(fd, text, size) == (ssize_t)size);
    (void)close(fd);
    rc = conf_load(&conf, PROGRAM_CLI, 3, argv, &request, &e);
    (void)unlink(path);
    MUST(rc == e.code && (rc == ERR_OK || rc == ERR_INVALID));
    conf_release(&conf);
}
