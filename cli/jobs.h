/* SPDX-License-Identifier: MIT
 *
 * What verbs about jobs share: reading ids, printing lists, telling what was done to each.
 */
#ifndef CLI_JOBS_H
#define CLI_JOBS_H

#include <stddef.h>

#include <jansson.h>

#include "cli/cli.h"
#include "common/job_list.h"
#include "common/jobs_view.h"

enum { CLI_IDS_MAX = 1000 };

/* UUIDs from the command line. Owned; id_list_release() frees it. */
struct id_list {
    struct uuid *items;
    bool *done; /* what a verb fills in for each */
    size_t count;
};

void id_list_release(struct id_list *ids);

/* EXIT_USAGE when one of them cannot be a name; NULL: not given. */
int check_job_names(const char *task, const char *queue);

/* Tell on standard error of a name that nobody knows so far. It may come later, but most such names
 * are misspelt, and what was meant goes on without what was ordered. */
void note_unknown_queue(struct cli *cli, const char *queue);
void note_unknown_task(struct cli *cli, const char *task);

/* Takes all words as UUIDs; none is allowed. An exit code: EXIT_USAGE when one is no UUID, or an
 * option is not understood. */
int read_ids(struct cli *cli, struct id_list *ret_ids);

/* Prints for each id what was done ("revoked"), or why not; EXIT_FAILED when one was not. */
int print_done(struct cli *cli, const struct id_list *ids, const char *done);

/* Prints the sum of a bulk action: "12 jobs retried". */
void print_sum(const struct cli *cli, int64_t count, const char *done);

/* Marks those ids that are in the list. */
void mark_listed(struct id_list *ids, const struct job_list *jobs);

/* Into their streams; what cannot be pushed now, the scheduler delivers. */
void push_jobs(struct cli *cli, const struct job_list *jobs);

/* One page of jobs, and how the next one is shown. */
int print_jobs(struct cli *cli, const struct jobs_filter *filter);

/* Prints one object and releases it. */
int print_json(json_t *take_value);

#endif
