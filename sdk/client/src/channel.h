/* One connection to a server: TCP, or TLS 1.3 over it. A step never blocks; it is done, has failed,
 * or says what it waits for. The functions that take a time repeat a step until then. */
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
    CHANNEL_READ,  /* of a step: to be repeated when the socket can be read */
    CHANNEL_WRITE, /* ... or written */
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

/* Until when to wait for an address to answer, if all of connecting has until then: a dead one must
 * leave time for those that follow it. */
struct addrinfo;
uint64_t channel_dial_until(const struct addrinfo *to, uint64_t until);

/* Begins to connect to one address: DONE, WRITE (then channel_dialled says how it went), or the
 * end; the channel is open unless that is LOST or NEVER. Without TLS the address has to be of this
 * machine: what a device sends must not be read on the way. */
enum channel_end channel_dial(struct channel *channel, const struct addrinfo *to,
                              const struct channel_tls *tls, struct whorl_fault *fault);
/* Once the socket can be written: DONE or LOST, and then closed. */
enum channel_end channel_dialled(struct channel *channel, struct whorl_fault *fault);

/* One step of the TLS handshake, with a server whose certificate must be for that name. tls must
 * live until the channel is closed. */
enum channel_end channel_shake(struct channel *channel, const char *name,
                               const struct channel_tls *tls, struct whorl_fault *fault);

/* Sends some of the bytes (*done of them), or takes some more in; repeat with the same bytes. */
enum channel_end channel_write(struct channel *channel, const uint8_t *bytes, size_t len,
                               size_t *done, struct whorl_fault *fault);
enum channel_end channel_read(struct channel *channel, struct whorl_secret *in,
                              struct whorl_fault *fault);

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
