/* SPDX-License-Identifier: MIT
 *
 * Starting, watching and replacing worker processes; see supervisor.h.
 */
#include "worker/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/program.h"
#include "common/uuid.h"
#include "worker/process.h"
#include "worker/seat.h"

enum {
    QUICK_DEATH_MS = 1000, /* who dies sooner waits longer for a replacement */
    RESTART_FIRST_MS = 50,
    RESTART_MAX_MS = 5000,
    KILL_AFTER_S = 10, /* past the grace period */
    LOOK_MS = 1000,
    READY_LOOK_MS = 20,
    LATE_MS = 500, /* a look that comes later than this is no measure */
};

struct child {
    pid_t pid;          /* 0: not running */
    char token[64];     /* holds its worker name; a replacement gets the same and so its entries */
    int64_t started_us; /* monotonic */
    int64_t restart_at_us; /* monotonic, when not running */
    int backoff_ms;
    struct seat_watch watch;
    bool is_stopped; /* by an order: not replaced */
    bool has_turn;   /* replaces one that has left in its turn */
};

struct supervisor {
    const struct conf *conf;
    struct child *children;
    int count;
    struct seats *seats;
    bool told_ready;
    bool stopping;
    int64_t kill_at_us; /* monotonic, when stopping */
    int64_t look_at_us; /* monotonic: when the seats are looked at next */
};

static void start_child(struct supervisor *s, int index)
{
    struct child *child = &s->children[index];
    pid_t parent = getpid();
    pid_t pid;

    seat_clear(&s->seats->items[index]);
    child->watch = (struct seat_watch){.tick_us = 0};
    pid = fork();

    if (pid == 0) {
        /* Whoever kills the supervisor must not leave its processes behind. */
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(EXIT_FAILED);
        _exit(process_main(s->conf, child->token, s->seats, index));
    }
    CRASH_POINT("supervisor.forked");
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

static void plan_restart(struct child *child, int status)
{
    int64_t now_us = clock_mono_us();

    /* One that leaves in good order, after MAX_JOBS of them, may do so at any rate. */
    if (now_us - child->started_us > QUICK_DEATH_MS * US_PER_MS ||
        (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DONE))
        child->backoff_ms = 0;
    child->restart_at_us = now_us + child->backoff_ms * US_PER_MS;
    child->backoff_ms = child->backoff_ms ? child->backoff_ms * 2 : RESTART_FIRST_MS;
    if (child->backoff_ms > RESTART_MAX_MS)
        child->backoff_ms = RESTART_MAX_MS;
}

static void note_death(struct supervisor *s, int index, pid_t pid, int status)
{
    struct child *child = &s->children[index];

    child->pid = 0;
    child->is_stopped = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_STOPPED;
    child->has_turn = atomic_load(&s->seats->leaving) == index + 1;
    if (child->is_stopped) {
        log_info("process_stopped", L_INT("process", pid), L_STR("why", "it was ordered"));
        seats_end_turn(s->seats, index);
        return;
    }
    CRASH_POINT("supervisor.child_died");
    log_death(pid, status);
    plan_restart(child, status);
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int i = 0; i < s->count; i++) {
            if (s->children[i].pid != pid)
                continue;
            note_death(s, i, pid, status);
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

    for (int i = 0; i < s->count && !s->stopping; i++) {
        struct child *child = &s->children[i];
        int64_t wait_us = child->restart_at_us - clock_mono_us();

        if (child->pid > 0 || child->is_stopped)
            continue;
        if (wait_us <= 0)
            start_child(s, i);
        else if (next_us < 0 || wait_us < next_us)
            next_us = wait_us;
    }
    return next_us;
}

/* ---- looking at the seats ---- */

static void tell_ready(struct supervisor *s)
{
    for (int i = 0; i < s->count; i++)
        if (!s->children[i].is_stopped && !atomic_load(&s->seats->items[i].is_ready))
            return;
    s->told_ready = true;
    log_info("ready", L_INT("processes", s->count),
             L_INT("concurrency", s->conf->worker_concurrency), L_STR("queues", s->conf->queues));
}

/* Whoever has replaced one that left in its turn, and consumes, lets the next one go. */
static void end_turns(struct supervisor *s)
{
    for (int i = 0; i < s->count; i++) {
        struct child *child = &s->children[i];

        if (!child->has_turn || child->pid == 0 || !atomic_load(&s->seats->items[i].is_ready))
            continue;
        child->has_turn = false;
        seats_end_turn(s->seats, i);
    }
}

/* Ends whoever is past a hard limit, or silent, and has not ended itself. `late_us`: how much later
 * than meant this is: we were stopped, and so may they have been. */
static void judge_seats(struct supervisor *s, int64_t now_us, int64_t late_us)
{
    for (int i = 0; i < s->count; i++) {
        struct child *child = &s->children[i];
        enum seat_verdict verdict;

        if (child->pid == 0)
            continue;
        verdict = seat_judge(&s->seats->items[i], &child->watch, now_us, late_us,
                             s->conf->lease_seconds * US_PER_S);
        if (verdict == SEAT_WELL)
            continue;
        log_error("process_killed", L_INT("process", child->pid),
                  L_STR("worker", s->seats->items[i].name),
                  L_STR("why", verdict == SEAT_OVERRUN
                                   ? "a job is past its hard time limit, and it has not ended"
                                   : "it has given no sign of life for two leases"));
        (void)kill(child->pid, SIGKILL);
        child->watch = (struct seat_watch){.tick_us = 0}; /* once is enough */
    }
}

static void look(struct supervisor *s)
{
    int64_t now_us = clock_mono_us();
    int64_t late_us = now_us - s->look_at_us;

    if (!s->told_ready)
        tell_ready(s);
    end_turns(s);
    if (late_us < 0)
        return;
    judge_seats(s, now_us, late_us > LATE_MS * US_PER_MS ? late_us : 0);
    s->look_at_us = now_us + LOOK_MS * US_PER_MS;
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
    case SIGCONT:
        /* Those that replace others meanwhile read it when they begin. */
        atomic_store(&s->seats->quiet, number == SIGTSTP);
        pass_on(s, number);
        break;
    case SIGUSR1:
        pass_on(s, number);
        break;
    default:
        break; /* CHLD: reaped in any case; HUP: nothing to reopen, logs go to stderr */
    }
}

/* How long to wait for the next signal: until a restart, a look, a kill, or while children come up.
 */
static int64_t wait_us(struct supervisor *s)
{
    int64_t restart_us = restart_due(s);
    int64_t look_us = s->look_at_us - clock_mono_us();

    if (!s->told_ready && look_us > READY_LOOK_MS * US_PER_MS)
        look_us = READY_LOOK_MS * US_PER_MS;
    if (s->stopping && s->kill_at_us - clock_mono_us() < look_us)
        look_us = s->kill_at_us - clock_mono_us();
    if (restart_us >= 0 && restart_us < look_us)
        look_us = restart_us;
    return look_us > 0 ? look_us : 0;
}

static void kill_all(struct supervisor *s)
{
    log_error("processes_killed", L_INT("count", count_running(s)));
    pass_on(s, SIGKILL);
    s->kill_at_us = clock_mono_us() + US_PER_S;
}

static bool all_stopped(const struct supervisor *s)
{
    for (int i = 0; i < s->count; i++)
        if (!s->children[i].is_stopped)
            return false;
    return true;
}

static int run(struct supervisor *s)
{
    for (;;) {
        int64_t timeout_us = wait_us(s);

        if (s->stopping && count_running(s) == 0)
            return EXIT_DONE;
        if (all_stopped(s)) {
            log_info("stopped_by_order");
            return EXIT_DONE;
        }
        if (s->stopping && clock_mono_us() >= s->kill_at_us)
            kill_all(s);
        handle(s, program_wait(timeout_us));
        reap(s);
        look(s);
    }
}

int supervise(const struct conf *conf)
{
    struct supervisor s = {.conf = conf, .count = (int)conf->worker_processes};
    struct uuid instance = uuid_v4();
    int code;

    s.seats = seats_new(s.count);
    if (!s.seats) {
        log_error("no_shared_memory", L_STR("reason", strerrordesc_np(errno)));
        return EXIT_FAILED;
    }
    s.look_at_us = clock_mono_us();
    s.children = mem_array((size_t)s.count, sizeof s.children[0]);
    for (int i = 0; i < s.count; i++)
        (void)snprintf(s.children[i].token, sizeof s.children[i].token, "%s/%d", instance.text, i);
    code = run(&s);
    mem_free(s.children);
    seats_free(s.seats);
    return code;
}
