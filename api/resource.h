/* SPDX-License-Identifier: MIT
 *
 * One shape for the resources of the REST API: a resource is a table of fields, a table of filters
 * and the statements of its store (common/resource.h); the six handlers are the same for all.
 *
 *   static const struct resource_field fields[] = {
 *       {.name = "name", .kind = RESOURCE_TEXT, .max = 255},
 *       {.name = "parent_id", .kind = RESOURCE_ID, .rules = FIELD_OPTIONAL | RESOURCE_NULL
 *                                                           | RESOURCE_REFERENCE},
 *   };
 *   static const struct resource resource = {.sql = &categories_sql, .fields = fields, ...};
 *   RESOURCE_LIST(categories) ...
 *
 * The values go to the statements in the order of the fields. A reference is the id of another
 * object, which has to exist for the user who asks; its store's check tells which do not.
 */
#ifndef API_RESOURCE_H
#define API_RESOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api.h"
#include "api/cache.h"
#include "api/fields.h"
#include "api/replica.h"
#include "common/resource.h"

enum resource_kind {
    RESOURCE_TEXT,    /* at most `max` characters */
    RESOURCE_INT,     /* min..max */
    RESOURCE_DECIMAL, /* min..max in hundredths; as text */
    RESOURCE_ID,
    RESOURCE_BOOL,   /* filters only: true, false, True, False, 1, 0 */
    RESOURCE_CHOICE, /* one of `choices` */
};

/* Beside enum field_rule. */
enum resource_rule {
    RESOURCE_NULL = 1 << 8,      /* an id may be null, which goes to the statement as 0 */
    RESOURCE_REFERENCE = 1 << 9, /* an id that the store's check knows */
};

struct resource_field {
    const char *name;
    enum resource_kind kind;
    unsigned rules;
    int64_t min;
    int64_t max;
    const char *const *choices; /* ends with NULL */
};

/* What to say when the database refuses a write by one of its constraints. */
struct resource_refusal {
    const char *constraint;
    const char *field;
    const char *text;
};

struct resource {
    const struct resource_sql *sql;
    const struct resource_field *fields;
    size_t fields_count;
    const struct resource_field *filters; /* all optional */
    size_t filters_count;
    const struct resource_refusal *refusals; /* ends with a NULL constraint; may be NULL */
    bool is_read_by_all; /* somebody else's is 403 to a write, since it is no secret */
};

enum err_code resource_index(const struct resource *resource, struct request *req,
                             struct reply *reply, struct err *e) MUST_CHECK;
enum err_code resource_show(const struct resource *resource, struct request *req,
                            struct reply *reply, struct err *e) MUST_CHECK;
enum err_code resource_create(const struct resource *resource, struct request *req,
                              struct reply *reply, struct err *e) MUST_CHECK;
/* PUT (every field that is not optional) and PATCH (those that are sent). */
enum err_code resource_update(const struct resource *resource, struct request *req,
                              struct reply *reply, struct err *e) MUST_CHECK;
enum err_code resource_delete(const struct resource *resource, struct request *req,
                              struct reply *reply, struct err *e) MUST_CHECK;

/* The handlers of one file's `resource`. */
#define RESOURCE_HANDLER(name, action)                                                             \
    enum err_code name(struct request *req, struct reply *reply, struct err *e)                    \
    {                                                                                              \
        return action(&resource, req, reply, e);                                                   \
    }
#define RESOURCE_READERS(name)                                                                     \
    RESOURCE_HANDLER(name##_index, resource_index)                                                 \
    RESOURCE_HANDLER(name##_show, resource_show)
/* For what may lag as replica.h allows: lists of one's own objects, or all that is public. */
#define RESOURCE_LAGGING(name, action, inner)                                                      \
    static RESOURCE_HANDLER(inner, action) enum err_code name(struct request *req,                 \
                                                              struct reply *reply, struct err *e)  \
    {                                                                                              \
        return replica_serve(req, reply, inner, e);                                                \
    }
#define RESOURCE_OWN_READERS(name)                                                                 \
    RESOURCE_LAGGING(name##_index, resource_index, list)                                           \
    RESOURCE_HANDLER(name##_show, resource_show)
#define RESOURCE_PUBLIC_READERS(name)                                                              \
    RESOURCE_LAGGING(name##_index, resource_index, list)                                           \
    RESOURCE_LAGGING(name##_show, resource_show, show)
/* For what is made of the catalogue alone. */
#define RESOURCE_CACHED(name, inner, part)                                                         \
    enum err_code name(struct request *req, struct reply *reply, struct err *e)                    \
    {                                                                                              \
        return cache_serve(req, reply, part, inner, e);                                            \
    }
#define RESOURCE_CACHED_READER(name, action, inner, part)                                          \
    static RESOURCE_HANDLER(inner, action) RESOURCE_CACHED(name, inner, part)
#define RESOURCE_WRITERS(name)                                                                     \
    RESOURCE_HANDLER(name##_add, resource_create)                                                  \
    RESOURCE_HANDLER(name##_change, resource_update)                                               \
    RESOURCE_HANDLER(name##_remove, resource_delete)

#endif
