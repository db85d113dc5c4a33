/* SPDX-License-Identifier: MIT
 *
 * Named values before anybody knows what they mean; see conf_source.h. Values may be secrets, so
 * they are wiped.
 */
#include "common/conf_source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/text.h"

void conf_source_add(struct conf_source *source, const char *key, size_t key_len, const char *value)
{
    source->pairs = mem_resize(source->pairs, (source->count + 1) * sizeof source->pairs[0]);
    source->pairs[source->count].key = mem_dup_n(key, key_len);
    source->pairs[source->count].value = mem_dup(value);
    source->count++;
}

void conf_source_release(struct conf_source *source)
{
    for (size_t i = 0; i < source->count; i++) {
        mem_free(source->pairs[i].key);
        mem_wipe_free(source->pairs[i].value);
    }
    mem_free(source->pairs);
    *source = (struct conf_source){0};
}

const char *conf_source_find(const struct conf_source *source, const char *key)
{
    for (size_t i = source->count; i-- > 0;) /* the last of several wins, as in a shell */
        if (strcmp(source->pairs[i].key, key) == 0)
            return source->pairs[i].value;
    return NULL;
}

static char *trim(char *text)
{
    char *end;

    text += strspn(text, " \t\r\n");
    end = text + strlen(text);
    while (end > text && strchr(" \t\r\n", end[-1]))
        *--end = '\0';
    return text;
}

/* Quotes and backslashes as systemd has them in an EnvironmentFile, in place, so that a program has
 * the same value whoever reads the file. A quote opens at the start of the value or behind another
 * one; within '...' all is literal, within "..." a backslash counts before " \ ` and $ alone. Only
 * the lines that systemd joins are refused: false. */
static bool decode_value(char *value)
{
    char *out = value;
    char quote = '\0';
    bool is_plain = false;

    for (const char *c = value; *c; c++) {
        if (quote && *c == quote) {
            quote = '\0';
            continue;
        }
        if (!quote && !is_plain && strchr(" \t\"'", *c)) {
            quote = *c == '"' || *c == '\'' ? *c : '\0';
            continue;
        }
        is_plain = !quote;
        if (*c == '\\' && quote != '\'') {
            if (!c[1])
                return false;
            c += !quote || strchr("\"\\`$", c[1]);
        }
        *out++ = *c;
    }
    *out = '\0';
    return !quote;
}

static enum err_code read_line(struct conf_source *file, bool (*is_known)(const char *key),
                               char *line, int number, struct err *e)
{
    char *text = trim(line);
    char *equals;

    if (!*text || *text == '#' || *text == ';')
        return ERR_OK;
    equals = strchr(text, '=');
    if (!equals)
        return err_set(e, ERR_INVALID, "%s line %d: expected NAME=value", file->name, number);
    *equals = '\0';
    text = trim(text);
    if (!is_known(text))
        return err_set(e, ERR_INVALID, "%s line %d: unknown setting \"%s\"", file->name, number,
                       text);
    equals = trim(equals + 1);
    if (!decode_value(equals))
        return err_set(e, ERR_INVALID,
                       "%s line %d: %s has a quote that is not closed, or a backslash at its end",
                       file->name, number, text);
    conf_source_add(file, text, strlen(text), equals);
    return ERR_OK;
}

enum { LINE_MAX_LEN = 4094 };

/* The next line without its end, or the beginning of one that is too long. False: there is none. A
 * byte at a time, since fgets() does not tell a NUL from the end of what it read. */
static bool next_line(FILE *in, char line[LINE_MAX_LEN + 2], size_t *ret_len)
{
    size_t len = 0;
    int c = EOF;

    while (len <= LINE_MAX_LEN && (c = getc(in)) != EOF && c != '\n')
        line[len++] = (char)c;
    line[len] = '\0';
    *ret_len = len;
    return len > 0 || c == '\n';
}

/* What an editor that saves no plain text puts into a file, and nobody sees. */
static enum err_code check_line(const struct conf_source *file, const char *line, size_t len,
                                int number, struct err *e)
{
    if (number == 1 && text_has_mark(line, len))
        return err_set(e, ERR_INVALID,
                       "%s begins with a byte order mark: save it as UTF-8 without one",
                       file->name);
    if (strlen(line) != len)
        return err_set(e, ERR_INVALID, "%s line %d: holds a NUL: save the file as plain UTF-8",
                       file->name, number);
    if (len > LINE_MAX_LEN)
        return err_set(e, ERR_INVALID, "%s line %d: longer than %d bytes", file->name, number,
                       LINE_MAX_LEN);
    return ERR_OK;
}

enum err_code conf_source_read(struct conf_source *source, bool (*is_known)(const char *key),
                               struct err *e)
{
    FILE *in = fopen(source->name, "re");
    char line[LINE_MAX_LEN + 2];
    size_t len;
    enum err_code rc = ERR_OK;

    if (!in)
        return err_set(e, ERR_INVALID, "cannot read the settings file \"%s\": %s", source->name,
                       strerrordesc_np(errno));
    for (int number = 1; !rc && next_line(in, line, &len); number++) {
        rc = check_line(source, line, len, number, e);
        if (!rc)
            rc = read_line(source, is_known, line, number, e);
    }
    if (!rc && ferror(in)) /* a directory opens, but does not read */
        rc = err_set(e, ERR_INVALID, "cannot read the settings file \"%s\": %s", source->name,
                     strerrordesc_np(errno));
    explicit_bzero(line, sizeof line);
    (void)fclose(in);
    return rc;
}

enum err_code conf_source_read_secret(const char *key, const char *path, char **ret_value,
                                      struct err *e)
{
    FILE *in = fopen(path, "re");
    char text[4096];
    enum err_code rc = ERR_OK;
    size_t len = in ? fread(text, 1, sizeof text - 1, in) : 0;

    text[len] = '\0';
    /* Half a secret is worse than none. */
    if (!in || ferror(in))
        rc = err_set(e, ERR_INVALID, "%s_FILE: cannot read \"%s\": %s", key, path,
                     strerrordesc_np(errno));
    else if (len == sizeof text - 1 || strlen(text) != len)
        rc = err_set(e, ERR_INVALID, "%s_FILE: \"%s\" is no text of less than %zu bytes", key, path,
                     sizeof text - 1);
    else
        *ret_value = mem_dup(trim(text));
    if (in)
        (void)fclose(in);
    explicit_bzero(text, sizeof text);
    return rc;
}
