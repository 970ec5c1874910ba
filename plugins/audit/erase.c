/* Erasing records at the end of their retention: salt and record go, commitment and chain stay. */
#include <errno.h>
#include <string.h>

#include "plugins/audit/entry.h"
#include "whorl/msg.h"

#define BATCH 1024u /* entries looked at in one transaction */

struct erasing {
    MDB_dbi entries, state;
    bool (*due)(void *ctx, uint64_t position, const struct audit_record *record);
    void *ctx;
    uint64_t from; /* the first entry of the transaction */
    uint64_t count, erased;
};

/* Replaces one entry by its erased form if it is due. */
static int erase_one(MDB_txn *txn, struct erasing *erasing, uint64_t position)
{
    struct audit_entry entry;
    uint8_t rest[AUDIT_ENTRY_FIXED];
    MDB_val key = {.mv_size = sizeof(position), .mv_data = &position}, value;
    int rc = mdb_get(txn, erasing->entries, &key, &value);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
    if (!audit_entry_read(value.mv_data, value.mv_size, &entry))
        return MDB_CORRUPTED;
    struct audit_record record = {.bytes = entry.record, .len = entry.record_len};
    if (entry.form == AUDIT_ERASED || !erasing->due(erasing->ctx, position, &record))
        return 0;
    memcpy(rest, value.mv_data, sizeof(rest));
    rest[0] = AUDIT_ERASED;
    value = (MDB_val){.mv_size = sizeof(rest), .mv_data = rest};
    rc = mdb_put(txn, erasing->entries, &key, &value, 0);
    erasing->erased += rc == 0;
    return rc;
}

/* In a write transaction; may run again from its start. */
static int erase_batch(MDB_txn *txn, void *arg)
{
    struct erasing *erasing = arg;
    struct audit_head head;
    erasing->erased = 0;
    int rc = audit_head_get(txn, erasing->state, &head);
    erasing->count = rc == 0 ? head.count : 0;
    for (uint64_t i = erasing->from; rc == 0 && i < head.count && i - erasing->from < BATCH; i++)
        rc = erase_one(txn, erasing, i);
    return rc;
}

static bool erase_all(struct whorl_store *store, struct erasing *erasing, uint64_t *erased,
                      struct whorl_fault *fault)
{
    struct whorl_store_erased wiped;
    do {
        if (!whorl_store_write(store, erase_batch, erasing, fault))
            return false;
        *erased += erasing->erased;
        erasing->from += BATCH;
    } while (erasing->from < erasing->count);
    return whorl_store_erase(store, &wiped, fault);
}

bool audit_erase(const char *dir,
                 bool (*due)(void *ctx, uint64_t position, const struct audit_record *record),
                 void *ctx, uint64_t *erased, struct whorl_fault *fault)
{
    struct erasing erasing = {.due = due, .ctx = ctx};
    *erased = 0;
    struct whorl_store *store =
        whorl_store_open(dir, WHORL_STORE_WRITE, AUDIT_DBS, AUDIT_KIND, AUDIT_VERSION, fault);
    bool ok = store != NULL &&
              whorl_store_db(store, AUDIT_ENTRIES, MDB_INTEGERKEY, &erasing.entries, fault) &&
              whorl_store_db(store, AUDIT_STATE, 0, &erasing.state, fault) &&
              erase_all(store, &erasing, erased, fault);
    whorl_store_close(store);
    return ok;
}
