#include "device.h"

#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { MAX_REPLY = 64 << 20, READ_SIZE = 16384, MESSAGE_ID = 1 };

struct device {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl; /* NULL: plain TCP */
};

static bool split_address(const char *connect, char *host, size_t cap, const char **port)
{
    const char *colon = strrchr(connect, ':');
    if (!colon || colon == connect || !colon[1]) {
        return false;
    }
    const char *from = connect;
    size_t len = (size_t)(colon - connect);
    if (from[0] == '[' && colon[-1] == ']') {
        from++;
        len -= 2;
    }
    if (len == 0 || len >= cap) {
        return false;
    }
    memcpy(host, from, len);
    host[len] = '\0';
    *port = colon + 1;
    return true;
}

static int dial(const char *host, const char *port, unsigned timeout_s, struct whorl_fault *fault)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0) {
        whorl_fail(fault, host, "%s", gai_strerror(rc));
        return -1;
    }
    int fd = -1, saved = ECONNREFUSED;
    const struct timeval patience = {.tv_sec = (time_t)timeout_s};
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0) {
            saved = errno;
            continue;
        }
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            saved = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    if (fd < 0) {
        whorl_fail(fault, host, "cannot connect to port %s: %s", port, strerror(saved));
    }
    return fd;
}

/* The most telling reason that OpenSSL has queued. */
static bool tls_failure(struct device *device, const char *where, struct whorl_fault *fault)
{
    long verify = device->ssl ? SSL_get_verify_result(device->ssl) : X509_V_OK;
    if (verify != X509_V_OK) {
        return whorl_fail(fault, where, "the server's certificate was not accepted: %s",
                          X509_verify_cert_error_string(verify));
    }
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    if (!reason) {
        reason = errno ? strerror(errno) : "the server closed the connection";
    }
    return whorl_fail(fault, where, "TLS: %s", reason);
}

static bool tls_load(struct device *device, const struct device_options *options,
                     struct whorl_fault *fault)
{
    device->ctx = SSL_CTX_new(TLS_client_method());
    if (!device->ctx || !SSL_CTX_set_min_proto_version(device->ctx, TLS1_3_VERSION)) {
        return tls_failure(device, "", fault);
    }
    SSL_CTX_set_verify(device->ctx, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(device->ctx, options->ca, NULL) != 1) {
        return tls_failure(device, options->ca, fault);
    }
    if (SSL_CTX_use_certificate_chain_file(device->ctx, options->certificate) != 1) {
        return tls_failure(device, options->certificate, fault);
    }
    if (SSL_CTX_use_PrivateKey_file(device->ctx, options->key, SSL_FILETYPE_PEM) != 1) {
        return tls_failure(device, options->key, fault);
    }
    return true;
}

static bool tls_shake(struct device *device, const struct device_options *options, const char *host,
                      struct whorl_fault *fault)
{
    if (!tls_load(device, options, fault)) {
        return false;
    }
    device->ssl = SSL_new(device->ctx);
    if (!device->ssl) {
        return tls_failure(device, host, fault);
    }
    SSL_set_options(device->ssl, SSL_OP_CLEANSE_PLAINTEXT);
    /* An address is checked against the certificate's addresses, a name against its names. */
    X509_VERIFY_PARAM *param = SSL_get0_param(device->ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, host) != 1) {
        ERR_clear_error();
        SSL_set_tlsext_host_name(device->ssl, host);
        if (SSL_set1_host(device->ssl, host) != 1) {
            return tls_failure(device, host, fault);
        }
    }
    errno = 0;
    if (SSL_set_fd(device->ssl, device->fd) != 1 || SSL_connect(device->ssl) != 1) {
        return tls_failure(device, host, fault);
    }
    return true;
}

struct device *device_connect(const struct device_options *options, struct whorl_fault *fault)
{
    char host[256];
    const char *port;
    if (!split_address(options->connect, host, sizeof host, &port)) {
        whorl_fail(fault, "--connect", "expected HOST:PORT, found \"%s\"", options->connect);
        return NULL;
    }
    struct device *device = calloc(1, sizeof *device);
    if (!device) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    device->fd = dial(host, port, options->timeout_s, fault);
    if (device->fd < 0 || (options->certificate && !tls_shake(device, options, host, fault))) {
        device_close(device);
        return NULL;
    }
    return device;
}

void device_close(struct device *device)
{
    if (!device) {
        return;
    }
    if (device->ssl) {
        SSL_shutdown(device->ssl);
        SSL_free(device->ssl);
    }
    SSL_CTX_free(device->ctx);
    if (device->fd >= 0) {
        close(device->fd);
    }
    free(device);
}

static bool send_all(struct device *device, const uint8_t *bytes, size_t len,
                     struct whorl_fault *fault)
{
    while (len > 0) {
        size_t sent = 0;
        errno = 0;
        if (device->ssl) {
            if (SSL_write_ex(device->ssl, bytes, len, &sent) != 1) {
                return tls_failure(device, "", fault);
            }
        } else {
            ssize_t n = send(device->fd, bytes, len, MSG_NOSIGNAL);
            if (n < 0) {
                return whorl_fail(fault, "", "cannot send: %s", strerror(errno));
            }
            sent = (size_t)n;
        }
        bytes += sent;
        len -= sent;
    }
    return true;
}

static bool receive_some(struct device *device, struct whorl_secret *in, struct whorl_fault *fault)
{
    uint8_t chunk[READ_SIZE];
    size_t got = 0;
    errno = 0;
    if (device->ssl) {
        if (SSL_read_ex(device->ssl, chunk, sizeof chunk, &got) != 1) {
            if (errno == EAGAIN || errno == EWOULDBLOCK) {
                return whorl_fail(fault, "", "the server does not answer");
            }
            return tls_failure(device, "", fault);
        }
    } else {
        ssize_t n = recv(device->fd, chunk, sizeof chunk, 0);
        if (n <= 0) {
            return whorl_fail(fault, "", "%s",
                              n == 0            ? "the server closed the connection"
                              : errno == EAGAIN ? "the server does not answer"
                                                : strerror(errno));
        }
        got = (size_t)n;
    }
    if (whorl_secret_write(in, (const char *)chunk, got) != 0) {
        return whorl_fail(fault, "", "out of memory");
    }
    return true;
}

/* Waits for one whole message and leaves it, parsed, in reply. */
static bool next_message(struct device *device, struct whorl_secret *in, struct device_reply *reply,
                         struct whorl_fault *fault)
{
    size_t used = 0;
    enum whorl_msg_walk walk;
    while ((walk = whorl_msg_walk(in->bytes, in->len, MAX_REPLY, &used, fault)) == WHORL_MSG_MORE) {
        if (!receive_some(device, in, fault)) {
            return false;
        }
    }
    if (walk == WHORL_MSG_BAD) {
        return false;
    }
    if (whorl_secret_write(&reply->bytes, (const char *)in->bytes, used) != 0) {
        return whorl_fail(fault, "", "out of memory");
    }
    whorl_secret_consume(in, used);
    return whorl_msg_parse(reply->bytes.bytes, reply->bytes.len, &reply->msg, fault);
}

static bool is_message(const msgpack_object *root, uint64_t type, uint32_t size)
{
    return root->type == MSGPACK_OBJECT_ARRAY && root->via.array.size == size &&
           root->via.array.ptr[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
           root->via.array.ptr[0].via.u64 == type;
}

static bool send_request(struct device *device, const char *method,
                         const struct whorl_secret *argument, struct whorl_fault *fault)
{
    struct whorl_secret out = {0};
    msgpack_packer pk;
    msgpack_packer_init(&pk, &out, whorl_secret_write);
    bool packed = msgpack_pack_array(&pk, 4) == 0 && msgpack_pack_int(&pk, 0) == 0 &&
                  msgpack_pack_int(&pk, MESSAGE_ID) == 0 &&
                  msgpack_pack_str_with_body(&pk, method, strlen(method)) == 0 &&
                  msgpack_pack_array(&pk, 1) == 0 &&
                  whorl_secret_write(&out, (const char *)argument->bytes, argument->len) == 0;
    bool ok = packed ? send_all(device, out.bytes, out.len, fault)
                     : whorl_fail(fault, "",
                                  "out of memory for the request (is the limit on "
                                  "locked memory, ulimit -l, too low?)");
    whorl_secret_release(&out);
    return ok;
}

bool device_call(struct device *device, const char *method, const struct whorl_secret *argument,
                 void (*notified)(void *ctx, const char *method, const msgpack_object *argument),
                 void *ctx, struct device_reply *reply, struct whorl_fault *fault)
{
    if (!send_request(device, method, argument, fault)) {
        return false;
    }
    struct whorl_secret in = {0};
    bool ok = false;
    while (next_message(device, &in, reply, fault)) {
        const msgpack_object *root = &reply->msg.root;
        if (is_message(root, 1, 4)) {
            const msgpack_object *error = &root->via.array.ptr[2];
            reply->error = error->type == MSGPACK_OBJECT_NIL ? NULL : error;
            reply->result = &root->via.array.ptr[3];
            ok = true;
            break;
        }
        char name[101];
        if (!is_message(root, 2, 3) ||
            !whorl_str_copy(&root->via.array.ptr[1], name, sizeof name)) {
            whorl_fail(fault, "", "the server sent a message that is no msgpack-RPC");
            break;
        }
        const msgpack_object *params = &root->via.array.ptr[2];
        bool one = params->type == MSGPACK_OBJECT_ARRAY && params->via.array.size == 1;
        if (one && strcmp(name, "error") == 0) { /* the connection's last word */
            reply->error = &params->via.array.ptr[0];
            ok = true;
            break;
        }
        if (one && notified) {
            notified(ctx, name, &params->via.array.ptr[0]);
        }
        device_reply_release(reply);
    }
    whorl_secret_release(&in);
    return ok;
}

void device_reply_release(struct device_reply *reply)
{
    whorl_msg_release(&reply->msg);
    whorl_secret_release(&reply->bytes);
    *reply = (struct device_reply){0};
}
