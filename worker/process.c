/* SPDX-License-Identifier: MIT
 *
 * The life of a worker process: threads up, signals, threads down; see process.h. Ending has an
 * order: take no more, give back what has not begun, let run what runs, give back what does not end
 * in time, acknowledge, leave.
 */
#include "worker/process.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crashpoint.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/program.h"
#include "worker/control.h"
#include "worker/deadlines.h"
#include "worker/fetch.h"
#include "worker/events.h"
#include "worker/gateway.h"
#include "worker/give_back.h"
#include "worker/interrupt.h"
#include "worker/journal.h"
#include "worker/keeper.h"
#include "worker/obey.h"
#include "worker/report.h"
#include "worker/slots.h"
#include "worker/task_end.h"
#include "worker/watch.h"

enum {
    REGISTER_PAUSE_MS = 100,
    UNBLOCK_PAUSE_MS = 20,
    CONTROL_WAIT_MS = 500,
    JOURNAL_WAIT_MS = 1000, /* for what jobs have said last */
    FETCH_LIMIT_S = 30,     /* longer than any call it makes */
    FETCH_HURRY_MS = 500,   /* when the process is about to be ended */
    STEP_MS = 50,
    JOIN_STEP_MS = 2,
    REDIS_TIMEOUT_MS = 2000,
};

/* The threads of the process; main() of the child alone uses it. */
struct crew {
    struct process *process;
    pthread_t fetch;
    pthread_t keeper;
    pthread_t control;
    struct slots *slots;
    struct watch *watch;
    struct db *db;       /* of this thread, for giving back */
    struct redis *redis; /* likewise, and for the watch */
    bool hurry;          /* QUIT: do not wait for running jobs */
    enum watch_verdict verdict;
};

bool process_pause(const struct process *process, int64_t us)
{
    int64_t until_us = clock_mono_us() + us;

    while (!process_is_stopping(process)) {
        int64_t left_us = until_us - clock_mono_us();
        struct timespec step =
            clock_timespec(left_us < STEP_MS * US_PER_MS ? left_us : STEP_MS * US_PER_MS);

        if (left_us <= 0)
            return true;
        (void)nanosleep(&step, NULL);
    }
    return false;
}

void process_wake_main(void)
{
    (void)kill(getpid(), SIGHUP); /* blocked in every thread: the main thread takes it */
}

void process_set_quiet(struct process *process, int reason, bool set)
{
    int before =
        set ? atomic_fetch_or(&process->quiet, reason) : atomic_fetch_and(&process->quiet, ~reason);
    int after = set ? before | reason : before & ~reason;

    if (before == after)
        return;
    if ((before == 0) != (after == 0))
        log_info(after ? "quiet" : "resumed");
    /* Before the orders are known for the first time nothing is read anyway. */
    if (atomic_load(&process->control_epoch) > 0)
        atomic_fetch_add(&process->control_epoch, 1);
}

enum process_health process_health(const struct process *process)
{
    if (atomic_load(&process->is_deaf))
        return HEALTH_DEAF;
    if (atomic_load(&process->redis_lost))
        return HEALTH_NO_REDIS;
    return atomic_load(&process->database_lost) ? HEALTH_NO_DATABASE : HEALTH_OK;
}

static const char *process_doing(const struct process *process, enum process_role role)
{
    const char *what = atomic_load(&process->doing[role].what);

    return what ? what : "begins";
}

/* ---- beginning ---- */

/* A queue's streams, from high to low; then they count. */
static void add_streams(struct process *process, const char *queue)
{
    size_t count = atomic_load(&process->stream_count);

    for (int p = 0; p < JOB_PRIORITY_COUNT; p++)
        process->streams[count++] = queue_stream_of(queue, (enum job_priority)p);
    atomic_store(&process->stream_count, count);
}

/* "a,b" becomes the streams of a and of b. */
static enum err_code make_streams(struct process *process, struct err *e)
{
    enum err_code rc = queue_list_parse(process->conf->queues, &process->queues, e);

    if (rc)
        return rc;
    process->streams = mem_array(PROCESS_STREAMS_MAX, sizeof process->streams[0]);
    process->ignored = mem_array(PROCESS_STREAMS_MAX, sizeof process->ignored[0]);
    process->closed = mem_array(PROCESS_STREAMS_MAX, sizeof process->closed[0]);
    process->own_queues = process->queues.count;
    for (size_t q = 0; q < process->own_queues; q++)
        add_streams(process, process->queues.items[q].name);
    return ERR_OK;
}

bool process_add_queue(struct process *process, const char *queue)
{
    struct queue_list *queues = &process->queues;
    struct queue_list_item item = {.weight = 1};

    if (queues->count == QUEUE_LIST_MAX || !text_format(item.name, sizeof item.name, "%s", queue))
        return false;
    queues->items[queues->count++] = item;
    add_streams(process, queues->items[queues->count - 1].name); /* which the streams keep */
    return true;
}

/* Waits for Redis to get a name. False when a signal ended the wait. */
static bool take_name(struct process *process)
{
    AUTO(redis_close)
    struct redis *redis = redis_open(process->conf->redis_url, "till-worker", REDIS_TIMEOUT_MS);
    bool told = false;

    /* The name of our predecessor, if we have one: what is pending under it is ours. */
    memcpy(process->name, process->seat->name, sizeof process->name);
    for (;;) {
        struct err e = {0};
        int number;

        if (!queue_worker_register(redis, process->host, process->token,
                                   process_lease_us(process) / US_PER_MS, process->name, &e)) {
            memcpy(process->seat->name, process->name, sizeof process->seat->name);
            return true;
        }
        if (!told)
            log_warn("waiting_for_redis", L_ERR(&e));
        told = true;
        number = program_wait(REGISTER_PAUSE_MS * US_PER_MS);
        if (number == SIGTERM || number == SIGINT || number == SIGQUIT)
            return false;
    }
}

static bool start_thread(pthread_t *thread, void *(*body)(void *), struct process *process)
{
    pthread_attr_t attr;
    bool started;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 512 * 1024);
    started = pthread_create(thread, &attr, body, process) == 0;
    pthread_attr_destroy(&attr);
    return started;
}

static int first_size(const struct process *process)
{
    int slots = atomic_load(&process->size.slots);
    int min = atomic_load(&process->size.min);
    int max = atomic_load(&process->size.max);

    if (min == 0)
        return slots;
    return slots < min ? min : slots > max ? max : slots;
}

static bool start_crew(struct crew *crew)
{
    struct process *process = crew->process;

    crew->db = db_open(process->conf->database_url, "till-worker");
    crew->redis = redis_open(process->conf->redis_url, "till-worker", REDIS_TIMEOUT_MS);
    crew->slots = slots_new(process);
    crew->watch = watch_new(process, crew->slots, crew->redis);
    return slots_fit(crew->slots, first_size(process)) &&
           start_thread(&crew->keeper, keeper_main, process) &&
           start_thread(&crew->control, control_main, process) &&
           start_thread(&crew->fetch, fetch_main, process);
}

/* ---- ending ---- */

/* By the monotonic clock, which pthread_timedjoin_np() does not know; ThreadSanitizer does not know
 * pthread_clockjoin_np(). */
static bool join_within(pthread_t thread, int64_t us)
{
    const struct timespec step = clock_timespec(JOIN_STEP_MS * US_PER_MS);
    int64_t until_us = clock_mono_us() + us;

    while (pthread_tryjoin_np(thread, NULL) != 0) {
        if (clock_mono_us() >= until_us)
            return false;
        (void)nanosleep(&step, NULL);
    }
    return true;
}

/* Wakes the fetch thread out of its blocked read until it is gone; false when it does not go. */
static bool stop_fetch(struct crew *crew, int64_t limit_us)
{
    int64_t until_us = clock_mono_us() + limit_us;

    do {
        control_wake_fetch(crew->process, crew->redis);
        if (join_within(crew->fetch, UNBLOCK_PAUSE_MS * US_PER_MS))
            return true;
    } while (clock_mono_us() < until_us);
    log_error("fetch_left_behind", L_STR("doing", process_doing(crew->process, ROLE_FETCH)));
    return false;
}

static bool is_end_signal(int number)
{
    return number == SIGTERM || number == SIGINT || number == SIGQUIT;
}

/* Waits for the running jobs; false when time, QUIT, or one that does not end ended the wait. */
static bool await_slots(struct crew *crew)
{
    struct pool *pool = crew->process->pool;
    int64_t until_us = clock_mono_us() + crew->process->conf->shutdown_seconds * US_PER_S;

    while (!pool_wait_idle(pool, STEP_MS * US_PER_MS)) {
        /* The supervisor turns a second TERM into QUIT. TERM itself comes twice without anybody
         * being in a hurry: a terminal and systemd send it to all processes. */
        if (program_wait(0) == SIGQUIT)
            crew->hurry = true;
        if (crew->hurry || clock_mono_us() >= until_us ||
            interrupts_only_overdue_left(pool, clock_mono_us()))
            return false;
    }
    return true;
}

static int exit_code(const struct crew *crew)
{
    if (atomic_load(&crew->process->name_lost))
        return EXIT_NAME_LOST;
    if (crew->verdict == WATCH_STOP || atomic_load(&crew->process->stop_ordered))
        return EXIT_STOPPED;
    return crew->verdict == WATCH_STUCK ? EXIT_FAILED : EXIT_DONE;
}

static int end_crew(struct crew *crew)
{
    struct process *process = crew->process;
    bool idle;

    log_info("stopping");
    atomic_store(&process->phase, PROCESS_STOPPING);
    (void)eventfd_write(process->control_fd, 1);
    pool_close(process->pool);
    idle = stop_fetch(crew, FETCH_LIMIT_S * US_PER_S);
    give_back(process, crew->db, crew->redis, ITEM_WAITING);
    idle = await_slots(crew) && idle;
    if (!idle)
        give_back(process, crew->db, crew->redis, ITEM_RUNNING);
    /* Whoever looks for the name or orders something of it in the moment between the two finds it
     * held: the replacement takes it by its token, and keeps the orders. */
    atomic_store(&process->is_replaced,
                 crew->verdict == WATCH_LEAVE && exit_code(crew) == EXIT_DONE);
    atomic_store(&process->keeper_ends, true);
    pool_poke(process->pool);
    (void)pthread_join(crew->keeper, NULL);
    log_info("stopped", L_BOOL("all_done", idle));
    if (!idle)
        _exit(exit_code(crew)); /* handlers still run; their attempts are fenced off */
    slots_end(crew->slots);
    journal_end(process->journal, JOURNAL_WAIT_MS * US_PER_MS);
    if (!join_within(crew->control, CONTROL_WAIT_MS * US_PER_MS))
        _exit(exit_code(crew)); /* it waits for a frozen server, and has nothing to finish */
    return exit_code(crew);
}

static bool mark_overrun(struct item *item, void *context)
{
    const struct process *process = context;

    if (!item_has_overrun(item, clock_mono_us()))
        return false;
    item->lost = true;
    if (!item_is_fast(item))
        seat_add_overrun(process->seat, &item->job.id, item->job.attempt, item->hard_us);
    return false;
}

/* A job is past its hard limit: it has lost this attempt, and the others shall not lose theirs. The
 * keeper ends the process if this takes too long. */
static void end_overrun(struct crew *crew)
{
    struct process *process = crew->process;

    atomic_store(&process->phase, PROCESS_STOPPING);
    pool_close(process->pool);
    pool_visit(process->pool, ITEM_RUNNING, mark_overrun, process);
    (void)stop_fetch(crew,
                     FETCH_HURRY_MS * US_PER_MS); /* or it would read again what is given back */
    give_back(process, crew->db, crew->redis, ITEM_RUNNING);
    give_back(process, crew->db, crew->redis, ITEM_WAITING);
    _exit(EXIT_OVERRUN);
}

/* ---- in between ---- */

static void handle(struct crew *crew, int number)
{
    struct process *process = crew->process;

    switch (number) {
    case SIGTSTP:
        process_set_quiet(process, QUIET_BY_SIGNAL, true);
        break;
    case SIGCONT:
        process_set_quiet(process, QUIET_BY_SIGNAL, atomic_load(&process->seats->quiet));
        break;
    case SIGUSR1:
        report_log(process);
        break;
    default:
        break; /* HUP: somebody has changed what the watch looks at */
    }
}

/* Until there is a reason to end. */
static void watch(struct crew *crew)
{
    while (crew->verdict == WATCH_ON) {
        int number = program_wait(watch_pause_us(crew->watch));

        if (is_end_signal(number) || atomic_load(&crew->process->name_lost)) {
            crew->hurry = number == SIGQUIT;
            return;
        }
        handle(crew, number);
        crew->verdict = watch_look(crew->watch);
    }
}

static bool make_parts(struct process *process, struct err *e)
{
    const struct conf *conf = process->conf;

    if (make_streams(process, e))
        return false;
    process->asked = mem_array(PROCESS_STREAMS_MAX, sizeof process->asked[0]);
    process->meters = meters_new(PROCESS_STREAMS_MAX);
    process->interrupts = interrupts_new();
    process->last_error = last_error_new();
    process->journal = journal_new(conf->database_url);
    process->events = events_new(conf->worker_events);
    process->limits = limit_board_new();
    breaker_init(&process->gateway_breaker, (int)conf->worker_concurrency);
    breaker_init(&process->mail_breaker, (int)conf->worker_concurrency);
    process->deadlines = deadlines_new();
    process->control_fd = eventfd(0, EFD_CLOEXEC);
    process->pool = pool_new((int)conf->worker_concurrency, (int)conf->worker_prefetch);
    obey_init(process);
    process_set_quiet(process, QUIET_BY_SIGNAL, atomic_load(&process->seats->quiet));
    return true;
}

int process_main(const struct conf *conf, const char *token, struct seats *seats, int seat_index)
{
    struct process process = {.conf = conf,
                              .token = token,
                              .seats = seats,
                              .seat = &seats->items[seat_index],
                              .seat_index = seat_index,
                              .started_us = clock_wall_us(),
                              .started_mono_us = clock_mono_us()};
    struct crew crew = {.process = &process};
    struct err e = {0};

    if (gethostname(process.host, sizeof process.host - 1) != 0)
        (void)snprintf(process.host, sizeof process.host, "localhost");
    if (!make_parts(&process, &e)) {
        log_error("no_queues", L_STR("queues", conf->queues), L_ERR(&e));
        return EXIT_USAGE;
    }
    if (!take_name(&process))
        return EXIT_DONE;
    CRASH_POINT("process.named");
    log_context_set("worker", process.name);
    gateway_global_init();
    task_end_watch_forks();
    if (!start_crew(&crew)) {
        log_error("no_threads", L_INT("wanted", slots_wanted(crew.slots)));
        _exit(EXIT_FAILED);
    }
    watch(&crew);
    if (crew.verdict == WATCH_OVERRUN)
        end_overrun(&crew);
    return end_crew(&crew);
}
