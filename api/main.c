/* SPDX-License-Identifier: MIT
 *
 * till-api: the REST API of the shop.
 */
#include <signal.h>

#include "api/api.h"
#include "api/cors.h"
#include "api/replica.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/program.h"
#include "common/redis.h"

static const char usage[] = "usage: till-api [settings]\n\n"
                            "Serves the REST API of the shop: accounts, catalogue, orders and\n"
                            "payments. TERM and INT answer what was accepted, then end it.\n";

int main(int argc, char **argv)
{
    AUTO_VALUE(conf_release) struct conf conf = {0};
    struct conf_request request = {0};
    struct server_config config;
    struct server *server = NULL;
    struct err e = {0};
    int code = program_start("till-api", PROGRAM_API, usage, argc, argv, &conf, &request);
    int number;

    if (code >= 0 && !(code == EXIT_DONE && request.check))
        return program_end("till-api", code);
    if (redis_check_url(conf.redis_url, &e) || cors_check(conf.cors_origins, &e) || request.check)
        return program_end("till-api", program_check_done("till-api", &e));
    replica_start(&conf);
    api_configure(&conf, &config);
    if (server_start(&config, &server, &e)) {
        replica_stop();
        api_release();
        log_error("start_failed", L_ERR(&e));
        return EXIT_FAILED;
    }
    do {
        number = program_wait(-1);
    } while (number != SIGTERM && number != SIGINT && number != SIGQUIT);
    server_stop(server, number == SIGQUIT ? 0 : conf.shutdown_seconds * US_PER_S);
    replica_stop();
    api_release();
    log_info("stopped");
    return EXIT_DONE;
}
