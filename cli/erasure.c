#include "erasure.h"

#include <msgpack.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/identify/stamp.h"
#include "plugins/audit/log.h"
#include "whorl/msg.h"

#define MODULE "whorl-audit.so"

struct erasure_log {
    struct audit_log *log;
    const struct conf *conf;
    const struct conf_plugin *plugin;
    char *dir;
};

static const struct conf_plugin *find_plugin(const struct conf *conf)
{
    for (size_t i = 0; i < conf->plugin_count; i++) {
        const char *slash = strrchr(conf->plugins[i].module, '/');
        if (conf->plugins[i].settings != NULL &&
            strcmp(slash != NULL ? slash + 1 : conf->plugins[i].module, MODULE) == 0) {
            return &conf->plugins[i];
        }
    }
    return NULL;
}

static bool open_log(struct erasure_log *log, struct whorl_fault *fault)
{
    const struct whorl_settings *settings = log->plugin->settings;
    const char *key = settings->string(settings, NULL, "key");
    if (asprintf(&log->dir, "%s/%s", log->conf->core.data_dir, log->plugin->name) < 0) {
        log->dir = NULL;
        return whorl_fail(fault, "", "out of memory");
    }
    log->log = audit_log_open(log->dir, settings->string(settings, NULL, "origin"),
                              key[0] != '\0' ? key : NULL, fault);
    return log->log != NULL;
}

struct erasure_log *erasure_log_open(const struct conf *conf, struct whorl_fault *fault)
{
    struct erasure_log *log = calloc(1, sizeof *log);
    if (log == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    log->conf = conf;
    log->plugin = find_plugin(conf);
    if (log->plugin == NULL) {
        whorl_fail(fault, conf->dir,
                   "no enabled plugin has the module " MODULE
                   ", so an erasure could not be recorded");
    } else if (open_log(log, fault)) {
        return log;
    }
    erasure_log_close(log);
    return NULL;
}

void erasure_log_close(struct erasure_log *log)
{
    if (log != NULL) {
        audit_log_close(log->log);
        free(log->dir);
        free(log);
    }
}

const char *erasure_log_name(const struct erasure_log *log)
{
    return log->plugin->name;
}

static void put_account(msgpack_packer *pk)
{
    const struct passwd *account = getpwuid(getuid());
    whorl_put_int(pk, "uid", (int64_t)getuid());
    whorl_put_str(pk, "user", account != NULL ? account->pw_name : NULL);
}

/* The record of ids from `first` on. */
static void pack(const struct erasure_log *log, const struct erasure *erasure, size_t first,
                 msgpack_sbuffer *out)
{
    char time[STAMP_TIME_LEN + 1], policy[65];
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, msgpack_sbuffer_write);
    stamp_time(stamp_now(), time);
    for (size_t i = 0; i < 32; i++) {
        snprintf(policy + 2 * i, 3, "%02x", log->conf->digest[i]);
    }
    msgpack_pack_map(&pk, 12);
    whorl_put_int(&pk, "v", 1);
    whorl_put_str(&pk, "kind", "erasure");
    whorl_put_str(&pk, "time", time);
    whorl_put_str(&pk, "transaction", NULL);
    whorl_put_str(&pk, "event", erasure->event);
    whorl_put_str(&pk, "store", erasure->store);
    put_account(&pk);
    whorl_put_str(&pk, "policy", policy);
    whorl_put_str(&pk, "before", erasure->before);
    whorl_put_int(&pk, "count", erasure->count);
    whorl_put_key(&pk, "ids");
    size_t left = erasure->id_count - first;
    size_t here = left < ERASURE_IDS_MAX ? left : ERASURE_IDS_MAX;
    msgpack_pack_array(&pk, here);
    for (size_t i = 0; i < here; i++) {
        const char *id = erasure->ids[first + i];
        msgpack_pack_str_with_body(&pk, id, strlen(id));
    }
}

bool erasure_record(struct erasure_log *log, const struct erasure *erasure,
                    struct whorl_fault *fault)
{
    size_t count = erasure->id_count == 0 ? 1 : (erasure->id_count - 1) / ERASURE_IDS_MAX + 1;
    msgpack_sbuffer *packed = calloc(count, sizeof *packed);
    struct audit_record *records = calloc(count, sizeof *records);
    struct audit_head *heads = calloc(count, sizeof *heads);
    bool ok = packed != NULL && records != NULL && heads != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        pack(log, erasure, i * ERASURE_IDS_MAX, &packed[i]);
        records[i] = (struct audit_record){(const uint8_t *)packed[i].data, packed[i].size};
        ok = audit_record_check(records[i].bytes, records[i].len, fault);
    }
    ok = packed != NULL && records != NULL && heads != NULL
             ? ok && audit_log_append(log->log, records, count, heads, fault) &&
                   audit_log_checkpoint(log->log, fault)
             : whorl_fail(fault, "", "out of memory");
    for (size_t i = 0; packed != NULL && i < count; i++) {
        msgpack_sbuffer_destroy(&packed[i]);
    }
    free(packed);
    free(records);
    free(heads);
    return ok;
}
