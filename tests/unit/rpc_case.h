/* What the tests of the RPC server share: one server, made anew for each test, and a client of it.
 */
#ifndef TESTS_RPC_CASE_H
#define TESTS_RPC_CASE_H

#include <check.h>

#include "net_fixture.h"

#define PING "\x94\x00\x07\xa4ping\x90"
#define PONG "\x94\x01\x07\xc0\xa4pong"
#define PING_LEN 9
#define PONG_LEN 9

extern struct server server; /* prepared, not started */
extern struct client client;

/* Starts the server and connects the client; and the reverse. */
void begin(void);
void end(void);
/* Sends a request and expects exactly the reply. */
void exchange(const char *request, size_t len, const char *reply, size_t reply_len);

/* main's work: runs the tests that add() adds. Returns main's result. */
int rpc_case_run(const char *name, void (*add)(TCase *tc));

#endif
