/* The audit backend: calls wait in a queue, one thread writes all that wait in one transaction, and
 * each is answered once that transaction is durable. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/audit/note.h"
#include "whorl/answer.h"
#include "whorl/msg.h"

#define CALL_RECORDS_MAX 1000u
#define GROUP_RECORDS 1024u            /* records that share a transaction, the last call's extra */
#define GROUP_BYTES ((size_t)16 << 20) /* the same for their bytes */
#define REASON_MAX 400u
#define CHECKPOINT_MS 750 /* under load; with the time that it takes, less than a second */
#define LULL_MS 20        /* without a call, after which there is time for a checkpoint */
#define FOREVER (-1)

/* A call that waits for its turn. */
struct waiting {
    struct waiting *next;
    uint64_t call;
    const uint8_t *message; /* the host's, until the call is completed */
    size_t len;
    size_t last; /* index in the group of its last record */
};

/* Records of several calls that go into one transaction. Writer thread only. */
struct group {
    struct waiting *first, **end;
    struct audit_record *records;
    struct audit_head *heads;
    size_t count, cap, bytes;
    msgpack_zone *zone;         /* of the message that is being parsed */
    struct whorl_answer answer; /* that is being written */
};

struct instance {
    const struct whorl_host *host;
    struct audit_log *log;
    pthread_t writer;
    pthread_mutex_t mutex; /* guards the three below */
    pthread_cond_t moved;
    struct waiting *first, **end;
    bool stopping;
    struct group group;
    bool failing; /* the last transaction failed; writer thread only */
    bool lagging; /* the last checkpoint could not be written; writer thread only */
};

/* ------------------------------------------------------------------ answers */

static void answer_stored(const struct whorl_host *host, struct group *group, uint64_t call,
                          const struct audit_head *head)
{
    msgpack_packer *pk = &group->answer.pk;
    msgpack_pack_map(pk, 3);
    whorl_put_bool(pk, "stored", true);
    whorl_put_int(pk, "position", (int64_t)(head->count - 1));
    whorl_put_bin(pk, "hash", head->hash, AUDIT_HASH);
    whorl_answer_give(&group->answer, host, call, WHORL_ROLE_SINK);
}

/* ------------------------------------------------------------------ one group */

static bool check_records(const msgpack_object_array *records, struct whorl_fault *fault)
{
    for (uint32_t i = 0; i < records->size; i++) {
        const msgpack_object *record = &records->ptr[i];
        struct whorl_fault bad = {{0}, "must be a bin"};
        if (record->type == MSGPACK_OBJECT_BIN &&
            audit_record_check((const uint8_t *)record->via.bin.ptr, record->via.bin.size, &bad)) {
            continue;
        }
        char where[32];
        snprintf(where, sizeof(where), "records[%u]", i);
        return whorl_fail(fault, where, "%s", bad.text);
    }
    return true;
}

/* Parses a call's message, into the zone, and checks every record in it. NULL with *fault. */
static const msgpack_object_array *parse(const struct waiting *waiting, msgpack_zone *zone,
                                         struct whorl_fault *fault)
{
    struct whorl_field fields[] = {
        {"op", WHORL_FIELD_STR, true, 1, 16, NULL},
        {"records", WHORL_FIELD_ARRAY, true, 1, CALL_RECORDS_MAX, NULL},
    };
    msgpack_object root;
    size_t used = 0;
    msgpack_zone_clear(zone);
    if (whorl_msg_walk(waiting->message, waiting->len, waiting->len, &used, fault) !=
        WHORL_MSG_WHOLE) {
        return NULL;
    }
    if (used != waiting->len) {
        whorl_fail(fault, "", "byte %zu: bytes are left over after the message", used);
        return NULL;
    }
    if (!whorl_msg_build(waiting->message, used, zone, &root, fault) ||
        !whorl_fields_read_lenient(&root, "", fields, 2, fault)) {
        return NULL;
    }
    if (!whorl_str_is(fields[0].value, "record")) {
        whorl_fail(fault, "op", "a sink takes \"record\" only");
        return NULL;
    }
    const msgpack_object_array *records = &fields[1].value->via.array;
    return check_records(records, fault) ? records : NULL;
}

static bool make_room(struct group *group, size_t count)
{
    if (count <= group->cap) {
        return true;
    }
    size_t cap = group->cap == 0 ? GROUP_RECORDS : group->cap;
    while (cap < count) {
        cap *= 2;
    }
    struct audit_record *records = realloc(group->records, cap * sizeof(*records));
    if (records != NULL) {
        group->records = records;
    }
    struct audit_head *heads = realloc(group->heads, cap * sizeof(*heads));
    if (heads != NULL) {
        group->heads = heads;
    }
    if (records != NULL && heads != NULL) {
        group->cap = cap;
    }
    return group->cap >= count;
}

/* Puts a call's records into the group, or answers it at once when that can't be. */
static void join(struct instance *instance, struct group *group, struct waiting *waiting)
{
    struct whorl_fault fault = {{0}, {0}};
    const msgpack_object_array *records = parse(waiting, group->zone, &fault);
    if (records != NULL && !make_room(group, group->count + records->size)) {
        whorl_fail(&fault, "", "out of memory");
        records = NULL;
    }
    if (records == NULL) {
        char reason[REASON_MAX];
        snprintf(reason, sizeof(reason), "%s%s%s", fault.where, fault.where[0] != '\0' ? ": " : "",
                 fault.text);
        whorl_answer_refuse(instance->host, waiting->call, WHORL_ROLE_SINK, reason);
        free(waiting);
        return;
    }
    for (uint32_t i = 0; i < records->size; i++) {
        const msgpack_object_bin *bin = &records->ptr[i].via.bin;
        group->records[group->count++] =
            (struct audit_record){.bytes = (const uint8_t *)bin->ptr, .len = bin->size};
        group->bytes += bin->size;
    }
    waiting->last = group->count - 1;
    *group->end = waiting;
    group->end = &waiting->next;
}

/* Says once that the log fails, and once that it works again: not for every call. */
static void tell(struct instance *instance, bool ok, const char *why)
{
    char text[REASON_MAX];
    if (instance->failing == !ok) {
        return;
    }
    instance->failing = !ok;
    snprintf(text, sizeof(text),
             ok ? "audit records are stored again"
                : "audit records can't be stored, so nothing is answered: %s",
             why);
    instance->host->log(instance->host, ok ? WHORL_LOG_INFO : WHORL_LOG_ERROR, text);
}

static void write_group(struct instance *instance, struct group *group)
{
    struct whorl_fault fault = {{0}, {0}};
    bool ok = group->count == 0 ||
              audit_log_append(instance->log, group->records, group->count, group->heads, &fault);
    if (group->count > 0) {
        tell(instance, ok, fault.text);
    }
    while (group->first != NULL) {
        struct waiting *waiting = group->first;
        group->first = waiting->next;
        if (ok) {
            answer_stored(instance->host, group, waiting->call, &group->heads[waiting->last]);
        } else {
            whorl_answer_refuse(instance->host, waiting->call, WHORL_ROLE_SINK, fault.text);
        }
        free(waiting);
    }
    group->end = &group->first;
    group->count = group->bytes = 0;
}

/* ------------------------------------------------------------------ the writer thread */

static struct waiting *take_first(struct instance *instance)
{
    struct waiting *waiting = instance->first;
    if (waiting != NULL) {
        instance->first = waiting->next;
        waiting->next = NULL;
        if (instance->first == NULL) {
            instance->end = &instance->first;
        }
    }
    return waiting;
}

static int64_t now_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000 + at.tv_nsec / 1000000;
}

/* The next call; waits for one so many milliseconds. NULL: none, or the instance stops. */
static struct waiting *next_call(struct instance *instance, int wait_ms)
{
    int64_t until = wait_ms > 0 ? now_ms() + wait_ms : 0;
    const struct timespec at = {until / 1000, until % 1000 * 1000000};
    bool wait = wait_ms != 0;
    pthread_mutex_lock(&instance->mutex);
    while (wait && instance->first == NULL && !instance->stopping) {
        wait = wait_ms == FOREVER
                   ? pthread_cond_wait(&instance->moved, &instance->mutex) == 0
                   : pthread_cond_timedwait(&instance->moved, &instance->mutex, &at) == 0;
    }
    struct waiting *waiting = take_first(instance);
    pthread_mutex_unlock(&instance->mutex);
    return waiting;
}

static bool is_stopping(struct instance *instance)
{
    pthread_mutex_lock(&instance->mutex);
    bool stopping = instance->stopping;
    pthread_mutex_unlock(&instance->mutex);
    return stopping;
}

/* Every transaction signs what it leaves; the file beside the database, which shows a rollback of
 * the database, follows when nothing has come for a moment, and at least once a second when
 * something always does. A failure is not the records': they are durable. It is said once, as its
 * end is. */
static bool write_checkpoint(struct instance *instance)
{
    struct whorl_fault fault = {{0}, {0}};
    char text[REASON_MAX];
    bool ok = audit_log_checkpoint(instance->log, &fault);
    if (instance->lagging == !ok) {
        return ok;
    }
    instance->lagging = !ok;
    snprintf(text, sizeof(text),
             ok ? "the audit log's checkpoint has caught up"
                : "the audit log's checkpoint lags behind: %s",
             fault.text);
    instance->host->log(instance->host, ok ? WHORL_LOG_INFO : WHORL_LOG_WARNING, text);
    return ok;
}

/* A checkpoint that could not be written is tried again after a while, call or not. */
static void *write_on(void *arg)
{
    struct instance *instance = arg;
    struct group *group = &instance->group;
    bool behind = false; /* the file is, since the time below or the last attempt */
    int64_t since = 0;
    for (;;) {
        int patience = instance->lagging ? CHECKPOINT_MS : LULL_MS;
        struct waiting *waiting = next_call(instance, behind ? patience : FOREVER);
        if (waiting == NULL && (!behind || is_stopping(instance))) {
            break;
        }
        while (waiting != NULL) {
            join(instance, group, waiting);
            bool full = group->count >= GROUP_RECORDS || group->bytes >= GROUP_BYTES;
            waiting = full ? NULL : next_call(instance, 0);
        }
        bool wrote = group->count > 0;
        if (wrote && !behind) {
            since = now_ms();
        }
        behind = behind || wrote;
        write_group(instance, group);
        if (behind && (!wrote || now_ms() - since >= CHECKPOINT_MS)) {
            behind = !write_checkpoint(instance);
            since = now_ms();
        }
    }
    if (behind) {
        write_checkpoint(instance);
    }
    return NULL;
}

/* ------------------------------------------------------------------ the instance */

static int check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    if (audit_origin_valid(settings->string(settings, NULL, "origin"))) {
        return 0;
    }
    whorl_fail(fault, "origin", "must be printable ASCII without spaces and +");
    return -1;
}

static void release(struct instance *instance)
{
    audit_log_close(instance->log);
    if (instance->group.zone != NULL) {
        msgpack_zone_free(instance->group.zone);
    }
    whorl_answer_drop(&instance->group.answer);
    free(instance->group.records);
    free(instance->group.heads);
    pthread_cond_destroy(&instance->moved);
    pthread_mutex_destroy(&instance->mutex);
    free(instance);
}

static int start(const struct whorl_host *host, void **out, struct whorl_fault *fault)
{
    struct instance *instance = calloc(1, sizeof(*instance));
    if (instance == NULL) {
        whorl_fail(fault, "", "out of memory");
        return -1;
    }
    instance->host = host;
    instance->end = &instance->first;
    instance->group.end = &instance->group.first;
    whorl_answer_begin(&instance->group.answer);
    pthread_mutex_init(&instance->mutex, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&instance->moved, &clock);
    pthread_condattr_destroy(&clock);
    const struct whorl_settings *settings = host->settings;
    const char *key = settings->string(settings, NULL, "key");
    instance->group.zone = msgpack_zone_new(MSGPACK_ZONE_CHUNK_SIZE);
    if (instance->group.zone == NULL) {
        whorl_fail(fault, "", "out of memory");
    } else {
        instance->log = audit_log_open(host->data_dir, settings->string(settings, NULL, "origin"),
                                       key[0] != '\0' ? key : NULL, fault);
    }
    int rc =
        instance->log != NULL ? pthread_create(&instance->writer, NULL, write_on, instance) : 0;
    if (instance->log != NULL && rc == 0) {
        *out = instance;
        return 0;
    }
    if (rc != 0) {
        whorl_fail(fault, "", "cannot start the writer thread: %s", strerror(rc));
    }
    release(instance);
    return -1;
}

static void call(void *arg, uint64_t id, const uint8_t *message, size_t len)
{
    struct instance *instance = arg;
    struct waiting *waiting = calloc(1, sizeof(*waiting));
    if (waiting == NULL) {
        whorl_answer_refuse(instance->host, id, WHORL_ROLE_SINK, "out of memory");
        return;
    }
    waiting->call = id;
    waiting->message = message;
    waiting->len = len;
    pthread_mutex_lock(&instance->mutex);
    bool first = instance->first == NULL; /* the writer waits for no other */
    *instance->end = waiting;
    instance->end = &waiting->next;
    pthread_mutex_unlock(&instance->mutex);
    if (first) {
        pthread_cond_signal(&instance->moved);
    }
}

static void stop(void *arg)
{
    struct instance *instance = arg;
    pthread_mutex_lock(&instance->mutex);
    instance->stopping = true;
    pthread_cond_signal(&instance->moved);
    pthread_mutex_unlock(&instance->mutex);
    pthread_join(instance->writer, NULL);
    release(instance);
}

static const struct whorl_setting settings_schema[] = {
    {"origin", WHORL_SETTING_STRING, 0, "whorl.invalid/audit", 1, AUDIT_ORIGIN_MAX,
     "the log's name in its checkpoints, best a name of your own domain and a path"},
    {"key", WHORL_SETTING_STRING, WHORL_SETTING_PATH, NULL, 0, 0,
     "file of the Ed25519 key that signs checkpoints; made when missing; default: checkpoint.key "
     "in the data directory"},
};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = WHORL_PLUGIN_MAGIC,
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .size = sizeof(struct whorl_plugin),
    .setting_size = sizeof(struct whorl_setting),
    .version = "1.0",
    .title = "Audit log",
    .role = WHORL_ROLE_SINK,
    .settings = settings_schema,
    .setting_count = sizeof(settings_schema) / sizeof(settings_schema[0]),
    .check = check,
    .start = start,
    .call = call,
    .stop = stop,
};
