#include "core/identify/repeat.h"

#include <malloc.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 16384u  /* a power of two */
#define CELL_BITS 20u   /* 16 cells for each answer that is kept at most: 6 % are taken */
#define TRIM_FROM 4096u /* answers: it takes a millisecond, and must be worth it */

struct repeats {
    uint8_t key[32];
    EVP_MD *sha256; /* found once: OpenSSL takes longer to find it than to run it */
    EVP_MD_CTX *md;
    struct repeat *buckets[BUCKETS];
    uint64_t multiplier; /* odd */
    uint8_t *cells; /* how many entries' request ids fall there; 255: as many or more, for good */
    struct repeat *oldest, *newest; /* kept answers, in the order in which they were kept */
    size_t kept, bytes;
    size_t most; /* that were kept since the last trim */
    bool rest;   /* some were kept when it was trimmed, which hold pages of others */
};

struct repeats *repeats_new(const uint8_t key[32])
{
    struct repeats *repeats = calloc(1, sizeof *repeats);
    if (repeats == NULL) {
        return NULL;
    }
    memcpy(repeats->key, key, 32);
    repeats->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    repeats->md = EVP_MD_CTX_new();
    memcpy(&repeats->multiplier, key, sizeof repeats->multiplier);
    repeats->multiplier |= 1;
    repeats->cells = calloc(1u << CELL_BITS, sizeof *repeats->cells);
    if (repeats->sha256 == NULL || repeats->md == NULL || repeats->cells == NULL) {
        repeats_free(repeats);
        return NULL;
    }
    return repeats;
}

static bool name_of(const struct repeats *repeats, const char *device, const char *request_id,
                    uint8_t name[32])
{
    EVP_MD_CTX *md = repeats->md;
    return EVP_DigestInit_ex(md, repeats->sha256, NULL) == 1 &&
           EVP_DigestUpdate(md, repeats->key, sizeof repeats->key) == 1 &&
           EVP_DigestUpdate(md, device, strlen(device) + 1) == 1 &&
           EVP_DigestUpdate(md, request_id, strlen(request_id)) == 1 &&
           EVP_DigestFinal_ex(md, name, NULL) == 1;
}

static struct repeat **bucket_of(struct repeats *repeats, const uint8_t name[32])
{
    uint32_t hash;
    memcpy(&hash, name, sizeof hash);
    return &repeats->buckets[hash & (BUCKETS - 1)];
}

/* A polynomial over the words at a secret point. No more than a filter: whoever found ids that
 * fall together would make looking for them no cheaper than it was without. */
static uint32_t cell_of(const struct repeats *repeats, const char *request_id, size_t len)
{
    uint64_t sum = len;
    for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, request_id + i, len - i < sizeof word ? len - i : sizeof word);
        sum = (sum ^ sum >> 32) * repeats->multiplier + word;
    }
    return (uint32_t)(sum * repeats->multiplier >> (64 - CELL_BITS));
}

static void count_cell(struct repeats *repeats, const struct repeat *entry, int by)
{
    uint8_t *cell = &repeats->cells[entry->cell];
    if (*cell < UINT8_MAX) {
        *cell = (uint8_t)(*cell + by);
    }
}

bool repeats_may_hold(const struct repeats *repeats, const char *request_id, size_t len)
{
    return repeats->cells[cell_of(repeats, request_id, len)] > 0;
}

struct repeat *repeat_find(struct repeats *repeats, const char *device, const char *request_id)
{
    uint8_t name[32];
    if (!name_of(repeats, device, request_id, name)) {
        return NULL;
    }
    struct repeat *entry = *bucket_of(repeats, name);
    while (entry != NULL && memcmp(entry->name, name, sizeof name) != 0) {
        entry = entry->chain;
    }
    return entry;
}

struct repeat *repeat_add(struct repeats *repeats, const char *device, const char *request_id,
                          const uint8_t digest[32], const char *transaction, char *rights,
                          void *flow)
{
    struct repeat *entry = calloc(1, sizeof *entry);
    if (entry == NULL || rights == NULL || !name_of(repeats, device, request_id, entry->name)) {
        free(entry);
        free(rights);
        return NULL;
    }
    entry->rights = rights;
    memcpy(entry->digest, digest, sizeof entry->digest);
    memcpy(entry->transaction, transaction, sizeof entry->transaction);
    entry->flow = flow;
    entry->cell = cell_of(repeats, request_id, strlen(request_id));
    count_cell(repeats, entry, 1);
    struct repeat **bucket = bucket_of(repeats, entry->name);
    entry->chain = *bucket;
    *bucket = entry;
    return entry;
}

static void entry_free(struct repeat *entry)
{
    if (entry->reply.result != NULL) {
        explicit_bzero(entry->reply.result, entry->reply.len);
        free(entry->reply.result);
    }
    free(entry->rights);
    explicit_bzero(entry, sizeof *entry);
    free(entry);
}

static void evict_oldest(struct repeats *repeats)
{
    struct repeat *entry = repeats->oldest;
    struct repeat **link = bucket_of(repeats, entry->name);
    while (*link != entry) {
        link = &(*link)->chain;
    }
    *link = entry->chain;
    repeats->oldest = entry->newer;
    if (repeats->oldest == NULL) {
        repeats->newest = NULL;
    }
    repeats->kept--;
    repeats->bytes -= entry->reply.len;
    count_cell(repeats, entry, -1);
    entry_free(entry);
}

void repeat_keep(struct repeats *repeats, struct repeat *entry, struct repeat_reply *reply,
                 uint64_t now)
{
    entry->flow = NULL;
    entry->reply = *reply;
    entry->kept_since = now;
    if (repeats->newest == NULL) {
        repeats->oldest = entry;
    } else {
        repeats->newest->newer = entry;
    }
    repeats->newest = entry;
    repeats->kept++;
    repeats->bytes += reply->len;
    repeats->most = repeats->kept > repeats->most ? repeats->kept : repeats->most;
    while (repeats->kept > REPEAT_ANSWERS_MAX || repeats->bytes > REPEAT_BYTES_MAX) {
        evict_oldest(repeats);
    }
}

void repeats_expire(struct repeats *repeats, uint64_t now, uint64_t keep_ms)
{
    while (repeats->oldest != NULL && repeats->oldest->kept_since + keep_ms <= now) {
        evict_oldest(repeats);
    }
}

void repeats_count(const struct repeats *repeats, size_t *answers, size_t *bytes)
{
    *answers = repeats->kept;
    *bytes = repeats->bytes;
}

void repeats_trim(struct repeats *repeats)
{
    bool most_gone = repeats->most >= TRIM_FROM && repeats->kept <= repeats->most / 4;
    if (most_gone || (repeats->rest && repeats->kept == 0)) {
        repeats->most = repeats->kept;
        repeats->rest = repeats->kept > 0;
        malloc_trim(0);
    }
}

void repeats_free(struct repeats *repeats)
{
    if (repeats == NULL) {
        return;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        struct repeat *entry = repeats->buckets[i];
        while (entry != NULL) {
            struct repeat *next = entry->chain;
            entry_free(entry);
            entry = next;
        }
    }
    free(repeats->cells);
    EVP_MD_CTX_free(repeats->md);
    EVP_MD_free(repeats->sha256);
    explicit_bzero(repeats, sizeof *repeats);
    free(repeats);
}
