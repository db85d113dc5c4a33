/* SPDX-License-Identifier: MIT
 *
 * Reading the file of schedules; see schedule_file.h. One table says which fields there are; each
 * is checked on its line, what is missing on the line of its section.
 */
#include "common/schedule_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/jobs.h"
#include "common/mem.h"
#include "common/text.h"

/* The file while it is read. */
struct reading {
    struct schedule_file *file;
    const char *zone;
    struct schedule *schedule; /* the section that is open, or NULL */
    int section_line;
    unsigned seen; /* bits of fields[] that this section has */
    int line;
    struct err *e;
};

static enum err_code refuse(const struct reading *r, int line, const char *field, const char *why)
{
    AUTO_VALUE(buf_release) struct buf clean;

    buf_init(&clean, 300);
    buf_add_text(&clean, why);
    return err_set(r->e, ERR_INVALID, "%.60s line %d: %.40s%s%s", r->file->path, line, field,
                   *field ? ": " : "", clean.data);
}

/* ---- fields ---- */

static enum err_code set_cron(struct reading *r, const char *value)
{
    struct cron cron;
    struct err why = {0};

    if (cron_parse(value, &cron, &why))
        return refuse(r, r->line, "cron", why.text);
    if (!cron_can_come(&cron))
        return refuse(r, r->line, "cron", "there is no such date: it never comes");
    r->schedule->cron = mem_dup(value);
    return ERR_OK;
}

static enum err_code set_zone(struct reading *r, const char *value)
{
    AUTO(mem_free) struct zone *zone = mem_alloc(sizeof *zone);
    struct err why = {0};

    if (zone_read(value, zone, &why))
        return refuse(r, r->line, "zone", why.text);
    r->schedule->zone = mem_dup(value);
    return ERR_OK;
}

static enum err_code set_name(struct reading *r, const char *field, const char *value, char **ret)
{
    if (!text_is_name(value))
        return refuse(r, r->line, field, "1 to 200 letters, digits, \"_\", \".\" and \"-\"");
    *ret = mem_dup(value);
    return ERR_OK;
}

static enum err_code set_task(struct reading *r, const char *value)
{
    return set_name(r, "task", value, &r->schedule->task);
}

static enum err_code set_queue(struct reading *r, const char *value)
{
    return set_name(r, "queue", value, &r->schedule->queue);
}

static enum err_code set_json(struct reading *r, const char *field, const struct job_new *job,
                              const char *value, char **ret)
{
    struct err why = {0};

    if (jobs_check(job, &why))
        return refuse(r, r->line, field, why.text);
    *ret = mem_dup(value);
    return ERR_OK;
}

static enum err_code set_args(struct reading *r, const char *value)
{
    return set_json(r, "args", &(struct job_new){.task = "any", .args = value}, value,
                    &r->schedule->args);
}

static enum err_code set_kwargs(struct reading *r, const char *value)
{
    return set_json(r, "kwargs", &(struct job_new){.task = "any", .kwargs = value}, value,
                    &r->schedule->kwargs);
}

static enum err_code set_overlap(struct reading *r, const char *value)
{
    if (!schedule_overlap_parse(value, &r->schedule->overlap))
        return refuse(r, r->line, "overlap", "write skip, queue or allow");
    return ERR_OK;
}

/* 1d12h, 90m, 0s: each unit at most once, the large before the small. */
static bool parse_duration(const char *text, int64_t max, int64_t *ret_s)
{
    static const char units[] = "dhms";
    static const int64_t seconds[] = {86400, 3600, 60, 1};
    int64_t total = 0;
    size_t unit = 0;
    const char *p = text;

    while (*p) {
        size_t digits = strspn(p, "0123456789");
        int64_t value = 0;

        if (digits == 0 || digits > 9)
            return false;
        for (; digits > 0; digits--)
            value = value * 10 + (*p++ - '0');
        while (units[unit] && *p != units[unit])
            unit++;
        if (!units[unit])
            return false;
        total += value * seconds[unit++];
        p++;
    }
    *ret_s = total;
    return p > text && total <= max;
}

static enum err_code set_catch_up(struct reading *r, const char *value)
{
    if (!parse_duration(value, SCHEDULE_CATCH_UP_MAX_S, &r->schedule->catch_up_s))
        return refuse(r, r->line, "catch_up", "a time of at most 31d, as in 24h or 1h30m");
    return ERR_OK;
}

static enum err_code set_catch_up_runs(struct reading *r, const char *value)
{
    if (!text_to_int(value, 1, SCHEDULE_RUNS_MAX, &r->schedule->catch_up_runs))
        return refuse(r, r->line, "catch_up_runs", "a whole number from 1 to 100");
    return ERR_OK;
}

static enum err_code set_jitter(struct reading *r, const char *value)
{
    if (!parse_duration(value, SCHEDULE_JITTER_MAX_S, &r->schedule->jitter_s))
        return refuse(r, r->line, "jitter", "a time of at most 24h, as in 10m");
    return ERR_OK;
}

static const struct {
    const char *name;
    bool required;
    enum err_code (*set)(struct reading *r, const char *value);
} fields[] = {
    {"cron", true, set_cron},
    {"task", true, set_task},
    {"zone", false, set_zone},
    {"args", false, set_args},
    {"kwargs", false, set_kwargs},
    {"queue", false, set_queue},
    {"overlap", false, set_overlap},
    {"catch_up", false, set_catch_up},
    {"catch_up_runs", false, set_catch_up_runs},
    {"jitter", false, set_jitter},
};

/* ---- sections ---- */

/* Whether the schedule ever comes in its own zone: a gap may swallow every time of it. */
static enum err_code check_comes(struct reading *r)
{
    AUTO(mem_free) struct zone *zone = mem_alloc(sizeof *zone);
    struct cron cron;
    struct err why = {0};
    int64_t at;

    if (cron_parse(r->schedule->cron, &cron, &why) || zone_read(r->schedule->zone, zone, &why))
        return refuse(r, r->section_line, "zone", why.text);
    if (!cron_next(&cron, zone, clock_wall_us() / US_PER_S, &at))
        return refuse(r, r->section_line, "cron", "it never comes in this zone");
    return ERR_OK;
}

static enum err_code end_section(struct reading *r)
{
    char why[300];

    if (!r->schedule)
        return ERR_OK;
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (fields[i].required && !(r->seen & 1u << i)) {
            (void)snprintf(why, sizeof why, "schedule \"%s\" has none", r->schedule->name);
            return refuse(r, r->section_line, fields[i].name, why);
        }
    }
    if (!r->schedule->zone)
        r->schedule->zone = mem_dup(r->zone);
    return check_comes(r);
}

static bool has_name(const struct schedule_file *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->items[i].name, name) == 0)
            return true;
    return false;
}

static enum err_code begin_section(struct reading *r, char *text)
{
    struct schedule_file *file = r->file;
    size_t len = strlen(text);
    enum err_code rc = end_section(r);

    if (rc)
        return rc;
    if (text[len - 1] != ']')
        return refuse(r, r->line, "section", "it ends with \"]\"");
    text[len - 1] = '\0';
    text++;
    if (!text_is_name(text) || strlen(text) > SCHEDULE_NAME_MAX)
        return refuse(r, r->line, "section",
                      "a name is 1 to 100 letters, digits, \"_\", \".\" and \"-\"");
    if (has_name(file, text))
        return refuse(r, r->line, "section", "there is a schedule of this name above");
    if (file->count == SCHEDULES_MAX)
        return refuse(r, r->line, "section", "there are more than 1000 schedules");
    file->items = mem_resize(file->items, (file->count + 1) * sizeof file->items[0]);
    r->schedule = &file->items[file->count++];
    *r->schedule = (struct schedule){.name = mem_dup(text),
                                     .overlap = SCHEDULE_SKIP,
                                     .catch_up_s = SCHEDULE_CATCH_UP_DEFAULT_S,
                                     .catch_up_runs = 1};
    r->section_line = r->line;
    r->seen = 0;
    return ERR_OK;
}

static char *trim(char *text)
{
    char *end;

    text += strspn(text, " \t\r");
    end = text + strlen(text);
    while (end > text && strchr(" \t\r", end[-1]))
        *--end = '\0';
    return text;
}

/* A blank or a letter that only looks like one would not be seen in "there is no such field". */
static enum err_code refuse_field(const struct reading *r, const char *name)
{
    char why[100];

    for (size_t i = 0; name[i]; i++) {
        if (name[i] >= ' ' && name[i] <= '~')
            continue;
        (void)snprintf(why, sizeof why,
                       "byte %zu of the field's name is no printable ASCII: type it again", i + 1);
        return refuse(r, r->line, "", why);
    }
    return refuse(r, r->line, name, "there is no such field");
}

static enum err_code read_field(struct reading *r, char *text)
{
    char *equals = strchr(text, '=');
    char *value;

    if (!equals)
        return refuse(r, r->line, "", "expected [name], or field = value");
    *equals = '\0';
    text = trim(text);
    value = trim(equals + 1);
    if (!r->schedule)
        return refuse(r, r->line, text, "a [name] comes first");
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (strcmp(fields[i].name, text) != 0)
            continue;
        if (r->seen & 1u << i)
            return refuse(r, r->line, text, "it was given above");
        if (!*value)
            return refuse(r, r->line, text, "it has no value; leave the line out");
        r->seen |= 1u << i;
        return fields[i].set(r, value);
    }
    return refuse_field(r, text);
}

/* ---- files ---- */

void schedule_file_release(struct schedule_file *file)
{
    for (size_t i = 0; i < file->count; i++)
        schedule_release(&file->items[i]);
    mem_free(file->items);
    mem_free(file->path);
    *file = (struct schedule_file){0};
}

static void hash_text(const char *text, size_t len, char out[SCHEDULE_HASH_SIZE])
{
    unsigned char hash[crypto_hash_sha256_BYTES];

    (void)crypto_hash_sha256(hash, (const unsigned char *)text, len);
    (void)sodium_bin2hex(out, SCHEDULE_HASH_SIZE, hash, sizeof hash);
}

/* What is no text is named by its line, like everything else. */
static enum err_code check_text(const struct reading *r, const char *text, size_t len)
{
    const char *end = text + len;
    int line = 1;

    for (; text < end; line++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t size = (size_t)((newline ? newline : end) - text);

        if (!text_is_utf8(text, size))
            return refuse(r, line, "", "it is no text in UTF-8");
        text += size + 1;
    }
    return ERR_OK;
}

enum err_code schedule_file_parse(const char *path, const char *text, size_t len, const char *zone,
                                  struct schedule_file *ret_file, struct err *e)
{
    AUTO_VALUE(schedule_file_release) struct schedule_file file = {.path = mem_dup(path)};
    AUTO(mem_free) char *copy = mem_dup_n(text, len);
    struct reading r = {.file = &file, .zone = zone, .e = e};
    enum err_code rc = ERR_OK;
    char *next = copy;

    if (len > SCHEDULE_FILE_MAX)
        return err_set(e, ERR_INVALID, "%.60s: it is longer than 1 MiB", path);
    if (text_has_mark(text, len))
        return err_set(e, ERR_INVALID,
                       "%.60s begins with a byte order mark: save it as UTF-8 without one", path);
    rc = check_text(&r, text, len);
    while (!rc && next) {
        char *line = next;

        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        r.line++;
        line = trim(line);
        if (*line == '[')
            rc = begin_section(&r, line);
        else if (*line && *line != '#' && *line != ';')
            rc = read_field(&r, line);
    }
    if (!rc)
        rc = end_section(&r);
    if (rc)
        return rc;
    hash_text(text, len, file.hash);
    *ret_file = file;
    file = (struct schedule_file){0};
    return ERR_OK;
}

enum err_code schedule_file_read(const char *path, const char *zone, struct schedule_file *ret_file,
                                 struct err *e)
{
    AUTO(mem_free) char *text = mem_alloc(SCHEDULE_FILE_MAX + 2);
    FILE *in = fopen(path, "re");
    size_t len = in ? fread(text, 1, SCHEDULE_FILE_MAX + 1, in) : 0;
    enum err_code rc = ERR_OK;

    if (!in || ferror(in))
        rc = err_set(e, ERR_INVALID, "cannot read the schedules file \"%.80s\": %s", path,
                     strerrordesc_np(errno));
    if (in)
        (void)fclose(in);
    return rc ? rc : schedule_file_parse(path, text, len, zone, ret_file, e);
}
