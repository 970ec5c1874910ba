/* PNC records in LMDB. */
#include "plugins/pnc/people.h"

#include <stdlib.h>
#include <string.h>

#define KIND "whorl-pnc"
#define VERSION 1u

struct pnc_people {
    struct whorl_store *store;
    MDB_dbi people, cro, names;
};

struct pnc_people *pnc_people_open(const char *dir, enum whorl_store_mode mode,
                                   struct whorl_fault *fault)
{
    struct pnc_people *people = calloc(1, sizeof(*people));
    if (people == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    people->store = whorl_store_open(dir, mode, 3, KIND, VERSION, fault);
    if (people->store != NULL &&
        whorl_store_db(people->store, "people", 0, &people->people, fault) &&
        whorl_store_db(people->store, "cro", MDB_DUPSORT, &people->cro, fault) &&
        whorl_store_db(people->store, "names", MDB_DUPSORT, &people->names, fault)) {
        return people;
    }
    pnc_people_close(people);
    return NULL;
}

void pnc_people_close(struct pnc_people *people)
{
    if (people == NULL) {
        return;
    }
    whorl_store_close(people->store);
    free(people);
}

static MDB_val text_val(const char *text)
{
    return (MDB_val){.mv_size = strlen(text), .mv_data = (void *)(uintptr_t)text};
}

/* ------------------------------------------------------------------ indexes */

struct indexing {
    const struct pnc_people *people;
    MDB_txn *txn;
    const char *pncid;
    bool adding; /* else removing */
};

static int index_one(const struct indexing *to, MDB_dbi dbi, const char *key_text)
{
    MDB_val key = text_val(key_text), value = text_val(to->pncid);
    int rc = to->adding ? mdb_put(to->txn, dbi, &key, &value, MDB_NODUPDATA)
                        : mdb_del(to->txn, dbi, &key, &value);
    /* Two names of one person may have the same key. */
    return rc == MDB_KEYEXIST || (rc == MDB_NOTFOUND && !to->adding) ? 0 : rc;
}

static int index_key(void *arg, enum pnc_key by, const char *key)
{
    const struct indexing *to = arg;
    return by == PNC_BY_PNCID
               ? 0
               : index_one(to, by == PNC_BY_CRO ? to->people->cro : to->people->names, key);
}

static int index_record(struct indexing *to, const struct pnc_record *record)
{
    return pnc_record_keys(record, index_key, to);
}

/* ------------------------------------------------------------------ writing */

struct putting {
    const struct pnc_people *people;
    const struct pnc_record *records;
    size_t count;
    enum pnc_put *done;
};

static bool same_bytes(const MDB_val *old, const struct pnc_record *record)
{
    return old->mv_size == record->len && memcmp(old->mv_data, record->bytes, record->len) == 0;
}

static int put_one(MDB_txn *txn, const struct pnc_people *people, const struct pnc_record *record,
                   enum pnc_put *done)
{
    MDB_val key = text_val(record->pncid), old,
            value = {.mv_size = record->len, .mv_data = record->bytes};
    struct indexing to = {.people = people, .txn = txn, .pncid = record->pncid};
    struct pnc_record before;
    struct whorl_fault fault;
    int rc = mdb_get(txn, people->people, &key, &old);
    *done = rc == 0 ? PNC_REPLACED : PNC_ADDED;
    if (rc == 0 && same_bytes(&old, record)) {
        *done = PNC_UNCHANGED;
        return 0;
    }
    if (rc == 0) {
        if (!pnc_record_from_bytes(old.mv_data, old.mv_size, &before, &fault)) {
            return MDB_CORRUPTED;
        }
        rc = index_record(&to, &before);
        pnc_record_release(&before);
    } else if (rc == MDB_NOTFOUND) {
        rc = 0;
    }
    to.adding = true;
    if (rc == 0) {
        rc = mdb_put(txn, people->people, &key, &value, 0);
    }
    return rc == 0 ? index_record(&to, record) : rc;
}

static int put_all(MDB_txn *txn, void *arg)
{
    struct putting *work = arg;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < work->count; i++) {
        rc = put_one(txn, work->people, &work->records[i], &work->done[i]);
    }
    return rc;
}

bool pnc_people_put(struct pnc_people *people, const struct pnc_record *records, size_t count,
                    enum pnc_put *done, struct whorl_fault *fault)
{
    struct putting work = {.people = people, .records = records, .count = count, .done = done};
    return whorl_store_write(people->store, put_all, &work, fault);
}

/* ------------------------------------------------------------------ reading */

static bool unreadable(int rc, struct whorl_fault *fault)
{
    return whorl_fail(fault, "", "the PNC records could not be read: %s", mdb_strerror(rc));
}

/* The store's record of a PNCID, or the last one before `count` that has it too. */
static int before(struct pnc_people *people, MDB_txn *txn, const struct pnc_record *records,
                  size_t count, MDB_val *old)
{
    MDB_val key = text_val(records[count].pncid);
    for (size_t i = count; i > 0; i--) {
        if (strcmp(records[i - 1].pncid, records[count].pncid) == 0) {
            *old = (MDB_val){.mv_size = records[i - 1].len, .mv_data = records[i - 1].bytes};
            return 0;
        }
    }
    return mdb_get(txn, people->people, &key, old);
}

bool pnc_people_compare(struct pnc_people *people, const struct pnc_record *records, size_t count,
                        enum pnc_put *done, struct whorl_fault *fault)
{
    MDB_txn *txn = pnc_people_read(people, fault);
    int rc = 0;
    if (txn == NULL) {
        return false;
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        MDB_val old;
        rc = before(people, txn, records, i, &old);
        done[i] = rc == MDB_NOTFOUND                         ? PNC_ADDED
                  : rc == 0 && same_bytes(&old, &records[i]) ? PNC_UNCHANGED
                                                             : PNC_REPLACED;
        rc = rc == MDB_NOTFOUND ? 0 : rc;
    }
    pnc_people_done(people, txn);
    return rc == 0 || unreadable(rc, fault);
}

MDB_txn *pnc_people_read(struct pnc_people *people, struct whorl_fault *fault)
{
    return whorl_store_read(people->store, fault);
}

void pnc_people_done(struct pnc_people *people, MDB_txn *txn)
{
    whorl_store_done(people->store, txn);
}

bool pnc_people_count(struct pnc_people *people, MDB_txn *txn, uint64_t *count,
                      struct whorl_fault *fault)
{
    MDB_stat stat;
    int rc = mdb_stat(txn, people->people, &stat);
    if (rc != 0) {
        return unreadable(rc, fault);
    }
    *count = stat.ms_entries;
    return true;
}

/* Reads the PNCIDs under one key of an index. */
static int read_index(MDB_cursor *cursor, const char *text, char (*found)[PNC_ID_CAP], size_t max,
                      size_t *count)
{
    MDB_val key = text_val(text), value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_KEY);
    while (rc == 0 && *count < max) {
        if (value.mv_size >= PNC_ID_CAP) {
            return MDB_CORRUPTED;
        }
        memcpy(found[*count], value.mv_data, value.mv_size);
        found[(*count)++][value.mv_size] = '\0';
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT_DUP);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

bool pnc_people_find(struct pnc_people *people, MDB_txn *txn, enum pnc_key by, const char *text,
                     char (*found)[PNC_ID_CAP], size_t max, size_t *count,
                     struct whorl_fault *fault)
{
    MDB_cursor *cursor;
    MDB_val key = text_val(text), value;
    int rc;
    *count = 0;
    if (by == PNC_BY_PNCID) {
        rc = max > 0 ? mdb_get(txn, people->people, &key, &value) : MDB_NOTFOUND;
        if (rc == 0) {
            snprintf(found[(*count)++], PNC_ID_CAP, "%s", text);
        }
        return rc == 0 || rc == MDB_NOTFOUND || unreadable(rc, fault);
    }
    rc = mdb_cursor_open(txn, by == PNC_BY_CRO ? people->cro : people->names, &cursor);
    if (rc == 0) {
        rc = read_index(cursor, text, found, max, count);
        mdb_cursor_close(cursor);
    }
    return rc == 0 || unreadable(rc, fault);
}

bool pnc_people_get(struct pnc_people *people, MDB_txn *txn, const char *pncid,
                    struct pnc_record *record, struct whorl_fault *fault)
{
    MDB_val key = text_val(pncid), value;
    struct whorl_fault bad;
    int rc = mdb_get(txn, people->people, &key, &value);
    if (rc != 0) {
        return unreadable(rc, fault);
    }
    if (!pnc_record_from_bytes(value.mv_data, value.mv_size, record, &bad)) {
        return whorl_fail(fault, "", "a stored PNC record is malformed: %s %s", bad.where,
                          bad.text);
    }
    if (strcmp(record->pncid, pncid) == 0) {
        return true;
    }
    pnc_record_release(record);
    return whorl_fail(fault, "", "a stored PNC record stands under another PNCID");
}
