/* SPDX-License-Identifier: MIT
 *
 * Time is int64_t microseconds everywhere. Wall time (since 1970, UTC) is for instants that are
 * stored or shown; monotonic time is for every duration and deadline. Tests may set both.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define US_PER_MS INT64_C(1000)
#define US_PER_S INT64_C(1000000)

enum { CLOCK_TEXT_SIZE = 32 };

int64_t clock_wall_us(void);
int64_t clock_mono_us(void);

/* A condition that is waited for until a monotonic time, and that time for
 * pthread_cond_timedwait().
 */
void clock_cond_init(pthread_cond_t *cond);
struct timespec clock_timespec(int64_t us);

/* "2026-11-21T19:19:16.082437Z", as Django REST framework writes it. */
void clock_format(int64_t wall_us, char out[CLOCK_TEXT_SIZE]);

/* RFC 3339 with offset or Z, fraction optional. False when it is not one. */
bool clock_parse(const char *text, int64_t *ret_wall_us);

/* Tests only: fixes both clocks until clock_real() is called. */
void clock_fix(int64_t wall_us, int64_t mono_us);
void clock_real(void);

#endif
