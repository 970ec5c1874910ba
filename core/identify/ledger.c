#include "core/identify/ledger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/identify/ledger_entry.h"
#include "whorl/msg.h"
#include "whorl/secret.h"
#include "whorl/store.h"

#define LEDGER_KIND "whorl-requests"
#define LEDGER_VERSION 1u
#define LEDGER_GROUP_MAX 1024u /* entries in one commit */
#define LEDGER_KEY_MAX (REGISTRY_DEVICE_MAX + 1 + 64)

struct pending {
    struct ledger_entry entry;
    void (*done)(void *ctx, bool stored, const struct whorl_fault *fault);
    void *ctx;
    struct pending *next;
};

/* transactions: UUID (its first bytes are the time) -> map; requests: device NUL request id ->
 * UUID. One commit is under way at a time; what comes meanwhile shares the next. */
struct ledger {
    uv_loop_t *loop;
    struct whorl_store *store;
    MDB_dbi transactions, requests;
    struct pending *head, *tail; /* waiting */
    struct pending *group;       /* being written */
    size_t group_count;
    bool stored; /* of the group, set by the worker */
    struct whorl_fault fault;
    uv_work_t work;
};

struct ledger *ledger_open(uv_loop_t *loop, const char *data_dir, struct whorl_fault *fault)
{
    char dir[4096];
    int n = snprintf(dir, sizeof dir, "%s/requests", data_dir);
    struct ledger *ledger = calloc(1, sizeof *ledger);
    if (n < 0 || (size_t)n >= sizeof dir || ledger == NULL) {
        free(ledger);
        whorl_fail(fault, "data_dir", ledger == NULL ? "out of memory" : "the path is too long");
        return NULL;
    }
    ledger->loop = loop;
    ledger->work.data = ledger;
    ledger->store = whorl_store_open(dir, WHORL_STORE_WRITE, 2, LEDGER_KIND, LEDGER_VERSION, fault);
    if (ledger->store == NULL ||
        !whorl_store_db(ledger->store, "transactions", MDB_CREATE, &ledger->transactions, fault) ||
        !whorl_store_db(ledger->store, "requests", MDB_CREATE, &ledger->requests, fault)) {
        ledger_close(ledger);
        return NULL;
    }
    return ledger;
}

void ledger_close(struct ledger *ledger)
{
    if (ledger == NULL) {
        return;
    }
    if (ledger->store != NULL) {
        whorl_store_close(ledger->store);
    }
    free(ledger);
}

static size_t request_key(const char *device, const char *request_id, char key[LEDGER_KEY_MAX])
{
    size_t device_len = strlen(device);
    size_t id_len = strlen(request_id);
    memcpy(key, device, device_len);
    key[device_len] = '\0';
    memcpy(key + device_len + 1, request_id, id_len);
    return device_len + 1 + id_len;
}

static void uuid_text(const uint8_t bytes[16], char text[STAMP_UUID_LEN + 1])
{
    char *at = text;
    for (int i = 0; i < 16; i++) {
        at += sprintf(at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", bytes[i]);
    }
}

static enum registry_found fetch(struct ledger *ledger, MDB_txn *txn, MDB_val *uuid,
                                 struct ledger_entry *out, struct whorl_fault *fault)
{
    MDB_val value;
    int code = mdb_get(txn, ledger->transactions, uuid, &value);
    if (code == MDB_NOTFOUND) {
        return REGISTRY_ABSENT;
    }
    if (code != 0 || uuid->mv_size != 16) {
        whorl_fail(fault, "requests", "cannot be read: %s",
                   code != 0 ? mdb_strerror(code) : "a damaged key");
        return REGISTRY_FAILED;
    }
    char text[STAMP_UUID_LEN + 1];
    uuid_text(uuid->mv_data, text);
    return ledger_entry_read(&value, text, out, fault) ? REGISTRY_PRESENT : REGISTRY_FAILED;
}

enum registry_found ledger_by_transaction(struct ledger *ledger, const char *transaction,
                                          struct ledger_entry *out, struct whorl_fault *fault)
{
    uint8_t bytes[16];
    if (!stamp_uuid_bytes(transaction, bytes)) {
        return REGISTRY_ABSENT;
    }
    MDB_txn *txn = whorl_store_read(ledger->store, fault);
    if (txn == NULL) {
        return REGISTRY_FAILED;
    }
    MDB_val uuid = {.mv_size = sizeof bytes, .mv_data = bytes};
    enum registry_found found = fetch(ledger, txn, &uuid, out, fault);
    whorl_store_done(ledger->store, txn);
    return found;
}

enum registry_found ledger_by_request(struct ledger *ledger, const char *device,
                                      const char *request_id, struct ledger_entry *out,
                                      struct whorl_fault *fault)
{
    MDB_txn *txn = whorl_store_read(ledger->store, fault);
    if (txn == NULL) {
        return REGISTRY_FAILED;
    }
    char bytes[LEDGER_KEY_MAX];
    MDB_val key = {.mv_size = request_key(device, request_id, bytes), .mv_data = bytes};
    MDB_val uuid;
    int code = mdb_get(txn, ledger->requests, &key, &uuid);
    enum registry_found found = REGISTRY_ABSENT;
    if (code == 0) {
        found = fetch(ledger, txn, &uuid, out, fault);
    } else if (code != MDB_NOTFOUND) {
        whorl_fail(fault, "requests", "cannot be read: %s", mdb_strerror(code));
        found = REGISTRY_FAILED;
    }
    whorl_store_done(ledger->store, txn);
    return found;
}

/* Deletes up to `most` entries that are past their time: they are the first, in order of UUID. */
static int forget(struct ledger *ledger, MDB_txn *txn, size_t most)
{
    int64_t horizon = stamp_now() - (int64_t)LEDGER_DAYS * 86400 * 1000;
    for (size_t n = 0; n < most; n++) {
        MDB_cursor *cursor;
        int code = mdb_cursor_open(txn, ledger->transactions, &cursor);
        if (code != 0) {
            return code;
        }
        MDB_val uuid;
        MDB_val value;
        code = mdb_cursor_get(cursor, &uuid, &value, MDB_FIRST);
        int64_t time = 0;
        for (size_t i = 0; code == 0 && i < 6 && i < uuid.mv_size; i++) {
            time = time << 8 | ((const uint8_t *)uuid.mv_data)[i];
        }
        struct ledger_entry entry;
        if (code == 0 && time < horizon) {
            struct whorl_fault ignored;
            if (ledger_entry_read(&value, "past its time", &entry, &ignored)) {
                char bytes[LEDGER_KEY_MAX];
                MDB_val key = {.mv_size = request_key(entry.device, entry.request_id, bytes),
                               .mv_data = bytes};
                code = mdb_del(txn, ledger->requests, &key, NULL);
                code = code == MDB_NOTFOUND ? 0 : code;
            }
            code = code == 0 ? mdb_cursor_del(cursor, 0) : code;
        } else {
            most = n;
        }
        mdb_cursor_close(cursor);
        if (code != 0 && code != MDB_NOTFOUND) {
            return code;
        }
    }
    return 0;
}

static int write_group(MDB_txn *txn, void *arg)
{
    struct ledger *ledger = arg;
    int code = forget(ledger, txn, 2 * ledger->group_count);
    for (struct pending *p = ledger->group; p != NULL && code == 0; p = p->next) {
        uint8_t uuid[16];
        char bytes[LEDGER_KEY_MAX];
        if (!stamp_uuid_bytes(p->entry.transaction, uuid)) {
            return EINVAL;
        }
        msgpack_sbuffer packed;
        msgpack_sbuffer_init(&packed);
        ledger_entry_pack(&p->entry, &packed);
        MDB_val id = {.mv_size = sizeof uuid, .mv_data = uuid};
        MDB_val value = {.mv_size = packed.size, .mv_data = packed.data};
        MDB_val key = {.mv_size = request_key(p->entry.device, p->entry.request_id, bytes),
                       .mv_data = bytes};
        code = packed.size > 0 ? mdb_put(txn, ledger->transactions, &id, &value, 0) : ENOMEM;
        code = code == 0 ? mdb_put(txn, ledger->requests, &key, &id, 0) : code;
        msgpack_sbuffer_destroy(&packed);
    }
    return code;
}

static void work(uv_work_t *req)
{
    struct ledger *ledger = req->data;
    ledger->stored = whorl_store_write(ledger->store, write_group, ledger, &ledger->fault);
}

static void next_group(struct ledger *ledger);

static void worked(uv_work_t *req, int status)
{
    struct ledger *ledger = req->data;
    struct pending *group = ledger->group;
    bool stored = status == 0 && ledger->stored;
    struct whorl_fault fault = ledger->fault;
    ledger->group = NULL;
    next_group(ledger);
    while (group != NULL) {
        struct pending *next = group->next;
        group->done(group->ctx, stored, &fault);
        free(group);
        group = next;
    }
}

static void next_group(struct ledger *ledger)
{
    if (ledger->group != NULL || ledger->head == NULL) {
        return;
    }
    struct pending *last = ledger->head;
    ledger->group = ledger->head;
    ledger->group_count = 1;
    while (last->next != NULL && ledger->group_count < LEDGER_GROUP_MAX) {
        last = last->next;
        ledger->group_count++;
    }
    ledger->head = last->next;
    ledger->tail = ledger->head == NULL ? NULL : ledger->tail;
    last->next = NULL;
    ledger->fault = (struct whorl_fault){0};
    /* The first work starts libuv's threads, and a new thread begins with a copy of this one's
     * vector registers: most of those threads would sleep for ever with what is in them now. */
    whorl_secret_forget();
    uv_queue_work(ledger->loop, &ledger->work, work, worked);
}

void ledger_add(struct ledger *ledger, const struct ledger_entry *entry,
                void (*done)(void *ctx, bool stored, const struct whorl_fault *fault), void *ctx)
{
    struct pending *p = calloc(1, sizeof *p);
    if (p == NULL) {
        struct whorl_fault fault = {.text = "out of memory"};
        done(ctx, false, &fault);
        return;
    }
    *p = (struct pending){.entry = *entry, .done = done, .ctx = ctx};
    if (ledger->tail == NULL) {
        ledger->head = p;
    } else {
        ledger->tail->next = p;
    }
    ledger->tail = p;
    next_group(ledger);
}
