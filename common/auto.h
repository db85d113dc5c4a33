/* SPDX-License-Identifier: MIT
 *
 * Scoped cleanup for C: a variable marked AUTO(fn) is released when its scope ends, on every path.
 *
 *   AUTO_DEFINE(struct db *, db_close)              in the header that declares db_close()
 *   AUTO(db_close) struct db *db = NULL;            always initialised where it is declared
 *   *ret_db = TAKE(db);                             hand it over: the scope forgets it
 *
 * A struct held by value is released by AUTO_VALUE(fn), where fn takes its address.
 */
#ifndef COMMON_AUTO_H
#define COMMON_AUTO_H

#define AUTO_DEFINE(type, fn)                                                                      \
    static inline void fn##_auto(type *p)                                                          \
    {                                                                                              \
        if (*p)                                                                                    \
            fn(*p);                                                                                \
    }                                                                                              \
    struct fn##_auto_needs_semicolon

#define AUTO(fn) __attribute__((cleanup(fn##_auto)))
#define AUTO_VALUE(fn) __attribute__((cleanup(fn)))

#define TAKE(p)                                                                                    \
    __extension__({                                                                                \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
