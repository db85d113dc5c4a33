/* SPDX-License-Identifier: MIT
 *
 * What a job says where nobody keeps it, and after it has said enough: nothing happens, whatever
 * stands on the stack.
 */
#include <criterion/criterion.h>

#include "worker/task.h"

enum { STACK_WORDS = 8 * 1024 };

/* Leaves behind sizes, and pointers to nothing; what is true or false is false in all of them. */
static __attribute__((noinline)) void use_stack(void)
{
    volatile uint64_t words[STACK_WORDS];

    for (size_t i = 0; i < STACK_WORDS; i++)
        words[i] = (uint64_t)1 << 36;
    (void)words[0];
}

Test(task_log, a_job_without_a_journal_may_say_how_far_it_is)
{
    struct task_run run = {.attempt = 1};

    use_stack();
    task_progress(&run, 1, 2, "half");
    cr_expect_eq(run.journal_number, 0);
}

Test(task_log, a_job_that_has_said_enough_may_go_on_talking)
{
    struct task_run run = {.attempt = 1, .log_is_cut = true};

    use_stack();
    task_log(&run, JOB_LOG_INFO, "one line more");
    cr_expect_eq(run.log_lines, 0);
}
