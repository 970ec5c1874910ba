/* A database's answers, in LMDB. */
#include "plugins/pnc/cache.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KIND "whorl-pnc-cache"
#define VERSION 1u
#define NAME_CAP (PNC_KEY_CAP + 1) /* of an entry: its kind and its key */

/* entries: a letter ('r' a record by PNCID; 'p', 'c', 'n' who has a PNCID, CRO number or name) and
 * the key -> struct head, and then the record or the PNCIDs. order: serial -> the entry's name. */
struct pnc_cache {
    struct whorl_store *store;
    MDB_dbi entries, order;
    uint64_t boot;
};

/* What an entry begins with. */
struct head {
    uint64_t serial; /* its place in order */
    struct pnc_moment asked[PNC_CLASSES];
};

/* ------------------------------------------------------------------ time */

static int64_t clock_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A number for this boot; one of its own for this process where the system doesn't say. */
static uint64_t this_boot(void)
{
    uint64_t boot = 0;
    char text[64] = "";
    FILE *in = fopen("/proc/sys/kernel/random/boot_id", "re");
    bool ok = in != NULL && fgets(text, sizeof(text), in) != NULL;
    if (in != NULL) {
        fclose(in);
    }
    for (const char *at = text; ok && *at != '\0'; at++) { /* FNV-1a */
        boot = (boot ^ (unsigned char)*at) * 0x100000001b3u + 1;
    }
    if (!ok) {
        arc4random_buf(&boot, sizeof(boot));
    }
    return boot;
}

struct pnc_moment pnc_cache_now(const struct pnc_cache *cache)
{
    return (struct pnc_moment){clock_ms(CLOCK_REALTIME), clock_ms(CLOCK_BOOTTIME), cache->boot};
}

int64_t pnc_age_ms(const struct pnc_moment *then, const struct pnc_moment *now)
{
    int64_t wall = now->wall_ms - then->wall_ms;
    if (then->boot != now->boot) {
        return wall >= 0 ? wall : PNC_AGE_UNKNOWN;
    }
    int64_t boot = now->boot_ms - then->boot_ms;
    return boot < 0 ? PNC_AGE_UNKNOWN : wall > boot ? wall : boot;
}

/* ------------------------------------------------------------------ opening */

struct looking {
    const struct pnc_cache *cache;
    struct pnc_moment now;
};

static int drop_all(MDB_txn *txn, const struct pnc_cache *cache)
{
    int rc = mdb_drop(txn, cache->entries, 0);
    return rc == 0 ? mdb_drop(txn, cache->order, 0) : rc;
}

/* Empties a cache whose last entry is of another boot and of the future: the clock was set back in
 * between, and no age in it can be trusted. */
static int distrust(MDB_txn *txn, void *arg)
{
    const struct looking *look = arg;
    MDB_cursor *cursor;
    MDB_val serial, name, value;
    struct head head;
    int rc = mdb_cursor_open(txn, look->cache->order, &cursor);
    if (rc != 0) {
        return rc;
    }
    rc = mdb_cursor_get(cursor, &serial, &name, MDB_LAST);
    mdb_cursor_close(cursor);
    if (rc == 0) {
        rc = mdb_get(txn, look->cache->entries, &name, &value);
    }
    if (rc != 0) {
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    bool trusted = value.mv_size >= sizeof(head);
    if (trusted) {
        memcpy(&head, value.mv_data, sizeof(head));
        for (size_t i = 0; i < PNC_CLASSES; i++) {
            trusted = trusted && pnc_age_ms(&head.asked[i], &look->now) != PNC_AGE_UNKNOWN;
        }
    }
    return trusted ? 0 : drop_all(txn, look->cache);
}

struct pnc_cache *pnc_cache_open(const char *data_dir, struct whorl_fault *fault)
{
    char dir[PATH_MAX];
    struct pnc_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    snprintf(dir, sizeof(dir), "%.4000s/cache", data_dir);
    cache->boot = this_boot();
    cache->store = whorl_store_open(dir, WHORL_STORE_WRITE, 2, KIND, VERSION, fault);
    struct looking look = {cache, pnc_cache_now(cache)};
    if (cache->store != NULL &&
        whorl_store_db(cache->store, "entries", 0, &cache->entries, fault) &&
        whorl_store_db(cache->store, "order", MDB_INTEGERKEY, &cache->order, fault) &&
        whorl_store_write(cache->store, distrust, &look, fault)) {
        return cache;
    }
    pnc_cache_close(cache);
    return NULL;
}

void pnc_cache_close(struct pnc_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    whorl_store_close(cache->store);
    free(cache);
}

MDB_txn *pnc_cache_read(struct pnc_cache *cache, struct whorl_fault *fault)
{
    return whorl_store_read(cache->store, fault);
}

void pnc_cache_done(struct pnc_cache *cache, MDB_txn *txn)
{
    whorl_store_done(cache->store, txn);
}

/* ------------------------------------------------------------------ reading */

static MDB_val name_of(char kind, const char *key, char name[NAME_CAP])
{
    int len = snprintf(name, NAME_CAP, "%c%s", kind, key);
    return (MDB_val){.mv_size = (size_t)len, .mv_data = name};
}

static char kind_of(enum pnc_key by)
{
    return by == PNC_BY_PNCID ? 'p' : by == PNC_BY_CRO ? 'c' : 'n';
}

/* Finds an entry; what follows its head is left in *rest. */
static bool get(const struct pnc_cache *cache, MDB_txn *txn, char kind, const char *key,
                struct head *head, MDB_val *rest)
{
    char name[NAME_CAP];
    MDB_val entry = name_of(kind, key, name);
    if (mdb_get(txn, cache->entries, &entry, rest) != 0 || rest->mv_size < sizeof(*head)) {
        return false;
    }
    memcpy(head, rest->mv_data, sizeof(*head));
    rest->mv_data = (char *)rest->mv_data + sizeof(*head);
    rest->mv_size -= sizeof(*head);
    return true;
}

bool pnc_cache_record(struct pnc_cache *cache, MDB_txn *txn, const char *pncid,
                      struct pnc_record *record, struct pnc_moment asked[PNC_CLASSES])
{
    struct head head;
    struct whorl_fault bad;
    MDB_val rest;
    if (!get(cache, txn, 'r', pncid, &head, &rest) ||
        !pnc_record_from_bytes(rest.mv_data, rest.mv_size, record, &bad)) {
        return false;
    }
    memcpy(asked, head.asked, sizeof(head.asked));
    if (strcmp(record->pncid, pncid) == 0) {
        return true;
    }
    pnc_record_release(record);
    return false;
}

bool pnc_cache_found(struct pnc_cache *cache, MDB_txn *txn, enum pnc_key by, const char *key,
                     char (*found)[PNC_ID_CAP], size_t *count, struct pnc_moment *asked)
{
    struct head head;
    MDB_val rest;
    if (!get(cache, txn, kind_of(by), key, &head, &rest) || rest.mv_size % PNC_ID_CAP != 0 ||
        rest.mv_size > (size_t)PNC_CACHE_FOUND_MAX * PNC_ID_CAP) {
        return false;
    }
    *count = rest.mv_size / PNC_ID_CAP;
    memcpy(found, rest.mv_data, rest.mv_size);
    for (size_t i = 0; i < *count; i++) {
        if (memchr(found[i], '\0', PNC_ID_CAP) == NULL) {
            return false;
        }
    }
    *asked = head.asked[0];
    return true;
}

/* ------------------------------------------------------------------ writing */

struct pnc_news *pnc_news_new(enum pnc_key by, const char *key, size_t count)
{
    struct pnc_news *news = calloc(1, sizeof(*news) + count * sizeof(news->records[0]));
    if (news != NULL) {
        news->by = by;
        snprintf(news->key, sizeof(news->key), "%s", key);
    }
    return news;
}

void pnc_news_free(struct pnc_news *news)
{
    if (news == NULL) {
        return;
    }
    for (size_t i = 0; i < news->count; i++) {
        pnc_record_release(&news->records[i]);
    }
    free(news);
}

struct writing {
    const struct pnc_cache *cache;
    const struct pnc_news *list;
    uint64_t max_bytes;
    uint64_t serial; /* the next */
};

static int drop_entry(MDB_txn *txn, const struct pnc_cache *cache, char kind, const char *key)
{
    char name[NAME_CAP];
    MDB_val entry = name_of(kind, key, name), old;
    struct head head;
    if (!get(cache, txn, kind, key, &head, &old)) {
        return 0;
    }
    MDB_val serial = {.mv_size = sizeof(head.serial), .mv_data = &head.serial};
    int rc = mdb_del(txn, cache->order, &serial, NULL);
    return rc == 0 || rc == MDB_NOTFOUND ? mdb_del(txn, cache->entries, &entry, NULL) : rc;
}

/* Whether an entry is of a later question than asked. */
static bool is_newer(const struct pnc_moment *there, const struct pnc_moment *asked)
{
    return there->boot == asked->boot && there->boot_ms > asked->boot_ms;
}

/* The latest of an entry's questions. */
static struct pnc_moment latest(const struct pnc_moment asked[PNC_CLASSES])
{
    struct pnc_moment last = asked[0];
    for (size_t i = 1; i < PNC_CLASSES; i++) {
        if (is_newer(&asked[i], &last)) {
            last = asked[i];
        }
    }
    return last;
}

static int put_entry(MDB_txn *txn, struct writing *to, char kind, const char *key,
                     const struct pnc_moment asked[PNC_CLASSES], const void *bytes, size_t len)
{
    char name[NAME_CAP];
    struct head head, old;
    MDB_val rest, entry = name_of(kind, key, name);
    struct pnc_moment mine = latest(asked), theirs;
    if (get(to->cache, txn, kind, key, &old, &rest)) {
        theirs = latest(old.asked);
        if (is_newer(&theirs, &mine)) {
            return 0;
        }
    }
    int rc = drop_entry(txn, to->cache, kind, key);
    if (rc != 0) {
        return rc;
    }
    memset(&head, 0, sizeof(head));
    head.serial = to->serial++;
    memcpy(head.asked, asked, sizeof(head.asked));
    MDB_val value = {.mv_size = sizeof(head) + len};
    MDB_val serial = {.mv_size = sizeof(head.serial), .mv_data = &head.serial};
    rc = mdb_put(txn, to->cache->entries, &entry, &value, MDB_RESERVE);
    if (rc != 0) {
        return rc;
    }
    memcpy(value.mv_data, &head, sizeof(head));
    if (len > 0) {
        memcpy((char *)value.mv_data + sizeof(head), bytes, len);
    }
    return mdb_put(txn, to->cache->order, &serial, &entry, MDB_APPEND);
}

/* Who has the key. That somebody has a PNCID, the record says. */
static int put_found(MDB_txn *txn, struct writing *to, const struct pnc_news *news)
{
    char found[PNC_CACHE_FOUND_MAX][PNC_ID_CAP] = {{0}};
    struct pnc_moment asked[PNC_CLASSES];
    size_t count = news->count < PNC_CACHE_FOUND_MAX ? news->count : PNC_CACHE_FOUND_MAX;
    for (size_t i = 0; i < count; i++) {
        memcpy(found[i], news->records[i].pncid, PNC_ID_CAP);
    }
    for (size_t i = 0; i < PNC_CLASSES; i++) {
        asked[i] = latest(news->asked);
    }
    if (news->by != PNC_BY_PNCID) {
        return put_entry(txn, to, kind_of(news->by), news->key, asked, found, count * PNC_ID_CAP);
    }
    if (count > 0) {
        return drop_entry(txn, to->cache, 'p', news->key);
    }
    int rc = drop_entry(txn, to->cache, 'r', news->key);
    return rc == 0 ? put_entry(txn, to, 'p', news->key, asked, NULL, 0) : rc;
}

static int put_news(MDB_txn *txn, struct writing *to, const struct pnc_news *news)
{
    int rc = put_found(txn, to, news);
    for (size_t i = 0; rc == 0 && i < news->count; i++) {
        rc = put_entry(txn, to, 'r', news->records[i].pncid, news->asked, news->records[i].bytes,
                       news->records[i].len);
    }
    return rc;
}

static uint64_t bytes_of(MDB_txn *txn, MDB_dbi dbi)
{
    MDB_stat stat;
    if (mdb_stat(txn, dbi, &stat) != 0) {
        return 0;
    }
    return (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) *
           (uint64_t)stat.ms_psize;
}

/* Drops the oldest entries while there are more than the bytes allow. */
static int make_room(MDB_txn *txn, const struct writing *to)
{
    MDB_cursor *cursor;
    MDB_val serial, name;
    int rc = mdb_cursor_open(txn, to->cache->order, &cursor);
    if (rc != 0) {
        return rc;
    }
    while (rc == 0 &&
           bytes_of(txn, to->cache->entries) + bytes_of(txn, to->cache->order) > to->max_bytes) {
        rc = mdb_cursor_get(cursor, &serial, &name, MDB_FIRST);
        if (rc == 0) {
            rc = mdb_del(txn, to->cache->entries, &name, NULL);
        }
        if (rc == 0) {
            rc = mdb_cursor_del(cursor, 0);
        }
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int write_list(MDB_txn *txn, void *arg)
{
    struct writing *to = arg;
    MDB_cursor *cursor;
    MDB_val serial = {0}, name;
    to->serial = 0;
    int rc = mdb_cursor_open(txn, to->cache->order, &cursor);
    if (rc != 0) {
        return rc;
    }
    if (mdb_cursor_get(cursor, &serial, &name, MDB_LAST) == 0 &&
        serial.mv_size == sizeof(to->serial)) {
        memcpy(&to->serial, serial.mv_data, sizeof(to->serial));
        to->serial++;
    }
    mdb_cursor_close(cursor);
    for (const struct pnc_news *news = to->list; rc == 0 && news != NULL; news = news->next) {
        rc = put_news(txn, to, news);
    }
    return rc == 0 ? make_room(txn, to) : rc;
}

bool pnc_cache_write(struct pnc_cache *cache, const struct pnc_news *list, uint64_t max_bytes,
                     struct whorl_fault *fault)
{
    struct writing to = {.cache = cache, .list = list, .max_bytes = max_bytes};
    return whorl_store_write(cache->store, write_list, &to, fault);
}
