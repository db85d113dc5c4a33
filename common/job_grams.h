/* SPDX-License-Identifier: MIT
 *
 * The inverted index of a segment of jobs. A gram is three bytes that follow each other in a text,
 * in lower case, or a whole name (a state, a task, a queue, a worker, one of the kwargs with a
 * short value); its places are the numbers of the jobs that have it. Pure.
 *
 *   AUTO_VALUE(job_grams_release) struct job_grams grams = {0};
 *   for each job: job_grams_add_text(&grams, place, text); job_grams_add(&grams, place, gram);
 *   job_grams_end(&grams, jobs);
 *   for each of grams.items that has a count: write gram and bytes
 */
#ifndef COMMON_JOB_GRAMS_H
#define COMMON_JOB_GRAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    JOB_SEGMENT_MAX = 32768, /* jobs of one segment */
    JOB_PLACES_BYTES = JOB_SEGMENT_MAX / 8 + 1,
    JOB_PAIR_BYTES = 3, /* of a value that is found together with its name only */
};

struct job_gram {
    uint32_t gram;
    uint32_t count; /* 0: an empty item of the table */
    uint32_t last;
    uint32_t len;
    uint32_t size;
    unsigned char *bytes; /* owned */
};

struct job_grams {
    struct job_gram *items; /* owned: a hash table */
    size_t size;
    size_t count;
};

void job_grams_release(struct job_grams *grams);

/* Places of one gram come in ascending order; a second time is ignored. */
void job_grams_add(struct job_grams *grams, uint32_t place, uint32_t gram);
void job_grams_add_text(struct job_grams *grams, uint32_t place, const char *text);
/* Gives each gram's bytes their final form; `jobs` is the size of the segment. */
void job_grams_end(struct job_grams *grams, size_t jobs);

/* The gram of the three bytes at `text`. */
uint32_t job_gram_of(const char *text);
enum job_gram_kind { GRAM_STATE = 's', GRAM_TASK = 't', GRAM_QUEUE = 'q', GRAM_WORKER = 'w' };
/* Of a whole name; case matters. */
uint32_t job_gram_name(enum job_gram_kind kind, const char *name);
/* Of one of the kwargs with a value of less than JOB_PAIR_BYTES bytes; case of the value does not
 * matter. */
uint32_t job_gram_pair(const char *key, const char *value);

/* A set of places. */
struct job_places {
    uint64_t bits[JOB_SEGMENT_MAX / 64];
};

/* False when the bytes are not what job_grams_end() makes. */
bool job_places_read(const unsigned char *bytes, size_t len, size_t jobs,
                     struct job_places *ret_places);

#endif
