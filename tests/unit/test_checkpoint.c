/* SPDX-License-Identifier: MIT
 *
 * What is no checkpoint is refused before anything is written.
 */
#include "worker/task.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/job_checkpoints.h"
#include "common/mem.h"

static struct err e;

static void start(void) { e = (struct err){0}; }

TestSuite(checkpoint, .init = start);

Test(checkpoint, more_than_is_kept_is_refused_and_told_what_to_do)
{
    struct task_run run = {.attempt = 1};
    char *text = mem_array(JOB_CHECKPOINT_MAX, 1);
    json_t *data;

    memset(text, 'x', JOB_CHECKPOINT_MAX - 1);
    data = json_string(text); /* with its two quotes one byte more than is kept */
    cr_expect_eq(task_checkpoint(&run, data, &e), ERR_INVALID);
    cr_expect(strstr(e.text, "at most 16384 bytes: store more elsewhere, keep where"), "%s",
              e.text);
    json_decref(data);
    mem_free(text);
}

Test(checkpoint, nothing_is_no_checkpoint)
{
    struct task_run run = {.attempt = 1};

    cr_expect_eq(task_checkpoint(&run, NULL, &e), ERR_INVALID);
}

Test(checkpoint, a_member_of_a_batch_has_none)
{
    struct task_batch batch = {.count = 0};
    struct task_run run = {.attempt = 1, .batch = &batch};
    json_t *data = json_integer(1);

    cr_expect_eq(task_checkpoint(&run, data, &e), ERR_INVALID);
    cr_expect(strstr(e.text, "run_many"), "%s", e.text);
    json_decref(data);
}
