/* A server in a thread of its own, blocking clients, and certificates made on the spot. */
#ifndef NET_FIXTURE_H
#define NET_FIXTURE_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/net/listener.h"
#include "core/net/rpc.h"
#include "whorl/msg.h"

#define HELD_MAX 4096

/* Methods: "ping", "params" (returns its params), "big" [n] (n bytes), "hold" (answered by
 * release_held), "late" (42, when its read has been dealt with), "boom" (an error), "note" (a
 * notification, then its answer); others are unknown.
 */
struct server {
    uv_loop_t loop;
    uv_async_t wake;
    pthread_t thread;
    sem_t done;
    void (*job)(struct server *server, void *arg);
    void *arg;
    struct rpc *rpc;
    struct conf conf;
    struct conf_listener listeners[4];
    struct log *log;
    atomic_uint requests, gone;
    uint64_t late[16], held[HELD_MAX]; /* loop thread */
    size_t late_count;
    atomic_uint reads; /* that brought whole or part messages */
    atomic_uint held_count;
    uint8_t certificate[32]; /* of the last request */
    char device[64], address[64];
    uint64_t last_connection;
    bool tls;
};

/* Sane limits and one plain listener "plain" on 127.0.0.1, port 0. */
void server_prepare(struct server *server);
void server_start(struct server *server);
/* Runs job on the loop thread and waits for it. */
void server_do(struct server *server, void (*job)(struct server *server, void *arg), void *arg);
/* rpc_listen with server->conf as it is now, its files read by this thread, or before; takes what
 * was read. */
bool server_listen_ahead(struct server *server, struct listeners_ahead *ahead,
                         struct whorl_fault *fault);
bool server_listen(struct server *server, struct whorl_fault *fault);
uint16_t server_port(struct server *server, const char *listener);
void release_held(struct server *server, void *arg);
void server_stop(struct server *server);
/* Waits (at most 10 s) until the counter is at least `least`; returns it. */
unsigned wait_for(const atomic_uint *counter, unsigned least);

struct client {
    int fd;
    SSL *ssl; /* NULL: plain */
};

struct client client_connect(uint16_t port);
/* Bounds what the system keeps for a client that does not read; it would else take megabytes. */
void client_take_little(struct client *client);
/* false when the handshake, or the first exchange after it, fails. */
bool client_secure(struct client *client, SSL_CTX *context);
void client_send(struct client *client, const void *bytes, size_t len);
/* Reads exactly len bytes, failing the test otherwise. */
void client_read(struct client *client, void *bytes, size_t len);
/* Reads exactly these. */
void client_expect(struct client *client, const char *bytes, size_t len);
/* Reads so many answers, each a result or `busy`; returns how many were results. */
unsigned client_count_results(struct client *client, unsigned answers);
/* Reads to the end of the connection; returns how many bytes came. */
size_t client_read_all(struct client *client, void *bytes, size_t cap);
void client_close(struct client *client);
/* A ping that is answered. */
void client_ping(struct client *client);

/* Files of a small certificate authority in a temporary directory. They are good for a year,
 * empty_crl for 180 days. */
struct pki {
    char dir[64];
    char ca[96], other_ca[96], server[96], server_key[96], crl[96], empty_crl[96], late_crl[96];
    SSL_CTX *device, *second, *expired, *stranger, *revoked, *anonymous; /* clients */
    uint8_t device_digest[32];
};

void pki_make(struct pki *pki);
void pki_remove(struct pki *pki);
/* A TLS listener "tls" for server->listeners. */
struct conf_listener pki_listener(const struct pki *pki);

#endif
