#include "channel.h"

#include <arpa/inet.h>
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

enum {
    READ_SIZE = 16384,
    DEAD_MS = 15000, /* without a sign from the other side's machine a connection is lost */
    ALIVE_S = 10,    /* of silence until its machine is asked for one */
    DIAL_MS = 3000,  /* for an address that others follow: its first packet may be lost, and sent
                        again after a second */
};

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
    /* getaddrinfo takes the lower 16 bits of any number. */
    char *end;
    unsigned long number = strtoul(colon + 1, &end, 10);
    if (len == 0 || len >= cap || (*end == '\0' && (number == 0 || number > 65535))) {
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
    const char *reason = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code))
                         : code                 ? ERR_reason_error_string(code)
                                                : NULL;
    whorl_fail(fault, where, "TLS: %s", reason ? reason : "failed");
    return CHANNEL_NEVER;
}

/* OpenSSL would ask whoever sits at the terminal, or read standard input. */
static int no_pass_phrase(char *words, int cap, int writing, void *asked)
{
    (void)words;
    (void)cap;
    (void)writing;
    if (asked) {
        *(bool *)asked = true;
    }
    return -1;
}

bool channel_tls_load(struct channel_tls *tls, const char *certificate, const char *key,
                      const char *ca, struct whorl_fault *fault)
{
    ERR_clear_error();
    SSL_CTX *context = tls->context = SSL_CTX_new(TLS_client_method());
    const char *where = NULL;
    bool asked = false;
    tls->method = bio_method();
    if (context) {
        SSL_CTX_set_default_passwd_cb(context, no_pass_phrase);
        SSL_CTX_set_default_passwd_cb_userdata(context, &asked);
    }
    if (!context || !tls->method || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION)) {
        where = "";
    } else if (SSL_CTX_load_verify_locations(context, ca, NULL) != 1) {
        where = ca;
    } else if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1) {
        where = certificate;
    } else if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        where = key;
    }
    if (context) {
        SSL_CTX_set_default_passwd_cb_userdata(context, NULL);
    }
    if (where) {
        (void)tls_failure(NULL, SSL_ERROR_SSL, where, fault);
        return asked ? whorl_fail(fault, where, "is encrypted, which is not supported") : false;
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

/* How a step of OpenSSL's that didn't succeed ended, or what it waits for. */
static enum channel_end tls_step(struct channel *channel, int rc, const char *where,
                                 struct whorl_fault *fault)
{
    int error = SSL_get_error(channel->ssl, rc);
    return error == SSL_ERROR_WANT_READ    ? CHANNEL_READ
           : error == SSL_ERROR_WANT_WRITE ? CHANNEL_WRITE
                                           : tls_failure(channel->ssl, error, where, fault);
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

static enum channel_end shake_begin(struct channel *channel, const char *name,
                                    const struct channel_tls *tls, struct whorl_fault *fault)
{
    BIO *bio = bio_new(channel, tls->method);
    channel->ssl = SSL_new(tls->context);
    if (!bio || !channel->ssl || !tls_expect(channel->ssl, name)) {
        BIO_free(bio);
        return tls_failure(channel->ssl, SSL_ERROR_SSL, name, fault);
    }
    SSL_set_bio(channel->ssl, bio, bio);
    return CHANNEL_DONE;
}

enum channel_end channel_shake(struct channel *channel, const char *name,
                               const struct channel_tls *tls, struct whorl_fault *fault)
{
    ERR_clear_error();
    enum channel_end end = channel->ssl ? CHANNEL_DONE : shake_begin(channel, name, tls, fault);
    if (end != CHANNEL_DONE) {
        return end;
    }
    errno = 0;
    int rc = SSL_connect(channel->ssl);
    return rc == 1 ? CHANNEL_DONE : tls_step(channel, rc, name, fault);
}

/* Waits for what a step waits for; DONE: the step may be repeated. */
static enum channel_end step_wait(const struct channel *channel, enum channel_end end,
                                  uint64_t until, struct whorl_fault *fault)
{
    return end == CHANNEL_READ    ? ready(channel->fd, POLLIN, until, fault)
           : end == CHANNEL_WRITE ? ready(channel->fd, POLLOUT, until, fault)
                                  : end;
}

/* --- connecting --- */

uint64_t channel_dial_until(const struct addrinfo *to, uint64_t until)
{
    uint64_t left = backoff_left(until), addresses = 1;
    for (const struct addrinfo *a = to->ai_next; a; a = a->ai_next) {
        addresses++;
    }
    uint64_t share = left / addresses < DIAL_MS ? left / addresses : DIAL_MS;
    return addresses == 1 ? until : backoff_now() + share;
}

/* A device that comes into another network, or behind another address, is told nothing of what it
 * had. */
static void watch_over(int fd)
{
    int on = 1, idle = ALIVE_S, every = 2, times = 3, dead = DEAD_MS;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead, sizeof dead);
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
    }
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
    return address->sa_family == AF_INET6 &&
           (IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127));
}

enum channel_end channel_dial(struct channel *channel, const struct addrinfo *to,
                              const struct channel_tls *tls, struct whorl_fault *fault)
{
    int on = 1;
    if (!tls->context && !is_loopback(to->ai_addr)) {
        *channel = (struct channel){.fd = -1};
        return ended(CHANNEL_NEVER, fault, "",
                     "plain TCP is for loopback addresses only; a certificate is missing");
    }
    *channel =
        (struct channel){.fd = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                                      to->ai_protocol)};
    if (channel->fd < 0) {
        return ended(CHANNEL_LOST, fault, "", strerror(errno));
    }
    (void)setsockopt(channel->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch_over(channel->fd);
    if (connect(channel->fd, to->ai_addr, to->ai_addrlen) == 0) {
        return CHANNEL_DONE;
    }
    if (errno == EINPROGRESS || errno == EINTR) {
        return CHANNEL_WRITE;
    }
    int code = errno;
    channel_close(channel);
    return ended(CHANNEL_LOST, fault, "", strerror(code));
}

enum channel_end channel_dialled(struct channel *channel, struct whorl_fault *fault)
{
    int code = 0;
    socklen_t size = sizeof code;
    (void)getsockopt(channel->fd, SOL_SOCKET, SO_ERROR, &code, &size);
    if (code == 0) {
        return CHANNEL_DONE;
    }
    channel_close(channel);
    return ended(CHANNEL_LOST, fault, "", strerror(code));
}

/* One address; closed unless it is done. */
static enum channel_end dial_until(struct channel *channel, const struct addrinfo *to,
                                   const struct channel_tls *tls, uint64_t until,
                                   struct whorl_fault *fault)
{
    enum channel_end end = channel_dial(channel, to, tls, fault);
    if (end == CHANNEL_WRITE) {
        end = step_wait(channel, end, until, fault);
        end = end == CHANNEL_DONE ? channel_dialled(channel, fault) : end;
    }
    if (end != CHANNEL_DONE) {
        channel_close(channel);
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
    for (const struct addrinfo *a = list; a && (end == CHANNEL_LOST || end == CHANNEL_LATE);
         a = a->ai_next) {
        end = dial_until(channel, a, tls, channel_dial_until(a, until), &why);
    }
    freeaddrinfo(list);
    if (end != CHANNEL_DONE) {
        whorl_fail(fault, host, "cannot connect to port %s: %s", port, why.text);
        return end;
    }
    while (tls->context && (end = channel_shake(channel, host, tls, fault)) != CHANNEL_DONE) {
        end = step_wait(channel, end, until, fault);
        if (end != CHANNEL_DONE) {
            break;
        }
    }
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

enum channel_end channel_write(struct channel *channel, const uint8_t *bytes, size_t len,
                               size_t *done, struct whorl_fault *fault)
{
    *done = 0;
    errno = 0;
    if (channel->ssl) {
        ERR_clear_error();
        int rc = SSL_write_ex(channel->ssl, bytes, len, done);
        return rc == 1 ? CHANNEL_DONE : tls_step(channel, rc, "", fault);
    }
    ssize_t n = send(channel->fd, bytes, len, MSG_NOSIGNAL);
    if (n >= 0) {
        *done = (size_t)n;
        return CHANNEL_DONE;
    }
    return errno == EAGAIN || errno == EINTR ? CHANNEL_WRITE
                                             : ended(CHANNEL_LOST, fault, "", strerror(errno));
}

enum channel_end channel_read(struct channel *channel, struct whorl_secret *in,
                              struct whorl_fault *fault)
{
    if (in->cap - in->len < READ_SIZE && !whorl_secret_reserve(in, in->len * 2 + READ_SIZE)) {
        return ended(CHANNEL_NEVER, fault, "", "out of memory, or of memory that may be locked");
    }
    errno = 0;
    if (channel->ssl) {
        size_t got = 0;
        ERR_clear_error();
        int rc = SSL_read_ex(channel->ssl, in->bytes + in->len, in->cap - in->len, &got);
        in->len += got;
        return rc == 1 ? CHANNEL_DONE : tls_step(channel, rc, "", fault);
    }
    ssize_t n = recv(channel->fd, in->bytes + in->len, in->cap - in->len, 0);
    if (n > 0) {
        in->len += (size_t)n;
        return CHANNEL_DONE;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return CHANNEL_READ;
    }
    return ended(CHANNEL_LOST, fault, "",
                 n == 0 ? "the server closed the connection" : strerror(errno));
}

enum channel_end channel_send(struct channel *channel, const uint8_t *bytes, size_t len,
                              uint64_t until, bool *sent, struct whorl_fault *fault)
{
    enum channel_end end = CHANNEL_DONE;
    while (len > 0 && end == CHANNEL_DONE) {
        size_t done = 0;
        *sent = true; /* OpenSSL may have passed some on even where it says that it wants to wait */
        end = step_wait(channel, channel_write(channel, bytes, len, &done, fault), until, fault);
        bytes += done;
        len -= done;
    }
    return end;
}

enum channel_end channel_receive(struct channel *channel, struct whorl_secret *in, uint64_t until,
                                 struct whorl_fault *fault)
{
    for (;;) {
        enum channel_end end = channel_read(channel, in, fault);
        if (end != CHANNEL_READ && end != CHANNEL_WRITE) {
            return end;
        }
        end = step_wait(channel, end, until, fault);
        if (end != CHANNEL_DONE) {
            return end;
        }
    }
}
