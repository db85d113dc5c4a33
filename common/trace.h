/* SPDX-License-Identifier: MIT
 *
 * The traceparent of W3C Trace Context: which trace a job belongs to, carried from whoever enqueued
 * it to its log lines, to the calls it makes and to the jobs it adds. Pure but for random ids.
 */
#ifndef COMMON_TRACE_H
#define COMMON_TRACE_H

#include <stdbool.h>

enum {
    TRACE_ID_SIZE = 33,   /* 32 hex digits and the NUL */
    TRACE_TEXT_SIZE = 56, /* "00-", id, "-", span, "-", flags, and the NUL */
};

struct trace {
    char id[TRACE_ID_SIZE]; /* lower case hex, never all zeros */
    char span[17];          /* the same: who calls */
    unsigned flags;         /* 1: sampled */
};

/* Reads a traceparent as strictly as the recommendation asks: lower case, no ids of zeros, no
 * version ff, nothing behind version 00. Of versions that are not known yet the part that version
 * 00 has is taken. */
bool trace_parse(const char *text, struct trace *ret_trace);

/* Writes it as version 00. */
void trace_format(const struct trace *trace, char ret_text[TRACE_TEXT_SIZE]);

/* The same trace with a span of its own: what a call outwards carries. */
struct trace trace_child(const struct trace *trace);

/* A trace that begins here, under the 32 hex digits of a UUID, or a random id for NULL. */
struct trace trace_begin(const char *uuid);

#endif
