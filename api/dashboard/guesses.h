/* SPDX-License-Identifier: MIT
 *
 * Wrong passwords, counted in this process, so also without Redis: for a name at an address, for a
 * name at all addresses together, for an address whatever the names. Who guesses at a name from
 * elsewhere does not lock out the one whose it is: past the free guesses of all addresses together
 * those from which the right password has come go on, the others wait for each other.
 *
 *   struct guess guess = {.name = name, .address = address, .is_user = true, .now_us = now};
 *   wait_s = guesses_begin(guesses, &guess);
 *   if (wait_s == 0) { ... compare ...; guesses_end(guesses, &guess, was_right); }
 */
#ifndef API_DASHBOARD_GUESSES_H
#define API_DASHBOARD_GUESSES_H

#include <stdbool.h>
#include <stdint.h>

enum {
    GUESSES_PAIR = 10,            /* wrong ones of a name at one address, */
    GUESSES_PAIR_S = 300,         /* from the first of them until it may try again */
    GUESSES_NAME = 30,            /* at all addresses before those not known wait */
    GUESSES_ADDRESS = 20,         /* a minute, whatever the names */
    GUESSES_LOCAL = 200,          /* the same of this machine itself */
    GUESSES_KNOWN_S = 30 * 86400, /* for so long an address is known for a right password */
};

struct guess {
    const char *name;
    const char *address; /* as limits_address() gives it; "": this machine itself */
    bool is_user;        /* counted apart, so that invented names drive out no count of a user;
                            nothing that is answered tells it */
    int64_t now_us;      /* monotonic */
};

struct guesses;

struct guesses *guesses_new(void);
void guesses_free(struct guesses *guesses);

/* Before a comparison; > 0: it must not be made for so many seconds. */
int64_t guesses_begin(struct guesses *guesses, const struct guess *guess);
/* After it. */
void guesses_end(struct guesses *guesses, const struct guess *guess, bool was_right);

#endif
