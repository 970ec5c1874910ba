/* A backend that answers what it is told, for the tests of the flow. Built once for each role.
 *
 * Search: the first sample's bytes are a word, see search(); with a `request` in the message, that
 * is written to DATA_DIR/request. Look-up: a match on the first person, whose ref becomes the value
 * of the first identifier, or the claimed family name, in data that is 4 seconds old; the name
 * "Garbage" gets an answer that is none. Sink: appends the records to a file, once there is no
 * DATA_DIR/stuck; with `fail = yes` it stores nothing. All answers come from a worker thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "whorl/answer.h"
#include "whorl/msg.h"
#include "whorl/plugin.h"

#ifndef TOLD_ROLE
#define TOLD_ROLE WHORL_ROLE_SEARCH
#endif
#ifndef TOLD_FORMAT
#define TOLD_FORMAT "png"
#endif

struct instance {
    const struct whorl_host *host;
    int64_t position;
    bool fail;
};

struct job {
    struct instance *instance;
    uint64_t call;
    const uint8_t *message;
    size_t len;
};

static void send_packed(struct job *job, msgpack_sbuffer *packed)
{
    job->instance->host->complete(job->instance->host, job->call, (const uint8_t *)packed->data,
                                  packed->size);
    msgpack_sbuffer_destroy(packed);
}

static void put_match(msgpack_packer *pk)
{
    whorl_put_str(pk, "class", "match");
    whorl_put_key(pk, "candidates");
    msgpack_pack_array(pk, 1);
    msgpack_pack_map(pk, 5);
    whorl_put_str(pk, "ref", "K1");
    whorl_put_real(pk, "score", 50);
    whorl_put_key(pk, "identifiers");
    msgpack_pack_map(pk, 2);
    whorl_put_str(pk, "shoe", "44");
    whorl_put_str(pk, "pncid", "P1");
    whorl_put_key(pk, "names");
    msgpack_pack_array(pk, 1);
    msgpack_pack_map(pk, 2);
    whorl_put_str(pk, "family", "Calloway");
    whorl_put_str(pk, "given", "Dean");
    whorl_put_str(pk, "born", "1979-07-21");
}

/* Twenty whom nothing is known of, but for the one of that number (0: nobody). */
static void put_crowd(msgpack_packer *pk, int known)
{
    char text[8];
    whorl_put_str(pk, "class", "possible");
    whorl_put_key(pk, "candidates");
    msgpack_pack_array(pk, 20);
    for (int i = 1; i <= 20; i++) {
        msgpack_pack_map(pk, 3);
        snprintf(text, sizeof text, "K%d", i);
        whorl_put_str(pk, "ref", text);
        whorl_put_real(pk, "score", 30 - i);
        whorl_put_key(pk, "identifiers");
        msgpack_pack_map(pk, 1);
        snprintf(text, sizeof text, "%c%d", i == known ? 'P' : 'N', i);
        whorl_put_str(pk, "pncid", text);
    }
}

static void put_searched(msgpack_packer *pk, int people)
{
    whorl_put_key(pk, "searched");
    msgpack_pack_map(pk, 2);
    whorl_put_int(pk, "people", people);
    whorl_put_int(pk, "of", 3);
}

/* Malformed, with somebody's name where it must not be repeated: a field, a key, a key twice. */
static void put_telling(msgpack_packer *pk, const char *word)
{
    bool twice = strcmp(word, "twice") == 0;
    msgpack_pack_map(pk, 2);
    whorl_put_str(pk, "class", "match");
    if (strcmp(word, "field") == 0) {
        whorl_put_bool(pk, "Ferncastle", true);
        return;
    }
    whorl_put_key(pk, "candidates");
    msgpack_pack_array(pk, 1);
    msgpack_pack_map(pk, 3);
    whorl_put_str(pk, "ref", "K1");
    whorl_put_real(pk, "score", 50);
    whorl_put_key(pk, "identifiers");
    msgpack_pack_map(pk, twice ? 2 : 1);
    whorl_put_str(pk, "Ferncastle", twice ? "1979-07-21" : "");
    if (twice) {
        whorl_put_str(pk, "Ferncastle", "1979-07-21");
    }
}

/* The answer that goes with a word. */
static void put_word(msgpack_packer *pk, const char *word)
{
    if (strcmp(word, "match") == 0) {
        msgpack_pack_map(pk, 3);
        put_match(pk);
        put_searched(pk, 3);
    } else if (strcmp(word, "aged") == 0) {
        msgpack_pack_map(pk, 4);
        put_match(pk);
        put_searched(pk, 3);
        whorl_put_int(pk, "age", 7);
    } else if (strncmp(word, "crowd", 5) == 0) {
        msgpack_pack_map(pk, 3);
        put_crowd(pk, atoi(word + 5));
        put_searched(pk, 3);
    } else if (strcmp(word, "poor") == 0) {
        msgpack_pack_map(pk, 2);
        whorl_put_str(pk, "class", "poor_quality");
        whorl_put_str(pk, "reason", "smudged");
    } else if (strcmp(word, "odd") == 0) {
        msgpack_pack_map(pk, 1);
        whorl_put_str(pk, "class", "match");
    } else if (strcmp(word, "garbage") == 0) {
        msgpack_pack_array(pk, 0);
    } else if (strcmp(word, "field") == 0 || strcmp(word, "key") == 0 ||
               strcmp(word, "twice") == 0) {
        put_telling(pk, word);
    } else {
        msgpack_pack_map(pk, 2);
        whorl_put_str(pk, "class", "no_match");
        put_searched(pk, strcmp(word, "partial") == 0 ? 2 : 3);
    }
}

static void write_request(const struct whorl_host *host, const msgpack_object *request)
{
    char path[4096];
    msgpack_sbuffer packed;
    msgpack_packer pk;
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
    msgpack_pack_object(&pk, *request);
    snprintf(path, sizeof path, "%s/request", host->data_dir);
    FILE *file = fopen(path, "we");
    if (file == NULL || fwrite(packed.data, 1, packed.size, file) != packed.size ||
        fclose(file) != 0) {
        abort();
    }
    msgpack_sbuffer_destroy(&packed);
}

/* match, aged (a match in data that is 7 seconds old), crowd (followed by a number), none, partial,
 * poor, odd (a match of nobody), garbage, field, key, twice (put_telling); hang: until the host
 * gives up; slow: none after a while. */
static void search(struct job *job, const msgpack_object *message)
{
    const struct whorl_host *host = job->instance->host;
    const msgpack_object *samples = whorl_map_get(message, "samples");
    const msgpack_object *data = whorl_map_get(&samples->via.array.ptr[0], "data");
    const msgpack_object *request = whorl_map_get(message, "request");
    char word[16];
    if (request != NULL) {
        write_request(host, request);
    }
    snprintf(word, sizeof word, "%.*s", (int)data->via.bin.size, data->via.bin.ptr);
    host->progress(host, job->call, "searching", 0.5);
    while (strcmp(word, "hang") == 0 && !host->cancelled(host, job->call)) {
        usleep(1000);
    }
    if (strcmp(word, "slow") == 0) {
        usleep(300000);
    }
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    msgpack_packer pk;
    msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
    put_word(&pk, word);
    send_packed(job, &packed);
}

static void put_found(msgpack_packer *pk, const msgpack_object *person)
{
    const msgpack_object *identifiers = whorl_map_get(person, "identifiers");
    const msgpack_object *found_for = whorl_map_get(person, "found_for");
    const msgpack_object *ref =
        identifiers != NULL ? &identifiers->via.map.ptr[0].val : whorl_map_get(person, "family");
    msgpack_pack_map(pk, 3);
    whorl_put_str(pk, "class", "match");
    whorl_put_int(pk, "age", 4);
    whorl_put_key(pk, "candidates");
    msgpack_pack_array(pk, 1);
    msgpack_pack_map(pk, found_for != NULL ? 3 : 2);
    whorl_put_object(pk, "ref", ref);
    whorl_put_str(pk, "found_by", identifiers != NULL ? "pncid" : "name");
    if (found_for != NULL) {
        whorl_put_object(pk, "found_for", found_for);
    }
}

/* The first of whom something is known: of those with an identifier N…, nothing is. */
static const msgpack_object *find_person(const msgpack_object *people)
{
    for (uint32_t i = 0; i < people->via.array.size; i++) {
        const msgpack_object *person = &people->via.array.ptr[i];
        const msgpack_object *identifiers = whorl_map_get(person, "identifiers");
        if (identifiers == NULL || identifiers->via.map.ptr[0].val.via.str.ptr[0] != 'N') {
            return person;
        }
    }
    return NULL;
}

static void lookup(struct job *job, const msgpack_object *message)
{
    const struct whorl_host *host = job->instance->host;
    const msgpack_object *person = find_person(whorl_map_get(message, "people"));
    host->progress(host, job->call, "searching", 0.5);
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    msgpack_packer pk;
    msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
    if (person == NULL) {
        msgpack_pack_map(&pk, 1);
        whorl_put_str(&pk, "class", "no_match");
    } else if (whorl_str_is(whorl_map_get(person, "family"), "Garbage")) {
        msgpack_pack_map(&pk, 1);
        whorl_put_int(&pk, "class", 7);
    } else {
        put_found(&pk, person);
    }
    send_packed(job, &packed);
}

/* Appends the records to DATA_DIR/records. */
static bool keep(const struct instance *instance, const msgpack_object *records)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/records", instance->host->data_dir);
    FILE *file = fopen(path, "ae");
    bool kept = file != NULL;
    for (uint32_t i = 0; kept && i < records->via.array.size; i++) {
        const msgpack_object_bin *bin = &records->via.array.ptr[i].via.bin;
        kept = fwrite(bin->ptr, 1, bin->size, file) == bin->size;
    }
    return file != NULL && fclose(file) == 0 && kept;
}

/* As a disk that hangs: whether anybody still wants it is not asked. */
static void wait_until_loose(const struct instance *instance)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/stuck", instance->host->data_dir);
    while (access(path, F_OK) == 0) {
        usleep(1000);
    }
}

static void record(struct job *job, const msgpack_object *message)
{
    struct instance *instance = job->instance;
    wait_until_loose(instance);
    const msgpack_object *records = whorl_map_get(message, "records");
    bool stored = !instance->fail && keep(instance, records);
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    msgpack_packer pk;
    msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 2);
    whorl_put_bool(&pk, "stored", stored);
    if (stored) {
        whorl_put_int(
            &pk, "position",
            __atomic_add_fetch(&instance->position, records->via.array.size, __ATOMIC_SEQ_CST));
    } else {
        whorl_put_str(&pk, "reason", "told to fail");
    }
    send_packed(job, &packed);
}

static void work(void *arg)
{
    struct job *job = arg;
    struct whorl_fault fault;
    struct whorl_msg msg;
    if (!whorl_msg_parse(job->message, job->len, &msg, &fault)) {
        whorl_answer_refuse(job->instance->host, job->call, TOLD_ROLE, fault.text);
        free(job);
        return;
    }
    if (whorl_str_is(whorl_map_get(&msg.root, "op"), "search")) {
        search(job, &msg.root);
    } else if (whorl_str_is(whorl_map_get(&msg.root, "op"), "lookup")) {
        lookup(job, &msg.root);
    } else {
        record(job, &msg.root);
    }
    whorl_msg_release(&msg);
    free(job);
}

static void call(void *arg, uint64_t id, const uint8_t *message, size_t len)
{
    struct instance *instance = arg;
    struct job *job = malloc(sizeof *job);
    if (job == NULL) {
        abort();
    }
    *job = (struct job){instance, id, message, len};
    if (!instance->host->submit(instance->host, work, job)) {
        whorl_answer_refuse(instance->host, id, TOLD_ROLE, "no job can be had");
        free(job);
    }
}

static int start(const struct whorl_host *host, void **out, struct whorl_fault *fault)
{
    (void)fault;
    struct instance *instance = calloc(1, sizeof *instance);
    if (instance == NULL) {
        return -1;
    }
    instance->host = host;
    instance->fail = host->settings->boolean(host->settings, NULL, "fail");
    *out = instance;
    return 0;
}

static void stop(void *arg)
{
    free(arg);
}

static const struct whorl_setting settings[] = {
    {"fail", WHORL_SETTING_BOOLEAN, 0, "no", 0, 0, "store nothing"},
    {"source", WHORL_SETTING_STRING, WHORL_SETTING_SOURCE, "own", 1, 16, "told of who asks"},
};
static const char *const modalities[] = {"finger", NULL};
static const char *const formats[] = {TOLD_FORMAT, NULL};
static const char *const keys[] = {"pncid", "name", NULL};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = WHORL_PLUGIN_MAGIC,
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .size = sizeof(struct whorl_plugin),
    .setting_size = sizeof(struct whorl_setting),
    .version = "1",
    .title = "Told",
    .role = TOLD_ROLE,
    .modalities = TOLD_ROLE == WHORL_ROLE_SEARCH ? modalities : NULL,
    .formats = TOLD_ROLE == WHORL_ROLE_SEARCH ? formats : NULL,
    .keys = TOLD_ROLE == WHORL_ROLE_LOOKUP ? keys : NULL,
    .entitlement = TOLD_ROLE == WHORL_ROLE_LOOKUP ? "records" : NULL,
    .settings = settings,
    .setting_count = 2,
    .start = start,
    .call = call,
    .stop = stop,
};
