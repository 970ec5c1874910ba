/* One connection to a server: TCP, or TLS 1.3 over it. Never blocks beyond a time that the caller
 * gives. */
#ifndef CLIENT_CHANNEL_H
#define CLIENT_CHANNEL_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/msg.h"
#include "whorl/secret.h"

/* How something ended. */
enum channel_end {
    CHANNEL_DONE,
    CHANNEL_LOST,  /* the connection is gone, or could not be made: another may do better */
    CHANNEL_LATE,  /* the time has passed */
    CHANNEL_NEVER, /* trying again leads nowhere: a certificate, memory, a protocol broken */
};

struct channel {
    int fd;   /* -1: none */
    SSL *ssl; /* NULL: plain TCP */
};

/* Splits HOST:PORT or [IPV6]:PORT; false if it is neither. *port points into address. */
bool channel_split(const char *address, char *host, size_t cap, const char **port);

/* What all connections of a client need for TLS; all zero: plain TCP. */
struct channel_tls {
    SSL_CTX *context;
    BIO_METHOD *method;
};

/* Reads the files. false with *fault. Free it in either case. */
bool channel_tls_load(struct channel_tls *tls, const char *certificate, const char *key,
                      const char *ca, struct whorl_fault *fault);
void channel_tls_free(struct channel_tls *tls);

/* Connects and shakes hands until a time of backoff_now. A channel that is not CHANNEL_DONE is
 * closed. It must stay where it is, and tls live, until it is closed. */
enum channel_end channel_open(struct channel *channel, const char *host, const char *port,
                              const struct channel_tls *tls, uint64_t until,
                              struct whorl_fault *fault);

/* Whether the server has not hung up, as far as can be known without waiting. */
bool channel_alive(struct channel *channel);

/* Sends all. *sent: whether any of it may have left. */
enum channel_end channel_send(struct channel *channel, const uint8_t *bytes, size_t len,
                              uint64_t until, bool *sent, struct whorl_fault *fault);

/* Waits for bytes and appends them. */
enum channel_end channel_receive(struct channel *channel, struct whorl_secret *in, uint64_t until,
                                 struct whorl_fault *fault);

/* Says goodbye, without waiting, and closes. */
void channel_close(struct channel *channel);

#endif
