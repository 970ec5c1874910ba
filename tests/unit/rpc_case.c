#include "rpc_case.h"
#include "run_suite.h"

#include <stdlib.h>

struct server server;
struct client client;

static void setup(void)
{
    server_prepare(&server);
}

void begin(void)
{
    server_start(&server);
    client = client_connect(server_port(&server, "plain"));
}

void end(void)
{
    client_close(&client);
    server_stop(&server);
}

void exchange(const char *request, size_t len, const char *reply, size_t reply_len)
{
    client_send(&client, request, len);
    client_expect(&client, reply, reply_len);
}

int rpc_case_run(const char *name, void (*add)(TCase *tc))
{
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_set_timeout(tc, 60);
    add(tc);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
