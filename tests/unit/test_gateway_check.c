/* SPDX-License-Identifier: MIT
 *
 * Which settings of the gateway a worker starts with.
 */
#include "worker/gateway.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"

#define SECRET "sk_test_51NotAKeyOfAnybody"

Test(gateway_check, lets_the_key_go_over_tls_or_nowhere)
{
    static const struct {
        const char *url;
        bool valid;
    } cases[] = {
        {"https://api.stripe.com", true},
        {"https://gateway.example:8443/", true},
        {"http://127.0.0.1:8090", true},
        {"http://localhost:8090", true},
        {"http://[::1]:8090", true},
        {"http://api.stripe.com", false},
        {"http://localhost.example", false},
        {"http://127.0.0.1.example:8090", false},
        {"http://127.0.0.1@gateway.example", false},
        {"ftp://gateway.example", false},
        {"gateway.example", false},
        {"https://", false},
        {"", false},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct gateway_place place = {
            .url = cases[i].url, .ca_file = "", .secret_key = SECRET};
        struct err e = {0};

        cr_expect_eq(gateway_check(&place, &e), cases[i].valid ? ERR_OK : ERR_INVALID, "%s",
                     cases[i].url);
        cr_expect_eq(strstr(e.text, "GATEWAY_URL") != NULL, !cases[i].valid, "%s", e.text);
    }
}

Test(gateway_check, wants_authorities_that_can_be_read)
{
    static const char *const files[] = {"/nonexistent/ca.pem", "/dev/null", "Makefile"};

    for (size_t i = 0; i < COUNT_OF(files); i++) {
        const struct gateway_place place = {
            .url = "https://gateway.example", .ca_file = files[i], .secret_key = SECRET};
        struct err e = {0};

        cr_expect_eq(gateway_check(&place, &e), ERR_INVALID, "%s", files[i]);
        cr_expect_not_null(strstr(e.text, "GATEWAY_CA_FILE"), "%s", e.text);
    }
}
