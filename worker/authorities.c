/* SPDX-License-Identifier: MIT
 *
 * Certificate authorities; see authorities.h.
 */
#include "worker/authorities.h"

#include <openssl/err.h>

bool authorities_load(SSL_CTX *context, const char *file)
{
    if (!*file)
        return SSL_CTX_set_default_verify_paths(context) == 1;
    return SSL_CTX_load_verify_file(context, file) == 1;
}

enum err_code authorities_check(const char *setting, const char *file, struct err *e)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    bool valid = context && authorities_load(context, file);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    enum err_code rc = ERR_OK;

    if (!valid)
        rc = err_set(e, ERR_INVALID, "%s=\"%.80s\" has no certificates in PEM form (%.60s)",
                     setting, file, reason ? reason : "unreadable");
    SSL_CTX_free(context);
    ERR_clear_error();
    return rc;
}
