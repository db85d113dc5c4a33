/* SPDX-License-Identifier: MIT
 *
 * The files of static/, which stand inside the program. Pages are one document for every path; its
 * scripts read the path. Browsers keep files but ask each time whether they are still the same.
 */
#include <string.h>

#include <sodium.h>

#include "api/dashboard/dashboard.h"
#include "common/embed.h"

enum { ETAG_BYTES = 16, PAGE_MAX = 64 * 1024 };

static const struct embedded_file *find_file(const char *name)
{
    for (const struct embedded_file *file = dashboard_files; file->name; file++)
        if (strcmp(file->name, name) == 0)
            return file;
    return NULL;
}

static const char *type_of(const char *name)
{
    static const struct {
        const char *ending;
        const char *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".svg", "image/svg+xml"},
    };
    const char *ending = strrchr(name, '.');

    for (size_t i = 0; ending && i < COUNT_OF(types); i++)
        if (strcmp(ending, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

static void send_file(const struct request *req, struct reply *reply, const char *name,
                      const char *data, size_t len)
{
    unsigned char hash[ETAG_BYTES];
    char etag[2 * ETAG_BYTES + 3] = "\"";
    const char *known = request_header(req, "If-None-Match");

    crypto_generichash(hash, sizeof hash, (const unsigned char *)data, len, NULL, 0);
    (void)sodium_bin2hex(etag + 1, sizeof etag - 1, hash, sizeof hash);
    etag[sizeof etag - 2] = '"';
    etag[sizeof etag - 1] = '\0';
    if (known && strstr(known, etag))
        reply_bytes(reply, 304, type_of(name), "", 0);
    else
        reply_bytes(reply, 200, type_of(name), data, len);
    reply_header(reply, "Cache-Control", "no-cache");
    reply_header(reply, "ETag", etag);
}

/* The document, with the path prefix of the proxy before each of its addresses. */
static void add_prefix(struct buf *page, const struct embedded_file *file, const char *prefix)
{
    static const char *const marks[] = {"href=\"/", "src=\"/"};

    for (const char *p = file->data; p < file->end;) {
        size_t taken = 1;

        for (size_t i = 0; i < COUNT_OF(marks); i++) {
            size_t len = strlen(marks[i]);

            if ((size_t)(file->end - p) > len && memcmp(p, marks[i], len) == 0)
                taken = len;
        }
        buf_add(page, p, taken > 1 ? taken - 1 : 1);
        if (taken > 1)
            buf_addf(page, "%s/", prefix);
        p += taken;
    }
}

enum err_code page_show(struct request *req, struct reply *reply, struct err *e)
{
    const char *prefix = thread_of(req)->dashboard->conf->path_prefix;
    const struct embedded_file *file = find_file("index.html");
    AUTO_VALUE(buf_release) struct buf page = {0};

    if (!file)
        return err_set(e, ERR_INTERNAL, "index.html is not in the program");
    buf_init(&page, PAGE_MAX);
    add_prefix(&page, file, prefix);
    send_file(req, reply, file->name, page.data, page.len);
    return ERR_OK;
}

enum err_code asset_show(struct request *req, struct reply *reply, struct err *e)
{
    const struct embedded_file *file = find_file(request_param(req, 0));

    if (!file)
        return err_set(e, ERR_NOT_FOUND, "there is no such file");
    send_file(req, reply, file->name, file->data, (size_t)(file->end - file->data));
    return ERR_OK;
}
