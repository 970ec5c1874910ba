/* What bench/rpc compares Whorl with, as bare as can be:
 *
 *     rpc_peers raw                  libuv: bytes go back as they came
 *     rpc_peers msgpack              the same with a msgpack-c unpacker and packer in between
 *     rpc_peers tls CERT KEY CA      OpenSSL: one mutual handshake after the other, a message back
 *
 * Prints the port (of 127.0.0.1) and serves until it is ended. */
#include <arpa/inet.h>
#include <msgpack.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define READ_SIZE 65536u

static char in[READ_SIZE]; /* one loop, one thread: what is read is dealt with at once */

struct peer {
    uv_tcp_t tcp;
    msgpack_unpacker unpacker;
    msgpack_sbuffer out;
};

struct written {
    uv_write_t write;
    char bytes[];
};

static void need(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "rpc_peers: %s\n", what);
        exit(3);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(in, READ_SIZE);
}

static void on_written(uv_write_t *write, int status)
{
    (void)status;
    free(write->data);
}

static void send_all(uv_stream_t *stream, const char *bytes, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)bytes, (unsigned)len);
    int n = uv_try_write(stream, &buf, 1);
    size_t taken = n < 0 ? 0 : (size_t)n;
    if (taken == len)
        return;
    struct written *rest = malloc(sizeof *rest + len - taken);
    need(rest != NULL, "out of memory");
    memcpy(rest->bytes, bytes + taken, len - taken);
    rest->write.data = rest;
    buf = uv_buf_init(rest->bytes, (unsigned)(len - taken));
    need(uv_write(&rest->write, stream, &buf, 1, on_written) == 0, "can't write");
}

static void on_closed(uv_handle_t *handle)
{
    struct peer *peer = handle->data;
    msgpack_unpacker_destroy(&peer->unpacker);
    msgpack_sbuffer_destroy(&peer->out);
    free(peer);
}

static void on_raw(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    if (n < 0)
        uv_close((uv_handle_t *)stream, on_closed);
    else
        send_all(stream, buf->base, (size_t)n);
}

/* [0, id, method, params] becomes [1, id, nil, params]. */
static void answer(struct peer *peer, const msgpack_object *request)
{
    msgpack_packer pk;
    need(request->type == MSGPACK_OBJECT_ARRAY && request->via.array.size == 4, "no request");
    msgpack_packer_init(&pk, &peer->out, msgpack_sbuffer_write);
    msgpack_pack_array(&pk, 4);
    msgpack_pack_int(&pk, 1);
    msgpack_pack_object(&pk, request->via.array.ptr[1]);
    msgpack_pack_nil(&pk);
    msgpack_pack_object(&pk, request->via.array.ptr[3]);
}

static void on_msgpack(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct peer *peer = stream->data;
    msgpack_unpacked request;
    if (n < 0) {
        uv_close((uv_handle_t *)stream, on_closed);
        return;
    }
    need(msgpack_unpacker_reserve_buffer(&peer->unpacker, (size_t)n), "out of memory");
    memcpy(msgpack_unpacker_buffer(&peer->unpacker), buf->base, (size_t)n);
    msgpack_unpacker_buffer_consumed(&peer->unpacker, (size_t)n);
    msgpack_unpacked_init(&request);
    while (msgpack_unpacker_next(&peer->unpacker, &request) == MSGPACK_UNPACK_SUCCESS)
        answer(peer, &request.data);
    msgpack_unpacked_destroy(&request);
    send_all(stream, peer->out.data, peer->out.size);
    msgpack_sbuffer_clear(&peer->out);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct peer *peer = calloc(1, sizeof *peer);
    need(status == 0 && peer != NULL && msgpack_unpacker_init(&peer->unpacker, READ_SIZE),
         "can't accept");
    peer->tcp.data = peer;
    uv_tcp_init(server->loop, &peer->tcp);
    need(uv_accept(server, (uv_stream_t *)&peer->tcp) == 0, "can't accept");
    uv_tcp_nodelay(&peer->tcp, 1);
    uv_read_start((uv_stream_t *)&peer->tcp, on_alloc, server->data == NULL ? on_raw : on_msgpack);
}

static void say_port(int fd)
{
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    need(getsockname(fd, (struct sockaddr *)&at, &len) == 0, "no port");
    printf("%u\n", (unsigned)ntohs(at.sin_port));
    fflush(stdout);
}

static int run_loop(bool msgpack)
{
    uv_tcp_t server;
    struct sockaddr_in at;
    uv_os_fd_t fd;
    uv_tcp_init(uv_default_loop(), &server);
    server.data = msgpack ? &server : NULL;
    uv_ip4_addr("127.0.0.1", 0, &at);
    need(uv_tcp_bind(&server, (struct sockaddr *)&at, 0) == 0 &&
             uv_listen((uv_stream_t *)&server, 1024, on_connection) == 0 &&
             uv_fileno((uv_handle_t *)&server, &fd) == 0,
         "can't listen");
    say_port(fd);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

/* The same rules as core/net/tls_context.c. */
static SSL_CTX *make_tls(char **files)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    need(tls != NULL && SSL_CTX_use_certificate_chain_file(tls, files[0]) == 1 &&
             SSL_CTX_use_PrivateKey_file(tls, files[1], SSL_FILETYPE_PEM) == 1 &&
             SSL_CTX_load_verify_file(tls, files[2]) == 1,
         "certificates can't be read");
    SSL_CTX_set_client_CA_list(tls, SSL_load_client_CA_file(files[2]));
    SSL_CTX_set_options(tls, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_SERVER);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    need(SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) == 1 &&
             SSL_CTX_set_num_tickets(tls, 1) == 1 &&
             SSL_CTX_set_session_id_context(tls, (const unsigned char *)"peer", 4) == 1,
         "TLS can't be set up");
    return tls;
}

static void shake_hands(SSL_CTX *tls, int fd)
{
    const int on = 1;
    size_t len = 0;
    SSL *ssl = SSL_new(tls);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1 && SSL_read_ex(ssl, in, READ_SIZE, &len) == 1)
        SSL_write_ex(ssl, in, len, &len);
    SSL_read_ex(ssl, in, READ_SIZE, &len); /* the end */
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
}

static int run_tls(char **files)
{
    SSL_CTX *tls = make_tls(files);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(bind(server, (struct sockaddr *)&at, sizeof at) == 0 && listen(server, 1024) == 0,
         "can't listen");
    say_port(server);
    for (int fd; (fd = accept(server, NULL, NULL)) >= 0;)
        shake_hands(tls, fd);
    return 3;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 5 && strcmp(argv[1], "tls") == 0)
        return run_tls(argv + 2);
    if (argc == 2 && (strcmp(argv[1], "raw") == 0 || strcmp(argv[1], "msgpack") == 0))
        return run_loop(argv[1][0] == 'm');
    fputs("usage: rpc_peers raw | msgpack | tls CERT KEY CA\n", stderr);
    return 2;
}
