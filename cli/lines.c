/* SPDX-License-Identifier: MIT
 *
 * Reading a file line by line into memory; see lines.h.
 */
#include "cli/lines.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

void lines_release(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        mem_free(lines->items[i]);
    mem_free(lines->items);
    *lines = (struct lines){0};
}

static enum err_code add_line(struct lines *lines, const char *text, size_t len, struct err *e)
{
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    if (lines->count == LINES_MAX)
        return err_set(e, ERR_INVALID, "there are more than %d lines", LINES_MAX);
    if (memchr(text, '\0', len))
        return err_set(e, ERR_INVALID, "line %zu has a NUL byte", lines->count + 1);
    if (lines->count == lines->size) {
        lines->size = lines->size ? lines->size * 2 : 1024;
        lines->items = mem_resize(lines->items, lines->size * sizeof lines->items[0]);
    }
    lines->items[lines->count++] = mem_dup_n(text, len);
    return ERR_OK;
}

static enum err_code read_all(FILE *file, struct lines *lines, struct err *e)
{
    char *text = NULL;
    size_t size = 0;
    ssize_t len;
    enum err_code rc = ERR_OK;

    while (!rc && (len = getline(&text, &size, file)) >= 0)
        rc = add_line(lines, text, (size_t)len, e);
    if (!rc && !feof(file))
        rc = err_set(e, ERR_UNAVAILABLE, "the lines cannot be read");
    free(text);
    return rc;
}

enum err_code lines_read(const char *path, struct lines *ret_lines, struct err *e)
{
    AUTO_VALUE(lines_release) struct lines lines = {0};
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    enum err_code rc;

    if (!file)
        return err_set(e, ERR_NOT_FOUND, "\"%.100s\" cannot be opened: %s", path,
                       strerrordesc_np(errno));
    rc = read_all(file, &lines, e);
    if (file != stdin)
        (void)fclose(file);
    if (rc)
        return rc;
    *ret_lines = lines;
    lines = (struct lines){0};
    return ERR_OK;
}
