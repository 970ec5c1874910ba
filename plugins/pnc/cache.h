/* What a database said, kept in LMDB (kind "whorl-pnc-cache"): records by PNCID, and who has a key,
 * each with the time at which it was asked for. A copy that may be lost: never the records
 * themselves, which `whorl pnc import` fills beside it.
 *
 * Age. An entry remembers the wall clock, and the clock since boot with the boot that it is of
 * (clock_gettime(2): CLOCK_REALTIME, CLOCK_BOOTTIME). Within a boot its age is the longer of both;
 * after another boot the wall clock's, and a cache whose last entry is of the future is emptied.
 * So a clock that is set makes entries older, or useless, never younger than they are by the other
 * clock. */
#ifndef PLUGINS_PNC_CACHE_H
#define PLUGINS_PNC_CACHE_H

#include "plugins/pnc/records.h"
#include "whorl/store.h"

#define PNC_CACHE_FOUND_MAX 21u /* people of one key that are kept */
#define PNC_AGE_UNKNOWN INT64_MAX

/* A moment, by both clocks. */
struct pnc_moment {
    int64_t wall_ms, boot_ms;
    uint64_t boot; /* which boot */
};

struct pnc_cache;

/* Opens the cache in the folder "cache" of data_dir, makes it when missing. NULL with *fault. Any
 * thread. */
struct pnc_cache *pnc_cache_open(const char *data_dir, struct whorl_fault *fault);
void pnc_cache_close(struct pnc_cache *cache);

/* The time. Any thread. */
struct pnc_moment pnc_cache_now(const struct pnc_cache *cache);

/* Milliseconds from then to now; PNC_AGE_UNKNOWN if the clocks don't say. Pure function. */
int64_t pnc_age_ms(const struct pnc_moment *then, const struct pnc_moment *now);

/* A consistent view. NULL with *fault. End it soon with pnc_cache_done. Any thread. */
MDB_txn *pnc_cache_read(struct pnc_cache *cache, struct whorl_fault *fault);
void pnc_cache_done(struct pnc_cache *cache, MDB_txn *txn);

/* The record of a PNCID, and when each of its classes was asked for; release it. false: there is
 * none, or none that can be read. */
bool pnc_cache_record(struct pnc_cache *cache, MDB_txn *txn, const char *pncid,
                      struct pnc_record *record, struct pnc_moment asked[PNC_CLASSES]);

/* Who has a key, which for a PNCID says only that nobody has. At most PNC_CACHE_FOUND_MAX; *count
 * may be 0. false: it isn't there. */
bool pnc_cache_found(struct pnc_cache *cache, MDB_txn *txn, enum pnc_key by, const char *key,
                     char (*found)[PNC_ID_CAP], size_t *count, struct pnc_moment *asked);

/* What one question to the database brought. */
struct pnc_news {
    struct pnc_news *next;
    enum pnc_key by;
    char key[PNC_KEY_CAP];
    struct pnc_moment asked[PNC_CLASSES]; /* of the records; the last question is the newest */
    size_t count;
    struct pnc_record records[]; /* all who have the key */
};

/* An empty one with room for count records. NULL: out of memory. */
struct pnc_news *pnc_news_new(enum pnc_key by, const char *key, size_t count);
void pnc_news_free(struct pnc_news *news);

/* Writes a list of news in one transaction, then drops the oldest entries until what is left takes
 * at most max_bytes. What a newer question has written stays. Blocks for the disk. Any thread, one
 * at a time. false with *fault: none is written. */
bool pnc_cache_write(struct pnc_cache *cache, const struct pnc_news *list, uint64_t max_bytes,
                     struct whorl_fault *fault);

#endif
