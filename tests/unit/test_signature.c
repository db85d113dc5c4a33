/* SPDX-License-Identifier: MIT
 *
 * The signature of the gateway's webhooks, on values worked out by Stripe's own client.
 */
#include "api/signature.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"
#include "common/clock.h"

#define SECRET "whsec_test"
#define BODY "{\"id\":\"evt_1\"}"
#define MAC "c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925"
#define OTHER "0000000000000000000000000000000000000000000000000000000000000000"

static enum signature_verdict check(const char *header, int64_t seconds)
{
    return signature_check(header, SECRET, BODY, strlen(BODY), seconds * US_PER_S);
}

Test(signature, any_good_v1_within_five_minutes)
{
    cr_expect_eq(check("t=1700000000,v1=" MAC, 1700000000), SIGNATURE_GOOD);
    cr_expect_eq(check("t=1700000000,v1=" OTHER ",v1=" MAC, 1700000300), SIGNATURE_GOOD);
    cr_expect_eq(check("v0=x,v1=" MAC ",t=1700000000,", 1699999700), SIGNATURE_GOOD);
    cr_expect_eq(check("t=1700000000,v1=" MAC, 1700000301), SIGNATURE_STALE);
    cr_expect_eq(check("t=1700000000,v1=" MAC, 1699999699), SIGNATURE_STALE);
}

Test(signature, everything_else_is_refused)
{
    static const char *const malformed[] = {
        "",
        "t",
        "t=",
        "t=1700000000",
        "v1=" MAC,
        "t=x,v1=" MAC,
        "t=-1,v1=" MAC,
        "t=1 ,v1=" MAC,
        "t=1,t=2,v1=" MAC,
        "t=1700000000,v0=" MAC,
        "t=99999999999999999999,v1=" MAC,
        "=,=,=",
        ",,,",
    };
    static const char *const wrong[] = {
        "t=1700000000,v1=",         "t=1700000000,v1=" OTHER, "t=1700000001,v1=" MAC,
        "t=1700000000,v1=" MAC "0", "t=1700000000,v1=zz",     "t=01700000000,v1=" MAC,
    };

    for (size_t i = 0; i < COUNT_OF(malformed); i++)
        cr_expect_eq(check(malformed[i], 1700000000), SIGNATURE_MALFORMED, "%s", malformed[i]);
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        cr_expect_eq(check(wrong[i], 1700000000), SIGNATURE_WRONG, "%s", wrong[i]);
    cr_expect_eq(check(NULL, 1700000000), SIGNATURE_MISSING);
    cr_expect_eq(signature_check("t=1,v1=" MAC, "", BODY, 1, US_PER_S), SIGNATURE_MISSING);
}
