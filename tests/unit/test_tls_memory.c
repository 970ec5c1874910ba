/* The server's side of a handshake when OpenSSL gets no memory: once at each place, then all goes
 * on as before, and nothing is freed twice. */
#include <check.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net_fixture.h"
#include "run_suite.h"

enum { ROUNDS_OF_CONTEXT = 250, TURNS = 12, SENT_MAX = 1 << 16 };

static long left; /* allocations until one fails; 0: none does */

static bool fails(void)
{
    return left > 0 && --left == 0;
}

static void *allocate(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : malloc(size);
}

static void *allocate_anew(void *p, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : realloc(p, size);
}

static void release(void *p, const char *file, int line)
{
    (void)file, (void)line;
    free(p);
}

/* What the server wants to send. */
struct sent {
    uint8_t bytes[SENT_MAX];
    size_t len;
};

static bool keep_sent(void *ctx, const uint8_t *bytes, size_t len)
{
    struct sent *sent = ctx;
    if (len > SENT_MAX - sent->len) {
        return false;
    }
    memcpy(sent->bytes + sent->len, bytes, len);
    sent->len += len;
    return true;
}

/* The client's turn: what it has to send is in *bytes. */
static long client_turn(SSL *client, struct sent *sent, char **bytes)
{
    char byte;
    BIO_write(SSL_get_rbio(client), sent->bytes, (int)sent->len);
    sent->len = 0;
    if (SSL_is_init_finished(client)) {
        (void)SSL_read(client, &byte, 1); /* takes the ticket */
    } else {
        (void)SSL_do_handshake(client);
    }
    return BIO_get_mem_data(SSL_get_wbio(client), bytes);
}

/* A handshake of which the server's allocation of that number fails (0: none). Whether it came
 * about; *reached: there were as many. */
static bool shake_hands(struct tls_context *context, SSL_CTX *device, long failing, bool *reached)
{
    static struct sent sent;
    struct whorl_fault fault = {"", ""};
    uint8_t plain[1024];
    size_t used;
    SSL *client = SSL_new(device);
    SSL_set_bio(client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(client);
    sent.len = 0;
    *reached = false;
    left = failing;
    struct tls *tls = tls_new(context, keep_sent, &sent);
    bool alive = tls != NULL;
    for (int turn = 0; alive && turn < TURNS; turn++) {
        char *bytes;
        long pause = left;
        left = 0; /* the client has memory */
        long len = client_turn(client, &sent, &bytes);
        left = pause;
        tls_feed(tls, (const uint8_t *)bytes, (size_t)len);
        enum tls_state state = TLS_DATA;
        while (state == TLS_DATA) {
            state = tls_read(tls, plain, sizeof plain, &used, &fault);
        }
        alive = state == TLS_WANT;
        (void)BIO_reset(SSL_get_wbio(client));
    }
    bool open = alive && tls_is_open(tls);
    *reached = failing > 0 && left == 0;
    left = 0;
    if (open) {
        tls_finish(tls);
    }
    tls_free(tls);
    SSL_free(client);
    ERR_clear_error();
    return open;
}

static struct tls_context *make_context(const struct pki *pki)
{
    const struct tls_files files = {pki->server, pki->server_key, pki->ca, pki->empty_crl};
    struct whorl_fault fault = {"", ""};
    struct tls_context *context = tls_context_new(&files, &fault);
    ck_assert_msg(context != NULL, "%s", fault.text);
    return context;
}

START_TEST(a_handshake_without_memory_corrupts_nothing)
{
    struct pki pki;
    bool reached = true, any;
    long refused = 0;
    pki_make(&pki);
    struct tls_context *context = make_context(&pki);
    ck_assert(shake_hands(context, pki.device, 0, &any)); /* what is made once is there */
    for (long n = 1; reached; n++) {
        refused += shake_hands(context, pki.device, n, &reached) ? 0 : 1;
        if (n % ROUNDS_OF_CONTEXT == 0 || !reached) {
            for (int i = 0; i < 3; i++) {
                ck_assert(shake_hands(context, pki.device, 0, &any));
            }
            tls_context_unref(context);
            context = make_context(&pki);
            ck_assert(shake_hands(context, pki.device, 0, &any));
        }
    }
    ck_assert_int_gt(refused, 100);
    tls_context_unref(context);
    pki_remove(&pki);
}
END_TEST

int main(void)
{
    if (CRYPTO_set_mem_functions(allocate, allocate_anew, release) != 1) {
        return 1;
    }
    Suite *suite = suite_create("tls_memory");
    TCase *tc = tcase_create("tls_memory");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, a_handshake_without_memory_corrupts_nothing);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
