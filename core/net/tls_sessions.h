/* Which of the sessions that may be resumed are whose. OpenSSL's cache is bounded in all; this
 * bounds what one device takes of it, so that one that begins again and again, rather than resume,
 * takes no more memory than one that connects once. Loop thread only. */
#ifndef CORE_TLS_SESSIONS_H
#define CORE_TLS_SESSIONS_H

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#define TLS_SESSIONS_OF_DEVICE 2u /* the newest */
#define TLS_SESSION_SECONDS 3600L /* after which a device proves itself anew */

struct tls_sessions;

/* Watches the cache of ssl, which must keep sessions itself. NULL: out of memory. */
struct tls_sessions *tls_sessions_new(SSL_CTX *ssl, const EVP_MD *sha256);
/* Seconds since 1970, from which on no session is resumed; 0: never. */
void tls_sessions_end(struct tls_sessions *sessions, int64_t end);
/* After SSL_CTX_free. NULL is fine. */
void tls_sessions_free(struct tls_sessions *sessions);

#endif
