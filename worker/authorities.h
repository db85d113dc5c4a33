/* SPDX-License-Identifier: MIT
 *
 * The authorities whose certificates a server outside may show: those of the machine, or those of
 * one PEM file (GATEWAY_CA_FILE, SMTP_CA_FILE).
 */
#ifndef WORKER_AUTHORITIES_H
#define WORKER_AUTHORITIES_H

#include <openssl/ssl.h>

#include "common/err.h"

/* Whether the file can be used; "" always can. `setting` is what the error names. */
enum err_code authorities_check(const char *setting, const char *file, struct err *e) MUST_CHECK;

/* Has `context` trust those of `file`, "": those of the machine. */
bool authorities_load(SSL_CTX *context, const char *file);

#endif
