/* SPDX-License-Identifier: MIT
 *
 * Answers that are being made: of many requests of this process that miss the same answer at once
 * one makes it, and the others wait for it.
 *
 *   AUTO(flight_leave) struct flight *flight = flight_join(&name, version, &leads);
 *   if (leads) { ... flight_land(flight, &reply->body); }
 *   else switch (flight_wait(flight, deadline_us, &reply->body)) ...
 *
 * Who leads lands in any case. May be called from any thread.
 */
#ifndef API_FLIGHTS_H
#define API_FLIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/buf.h"

struct flight;

enum flight_end {
    FLIGHT_SHARED, /* the answer is there */
    FLIGHT_APART,  /* it is nobody else's: each makes it for itself */
    FLIGHT_LATE,   /* the deadline is over */
};

/* The flight of the answer of that name and version; the first who joins leads it. */
struct flight *flight_join(const struct buf *name, int64_t version, bool *ret_leads);

/* Ends the wait of all others: with the answer, which has to be good for everybody who knows that
 * version, or with NULL. Only the first call counts; a flight of NULL is none. */
void flight_land(struct flight *flight, const struct buf *body);

/* For who does not lead; adds the answer to `body`. `deadline_us` is monotonic. */
enum flight_end flight_wait(struct flight *flight, int64_t deadline_us, struct buf *body);

void flight_leave(struct flight *flight);
AUTO_DEFINE(struct flight *, flight_leave);

#endif
