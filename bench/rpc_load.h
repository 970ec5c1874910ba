/* The client of bench/rpc: keeps a number of connections, each with a number of requests on its
 * way, and measures what that costs the server. One thread. */
#ifndef BENCH_RPC_LOAD_H
#define BENCH_RPC_LOAD_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LOAD_DEPTH_MAX 64u
#define LOAD_REQUEST 64u /* bytes of a request that is to be echoed */

enum load_kind {
    LOAD_RAW,     /* bytes that come back as they were sent */
    LOAD_RPC,     /* msgpack-RPC "ping" with an argument that fills it up */
    LOAD_NVIM,    /* msgpack-RPC "nvim_eval" of a text */
    LOAD_REDIS,   /* ECHO */
    LOAD_IDENTIFY /* msgpack-RPC "identify" with a request id of its own each */
};

/* Who is asked, and how. */
struct load_target {
    const char *name;
    enum load_kind kind;
    uint16_t port; /* of 127.0.0.1 */
    pid_t pid;     /* the server, whose processor time counts, with its children's */
    SSL_CTX *tls;  /* NULL: plain */
    double rate;   /* requests a second, of all connections, whatever becomes of them; 0: each
                    * answer brings the next request. For kinds with ids. */
};

/* What identify asks for: one sample, checked by one backend. */
struct load_sample {
    const char *check, *modality, *format;
    const uint8_t *data;
    size_t len;
};
/* Before a target of kind LOAD_IDENTIFY is asked. */
void load_prepare_identify(const struct load_sample *sample);

struct load_result {
    uint64_t asked;             /* with a rate */
    uint64_t answered, refused; /* refused: errors, among the answered */
    double seconds, cpu;        /* of the server */
    double p50, p99, worst;     /* seconds from request to answer, of what was not refused */
};

/* Runs for so many seconds after a short warm-up. Exits with a message on a failure. */
void load_run(const struct load_target *target, unsigned connections, unsigned depth,
              double seconds, struct load_result *result);

/* Processor time of a process and its children, in seconds. */
double load_cpu(pid_t pid);
double load_now(void);
/* A connected socket. */
int load_connect(uint16_t port);
/* Over it, a finished handshake; session NULL: a full one. */
SSL *load_handshake(SSL_CTX *tls, int fd, SSL_SESSION *session);
void load_die(const char *what) __attribute__((noreturn));

#endif
