/* SPDX-License-Identifier: MIT
 *
 * What the fuzz targets share. Each file here gives one reader of outside text any bytes, and
 * aborts when a promise of its header is broken. `make fuzz` builds it with libFuzzer; under `make
 * test` tests/unit/test_fuzz_seeds.c gives the same functions the seeds in corpus/ and what was
 * ever found.
 */
#ifndef TESTS_FUZZ_TARGET_H
#define TESTS_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* FUZZ_TARGET(money, text, size) { ... }: `text` holds `size` bytes and a NUL behind them, in a
 * block of its own, so that AddressSanitizer sees who reads on. */
#define FUZZ_TARGET(name, text, size)                                                              \
    static void fuzz_##name##_body(const char *text, size_t size);                                 \
    FUZZ_ENTRY(name)                                                                               \
    static void fuzz_##name##_body(const char *text, size_t size)

#define FUZZ_FUNCTION(function, name)                                                              \
    int function(const uint8_t *data, size_t size);                                                \
    int function(const uint8_t *data, size_t size)                                                 \
    {                                                                                              \
        char *text = malloc(size + 1);                                                             \
                                                                                                   \
        MUST(text);                                                                                \
        if (size > 0)                                                                              \
            memcpy(text, data, size);                                                              \
        text[size] = '\0';                                                                         \
        fuzz_##name##_body(text, size);                                                            \
        free(text);                                                                                \
        return 0;                                                                                  \
    }

#ifdef FUZZ_MAIN
#define FUZZ_ENTRY(name) FUZZ_FUNCTION(LLVMFuzzerTestOneInput, name)
#else
#define FUZZ_ENTRY(name) FUZZ_FUNCTION(fuzz_##name, name)
#endif

/* Always on, unlike assert(). */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

#endif
