#include "net_fixture.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "loopback.h"

/* --- The server ----------------------------------------------------------------------------- */

/* On the server's thread: no assertion of Check's, which allocates, as memory may be what fails. */
static void must(bool held)
{
    if (!held) {
        abort();
    }
}

static void answer_big(struct server *server, uint64_t call, const struct rpc_params *params)
{
    struct whorl_msg msg;
    ck_assert(whorl_msg_parse(params->bytes, params->len, &msg, NULL));
    size_t len = (size_t)msg.root.via.array.ptr[0].via.u64;
    whorl_msg_release(&msg);
    uint8_t *bytes = calloc(1, len + 5);
    const uint8_t head[5] = {0xc6, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                             (uint8_t)len};
    memcpy(bytes, head, 5);
    rpc_result(server->rpc, call, bytes, len + 5);
    free(bytes);
}

static void on_request(void *ctx, const struct rpc_call *call, const char *method,
                       const struct rpc_params *params)
{
    struct server *server = ctx;
    memcpy(server->certificate, call->peer->certificate, 32);
    snprintf(server->device, sizeof server->device, "%s",
             call->peer->device == NULL ? "(null)" : call->peer->device);
    server->tls = call->peer->tls;
    server->last_connection = call->connection;
    memcpy(server->address, call->peer->address, sizeof server->address);
    if (strcmp(method, "ping") == 0) {
        rpc_result(server->rpc, call->id, (const uint8_t *)"\xa4pong", 5);
    } else if (strcmp(method, "params") == 0) {
        rpc_result(server->rpc, call->id, params->bytes, params->len);
    } else if (strcmp(method, "big") == 0) {
        answer_big(server, call->id, params);
    } else if (strcmp(method, "late") == 0) {
        server->late[server->late_count++] = call->id;
    } else if (strcmp(method, "hold") == 0) {
        server->held[server->held_count] = call->id;
        server->held_count++;
    } else if (strcmp(method, "boom") == 0) {
        rpc_error(server->rpc, call->id, "invalid", "a.b", "is wrong", 0);
    } else if (strcmp(method, "note") == 0) {
        rpc_notify(server->rpc, call->connection, "progress", (const uint8_t *)"\x07", 1);
        rpc_result(server->rpc, call->id, (const uint8_t *)"\xc3", 1);
    } else {
        rpc_error(server->rpc, call->id, "unknown_method", "", method, 0);
    }
    server->requests++;
}

static void on_begin(void *ctx)
{
    struct server *server = ctx;
    must(server->late_count == 0); /* each beginning has its end */
    server->reads++;
}

/* Answers what waits for the end of the read. */
static void on_done(void *ctx)
{
    struct server *server = ctx;
    while (server->late_count > 0) {
        rpc_result(server->rpc, server->late[--server->late_count], (const uint8_t *)"\x2a", 1);
    }
}

static void on_gone(void *ctx, uint64_t connection)
{
    struct server *server = ctx;
    must(connection > 0);
    server->gone++;
}

void server_prepare(struct server *server)
{
    memset(server, 0, sizeof *server);
    signal(SIGPIPE, SIG_IGN);
    server->conf.core = (struct conf_core){
        .max_frame = 1u << 20,
        .max_connections = 2000,
        .max_connections_per_device = 2000,
        .max_calls = 10000,
        .max_buffered = 64u << 20,
        .max_calls_per_connection = 100,
        .max_write_queue = 64u << 10,
        .idle_timeout_s = 60,
        .handshake_timeout_s = 10,
        .message_timeout_s = 60,
        .stall_timeout_s = 60,
    };
    server->listeners[0] =
        (struct conf_listener){.name = "plain", .address = "127.0.0.1", .device = "workbench"};
    server->conf.listeners = server->listeners;
    server->conf.listener_count = 1;
}

static void on_wake(uv_async_t *wake)
{
    struct server *server = wake->data;
    if (server->job != NULL) {
        server->job(server, server->arg);
        server->job = NULL;
        sem_post(&server->done);
    }
}

static void *run(void *arg)
{
    struct server *server = arg;
    uv_run(&server->loop, UV_RUN_DEFAULT);
    return NULL;
}

void server_start(struct server *server)
{
    const struct rpc_handler handler = {on_request, on_begin, on_done, on_gone, server};
    struct whorl_fault fault = {0};
    ck_assert_int_eq(uv_loop_init(&server->loop), 0);
    ck_assert_int_eq(uv_async_init(&server->loop, &server->wake, on_wake), 0);
    ck_assert_int_eq(sem_init(&server->done, 0, 0), 0);
    server->wake.data = server;
    server->log = log_new(STDERR_FILENO, WHORL_LOG_ERROR);
    server->rpc = rpc_new(&server->loop, &server->conf, &handler, server->log);
    ck_assert_ptr_nonnull(server->rpc);
    struct listeners_ahead *ahead = listeners_ahead(&server->conf, &fault);
    ck_assert_msg(ahead != NULL && rpc_listen(server->rpc, &server->conf, ahead, &fault), "%s: %s",
                  fault.where, fault.text);
    listeners_forgo(ahead);
    ck_assert_int_eq(pthread_create(&server->thread, NULL, run, server), 0);
}

void server_do(struct server *server, void (*job)(struct server *server, void *arg), void *arg)
{
    server->arg = arg;
    server->job = job;
    uv_async_send(&server->wake);
    while (sem_wait(&server->done) != 0) {
    }
}

struct listen_job {
    bool done;
    struct listeners_ahead *ahead;
    struct whorl_fault *fault;
};

static void listen_again(struct server *server, void *arg)
{
    struct listen_job *job = arg;
    job->done = rpc_listen(server->rpc, &server->conf, job->ahead, job->fault);
}

bool server_listen_ahead(struct server *server, struct listeners_ahead *ahead,
                         struct whorl_fault *fault)
{
    struct listen_job job = {false, ahead, fault};
    server_do(server, listen_again, &job);
    listeners_forgo(ahead);
    return job.done;
}

bool server_listen(struct server *server, struct whorl_fault *fault)
{
    struct listeners_ahead *ahead = listeners_ahead(&server->conf, fault);
    return ahead != NULL && server_listen_ahead(server, ahead, fault);
}

struct port_job {
    const char *name;
    uint16_t port;
};

static void find_port(struct server *server, void *arg)
{
    struct port_job *job = arg;
    job->port = rpc_port(server->rpc, job->name);
}

uint16_t server_port(struct server *server, const char *listener)
{
    struct port_job job = {listener, 0};
    server_do(server, find_port, &job);
    return job.port;
}

void release_held(struct server *server, void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < server->held_count; i++) {
        rpc_result(server->rpc, server->held[i], (const uint8_t *)"\xa4held", 5);
        rpc_result(server->rpc, server->held[i], (const uint8_t *)"\xa5twice", 6);
    }
    server->held_count = 0;
}

static void on_closed(void *ctx)
{
    struct server *server = ctx;
    rpc_free(server->rpc);
    server->rpc = NULL;
    uv_close((uv_handle_t *)&server->wake, NULL);
}

static void close_rpc(struct server *server, void *arg)
{
    (void)arg;
    rpc_close(server->rpc, on_closed, server);
}

void server_stop(struct server *server)
{
    server_do(server, close_rpc, NULL);
    ck_assert_int_eq(pthread_join(server->thread, NULL), 0);
    ck_assert_ptr_null(server->rpc);
    ck_assert_int_eq(uv_loop_close(&server->loop), 0);
    log_free(server->log);
    sem_destroy(&server->done);
}

unsigned wait_for(const atomic_uint *counter, unsigned least)
{
    for (int i = 0; i < 10000 && *counter < least; i++) {
        usleep(1000);
    }
    return *counter;
}

/* --- Clients -------------------------------------------------------------------------------- */

struct client client_connect(uint16_t port)
{
    struct client client = {loopback_connect(port), NULL};
    int on = 1;
    ck_assert_msg(client.fd >= 0, "%s", strerror(errno));
    setsockopt(client.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return client;
}

void client_take_little(struct client *client)
{
    int size = 128 << 10;
    ck_assert_int_eq(setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
}

bool client_secure(struct client *client, SSL_CTX *context)
{
    client->ssl = SSL_new(context);
    SSL_set_fd(client->ssl, client->fd);
    /* With TLS 1.3 a client is done before the server has seen its certificate. */
    char reply[9];
    size_t used = 0;
    return SSL_connect(client->ssl) == 1 &&
           SSL_write_ex(client->ssl, "\x94\x00\x01\xa4ping\x90", 9, &used) == 1 &&
           SSL_read_ex(client->ssl, reply, sizeof reply, &used) == 1 && used == sizeof reply &&
           memcmp(reply, "\x94\x01\x01\xc0\xa4pong", 9) == 0;
}

void client_send(struct client *client, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        size_t n = 0;
        if (client->ssl != NULL) {
            ck_assert_int_eq(SSL_write_ex(client->ssl, at, len, &n), 1);
        } else {
            ssize_t sent = send(client->fd, at, len, MSG_NOSIGNAL);
            ck_assert_msg(sent > 0, "send: %s", strerror(errno));
            n = (size_t)sent;
        }
        at += n;
        len -= n;
    }
}

/* As read(2). */
static ssize_t read_some(struct client *client, void *bytes, size_t len)
{
    if (client->ssl == NULL) {
        return recv(client->fd, bytes, len, 0);
    }
    size_t n = 0;
    return SSL_read_ex(client->ssl, bytes, len, &n) == 1 ? (ssize_t)n : 0;
}

void client_read(struct client *client, void *bytes, size_t len)
{
    char *at = bytes;
    while (len > 0) {
        ssize_t n = read_some(client, at, len);
        ck_assert_msg(n > 0, "%zu bytes are missing: %s", len, n < 0 ? strerror(errno) : "closed");
        at += n;
        len -= (size_t)n;
    }
}

void client_expect(struct client *client, const char *bytes, size_t len)
{
    char got[4096];
    ck_assert_uint_le(len, sizeof got);
    client_read(client, got, len);
    ck_assert_mem_eq(got, bytes, len);
}

unsigned client_count_results(struct client *client, unsigned answers)
{
    size_t cap = 1u << 20, len = 0;
    uint8_t *bytes = malloc(cap);
    unsigned results = 0;
    while (answers > 0) {
        size_t used = 0;
        enum whorl_msg_walk got = whorl_msg_walk(bytes, len, cap, &used, NULL);
        ck_assert_int_ne(got, WHORL_MSG_BAD);
        if (got == WHORL_MSG_MORE) {
            ssize_t n = read_some(client, bytes + len, cap - len);
            ck_assert_msg(n > 0, "%u answers are missing", answers);
            len += (size_t)n;
            continue;
        }
        struct whorl_msg msg;
        ck_assert(whorl_msg_parse(bytes, used, &msg, NULL));
        const msgpack_object *error = &msg.root.via.array.ptr[2];
        ck_assert(error->type == MSGPACK_OBJECT_NIL ||
                  (whorl_str_is(whorl_map_get(error, "code"), "busy") &&
                   whorl_map_get(error, "retry_ms")->via.u64 > 0));
        results += error->type == MSGPACK_OBJECT_NIL ? 1 : 0;
        whorl_msg_release(&msg);
        memmove(bytes, bytes + used, len - used);
        len -= used;
        answers--;
    }
    ck_assert_uint_eq(len, 0);
    free(bytes);
    return results;
}

size_t client_read_all(struct client *client, void *bytes, size_t cap)
{
    size_t len = 0;
    while (len < cap) {
        ssize_t n = read_some(client, (char *)bytes + len, cap - len);
        if (n < 0) {
            ck_assert_msg(errno != EAGAIN, "the server did not close");
        }
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    return len;
}

void client_close(struct client *client)
{
    SSL_free(client->ssl);
    close(client->fd);
    client->ssl = NULL;
    client->fd = -1;
}

void client_ping(struct client *client)
{
    client_send(client, "\x94\x00\x05\xa4ping\x90", 9);
    client_expect(client, "\x94\x01\x05\xc0\xa4pong", 9);
}

/* --- Certificates --------------------------------------------------------------------------- */

struct identity {
    EVP_PKEY *key;
    X509 *certificate;
};

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ck_assert_ptr_nonnull(extension);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

/* issuer NULL: an authority that signs itself. Valid from `from` to `to` seconds from now. */
static struct identity make_identity(const char *name, const struct identity *issuer, long serial,
                                     long from, long to)
{
    struct identity made = {EVP_EC_gen("P-256"), X509_new()};
    const struct identity *by = issuer == NULL ? &made : issuer;
    X509_set_version(made.certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), serial);
    X509_gmtime_adj(X509_getm_notBefore(made.certificate), from);
    X509_gmtime_adj(X509_getm_notAfter(made.certificate), to);
    X509_set_pubkey(made.certificate, made.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made.certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(made.certificate, X509_get_subject_name(by->certificate));
    if (issuer == NULL) {
        add_extension(made.certificate, by->certificate, NID_basic_constraints, "critical,CA:TRUE");
        add_extension(made.certificate, by->certificate, NID_key_usage, "keyCertSign,cRLSign");
    }
    if (strcmp(name, "server") == 0) {
        add_extension(made.certificate, by->certificate, NID_subject_alt_name, "IP:127.0.0.1");
    }
    ck_assert_int_gt(X509_sign(made.certificate, by->key, EVP_sha256()), 0);
    return made;
}

static void free_identity(struct identity *identity)
{
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
}

static void set_path(const struct pki *pki, char path[96], const char *name)
{
    snprintf(path, 96, "%s/%s", pki->dir, name);
}

static void save_certificate(const char *path, X509 *certificate)
{
    FILE *file = fopen(path, "we");
    ck_assert_int_eq(PEM_write_X509(file, certificate), 1);
    fclose(file);
}

static void save_key(const char *path, EVP_PKEY *key)
{
    mode_t mask = umask(077);
    FILE *file = fopen(path, "we");
    umask(mask);
    ck_assert_int_eq(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
}

/* A list that revokes serial number `serial`, if it is not 0. */
static void save_crl(const char *path, const struct identity *ca, long serial, long until)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *time = ASN1_TIME_new();
    X509_CRL_set_version(crl, 1);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->certificate));
    X509_gmtime_adj(time, -7200);
    X509_CRL_set1_lastUpdate(crl, time);
    if (serial != 0) {
        X509_REVOKED *revoked = X509_REVOKED_new();
        ASN1_INTEGER *number = ASN1_INTEGER_new();
        ASN1_INTEGER_set(number, serial);
        X509_REVOKED_set_serialNumber(revoked, number);
        X509_REVOKED_set_revocationDate(revoked, time);
        X509_CRL_add0_revoked(crl, revoked);
        ASN1_INTEGER_free(number);
    }
    X509_gmtime_adj(time, until);
    X509_CRL_set1_nextUpdate(crl, time);
    ASN1_TIME_free(time);
    X509_CRL_sort(crl);
    ck_assert_int_gt(X509_CRL_sign(crl, ca->key, EVP_sha256()), 0);
    FILE *file = fopen(path, "we");
    ck_assert_int_eq(PEM_write_X509_CRL(file, crl), 1);
    fclose(file);
    X509_CRL_free(crl);
}

static SSL_CTX *client_context(struct identity identity, const struct identity *ca)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (identity.certificate != NULL) {
        SSL_CTX_use_certificate(context, identity.certificate);
        SSL_CTX_use_PrivateKey(context, identity.key);
    }
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca->certificate);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    free_identity(&identity);
    return context;
}

void pki_make(struct pki *pki)
{
    const long year = 365L * 86400;
    memset(pki, 0, sizeof *pki);
    snprintf(pki->dir, sizeof pki->dir, "/tmp/whorl-pki-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(pki->dir));
    set_path(pki, pki->ca, "ca.pem");
    set_path(pki, pki->other_ca, "other.pem");
    set_path(pki, pki->server, "server.pem");
    set_path(pki, pki->server_key, "server.key");
    set_path(pki, pki->crl, "crl.pem");
    set_path(pki, pki->empty_crl, "empty-crl.pem");
    set_path(pki, pki->late_crl, "late-crl.pem");
    struct identity ca = make_identity("Test CA", NULL, 1, -3600, year);
    struct identity other = make_identity("Other CA", NULL, 1, -3600, year);
    struct identity server = make_identity("server", &ca, 2, -3600, year);
    save_certificate(pki->ca, ca.certificate);
    save_certificate(pki->other_ca, other.certificate);
    save_certificate(pki->server, server.certificate);
    save_key(pki->server_key, server.key);
    save_crl(pki->crl, &ca, 66, year);
    save_crl(pki->empty_crl, &ca, 0, 180L * 86400);
    save_crl(pki->late_crl, &ca, 0, -3600);
    struct identity device = make_identity("device", &ca, 3, -3600, year);
    X509_digest(device.certificate, EVP_sha256(), pki->device_digest, NULL);
    pki->device = client_context(device, &ca);
    pki->second = client_context(make_identity("second", &ca, 4, -3600, year), &ca);
    pki->expired = client_context(make_identity("late", &ca, 5, -7200, -3600), &ca);
    pki->stranger = client_context(make_identity("stranger", &other, 6, -3600, year), &ca);
    pki->revoked = client_context(make_identity("revoked", &ca, 66, -3600, year), &ca);
    pki->anonymous = client_context((struct identity){0}, &ca);
    free_identity(&ca);
    free_identity(&other);
    free_identity(&server);
}

void pki_remove(struct pki *pki)
{
    SSL_CTX *const contexts[] = {pki->device,   pki->second,  pki->expired,
                                 pki->stranger, pki->revoked, pki->anonymous};
    for (size_t i = 0; i < sizeof contexts / sizeof contexts[0]; i++) {
        SSL_CTX_free(contexts[i]);
    }
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", pki->dir);
    ck_assert_int_eq(system(command), 0);
}

struct conf_listener pki_listener(const struct pki *pki)
{
    return (struct conf_listener){.name = "tls",
                                  .address = "127.0.0.1",
                                  .tls = true,
                                  .certificate = pki->server,
                                  .key = pki->server_key,
                                  .client_ca = pki->ca,
                                  .crl = ""};
}
