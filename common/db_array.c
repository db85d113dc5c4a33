/* SPDX-License-Identifier: MIT
 *
 * Arrays as parameters; see db.h. The binary form is that of array_recv() in PostgreSQL's
 * src/backend/utils/adt/arrayfuncs.c: dimensions, whether there are NULLs, the type of the
 * elements, then for each dimension its length and its lower bound, then each element behind its
 * length in bytes; all numbers have 32 bits, the highest byte first.
 */
#include "common/db.h"

#include <string.h>

#include <arpa/inet.h>

#include "common/buf.h"
#include "common/uuid.h"

enum { OID_INT4 = 23, OID_UUID = 2950 }; /* of pg_type.dat: the same on every server */
enum { PLANNED_IDS = 10 };               /* estimate_array_length() */

void db_array_add(struct buf *array, const char *element)
{
    buf_add_char(array, array->len ? ',' : '{');
    if (!element) {
        buf_add_str(array, "NULL");
        return;
    }
    buf_add_char(array, '"');
    while (*element) {
        size_t plain = strcspn(element, "\"\\");

        buf_add(array, element, plain);
        element += plain;
        if (*element) {
            buf_add_char(array, '\\');
            buf_add_char(array, *element++);
        }
    }
    buf_add_char(array, '"');
}

void db_array_add_int(struct buf *array, int64_t number)
{
    buf_add_char(array, array->len ? ',' : '{');
    buf_add_int(array, number);
}

void db_array_fill(struct buf *array, size_t count)
{
    for (; count < PLANNED_IDS; count++)
        db_array_add_int(array, 0);
}

void db_array_end(struct buf *array) { buf_add_str(array, array->len ? "}" : "{}"); }

static void add_word(struct buf *array, uint32_t word)
{
    uint32_t in_order = htonl(word);

    buf_add(array, &in_order, sizeof in_order);
}

static void begin(struct buf *array, uint32_t type, size_t count)
{
    add_word(array, count > 0 ? 1 : 0); /* an array of nothing has no dimension */
    add_word(array, 0);
    add_word(array, type);
    if (count == 0)
        return;
    add_word(array, (uint32_t)count);
    add_word(array, 1);
}

void db_ids_begin(struct buf *array, size_t count) { begin(array, OID_UUID, count); }

void db_ids_add(struct buf *array, const struct uuid *id)
{
    unsigned char bytes[16];

    uuid_bytes(id, bytes);
    add_word(array, sizeof bytes);
    buf_add(array, bytes, sizeof bytes);
}

void db_ints_begin(struct buf *array, size_t count) { begin(array, OID_INT4, count); }

void db_ints_add(struct buf *array, int32_t number)
{
    add_word(array, sizeof number);
    add_word(array, (uint32_t)number);
}
