/* SPDX-License-Identifier: MIT
 *
 * The common start of every program; see program.h.
 */
#include "common/program.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "common/clock.h"
#include "common/log.h"

static sigset_t taken_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTSTP);
    sigaddset(&set, SIGCONT);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    return set;
}

int program_start(const char *name, enum program program, const char *usage, int argc, char **argv,
                  struct conf *conf, struct conf_request *ret_request)
{
    struct err e = {0};
    enum err_code rc = conf_load(conf, program, argc, argv, ret_request, &e);
    enum log_level level = LOG_INFO;
    sigset_t set = taken_signals();

    if (ret_request->help || ret_request->version)
        ret_request->check = false;
    if (ret_request->help) {
        (void)printf("%s\n", usage);
        conf_print_help(program, stdout);
        return EXIT_DONE;
    }
    if (ret_request->version) {
        (void)printf("%s %s\n", name, TILL_VERSION);
        return EXIT_DONE;
    }
    if (rc) {
        (void)fprintf(stderr, "%s: %s\n", name, e.text);
        return EXIT_USAGE;
    }
    if (program != PROGRAM_CLI && ret_request->argc > 1) {
        (void)fprintf(stderr, "%s: unknown argument \"%s\"; see %s --help\n", name,
                      ret_request->argv[1], name);
        return EXIT_USAGE;
    }
    if (sodium_init() < 0) {
        (void)fprintf(stderr, "%s: no source of random numbers\n", name);
        return EXIT_FAILED;
    }
    if (ret_request->check)
        return EXIT_DONE; /* program_check_done() tells */
    (void)log_level_parse(conf->log_level, &level);
    log_init(name, level, strcmp(conf->log_format, "json") == 0);
    (void)signal(SIGPIPE, SIG_IGN); /* hiredis writes with write(2) */
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (program != PROGRAM_CLI && geteuid() == 0)
        log_warn("running_as_root", L_STR("advice", "run it as a user of its own"));
    return -1;
}

int program_check_done(const char *name, const struct err *wrong)
{
    if (wrong->code)
        (void)fprintf(stderr, "%s: %s\n", name, wrong->text);
    else
        (void)printf("%s: the settings are valid\n", name);
    return wrong->code ? EXIT_USAGE : EXIT_DONE;
}

/* A reader that has left, as head does, wants no more: that is no failure. */
static bool reader_has_left(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};

    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
}

int program_end(const char *name, int code)
{
    bool lost = ferror(stdout) != 0;

    if (fflush(stdout) == 0 && !lost)
        return code;
    if (reader_has_left())
        return code;
    (void)fprintf(stderr, "%s: standard output could not be written%s\n", name,
                  code == EXIT_DONE ? "; what was asked for is done" : "");
    return code == EXIT_DONE ? EXIT_FAILED : code;
}

int program_wait(int64_t timeout_us)
{
    sigset_t set = taken_signals();
    struct timespec timeout = clock_timespec(timeout_us);
    int number;

    do {
        number = timeout_us < 0 ? sigwaitinfo(&set, NULL) : sigtimedwait(&set, NULL, &timeout);
    } while (number < 0 && errno == EINTR);
    return number < 0 ? 0 : number;
}

void program_unblock_signals(void)
{
    sigset_t set = taken_signals();

    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
