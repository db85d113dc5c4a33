/* SPDX-License-Identifier: MIT
 *
 * Crash points; see crashpoint.h. The counts stand in memory that is shared with all processes that
 * this one forks, so a replacement does not die at the place where its predecessor did. The
 * variable is taken out of the environment: it is no setting, and settings refuse unknown names.
 */
#include "common/crashpoint.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/text.h"

#ifdef TILL_CRASHPOINTS

enum { POINTS_MAX = 32 };

static const char variable[] = "TILL_CRASHPOINT";

static struct {
    char name[48];
    int64_t nth;
} armed[POINTS_MAX];
static size_t armed_count;
static atomic_int *reached; /* as often as each of `armed` */

static void refuse(const char *text)
{
    (void)fprintf(stderr, "%s: \"%s\" is not name:nth[,name:nth]\n", variable, text);
    _Exit(2);
}

static void arm_one(const char *text, size_t len)
{
    char copy[80];
    char *colon;

    if (armed_count == POINTS_MAX || len >= sizeof copy)
        refuse(text);
    memcpy(copy, text, len);
    copy[len] = '\0';
    colon = strchr(copy, ':');
    if (!colon || !text_to_int(colon + 1, 1, INT32_MAX, &armed[armed_count].nth))
        refuse(text);
    *colon = '\0';
    if (!text_format(armed[armed_count].name, sizeof armed[0].name, "%s", copy))
        refuse(text);
    armed_count++;
}

__attribute__((constructor)) static void arm(void)
{
    const char *text = getenv(variable);

    if (!text)
        return;
    reached = mmap(NULL, POINTS_MAX * sizeof *reached, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (reached == MAP_FAILED)
        refuse("no shared memory");
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");

        arm_one(at, len);
        at += len;
        if (!*at)
            break;
    }
    (void)unsetenv(variable);
}

void crashpoint_reach(const char *name)
{
    for (size_t i = 0; i < armed_count; i++) {
        if (strcmp(armed[i].name, name) != 0 ||
            atomic_fetch_add(&reached[i], 1) + 1 != armed[i].nth)
            continue;
        log_error("crash_point", L_STR("point", name));
        (void)raise(SIGKILL);
    }
}

#endif
