/* The way from a device's TLS to messages and back, without the socket. The first byte says who is
 * at the other end: somebody who sends what follows as it is, or a real client that says it in
 * records, with one byte of what it sends changed or none. What the door hears is what was said,
 * or the beginning of it if a byte was changed; to somebody without a certificate it never opens.
 *
 * The second byte says in what pieces the network brings it, the third in what records a client
 * says it, the next three which byte it is and how it changes. */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <unistd.h>

#include "cli/registry/keys.h"
#include "core/net/frame.h"
#include "core/net/tls.h"
#include "fuzz.h"

#define HEAD 6u
#define MAX (64u << 10)
#define RECORD_SIZE (16u << 10)
#define PIECES 64u /* at the most, of anything: more of them only take longer */
#define USES 500u  /* of a connection that nobody has changed anything of */

enum how { RAW = 1, CHANGED = 2, WHOLE_HANDSHAKE = 4, COLD = 8, NEW_KEYS = 16, GOODBYE = 32 };

/* The far end, and what it says. */
struct client {
    SSL *ssl;
    const uint8_t *said;
    size_t said_len;
    size_t answers; /* bytes */
};

/* The near end, and what it has heard. */
struct door {
    struct tls *tls;
    struct client *client;
    struct frame_reader reader;
    size_t heard; /* bytes, the first of what was said */
    size_t answers;
    uint64_t digest; /* of all messages */
    bool ended, failed;
};

/* What happens on the way. */
struct way {
    size_t piece, change_at, passed;
    uint8_t change_by;
};

static struct tls_context *context;
static SSL_CTX *device;
static uint8_t device_digest[32];
static SSL_SESSION *session; /* of the device's last connection */
static struct door lasting;  /* and its client: a connection of which nothing was changed */
static struct client lasting_client;
static unsigned uses;

static bool hear(void *ctx, const struct frame *frame)
{
    static const uint8_t nil = 0xc0;
    struct door *door = ctx;
    const uint8_t kind = (uint8_t)frame->type;
    const void *parts[] = {&kind, frame->id, frame->method, frame->params};
    const size_t lens[] = {1, frame->id_len, frame->method_len, frame->params_len};
    for (size_t i = 0; i < 4; i++) {
        for (size_t at = 0; at < lens[i]; at++) { /* FNV-1a */
            door->digest ^= ((const uint8_t *)parts[i])[at];
            door->digest *= UINT64_C(1099511628211);
        }
    }
    if (frame->type == FRAME_REQUEST && door->tls != NULL) {
        uint8_t answer[FRAME_REPLY_HEAD + 1];
        size_t len = frame_result_head(answer, frame->id, frame->id_len);
        answer[len++] = nil;
        FUZZ_CHECK(tls_write(door->tls, answer, len));
        door->answers += len;
    }
    return true;
}

static bool to_client(void *ctx, const uint8_t *bytes, size_t len)
{
    struct door *door = ctx;
    BIO *in = door->client->ssl != NULL ? SSL_get_rbio(door->client->ssl) : NULL;
    return in == NULL || BIO_write(in, bytes, (int)len) == (int)len;
}

static void on_data(struct door *door, bool was_open, const uint8_t *plain, size_t used)
{
    struct whorl_fault fault;
    uint8_t digest[32];
    if (!was_open) {
        FUZZ_CHECK(door->client->ssl != NULL && tls_is_open(door->tls) && used == 0);
        FUZZ_CHECK(tls_peer_digest(door->tls, digest) && memcmp(digest, device_digest, 32) == 0);
        return;
    }
    FUZZ_CHECK(used > 0 && used <= door->client->said_len - door->heard);
    FUZZ_CHECK(memcmp(door->client->said + door->heard, plain, used) == 0);
    door->heard += used;
    if (frame_feed(&door->reader, plain, used, MAX, hear, door, &fault) != FRAME_FED) {
        tls_finish(door->tls);
        door->ended = true;
    }
}

/* One piece of what the network brings, as a stream deals with it. */
static void take(struct door *door, const uint8_t *bytes, size_t len)
{
    uint8_t plain[RECORD_SIZE];
    struct whorl_fault fault = {{0}, {0}};
    enum tls_state state = TLS_DATA;
    FUZZ_CHECK(len > 0);
    uint8_t *block = malloc(len); /* of its own, so that a sanitizer sees what reads past it */
    FUZZ_CHECK(block != NULL);
    memcpy(block, bytes, len);
    tls_feed(door->tls, block, len);
    while (!door->ended && state == TLS_DATA) {
        size_t used = 0;
        bool was_open = tls_is_open(door->tls);
        state = tls_read(door->tls, plain, sizeof plain, &used, &fault);
        FUZZ_CHECK(state == TLS_DATA || used == 0);
        if (state == TLS_DATA) {
            on_data(door, was_open, plain, used);
            state = tls_has_more(door->tls) ? state : TLS_WANT;
        }
        door->failed = state == TLS_FAILED;
        door->ended = door->ended || state == TLS_CLOSED || state == TLS_FAILED;
    }
    FUZZ_CHECK(!door->failed || (fault.text[0] != '\0' && !tls_is_open(door->tls)));
    tls_feed(door->tls, NULL, 0);
    free(block);
}

static size_t size_of(size_t wanted, size_t whole)
{
    return wanted > whole / PIECES ? wanted : whole / PIECES + 1;
}

static void bring(struct door *door, struct way *way, uint8_t *bytes, size_t len)
{
    if (way->change_at - way->passed < len) {
        bytes[way->change_at - way->passed] ^= way->change_by;
    }
    way->passed += len;
    const size_t piece = size_of(way->piece, len);
    for (size_t at = 0; at < len && !door->ended; at += piece) {
        take(door, bytes + at, piece < len - at ? piece : len - at);
    }
}

/* Brings the door what the client has sent, and the client what the door has answered. */
static void pass(struct door *door, struct way *way)
{
    uint8_t bytes[4096];
    SSL *ssl = door->client->ssl;
    int len;
    while ((len = BIO_read(SSL_get_wbio(ssl), bytes, sizeof bytes)) > 0) {
        bring(door, way, bytes, (size_t)len);
    }
    if (SSL_is_init_finished(ssl) == 1) {
        while ((len = SSL_read(ssl, bytes, sizeof bytes)) > 0) {
            door->client->answers += (size_t)len;
        }
    }
}

/* Whether both ends say that the connection stands. */
static bool connect_client(struct door *door, struct client *client, struct way *way, unsigned how)
{
    client->ssl = SSL_new(device);
    FUZZ_CHECK(client->ssl != NULL);
    SSL_set_bio(client->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (session != NULL && (how & WHOLE_HANDSHAKE) == 0) {
        SSL_set_session(client->ssl, session);
    }
    *door = (struct door){.client = client};
    door->tls = tls_new(context, to_client, door);
    FUZZ_CHECK(door->tls != NULL);
    tls_keep_buffers(door->tls, (how & COLD) == 0);
    int done = 0;
    for (int turn = 0; turn < 8 && done != 1 && !door->ended; turn++) {
        ERR_clear_error();
        done = SSL_connect(client->ssl);
        bool waits = done == 1 || SSL_get_error(client->ssl, done) == SSL_ERROR_WANT_READ;
        pass(door, way);
        if (!waits) {
            break;
        }
    }
    return done == 1 && tls_is_open(door->tls);
}

/* A device has its two newest sessions: with an old one it would begin anew. */
static void keep_session(SSL *ssl)
{
    SSL_SESSION *newest = ssl != NULL ? SSL_get1_session(ssl) : NULL;
    if (newest != NULL && SSL_SESSION_is_resumable(newest) == 1) {
        SSL_SESSION_free(session);
        session = newest;
    } else {
        SSL_SESSION_free(newest);
    }
}

static void disconnect(struct door *door)
{
    keep_session(door->client->ssl);
    SSL_free(door->client->ssl);
    tls_free(door->tls);
    frame_reader_release(&door->reader);
    *door->client = (struct client){0};
    *door = (struct door){0};
}

static void say(struct door *door, struct way *way, unsigned how, size_t record)
{
    struct client *client = door->client;
    for (size_t at = 0; at < client->said_len && !door->ended; at += record) {
        size_t len = record < client->said_len - at ? record : client->said_len - at;
        if (how & NEW_KEYS && at / record % 2 == 1) {
            SSL_key_update(client->ssl, SSL_KEY_UPDATE_REQUESTED);
        }
        if (SSL_write(client->ssl, client->said + at, (int)len) <= 0) {
            break;
        }
        pass(door, way);
    }
    if (how & GOODBYE) {
        SSL_shutdown(client->ssl);
        pass(door, way);
    }
}

/* What the messages would be without TLS, as far as they were heard. */
static void compare(const struct door *door)
{
    struct door plain = {.heard = 0};
    struct whorl_fault fault;
    (void)frame_feed(&plain.reader, door->client->said, door->heard, MAX, hear, &plain, &fault);
    FUZZ_CHECK(plain.digest == door->digest);
    frame_reader_release(&plain.reader);
}

static void say_unchanged(const uint8_t *bytes, size_t len, struct way *way, unsigned how,
                          size_t record)
{
    if (lasting.tls == NULL) {
        struct way straight = {.piece = SIZE_MAX, .change_at = SIZE_MAX};
        FUZZ_CHECK(connect_client(&lasting, &lasting_client, &straight, how));
        uses = 0;
    }
    lasting.heard = lasting.answers = lasting_client.answers = 0;
    lasting.digest = 0;
    lasting_client.said = bytes;
    lasting_client.said_len = len;
    say(&lasting, way, how, record);
    FUZZ_CHECK(!lasting.failed && (lasting.heard == len || lasting.ended));
    FUZZ_CHECK(lasting_client.answers == lasting.answers);
    compare(&lasting);
    frame_reader_release(&lasting.reader);
    lasting.reader = (struct frame_reader){0};
    if (lasting.ended || how & GOODBYE || ++uses >= USES) {
        disconnect(&lasting);
    }
}

static void say_changed(const uint8_t *bytes, size_t len, struct way *way, unsigned how,
                        size_t record)
{
    struct door door;
    struct client client = {.said = bytes, .said_len = len};
    if (connect_client(&door, &client, way, how)) {
        say(&door, way, how, record);
    }
    FUZZ_CHECK(client.answers <= door.answers);
    compare(&door);
    disconnect(&door);
}

static void send_raw(const uint8_t *bytes, size_t len, struct way *way)
{
    struct client nobody = {0};
    struct door door = {.client = &nobody};
    uint8_t *copy = malloc(len + 1);
    door.tls = tls_new(context, to_client, &door);
    FUZZ_CHECK(copy != NULL && door.tls != NULL);
    memcpy(copy, bytes, len);
    bring(&door, way, copy, len);
    FUZZ_CHECK(!tls_is_open(door.tls));
    disconnect(&door);
    free(copy);
}

static void clean_up(void)
{
    if (lasting.tls != NULL) {
        disconnect(&lasting);
    }
    SSL_SESSION_free(session);
    SSL_CTX_free(device);
    tls_context_unref(context);
}

/* An authority, a server and a device, whose files are gone before the first input. */
static void prepare(void)
{
    static const char *const names[] = {"ca.pem",     "ca.key",     "server.pem",
                                        "server.key", "device.pem", "device.key"};
    char dir[] = "/dev/shm/whorl-fuzz-XXXXXX", path[6][64];
    struct whorl_fault fault = {{0}, {0}};
    struct keys_authority authority;
    unsigned len = 0;
    FUZZ_CHECK(mkdtemp(dir) != NULL);
    for (size_t i = 0; i < 6; i++) {
        (void)snprintf(path[i], sizeof path[i], "%s/%s", dir, names[i]);
    }
    const struct keys_wish ca = {KEYS_CA, "fuzz", NULL, 2}, near = {KEYS_SERVER, "door", NULL, 2},
                           far = {KEYS_DEVICE, "phone", NULL, 2};
    FUZZ_CHECK(keys_make(dir, "ca", &ca, NULL, &fault));
    FUZZ_CHECK(keys_authority_read(dir, &authority, &fault));
    FUZZ_CHECK(keys_make(dir, "server", &near, &authority, &fault));
    FUZZ_CHECK(keys_make(dir, "device", &far, &authority, &fault));
    keys_authority_release(&authority);
    const struct tls_files files = {path[2], path[3], path[0], ""};
    context = tls_context_new(&files, &fault);
    device = SSL_CTX_new(TLS_client_method());
    FUZZ_CHECK(context != NULL && device != NULL);
    FUZZ_CHECK(SSL_CTX_use_certificate_file(device, path[4], SSL_FILETYPE_PEM) == 1);
    FUZZ_CHECK(SSL_CTX_use_PrivateKey_file(device, path[5], SSL_FILETYPE_PEM) == 1);
    FUZZ_CHECK(X509_digest(SSL_CTX_get0_certificate(device), EVP_sha256(), device_digest, &len));
    for (size_t i = 0; i < 6; i++) {
        unlink(path[i]);
    }
    rmdir(dir);
    atexit(clean_up);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (context == NULL) {
        prepare();
    }
    if (len < HEAD || len > MAX) {
        return 0;
    }
    const unsigned how = bytes[0];
    const size_t record = size_of(bytes[2] == 255 ? RECORD_SIZE : bytes[2] + 1u, len - HEAD);
    struct way way = {.piece = bytes[1] == 255 ? SIZE_MAX : bytes[1] + 1u, .change_at = SIZE_MAX};
    if (how & RAW) {
        send_raw(bytes + HEAD, len - HEAD, &way);
    } else if (how & CHANGED) {
        way.change_at = bytes[3] | (size_t)bytes[4] << 8;
        way.change_by = bytes[5];
        say_changed(bytes + HEAD, len - HEAD, &way, how, record);
    } else {
        say_unchanged(bytes + HEAD, len - HEAD, &way, how, record);
    }
    return 0;
}
