/* SPDX-License-Identifier: MIT
 *
 * The signature of the gateway's webhooks, Stripe's scheme: "t=SECONDS,v1=HEX[,v1=HEX...]", where
 * HEX is HMAC-SHA256(secret, "t.body") of the raw body. Pure.
 */
#ifndef API_SIGNATURE_H
#define API_SIGNATURE_H

#include <stddef.h>
#include <stdint.h>

enum { SIGNATURE_TOLERANCE_S = 300, SIGNATURE_HEADER_MAX = 4096 };

enum signature_verdict {
    SIGNATURE_GOOD,
    SIGNATURE_MISSING,   /* no header */
    SIGNATURE_MALFORMED, /* no single time, or no v1 */
    SIGNATURE_STALE,     /* made too long ago, or in the future */
    SIGNATURE_WRONG,
};

/* `header` may be NULL. Good when any of the v1 is: a secret that is being replaced signs too. */
enum signature_verdict signature_check(const char *header, const char *secret, const char *body,
                                       size_t len, int64_t now_us);

#endif
