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
#include "common/jobs_run.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/program.h"
#include "worker/control.h"
#include "worker/fetch.h"
#include "worker/gateway.h"
#include "worker/journal.h"
#include "worker/keeper.h"
#include "worker/slot.h"

enum {
    REGISTER_PAUSE_MS = 100,
    UNBLOCK_PAUSE_MS = 20,
    CONTROL_WAIT_MS = 500,
    JOURNAL_WAIT_MS = 1000, /* for what jobs have said last */
    STEP_MS = 50,
    REDIS_TIMEOUT_MS = 2000,
};

/* The threads of the process; main() of the child alone uses it. */
struct crew {
    struct process *process;
    pthread_t fetch;
    pthread_t keeper;
    pthread_t control;
    pthread_t *slots;
    size_t slot_count;
    struct db *db;       /* of this thread, for giving back */
    struct redis *redis; /* likewise */
    bool hurry;          /* QUIT: do not wait for running jobs */
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

/* ---- beginning ---- */

/* "a,b" becomes the streams of a and of b, each from high to low. */
static enum err_code make_streams(struct process *process, struct err *e)
{
    enum err_code rc = queue_list_parse(process->conf->queues, &process->queues, e);

    if (rc)
        return rc;
    process->streams =
        mem_array(process->queues.count * JOB_PRIORITY_COUNT, sizeof process->streams[0]);
    for (size_t q = 0; q < process->queues.count; q++)
        for (int p = 0; p < JOB_PRIORITY_COUNT; p++)
            process->streams[process->stream_count++] =
                queue_stream_of(process->queues.items[q].name, (enum job_priority)p);
    process->paused = mem_array(process->stream_count, sizeof process->paused[0]);
    return ERR_OK;
}

/* Waits for Redis to get a name. False when a signal ended the wait. */
static bool take_name(struct process *process)
{
    AUTO(redis_close)
    struct redis *redis = redis_open(process->conf->redis_url, "till-worker", REDIS_TIMEOUT_MS);
    bool told = false;

    for (;;) {
        struct err e = {0};
        int number;

        if (!queue_worker_register(redis, process->host, process->token,
                                   process->conf->lease_seconds * 1000, process->name, &e))
            return true;
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

static bool start_crew(struct crew *crew)
{
    struct process *process = crew->process;
    size_t wanted = (size_t)process->conf->worker_concurrency;

    crew->db = db_open(process->conf->database_url, "till-worker");
    crew->redis = redis_open(process->conf->redis_url, "till-worker", REDIS_TIMEOUT_MS);
    crew->slots = mem_array(wanted, sizeof crew->slots[0]);
    while (crew->slot_count < wanted &&
           start_thread(&crew->slots[crew->slot_count], slot_main, process))
        crew->slot_count++;
    return crew->slot_count == wanted && start_thread(&crew->keeper, keeper_main, process) &&
           start_thread(&crew->control, control_main, process) &&
           start_thread(&crew->fetch, fetch_main, process);
}

/* ---- ending ---- */

/* Items in one state, copied out of the pool. */
struct given_back {
    struct attempt *attempts;
    struct queue_entry *entries;
    size_t count;
    size_t max;
};

static bool copy_durable(struct item *item, void *context)
{
    struct given_back *list = context;

    if (item->delivery.kind != DELIVERY_DURABLE || item->lost || list->count == list->max)
        return false;
    list->attempts[list->count] = (struct attempt){.id = item->job.id, .number = item->job.attempt};
    list->entries[list->count].stream = item->delivery.stream;
    memcpy(list->entries[list->count].entry, item->delivery.entry, QUEUE_ENTRY_SIZE);
    list->count++;
    return false;
}

/* PENDING in the table, a new entry in the stream, and only then the old one away. Where a server
 * does not answer, the old entry stays pending and is taken over after the lease. */
static void give_back_list(struct crew *crew, const struct given_back *list)
{
    AUTO(mem_free) bool *released = mem_array(list->count, sizeof *released);
    struct process *process = crew->process;
    struct err e = {0};
    size_t count = 0;

    if (jobs_give_back(crew->db, list->attempts, list->count, released, &e)) {
        log_warn("give_back_failed", L_ERR(&e));
        return;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (!released[i])
            continue;
        count++;
        if (queue_push(crew->redis, &process->streams[list->entries[i].stream],
                       &list->attempts[i].id, 1, &e) ||
            queue_ack(crew->redis, process->streams, &list->entries[i], 1, &e)) {
            log_warn("give_back_not_pushed", L_ERR(&e));
            return;
        }
    }
    log_info("jobs_given_back", L_INT("count", count));
}

static void give_back(struct crew *crew, enum item_state state)
{
    struct pool_count counts = pool_counts(crew->process->pool);
    size_t max = (size_t)(state == ITEM_WAITING ? counts.waiting : counts.running);
    struct given_back list = {.max = max,
                              .attempts = mem_array(max, sizeof list.attempts[0]),
                              .entries = mem_array(max, sizeof list.entries[0])};

    pool_visit(crew->process->pool, state, copy_durable, &list);
    if (list.count > 0)
        give_back_list(crew, &list);
    mem_free(list.attempts);
    mem_free(list.entries);
}

static bool join_within(pthread_t thread, int64_t us)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += us / US_PER_S;
    until.tv_nsec += us % US_PER_S * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return pthread_timedjoin_np(thread, NULL, &until) == 0;
}

/* Wakes the fetch thread out of its blocked read until it is gone. */
static void stop_fetch(struct crew *crew)
{
    do {
        int64_t client = atomic_load(&crew->process->fetch_client);
        struct err e = {0};

        pool_poke(crew->process->pool);
        if (client && queue_unblock(crew->redis, client, &e))
            log_debug("unblock_failed", L_ERR(&e));
    } while (!join_within(crew->fetch, UNBLOCK_PAUSE_MS * US_PER_MS));
}

static bool is_end_signal(int number)
{
    return number == SIGTERM || number == SIGINT || number == SIGQUIT;
}

/* Waits for the running jobs; false when time or QUIT ended the wait. */
static bool await_slots(struct crew *crew)
{
    int64_t until_us = clock_mono_us() + crew->process->conf->shutdown_seconds * US_PER_S;

    while (!pool_wait_idle(crew->process->pool, STEP_MS * US_PER_MS)) {
        /* The supervisor turns a second TERM into QUIT. TERM itself comes twice without anybody
         * being in a hurry: a terminal and systemd send it to all processes. */
        if (program_wait(0) == SIGQUIT)
            crew->hurry = true;
        if (crew->hurry || clock_mono_us() >= until_us)
            return false;
    }
    return true;
}

static int end_crew(struct crew *crew)
{
    struct process *process = crew->process;
    bool idle;
    int code;

    log_info("stopping");
    atomic_store(&process->phase, PROCESS_STOPPING);
    (void)eventfd_write(process->control_fd, 1);
    pool_close(process->pool);
    stop_fetch(crew);
    give_back(crew, ITEM_WAITING);
    idle = await_slots(crew);
    if (!idle)
        give_back(crew, ITEM_RUNNING);
    atomic_store(&process->keeper_ends, true);
    pool_poke(process->pool);
    (void)pthread_join(crew->keeper, NULL);
    log_info("stopped", L_BOOL("all_done", idle));
    if (!idle)
        _exit(EXIT_DONE); /* handlers still run; their attempts are fenced off */
    for (size_t i = 0; i < crew->slot_count; i++)
        (void)pthread_join(crew->slots[i], NULL);
    journal_end(process->journal, JOURNAL_WAIT_MS * US_PER_MS);
    code = atomic_load(&process->name_lost) ? EXIT_NAME_LOST : EXIT_DONE;
    if (!join_within(crew->control, CONTROL_WAIT_MS * US_PER_MS))
        _exit(code); /* it waits for a frozen server, and has nothing to finish */
    return code;
}

/* ---- in between ---- */

static void report(const struct process *process)
{
    struct pool_count counts = pool_counts(process->pool);

    log_info("report", L_INT("running", counts.running), L_INT("waiting", counts.waiting),
             L_INT("claiming", counts.claiming), L_INT("unacknowledged", counts.done),
             L_INT("succeeded", atomic_load(&process->succeeded)),
             L_INT("failed", atomic_load(&process->failed)),
             L_INT("retried", atomic_load(&process->retried)),
             L_INT("log_lines_dropped", log_dropped()));
}

static void quiet(struct crew *crew)
{
    struct err e = {0};
    int64_t client = atomic_load(&crew->process->fetch_client);

    log_info("quiet");
    atomic_store(&crew->process->phase, PROCESS_QUIET);
    pool_poke(crew->process->pool);
    if (client && queue_unblock(crew->redis, client, &e))
        log_debug("unblock_failed", L_ERR(&e));
}

static void watch(struct crew *crew)
{
    for (;;) {
        int number = program_wait(US_PER_S);

        if (is_end_signal(number) || atomic_load(&crew->process->name_lost)) {
            crew->hurry = number == SIGQUIT;
            return;
        }
        if (number == SIGTSTP)
            quiet(crew);
        else if (number == SIGUSR1)
            report(crew->process);
    }
}

int process_main(const struct conf *conf, const char *token, int ready_fd)
{
    struct process process = {
        .conf = conf, .token = token, .started_us = clock_wall_us(), .ready_fd = ready_fd};
    struct crew crew = {.process = &process};
    struct err e = {0};

    if (gethostname(process.host, sizeof process.host - 1) != 0)
        (void)snprintf(process.host, sizeof process.host, "localhost");
    if (make_streams(&process, &e)) {
        log_error("no_queues", L_STR("queues", conf->queues), L_ERR(&e));
        return EXIT_USAGE;
    }
    if (!take_name(&process))
        return EXIT_DONE;
    log_context_set("worker", process.name);
    gateway_global_init();
    process.limits = limit_board_new();
    process.control_fd = eventfd(0, EFD_CLOEXEC);
    process.journal = journal_new(conf->database_url);
    process.pool = pool_new((int)conf->worker_concurrency, (int)conf->worker_prefetch);
    if (!start_crew(&crew)) {
        log_error("no_threads", L_INT("wanted", conf->worker_concurrency));
        _exit(EXIT_FAILED);
    }
    watch(&crew);
    return end_crew(&crew);
}
