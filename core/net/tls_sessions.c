#include "core/net/tls_sessions.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/net/tls_context.h"

#define BUCKETS 4096u /* a power of two */

/* A device that has sessions. They belong to OpenSSL, which says before it lets go of one. */
struct owner {
    uint8_t certificate[32]; /* SHA-256: nobody chooses where it falls who has no certificate */
    SSL_SESSION *kept[TLS_SESSIONS_OF_DEVICE]; /* the newest first; NULL: none */
    struct owner *chain;
};

struct tls_sessions {
    SSL_CTX *ssl;
    const EVP_MD *sha256;
    int64_t end; /* tls_sessions_end */
    struct owner *buckets[BUCKETS];
};

static struct owner **find(struct tls_sessions *sessions, const SSL_SESSION *session,
                           uint8_t digest[32])
{
    const X509 *peer = SSL_SESSION_get0_peer((SSL_SESSION *)session);
    uint32_t hash;
    if (peer == NULL || X509_digest(peer, sessions->sha256, digest, NULL) != 1) {
        return NULL;
    }
    memcpy(&hash, digest, sizeof hash);
    struct owner **link = &sessions->buckets[hash & (BUCKETS - 1)];
    while (*link != NULL && memcmp((*link)->certificate, digest, 32) != 0) {
        link = &(*link)->chain;
    }
    return link;
}

/* Puts it first, and has the last one forgotten. false: it can't be counted. */
static bool keep(struct tls_sessions *sessions, SSL_SESSION *session)
{
    uint8_t digest[32];
    struct owner **link = find(sessions, session, digest);
    if (link == NULL || (*link == NULL && (*link = calloc(1, sizeof **link)) == NULL)) {
        return false;
    }
    struct owner *owner = *link;
    memcpy(owner->certificate, digest, sizeof owner->certificate);
    SSL_SESSION *last = owner->kept[TLS_SESSIONS_OF_DEVICE - 1];
    memmove(owner->kept + 1, owner->kept, (TLS_SESSIONS_OF_DEVICE - 1) * sizeof(void *));
    owner->kept[0] = session;
    if (last != NULL) {
        SSL_CTX_remove_session(sessions->ssl, last);
    }
    return true;
}

/* When a device that has just proven itself is to do so again. */
static int64_t first_end(const struct tls_sessions *sessions, const SSL *ssl, int64_t now)
{
    int64_t chain = tls_chain_end(SSL_get0_verified_chain(ssl));
    int64_t end = now + TLS_SESSION_SECONDS;
    end = chain < end ? chain : end;
    return sessions->end != 0 && sessions->end < end ? sessions->end : end;
}

/* TLS 1.3 has another session for each connection, and OpenSSL would let each live anew. So the
 * first one's end goes along with what is handed on from one to the next. false: it has come. */
static bool limit(const struct tls_sessions *sessions, const SSL *ssl, SSL_SESSION *session)
{
    int64_t now = time(NULL), end = 0;
    void *handed = NULL;
    size_t len = 0;
    if (SSL_session_reused(ssl) == 0) {
        end = first_end(sessions, ssl, now);
        if (SSL_SESSION_set1_ticket_appdata(session, &end, sizeof end) != 1) {
            return false;
        }
    } else if (SSL_SESSION_get0_ticket_appdata(session, &handed, &len) == 1 && len == sizeof end) {
        memcpy(&end, handed, sizeof end);
    }
    return end > now && SSL_SESSION_set_timeout(session, (long)(end - now)) == 1;
}

/* For want of memory a session may be in OpenSSL's list, but not counted there. */
static bool is_cached(SSL_CTX *ctx, SSL_SESSION *session)
{
    return OPENSSL_LH_retrieve((OPENSSL_LHASH *)SSL_CTX_sessions(ctx), session) == session;
}

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);
    struct tls_sessions *sessions = SSL_CTX_get_app_data(ctx);
    if (!is_cached(ctx, session)) {
        return 1; /* the reference that came with this call is the list's */
    }
    if (!limit(sessions, ssl, session) || !keep(sessions, session)) {
        SSL_CTX_remove_session(ctx, session); /* its device begins anew next time */
    }
    return 0; /* no reference is kept here */
}

/* Clears it with the owner there, which goes with its last one. */
static void forget(struct owner **link, const SSL_SESSION *session)
{
    struct owner *owner = *link;
    bool any = false;
    for (size_t i = 0; i < TLS_SESSIONS_OF_DEVICE; i++) {
        owner->kept[i] = owner->kept[i] == session ? NULL : owner->kept[i];
        any = any || owner->kept[i] != NULL;
    }
    if (!any) {
        *link = owner->chain;
        free(owner);
    }
}

static void forget_everywhere(struct tls_sessions *sessions, const SSL_SESSION *session)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        struct owner **link = &sessions->buckets[i];
        while (*link != NULL) {
            struct owner *owner = *link;
            forget(link, session);
            link = *link == owner ? &owner->chain : link;
        }
    }
}

static void on_removed(SSL_CTX *ctx, SSL_SESSION *session)
{
    struct tls_sessions *sessions = SSL_CTX_get_app_data(ctx);
    uint8_t digest[32];
    struct owner **link = find(sessions, session, digest);
    if (link == NULL) { /* memory is short: whose it is can't be told, but it goes all the same */
        forget_everywhere(sessions, session);
    } else if (*link != NULL) {
        forget(link, session);
    }
}

struct tls_sessions *tls_sessions_new(SSL_CTX *ssl, const EVP_MD *sha256)
{
    struct tls_sessions *sessions = calloc(1, sizeof *sessions);
    if (sessions == NULL || SSL_CTX_set_app_data(ssl, sessions) != 1) {
        free(sessions);
        return NULL;
    }
    sessions->ssl = ssl;
    sessions->sha256 = sha256;
    SSL_CTX_sess_set_new_cb(ssl, on_new);
    SSL_CTX_sess_set_remove_cb(ssl, on_removed);
    return sessions;
}

void tls_sessions_end(struct tls_sessions *sessions, int64_t end)
{
    sessions->end = end;
}

void tls_sessions_free(struct tls_sessions *sessions)
{
    for (size_t i = 0; sessions != NULL && i < BUCKETS; i++) {
        while (sessions->buckets[i] != NULL) {
            struct owner *owner = sessions->buckets[i];
            sessions->buckets[i] = owner->chain;
            free(owner);
        }
    }
    free(sessions);
}
