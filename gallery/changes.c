#include "changes.h"

#include <errno.h>
#include <stdlib.h>

#include "bytes.h"

#define KEPT_LEAST 1000u /* changes ... */
#define KEPT_SHARE 4u    /* ... and one for so many people ... */
#define KEPT_MOST 65536u /* ... at most; those of a longer log are as soon read from the index */
#define HEAD 8u
#define CHANGE 6u /* bytes */

bool changes_note(struct changes *changes, uint64_t stamp, uint32_t block, uint16_t place)
{
    if (changes->count == changes->room) {
        const size_t room = changes->room > 0 ? 2 * changes->room : 256;
        struct change *list = realloc(changes->list, room * sizeof *list);
        if (!list) {
            return false;
        }
        changes->list = list;
        changes->room = room;
    }
    changes->list[changes->count++] = (struct change){stamp, block, place};
    return true;
}

void changes_free(struct changes *changes)
{
    free(changes->list);
    *changes = (struct changes){0};
}

/* ------------------------------------------------------------------ writing */

/* A record's parts. MDB_CORRUPTED: it has an impossible form. */
static int decode(const MDB_val *key, const MDB_val *value, uint64_t *stamp, uint64_t *before,
                  size_t *count)
{
    if (key->mv_size != sizeof *stamp || value->mv_size < HEAD ||
        (value->mv_size - HEAD) % CHANGE != 0) {
        return MDB_CORRUPTED;
    }
    memcpy(stamp, key->mv_data, sizeof *stamp);
    *before = get64(value->mv_data);
    *count = (value->mv_size - HEAD) / CHANGE;
    return 0;
}

/* How many changes were ever noted. What cannot be read is begun anew. */
static int count_noted(const struct gallery *gallery, MDB_txn *txn, MDB_cursor *cursor,
                       uint64_t *noted)
{
    MDB_val key, value;
    uint64_t stamp;
    size_t count;
    *noted = 0;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    if (rc == 0) {
        rc = decode(&key, &value, &stamp, noted, &count);
    }
    if (rc == MDB_CORRUPTED) {
        return mdb_drop(txn, gallery->changes, 0);
    }
    *noted += rc == 0 ? count : 0;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Drops records of changes before the `from`-th. */
static int drop_old(MDB_cursor *cursor, uint64_t from)
{
    MDB_val key, value;
    uint64_t stamp, before;
    size_t count;
    int rc;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST)) == 0 &&
           (rc = decode(&key, &value, &stamp, &before, &count)) == 0 && before + count <= from &&
           (rc = mdb_cursor_del(cursor, 0)) == 0) {
    }
    return rc == MDB_NOTFOUND || rc == MDB_CORRUPTED ? 0 : rc;
}

static int put(MDB_cursor *cursor, uint64_t stamp, uint64_t before, const struct changes *changes)
{
    MDB_val key = {sizeof stamp, &stamp}, value = {HEAD + CHANGE * changes->count, NULL};
    int rc = mdb_cursor_put(cursor, &key, &value, MDB_RESERVE);
    if (rc != 0) {
        return rc;
    }
    uint8_t *to = value.mv_data;
    put64(to, before);
    to += HEAD;
    for (size_t i = 0; i < changes->count; i++, to += CHANGE) {
        put32(to, changes->list[i].block);
        put16(to + 4, changes->list[i].place);
    }
    return 0;
}

int changes_write(const struct gallery *gallery, MDB_txn *txn, uint64_t stamp, uint64_t people,
                  const struct changes *changes)
{
    uint64_t kept = KEPT_LEAST + people / KEPT_SHARE, noted;
    MDB_cursor *cursor;
    kept = kept < KEPT_MOST ? kept : KEPT_MOST;
    if (changes->count > kept) { /* nobody follows that */
        return mdb_drop(txn, gallery->changes, 0);
    }
    int rc = mdb_cursor_open(txn, gallery->changes, &cursor);
    if (rc != 0) {
        return rc;
    }
    rc = count_noted(gallery, txn, cursor, &noted);
    if (rc == 0) {
        rc = put(cursor, stamp, noted, changes);
    }
    noted += changes->count;
    if (rc == 0 && noted > kept) {
        rc = drop_old(cursor, noted - kept);
    }
    mdb_cursor_close(cursor);
    return rc;
}

/* ------------------------------------------------------------------ reading */

static int in_order(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    if (x->block != y->block) {
        return x->block < y->block ? -1 : 1;
    }
    if (x->place != y->place) {
        return x->place < y->place ? -1 : 1;
    }
    return x->stamp < y->stamp ? -1 : x->stamp > y->stamp;
}

int changes_decode(const MDB_val *key, const MDB_val *value, uint64_t wanted, size_t most,
                   struct changes *changes)
{
    uint64_t stamp, before;
    size_t count;
    const int rc = decode(key, value, &stamp, &before, &count);
    if (rc != 0) {
        return rc;
    }
    if (stamp != wanted || count > most || changes->count > most - count) {
        return MDB_NOTFOUND;
    }
    const uint8_t *at = (const uint8_t *)value->mv_data + HEAD;
    for (size_t i = 0; i < count; i++, at += CHANGE) {
        if (!changes_note(changes, stamp, get32(at), get16(at + 4))) {
            return ENOMEM;
        }
    }
    return 0;
}

static int read_all(MDB_cursor *cursor, uint64_t since, uint64_t until, size_t most,
                    struct changes *changes)
{
    uint64_t wanted = since + 1;
    MDB_val key = {sizeof wanted, &wanted}, value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_KEY);
    while (rc == 0 && (rc = changes_decode(&key, &value, wanted, most, changes)) == 0 &&
           wanted++ != until) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    return rc;
}

int changes_read(const struct gallery *gallery, MDB_txn *txn, uint64_t since, uint64_t until,
                 size_t most, struct changes *changes)
{
    MDB_cursor *cursor;
    changes->count = 0;
    if (!gallery->has_changes || since >= until) {
        return MDB_NOTFOUND;
    }
    int rc = mdb_cursor_open(txn, gallery->changes, &cursor);
    if (rc == 0) {
        rc = read_all(cursor, since, until, most, changes);
        mdb_cursor_close(cursor);
    }
    if (rc == 0 && changes->count > 0) {
        qsort(changes->list, changes->count, sizeof *changes->list, in_order);
    }
    return rc;
}
