/* SPDX-License-Identifier: MIT
 *
 * The file of schedules: what is refused writes nothing and says why; what is read is whole, and
 * each of it comes some day.
 */
#include "tests/fuzz/target.h"

#include "common/schedule_file.h"

FUZZ_TARGET(schedule_file, text, size)
{
    struct schedule_file file = {0};
    struct err e = {0};

    if (schedule_file_parse("schedules.conf", text, size, "UTC", &file, &e)) {
        MUST(*e.text && !file.path && !file.items);
        return;
    }
    for (size_t i = 0; i < file.count; i++) {
        const struct schedule *s = &file.items[i];
        struct cron cron;

        MUST(s->name && s->task && s->zone && !cron_parse(s->cron, &cron, NULL));
        MUST(cron_can_come(&cron));
        MUST(s->catch_up_runs >= 1 && s->catch_up_runs <= SCHEDULE_RUNS_MAX);
        MUST(schedule_delay_s(s) >= 0 && schedule_delay_s(s) <= s->jitter_s);
    }
    schedule_file_release(&file);
}
