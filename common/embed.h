/* SPDX-License-Identifier: MIT
 *
 * Files that the build puts into a program (common/embed.sh): a table that ends with a NULL name.
 */
#ifndef COMMON_EMBED_H
#define COMMON_EMBED_H

struct embedded_file {
    const char *name; /* without its folder */
    const char *data; /* a NUL follows the last byte */
    const char *end;
};

extern const struct embedded_file sql_files[];       /* sql/, sorted by name; in every program */
extern const struct embedded_file dashboard_files[]; /* api/dashboard/static/; in till-dashboard */
extern const struct embedded_file openapi_files[];   /* api/openapi.json; in till-api */

#endif
