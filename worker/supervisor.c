/* SPDX-License-Identifier: MIT
 *
 * Starting, watching and replacing worker processes; see supervisor.h.
 */
#include "worker/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/program.h"
#include "common/uuid.h"
#include "worker/process.h"

enum {
    QUICK_DEATH_MS = 1000, /* who dies sooner waits longer for a replacement */
    RESTART_FIRST_MS = 50,
    RESTART_MAX_MS = 5000,
    KILL_AFTER_S = 10, /* past the grace period */
};

struct child {
    pid_t pid;          /* 0: not running */
    char token[64];     /* holds its worker name; a replacement gets the same and so its entries */
    int64_t started_us; /* monotonic */
    int64_t restart_at_us; /* monotonic, when not running */
    int backoff_ms;
};

struct supervisor {
    const struct conf *conf;
    struct child *children;
    int count;
    int ready_fd[2]; /* each child writes one byte once it consumes */
    int ready;
    bool told_ready;
    bool quiet; /* no replacements: they would take work */
    bool stopping;
    int64_t kill_at_us; /* monotonic, when stopping */
};

static void start_child(struct supervisor *s, int index)
{
    struct child *child = &s->children[index];
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid == 0) {
        /* Whoever kills the supervisor must not leave its processes behind. */
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(EXIT_FAILED);
        (void)close(s->ready_fd[0]);
        _exit(process_main(s->conf, child->token, s->ready_fd[1]));
    }
    child->started_us = clock_mono_us();
    if (pid < 0) {
        log_error("fork_failed", L_STR("reason", strerrordesc_np(errno)));
        child->restart_at_us = child->started_us + RESTART_MAX_MS * US_PER_MS;
        return;
    }
    child->pid = pid;
}

static void log_death(pid_t pid, int status)
{
    if (WIFSIGNALED(status))
        log_error("process_died", L_INT("process", pid), L_INT("signal", WTERMSIG(status)),
                  L_STR("signal_name", sigabbrev_np(WTERMSIG(status))));
    else if (WEXITSTATUS(status) != EXIT_DONE)
        log_error("process_died", L_INT("process", pid), L_INT("exit_code", WEXITSTATUS(status)));
    else
        log_info("process_ended", L_INT("process", pid));
}

static void plan_restart(struct child *child)
{
    int64_t now_us = clock_mono_us();

    if (now_us - child->started_us > QUICK_DEATH_MS * US_PER_MS)
        child->backoff_ms = 0;
    child->restart_at_us = now_us + child->backoff_ms * US_PER_MS;
    child->backoff_ms = child->backoff_ms ? child->backoff_ms * 2 : RESTART_FIRST_MS;
    if (child->backoff_ms > RESTART_MAX_MS)
        child->backoff_ms = RESTART_MAX_MS;
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int i = 0; i < s->count; i++) {
            if (s->children[i].pid != pid)
                continue;
            s->children[i].pid = 0;
            log_death(pid, status);
            plan_restart(&s->children[i]);
        }
    }
}

static void pass_on(const struct supervisor *s, int number)
{
    for (int i = 0; i < s->count; i++)
        if (s->children[i].pid > 0)
            (void)kill(s->children[i].pid, number);
}

static int count_running(const struct supervisor *s)
{
    int running = 0;

    for (int i = 0; i < s->count; i++)
        running += s->children[i].pid > 0;
    return running;
}

/* Starts whoever is due; gives the time until the next one is, negative when nobody waits. */
static int64_t restart_due(struct supervisor *s)
{
    int64_t next_us = -1;

    for (int i = 0; i < s->count && !s->stopping && !s->quiet; i++) {
        struct child *child = &s->children[i];
        int64_t wait_us = child->restart_at_us - clock_mono_us();

        if (child->pid > 0)
            continue;
        if (wait_us <= 0)
            start_child(s, i);
        else if (next_us < 0 || wait_us < next_us)
            next_us = wait_us;
    }
    return next_us;
}

static void count_ready(struct supervisor *s)
{
    char bytes[64];
    ssize_t got = s->told_ready ? 0 : read(s->ready_fd[0], bytes, sizeof bytes);

    if (got <= 0)
        return;
    s->ready += (int)got;
    if (s->ready >= s->count) {
        s->told_ready = true;
        log_info("ready", L_INT("processes", s->count),
                 L_INT("concurrency", s->conf->worker_concurrency),
                 L_STR("queues", s->conf->queues));
    }
}

static void handle(struct supervisor *s, int number)
{
    switch (number) {
    case SIGTERM:
    case SIGINT:
    case SIGQUIT:
        pass_on(s, s->stopping ? SIGQUIT : number);
        if (!s->stopping)
            s->kill_at_us = clock_mono_us() + (s->conf->shutdown_seconds + KILL_AFTER_S) * US_PER_S;
        s->stopping = true;
        break;
    case SIGTSTP:
        s->quiet = true;
        pass_on(s, number);
        break;
    case SIGUSR1:
        pass_on(s, number);
        break;
    default:
        break; /* CHLD: reaped in any case; HUP: nothing to reopen, logs go to stderr */
    }
}

/* How long to wait for the next signal: until a restart, a kill, or while children come up. */
static int64_t wait_us(struct supervisor *s)
{
    const int64_t step_us = 20 * US_PER_MS;
    int64_t restart_us = restart_due(s);

    if (s->stopping)
        return s->kill_at_us - clock_mono_us();
    if (!s->told_ready)
        return step_us;
    return restart_us;
}

static int run(struct supervisor *s)
{
    for (;;) {
        int64_t timeout_us = wait_us(s);

        if (s->stopping && count_running(s) == 0)
            return EXIT_DONE;
        if (s->stopping && timeout_us <= 0) {
            log_error("processes_killed", L_INT("count", count_running(s)));
            pass_on(s, SIGKILL);
            s->kill_at_us = clock_mono_us() + US_PER_S;
        }
        handle(s, program_wait(timeout_us));
        reap(s);
        count_ready(s);
    }
}

int supervise(const struct conf *conf)
{
    struct supervisor s = {.conf = conf, .count = (int)conf->worker_processes};
    struct uuid instance = uuid_v4();
    int code;

    if (pipe2(s.ready_fd, O_CLOEXEC | O_NONBLOCK) != 0) {
        log_error("no_pipe", L_STR("reason", strerrordesc_np(errno)));
        return EXIT_FAILED;
    }
    s.children = mem_array((size_t)s.count, sizeof s.children[0]);
    for (int i = 0; i < s.count; i++)
        (void)snprintf(s.children[i].token, sizeof s.children[i].token, "%s/%d", instance.text, i);
    code = run(&s);
    mem_free(s.children);
    (void)close(s.ready_fd[0]);
    (void)close(s.ready_fd[1]);
    return code;
}
