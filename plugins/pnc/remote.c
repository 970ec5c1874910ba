/* Look-ups in a database behind a cache. */
#include "plugins/pnc/remote.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/pnc/keeper.h"

#define LIFETIME_MAX 2592000 /* seconds: 30 days */
#define WAIT_MS 3000         /* for the database, whatever the deadline: it is one, or it is ill */
#define MARGIN_MS 250        /* kept back from a deadline for the answer itself */

struct pnc_remote {
    const struct whorl_host *host;
    struct pnc_cache *cache;
    struct pnc_keeper *keeper;
    struct pnc_database *database;
    int64_t lifetime_ms[PNC_CLASSES], shortest_ms, stale_ms;
};

/* ------------------------------------------------------------------ settings */

/* What matters most is asked for anew most often. */
static const int64_t lifetimes[PNC_CLASSES] = {
    [PNC_DETAILS] = 3600,    [PNC_CIRCULATIONS] = 10, [PNC_BAIL] = 60,
    [PNC_DISQUALIFIED] = 60, [PNC_WARNINGS] = 60,     [PNC_MARKERS] = 60,
};

static bool read_lifetime(const char *entry, size_t number, int64_t *lifetime_ms, bool *seen,
                          struct whorl_fault *fault)
{
    size_t len = strcspn(entry, "=");
    for (enum pnc_class part = PNC_DETAILS; part < PNC_CLASSES; part++) {
        const char *name = pnc_class_name(part), *text = entry + len + 1;
        if (strlen(name) != len || strncmp(entry, name, len) != 0 || entry[len] != '=') {
            continue;
        }
        if (seen[part]) {
            return whorl_fail(fault, "cache", "entry %zu names %s again", number, name);
        }
        size_t digits = strspn(text, "0123456789");
        long seconds =
            digits >= 1 && digits <= 7 && text[digits] == '\0' ? strtol(text, NULL, 10) : -1;
        if (seconds < 0 || seconds > LIFETIME_MAX) {
            return whorl_fail(fault, "cache", "entry %zu must be \"%s=SECONDS\", 0 to %d", number,
                              name, LIFETIME_MAX);
        }
        seen[part] = true;
        lifetime_ms[part] = seconds * 1000;
        return true;
    }
    return whorl_fail(fault, "cache",
                      "entry %zu must begin with circulations=, bail=, disqualified=, warnings=, "
                      "markers= or details=",
                      number);
}

static bool read_lifetimes(const struct whorl_settings *settings, int64_t *lifetime_ms,
                           struct whorl_fault *fault)
{
    bool seen[PNC_CLASSES] = {false};
    const char *entry;
    for (size_t i = 0; i < PNC_CLASSES; i++) {
        lifetime_ms[i] = lifetimes[i] * 1000;
    }
    for (size_t i = 0; (entry = settings->item(settings, NULL, "cache", i)) != NULL; i++) {
        if (!read_lifetime(entry, i + 1, lifetime_ms, seen, fault)) {
            return false;
        }
    }
    return true;
}

bool pnc_remote_check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    int64_t lifetime_ms[PNC_CLASSES];
    return read_lifetimes(settings, lifetime_ms, fault) && pnc_database_check(settings, fault);
}

/* ------------------------------------------------------------------ opening */

struct pnc_remote *pnc_remote_open(const struct whorl_host *host, struct whorl_fault *fault)
{
    const struct whorl_settings *settings = host->settings;
    struct pnc_remote *remote = calloc(1, sizeof(*remote));
    if (remote == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    remote->host = host;
    remote->stale_ms = settings->integer(settings, NULL, "stale_limit") * 1000;
    uint64_t max_bytes = (uint64_t)settings->integer(settings, NULL, "cache_size") << 20;
    if (read_lifetimes(settings, remote->lifetime_ms, fault) &&
        (remote->cache = pnc_cache_open(host->data_dir, fault)) != NULL &&
        (remote->keeper = pnc_keeper_open(host, remote->cache, max_bytes, fault)) != NULL &&
        (remote->database = pnc_database_open(host, remote->cache, fault)) != NULL) {
        remote->shortest_ms = INT64_MAX;
        for (size_t i = 0; i < PNC_CLASSES; i++) {
            if (remote->lifetime_ms[i] < remote->shortest_ms) {
                remote->shortest_ms = remote->lifetime_ms[i];
            }
        }
        return remote;
    }
    pnc_remote_close(remote);
    return NULL;
}

void pnc_remote_close(struct pnc_remote *remote)
{
    if (remote == NULL) {
        return;
    }
    pnc_database_close(remote->database);
    pnc_keeper_close(remote->keeper);
    pnc_cache_close(remote->cache);
    free(remote);
}

/* ------------------------------------------------------------------ the cache */

/* How old an answer may be. */
enum rule { FRESH, STALE };

struct making;

/* A question of a look-up. */
struct part {
    struct pnc_question question;
    struct making *making;
    const struct pnc_search *search;
};

/* A look-up that is being made. */
struct making {
    struct pnc_remote *remote;
    struct pnc_lookup *lookup;
    struct pnc_moment now;
    int64_t age_ms; /* of the oldest that is shown */
    size_t open;    /* parts that are not answered */
    size_t count;
    struct part parts[];
};

static void show_age(struct making *making, int64_t age_ms)
{
    if (age_ms > making->age_ms) {
        making->age_ms = age_ms;
    }
}

/* The classes of a record that are too old; *oldest: the age of the oldest. */
static unsigned too_old(const struct making *making, const struct pnc_moment asked[PNC_CLASSES],
                        enum rule rule, int64_t *oldest)
{
    unsigned classes = 0;
    *oldest = 0;
    for (unsigned i = 0; i < PNC_CLASSES; i++) {
        int64_t age = pnc_age_ms(&asked[i], &making->now), limit = making->remote->lifetime_ms[i];
        if (rule == STALE && limit < making->remote->stale_ms) {
            limit = making->remote->stale_ms;
        }
        if (age >= limit) {
            classes |= 1u << i;
        }
        if (age > *oldest) {
            *oldest = age;
        }
    }
    return classes;
}

/* Takes a record over into what was found; it is empty or somebody's else afterwards. */
static void take_record(struct making *making, const struct pnc_search *search,
                        struct pnc_record *record)
{
    struct pnc_candidate *to = pnc_lookup_take(making->lookup, search, record->pncid);
    if (to == NULL) {
        pnc_record_release(record);
        return;
    }
    to->record = *record;
    *record = (struct pnc_record){0};
}

/* The cached record of a PNCID. *old gets the classes that are too old, and the record is left to
 * the caller if there are any. false: there is none. */
static bool cached_record(struct making *making, MDB_txn *txn, const struct pnc_search *search,
                          const char *pncid, enum rule rule, struct pnc_record *record,
                          struct pnc_moment asked[PNC_CLASSES], unsigned *old)
{
    int64_t oldest;
    if (!pnc_cache_record(making->remote->cache, txn, pncid, record, asked)) {
        return false;
    }
    if (!pnc_record_has_key(record, search->by, search->key)) { /* it had, when its key was asked */
        pnc_record_release(record);
        return false;
    }
    *old = too_old(making, asked, rule, &oldest);
    if (*old == 0) {
        show_age(making, oldest);
        take_record(making, search, record);
    }
    return true;
}

/* Everybody who has a CRO number or name, all from the cache. A half of them stays in what was
 * found if false: they are found again when the key is asked for. */
static bool cached_people(struct making *making, MDB_txn *txn, const struct pnc_search *search,
                          enum rule rule)
{
    char found[PNC_CACHE_FOUND_MAX][PNC_ID_CAP];
    size_t count;
    struct pnc_moment asked, parts[PNC_CLASSES];
    struct pnc_record record;
    unsigned old;
    if (!pnc_cache_found(making->remote->cache, txn, search->by, search->key, found, &count,
                         &asked)) {
        return false;
    }
    int64_t age = pnc_age_ms(&asked, &making->now);
    /* Whom a key has led to may be shown for longer; that it leads to nobody may not. */
    int64_t limit =
        rule == STALE && count > 0 && making->remote->stale_ms > making->remote->shortest_ms
            ? making->remote->stale_ms
            : making->remote->shortest_ms;
    if (age >= limit) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!cached_record(making, txn, search, found[i], rule, &record, parts, &old)) {
            return false;
        }
        if (old != 0) {
            pnc_record_release(&record);
            return false;
        }
    }
    show_age(making, age);
    return true;
}

/* Answers from the cache what the database did not. */
static bool fall_back(struct making *making, MDB_txn *txn, const struct pnc_search *search)
{
    struct pnc_record record;
    struct pnc_moment asked[PNC_CLASSES];
    unsigned old = 0;
    if (search->by != PNC_BY_PNCID) {
        return cached_people(making, txn, search, STALE);
    }
    if (!cached_record(making, txn, search, search->key, STALE, &record, asked, &old)) {
        return cached_people(making, txn, search, FRESH); /* that nobody has it */
    }
    if (old != 0) {
        pnc_record_release(&record);
    }
    return old == 0;
}

/* ------------------------------------------------------------------ the answer */

/* Shows a record, and leaves its bytes for the cache. false: out of memory. */
static bool show_record(struct making *making, const struct pnc_search *search,
                        struct pnc_record *record)
{
    struct pnc_candidate *to = pnc_lookup_take(making->lookup, search, record->pncid);
    if (to == NULL) {
        return true;
    }
    to->record = *record;
    record->msg = (struct whorl_msg){0};
    record->bytes = malloc(record->len);
    if (record->bytes == NULL) {
        return false;
    }
    memcpy(record->bytes, to->record.bytes, record->len);
    return true;
}

/* Takes what the database said, and passes it on to the cache. */
static void take_news(struct making *making, struct part *part)
{
    struct pnc_news *news = part->question.news;
    int64_t oldest;
    bool whole = true;
    too_old(making, news->asked, FRESH, &oldest);
    show_age(making, oldest);
    for (size_t i = 0; i < news->count; i++) {
        whole = show_record(making, part->search, &news->records[i]) && whole;
    }
    part->question.news = NULL;
    if (whole) {
        pnc_keeper_give(making->remote->keeper, news);
    } else {
        pnc_news_free(news);
    }
}

static bool take_silence(struct making *making, const struct part *part, struct whorl_fault *fault)
{
    struct pnc_cache *cache = making->remote->cache;
    MDB_txn *txn = pnc_cache_read(cache, fault);
    if (txn == NULL) {
        return false;
    }
    bool ok = fall_back(making, txn, part->search);
    pnc_cache_done(cache, txn);
    if (!ok) {
        *fault = part->question.fault;
    }
    return ok;
}

static bool take_part(struct making *making, struct part *part, struct whorl_fault *fault)
{
    switch (part->question.outcome) {
    case PNC_ANSWERED:
        take_news(making, part);
        return true;
    case PNC_SILENT:
        return take_silence(making, part, fault);
    default:
        *fault = part->question.fault;
        return false;
    }
}

/* Answers a look-up all of whose parts are answered, and frees it. */
static void complete(struct making *making)
{
    struct pnc_lookup *lookup = making->lookup;
    struct whorl_fault fault = {{0}, {0}};
    bool ok = true;
    struct pnc_moment before = making->now;
    making->now = pnc_cache_now(making->remote->cache);
    if (making->age_ms > 0) { /* what the cache gave has aged while the database was waited for */
        making->age_ms += pnc_age_ms(&before, &making->now);
    }
    if (making->count > 0 && lookup->host->cancelled(lookup->host, lookup->call)) {
        ok = whorl_fail(&fault, "", "the look-up was given up");
    }
    for (size_t i = 0; ok && i < making->count; i++) {
        ok = take_part(making, &making->parts[i], &fault);
    }
    for (size_t i = 0; i < making->count; i++) {
        pnc_news_free(making->parts[i].question.news);
    }
    if (ok) {
        pnc_lookup_answer(lookup, making->age_ms / 1000);
    } else {
        pnc_lookup_fail(lookup, &fault);
    }
    free(making);
}

/* The database's thread. */
static void answered(struct pnc_question *question)
{
    struct part *part = question->arg;
    if (--part->making->open == 0) {
        complete(part->making);
    }
}

static bool unwanted(const struct pnc_question *question)
{
    const struct part *part = question->arg;
    const struct pnc_lookup *lookup = part->making->lookup;
    return lookup->host->cancelled(lookup->host, lookup->call);
}

/* ------------------------------------------------------------------ looking up */

static int64_t until_of(const struct pnc_lookup *lookup)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t wait = lookup->deadline_ms -
                   (lookup->deadline_ms > 2 * MARGIN_MS ? MARGIN_MS : lookup->deadline_ms / 2);
    if (lookup->deadline_ms == 0 || wait > WAIT_MS) {
        wait = WAIT_MS;
    }
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + wait;
}

/* Adds a question for what the cache can't answer. */
static struct pnc_question *add_part(struct making *making, const struct pnc_search *search)
{
    struct part *part = &making->parts[making->count++];
    part->making = making;
    part->search = search;
    part->question.by = search->by;
    memcpy(part->question.key, search->key, sizeof(part->question.key));
    part->question.classes = PNC_ALL_CLASSES;
    part->question.unwanted = unwanted;
    part->question.answered = answered;
    part->question.arg = part;
    return &part->question;
}

/* Answers one search from the cache, or makes a question of it. */
static void look_up_one(struct making *making, MDB_txn *txn, const struct pnc_search *search)
{
    struct pnc_record record;
    struct pnc_moment asked[PNC_CLASSES];
    unsigned old = 0;
    if (search->by != PNC_BY_PNCID ||
        !cached_record(making, txn, search, search->key, FRESH, &record, asked, &old)) {
        if (!cached_people(making, txn, search, FRESH)) {
            add_part(making, search);
        }
    } else if (old == PNC_ALL_CLASSES) {
        pnc_record_release(&record);
        add_part(making, search);
    } else if (old != 0) {
        struct pnc_question *question = add_part(making, search);
        question->classes = old;
        question->base = record;
        memcpy(question->asked, asked, sizeof(asked));
    }
}

static void ask(struct making *making)
{
    struct pnc_question *first = NULL;
    int64_t until = until_of(making->lookup);
    making->open = making->count;
    for (size_t i = making->count; i > 0; i--) {
        struct pnc_question *question = &making->parts[i - 1].question;
        question->until_ms = until;
        question->next = first;
        first = question;
    }
    pnc_database_ask(making->remote->database, first);
}

void pnc_remote_look_up(struct pnc_remote *remote, struct pnc_lookup *lookup)
{
    struct whorl_fault fault = {{0}, {0}};
    struct making *making = calloc(1, sizeof(*making) + lookup->count * sizeof(making->parts[0]));
    if (making == NULL) {
        whorl_fail(&fault, "", "out of memory");
        pnc_lookup_fail(lookup, &fault);
        return;
    }
    making->remote = remote;
    making->lookup = lookup;
    making->now = pnc_cache_now(remote->cache);
    MDB_txn *txn = pnc_cache_read(remote->cache, &fault);
    for (size_t i = 0; i < lookup->count; i++) {
        if (txn != NULL) {
            look_up_one(making, txn, &lookup->searches[i]);
        } else { /* the cache can't be read: it is a copy, and the database has it all */
            add_part(making, &lookup->searches[i]);
        }
    }
    if (txn != NULL) {
        pnc_cache_done(remote->cache, txn);
    }
    if (making->count > 0) {
        ask(making);
    } else {
        complete(making);
    }
}
