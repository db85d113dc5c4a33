/* SPDX-License-Identifier: MIT
 *
 * Gives each fuzz target of tests/fuzz/ its seeds, and what `make fuzz` ever found. One program for
 * all, so the targets are included as they are.
 */
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/buf.h"
#include "tests/fuzz/bodies.c"
#include "tests/fuzz/clock.c"
#include "tests/fuzz/conf.c"
#include "tests/fuzz/cron.c"
#include "tests/fuzz/entry.c"
#include "tests/fuzz/flow.c"
#include "tests/fuzz/framing.c"
#include "tests/fuzz/headers.c"
#include "tests/fuzz/json.c"
#include "tests/fuzz/mail.c"
#include "tests/fuzz/money.c"
#include "tests/fuzz/pages.c"
#include "tests/fuzz/queues.c"
#include "tests/fuzz/redact.c"
#include "tests/fuzz/redis_url.c"
#include "tests/fuzz/router.c"
#include "tests/fuzz/schedule_file.c"
#include "tests/fuzz/search.c"
#include "tests/fuzz/signature.c"
#include "tests/fuzz/text.c"
#include "tests/fuzz/token.c"
#include "tests/fuzz/trace.c"
#include "tests/fuzz/uuid.c"
#include "tests/fuzz/webhook.c"
#include "tests/fuzz/zone.c"

enum { SEED_MAX = 64 * 1024 };

static void replay_file(int (*target)(const uint8_t *, size_t), const char *path)
{
    static uint8_t data[SEED_MAX];
    FILE *in = fopen(path, "re");
    size_t len;

    cr_assert_not_null(in, "%s", path);
    len = fread(data, 1, sizeof data, in);
    (void)fclose(in);
    for (size_t cut = 0; cut <= len && cut <= 64; cut++) /* its beginnings, too */
        (void)target(data, cut);
    (void)target(data, len);
}

static void replay(int (*target)(const uint8_t *, size_t), const char *name)
{
    char folder[100];
    struct dirent *entry;
    DIR *dir;
    int count = 0;

    cr_assert(text_format(folder, sizeof folder, "tests/fuzz/corpus/%s", name));
    dir = opendir(folder);
    if (!dir)
        cr_skip_test("%s is not here: run the tests in the top folder", folder);
    while ((entry = readdir(dir)) != NULL) {
        char path[400];

        if (entry->d_name[0] == '.')
            continue;
        cr_assert(text_format(path, sizeof path, "%s/%s", folder, entry->d_name));
        replay_file(target, path);
        count++;
    }
    (void)closedir(dir);
    cr_assert_gt(count, 0, "%s has no seeds", folder);
}

Test(fuzz_seeds, bodies) { replay(fuzz_bodies, "bodies"); }
Test(fuzz_seeds, clock) { replay(fuzz_clock, "clock"); }
Test(fuzz_seeds, conf) { replay(fuzz_conf, "conf"); }
Test(fuzz_seeds, cron) { replay(fuzz_cron, "cron"); }
Test(fuzz_seeds, entry) { replay(fuzz_entry, "entry"); }
Test(fuzz_seeds, flow) { replay(fuzz_flow, "flow"); }
Test(fuzz_seeds, framing) { replay(fuzz_framing, "framing"); }
Test(fuzz_seeds, headers) { replay(fuzz_headers, "headers"); }
Test(fuzz_seeds, json) { replay(fuzz_json, "json"); }
Test(fuzz_seeds, mail) { replay(fuzz_mail, "mail"); }
Test(fuzz_seeds, money) { replay(fuzz_money, "money"); }
Test(fuzz_seeds, pages) { replay(fuzz_pages, "pages"); }
Test(fuzz_seeds, queues) { replay(fuzz_queues, "queues"); }
Test(fuzz_seeds, redact) { replay(fuzz_redact, "redact"); }
Test(fuzz_seeds, redis_url) { replay(fuzz_redis_url, "redis_url"); }
Test(fuzz_seeds, router) { replay(fuzz_router, "router"); }
Test(fuzz_seeds, schedule_file) { replay(fuzz_schedule_file, "schedule_file"); }
Test(fuzz_seeds, search) { replay(fuzz_search, "search"); }
Test(fuzz_seeds, signature) { replay(fuzz_signature, "signature"); }
Test(fuzz_seeds, text) { replay(fuzz_text, "text"); }
Test(fuzz_seeds, token) { replay(fuzz_token, "token"); }
Test(fuzz_seeds, trace) { replay(fuzz_trace, "trace"); }
Test(fuzz_seeds, uuid) { replay(fuzz_uuid, "uuid"); }
Test(fuzz_seeds, webhook) { replay(fuzz_webhook, "webhook"); }
Test(fuzz_seeds, zone) { replay(fuzz_zone, "zone"); }
