#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backoff.h"

enum { READ_SIZE = 16384 };

bool channel_split(const char *address, char *host, size_t cap, const char **port)
{
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || !colon[1]) {
        return false;
    }
    size_t len = (size_t)(colon - address);
    if (address[0] == '[' && colon[-1] == ']') {
        address++;
        len -= 2;
    }
    if (len == 0 || len >= cap) {
        return false;
    }
    memcpy(host, address, len);
    host[len] = '\0';
    *port = colon + 1;
    return true;
}

static enum channel_end ended(enum channel_end end, struct whorl_fault *fault, const char *where,
                              const char *text)
{
    whorl_fail(fault, where, "%s", text);
    return end;
}

/* Waits until the socket is ready for events (of poll). */
static enum channel_end ready(int fd, short events, uint64_t until, struct whorl_fault *fault)
{
    for (;;) {
        uint64_t left = backoff_left(until);
        struct pollfd wanted = {.fd = fd, .events = events};
        int n = left > 0 ? poll(&wanted, 1, left < 60000 ? (int)left : 60000) : 0;
        if (n > 0) {
            return CHANNEL_DONE;
        }
        if (n == 0 && backoff_left(until) == 0) {
            return ended(CHANNEL_LATE, fault, "", "the server does not answer");
        }
        if (n < 0 && errno != EINTR) {
            return ended(CHANNEL_NEVER, fault, "", strerror(errno));
        }
    }
}

/* --- TLS: OpenSSL's own socket BIO raises SIGPIPE, this one doesn't --- */

static int bio_write(BIO *bio, const char *bytes, int len)
{
    int *fd = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n = send(*fd, bytes, (size_t)len, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        BIO_set_retry_write(bio);
    }
    return (int)n;
}

static int bio_read(BIO *bio, char *bytes, int len)
{
    int *fd = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n = recv(*fd, bytes, (size_t)len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        BIO_set_retry_read(bio);
    }
    return (int)n;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "whorl-client");
    if (method && BIO_meth_set_write(method, bio_write) && BIO_meth_set_read(method, bio_read) &&
        BIO_meth_set_ctrl(method, bio_ctrl)) {
        return method;
    }
    BIO_meth_free(method);
    return NULL;
}

static BIO *bio_new(struct channel *channel, const BIO_METHOD *method)
{
    BIO *bio = BIO_new(method);
    if (bio) {
        BIO_set_data(bio, &channel->fd);
        BIO_set_init(bio, 1);
    }
    return bio;
}

/* The most telling reason that OpenSSL has queued; where nothing is wrong but the connection, it is
 * lost. */
static enum channel_end tls_failure(SSL *ssl, int error, const char *where,
                                    struct whorl_fault *fault)
{
    long verify = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
    unsigned long code = ERR_peek_error();
    ERR_clear_error();
    if (verify != X509_V_OK) {
        whorl_fail(fault, where, "the server's certificate was not accepted: %s",
                   X509_verify_cert_error_string(verify));
        return CHANNEL_NEVER;
    }
    if (error == SSL_ERROR_ZERO_RETURN || (error == SSL_ERROR_SYSCALL && code == 0) ||
        (error == SSL_ERROR_SSL && ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
        return ended(CHANNEL_LOST, fault, where,
                     errno != 0 && error == SSL_ERROR_SYSCALL ? strerror(errno)
                                                              : "the server closed the connection");
    }
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    whorl_fail(fault, where, "TLS: %s", reason ? reason : "failed");
    return CHANNEL_NEVER;
}

bool channel_tls_load(struct channel_tls *tls, const char *certificate, const char *key,
                      const char *ca, struct whorl_fault *fault)
{
    ERR_clear_error();
    SSL_CTX *context = tls->context = SSL_CTX_new(TLS_client_method());
    const char *where = NULL;
    tls->method = bio_method();
    if (!context || !tls->method || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION)) {
        where = "";
    } else if (SSL_CTX_load_verify_locations(context, ca, NULL) != 1) {
        where = ca;
    } else if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1) {
        where = certificate;
    } else if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        where = key;
    }
    if (where) {
        (void)tls_failure(NULL, SSL_ERROR_SSL, where, fault);
        return false;
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_CLEANSE_PLAINTEXT);
    return true;
}

void channel_tls_free(struct channel_tls *tls)
{
    SSL_CTX_free(tls->context);
    BIO_meth_free(tls->method);
}

/* After a step of OpenSSL's that didn't succeed: waits if that is all it wants. */
static enum channel_end tls_wait(struct channel *channel, int rc, const char *where, uint64_t until,
                                 struct whorl_fault *fault)
{
    int error = SSL_get_error(channel->ssl, rc);
    if (error == SSL_ERROR_WANT_READ) {
        return ready(channel->fd, POLLIN, until, fault);
    }
    if (error == SSL_ERROR_WANT_WRITE) {
        return ready(channel->fd, POLLOUT, until, fault);
    }
    return tls_failure(channel->ssl, error, where, fault);
}

/* An address is checked against the certificate's addresses, a name against its names. */
static bool tls_expect(SSL *ssl, const char *host)
{
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1) {
        return true;
    }
    ERR_clear_error();
    return SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}

static enum channel_end tls_shake(struct channel *channel, const char *host,
                                  const struct channel_tls *tls, uint64_t until,
                                  struct whorl_fault *fault)
{
    ERR_clear_error();
    BIO *bio = bio_new(channel, tls->method);
    channel->ssl = SSL_new(tls->context);
    if (!bio || !channel->ssl || !tls_expect(channel->ssl, host)) {
        BIO_free(bio);
        return tls_failure(channel->ssl, SSL_ERROR_SSL, host, fault);
    }
    SSL_set_bio(channel->ssl, bio, bio);
    enum channel_end end = CHANNEL_DONE;
    while (end == CHANNEL_DONE) {
        errno = 0;
        int rc = SSL_connect(channel->ssl);
        if (rc == 1) {
            break;
        }
        end = tls_wait(channel, rc, host, until, fault);
    }
    return end;
}

/* --- connecting --- */

/* One address; *fd is -1 unless it is done. */
static enum channel_end dial(const struct addrinfo *to, int *fd, uint64_t until,
                             struct whorl_fault *fault)
{
    int on = 1, code = 0;
    socklen_t size = sizeof code;
    enum channel_end end = CHANNEL_DONE;
    *fd = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to->ai_protocol);
    if (*fd < 0) {
        return ended(CHANNEL_LOST, fault, "", strerror(errno));
    }
    (void)setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(*fd, to->ai_addr, to->ai_addrlen) != 0) {
        code = errno;
        if (code == EINPROGRESS || code == EINTR) {
            end = ready(*fd, POLLOUT, until, fault);
            code = 0;
            (void)getsockopt(*fd, SOL_SOCKET, SO_ERROR, &code, &size);
        }
    }
    if (end == CHANNEL_DONE && code != 0) {
        end = ended(CHANNEL_LOST, fault, "", strerror(code));
    }
    if (end != CHANNEL_DONE) {
        (void)close(*fd);
        *fd = -1;
    }
    return end;
}

enum channel_end channel_open(struct channel *channel, const char *host, const char *port,
                              const struct channel_tls *tls, uint64_t until,
                              struct whorl_fault *fault)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    struct whorl_fault why = {"", "no address"};
    enum channel_end end = CHANNEL_LOST;
    *channel = (struct channel){.fd = -1};
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0) {
        return ended(rc == EAI_AGAIN ? CHANNEL_LOST : CHANNEL_NEVER, fault, host, gai_strerror(rc));
    }
    for (const struct addrinfo *a = list; a && end == CHANNEL_LOST; a = a->ai_next) {
        end = dial(a, &channel->fd, until, &why);
    }
    freeaddrinfo(list);
    if (end != CHANNEL_DONE) {
        whorl_fail(fault, host, "cannot connect to port %s: %s", port, why.text);
        return end;
    }
    end = tls->context ? tls_shake(channel, host, tls, until, fault) : CHANNEL_DONE;
    if (end != CHANNEL_DONE) {
        channel_close(channel);
    }
    return end;
}

void channel_close(struct channel *channel)
{
    if (channel->ssl) {
        if (SSL_is_init_finished(channel->ssl)) {
            (void)SSL_shutdown(channel->ssl);
        }
        SSL_free(channel->ssl);
        ERR_clear_error();
    }
    if (channel->fd >= 0) {
        (void)close(channel->fd);
    }
    *channel = (struct channel){.fd = -1};
}

bool channel_alive(struct channel *channel)
{
    uint8_t byte;
    size_t got;
    errno = 0;
    if (channel->ssl) {
        ERR_clear_error();
        int rc = SSL_peek_ex(channel->ssl, &byte, 1, &got);
        return rc == 1 || SSL_get_error(channel->ssl, rc) == SSL_ERROR_WANT_READ;
    }
    ssize_t n = recv(channel->fd, &byte, 1, MSG_PEEK);
    return n > 0 || (n < 0 && errno == EAGAIN);
}

/* --- bytes --- */

enum channel_end channel_send(struct channel *channel, const uint8_t *bytes, size_t len,
                              uint64_t until, bool *sent, struct whorl_fault *fault)
{
    enum channel_end end = CHANNEL_DONE;
    while (len > 0 && end == CHANNEL_DONE) {
        size_t done = 0;
        errno = 0;
        *sent = true; /* OpenSSL may have passed some on even where it says that it wants to wait */
        if (channel->ssl) {
            int rc = SSL_write_ex(channel->ssl, bytes, len, &done);
            end = rc == 1 ? CHANNEL_DONE : tls_wait(channel, rc, "", until, fault);
        } else {
            ssize_t n = send(channel->fd, bytes, len, MSG_NOSIGNAL);
            done = n > 0 ? (size_t)n : 0;
            if (n < 0 && errno == EAGAIN) {
                end = ready(channel->fd, POLLOUT, until, fault);
            } else if (n < 0 && errno != EINTR) {
                end = ended(CHANNEL_LOST, fault, "", strerror(errno));
            }
        }
        bytes += done;
        len -= done;
    }
    return end;
}

enum channel_end channel_receive(struct channel *channel, struct whorl_secret *in, uint64_t until,
                                 struct whorl_fault *fault)
{
    if (in->cap - in->len < READ_SIZE && !whorl_secret_reserve(in, in->len * 2 + READ_SIZE)) {
        return ended(CHANNEL_NEVER, fault, "", "out of memory, or of memory that may be locked");
    }
    for (;;) {
        size_t got = 0;
        enum channel_end end = CHANNEL_DONE;
        errno = 0;
        if (channel->ssl) {
            int rc = SSL_read_ex(channel->ssl, in->bytes + in->len, in->cap - in->len, &got);
            end = rc == 1 ? CHANNEL_DONE : tls_wait(channel, rc, "", until, fault);
        } else {
            ssize_t n = recv(channel->fd, in->bytes + in->len, in->cap - in->len, 0);
            got = n > 0 ? (size_t)n : 0;
            if (n < 0 && errno == EAGAIN) {
                end = ready(channel->fd, POLLIN, until, fault);
            } else if (n == 0 || (n < 0 && errno != EINTR)) {
                end = ended(CHANNEL_LOST, fault, "",
                            n == 0 ? "the server closed the connection" : strerror(errno));
            }
        }
        in->len += got;
        if (got > 0 || end != CHANNEL_DONE) {
            return end;
        }
    }
}
