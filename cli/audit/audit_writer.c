#include "cli/audit/audit_writer.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/plugin_dir.h"
#include "core/identify/stamp.h"
#include "plugins/audit/log.h"
#include "whorl/msg.h"

#define MODULE "whorl-audit.so"

struct audit_writer {
    struct audit_log *log;
    const struct conf *conf;
    const struct conf_plugin *plugin;
    char *dir;
};

static bool open_log(struct audit_writer *writer, struct whorl_fault *fault)
{
    const struct whorl_settings *settings = writer->plugin->settings;
    const char *key = settings->string(settings, NULL, "key");
    if (asprintf(&writer->dir, "%s/%s", writer->conf->core.data_dir, writer->plugin->name) < 0) {
        writer->dir = NULL;
        return whorl_fail(fault, "", "out of memory");
    }
    writer->log = audit_log_open(writer->dir, settings->string(settings, NULL, "origin"),
                                 key[0] != '\0' ? key : NULL, fault);
    return writer->log != NULL;
}

struct audit_writer *audit_writer_open(const struct conf *conf, struct whorl_fault *fault)
{
    struct audit_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    writer->conf = conf;
    writer->plugin = plugin_of_module(conf, MODULE);
    if (writer->plugin == NULL || !writer->plugin->enabled) {
        whorl_fail(fault, conf->dir,
                   "no enabled plugin has the module " MODULE
                   ", so what is done could not be recorded");
    } else if (open_log(writer, fault)) {
        return writer;
    }
    audit_writer_close(writer);
    return NULL;
}

void audit_writer_close(struct audit_writer *writer)
{
    if (writer != NULL) {
        audit_log_close(writer->log);
        free(writer->dir);
        free(writer);
    }
}

const char *audit_writer_name(const struct audit_writer *writer)
{
    return writer->plugin->name;
}

void audit_writer_begin(const struct audit_writer *writer, msgpack_packer *pk, const char *kind,
                        const char *event, size_t more)
{
    char time[STAMP_TIME_LEN + 1], policy[65];
    const struct passwd *account = getpwuid(getuid());
    stamp_time(stamp_now(), time);
    for (size_t i = 0; i < 32; i++) {
        snprintf(policy + 2 * i, 3, "%02x", writer->conf->digest[i]);
    }
    msgpack_pack_map(pk, AUDIT_WRITER_FIELDS + more);
    whorl_put_int(pk, "v", 1);
    whorl_put_str(pk, "kind", kind);
    whorl_put_str(pk, "time", time);
    whorl_put_str(pk, "transaction", NULL);
    whorl_put_str(pk, "event", event);
    whorl_put_int(pk, "uid", (int64_t)getuid());
    whorl_put_str(pk, "user", account != NULL ? account->pw_name : NULL);
    whorl_put_str(pk, "policy", policy);
}

bool audit_writer_append(struct audit_writer *writer, const msgpack_sbuffer *packed, size_t count,
                         uint64_t *position, struct whorl_fault *fault)
{
    struct audit_record *records = calloc(count, sizeof *records);
    struct audit_head *heads = calloc(count, sizeof *heads);
    bool ok = records != NULL && heads != NULL;
    if (!ok) {
        whorl_fail(fault, "", "out of memory");
    }
    for (size_t i = 0; ok && i < count; i++) {
        records[i] = (struct audit_record){(const uint8_t *)packed[i].data, packed[i].size};
        ok = audit_record_check(records[i].bytes, records[i].len, fault);
    }
    ok = ok && audit_log_append(writer->log, records, count, heads, fault) &&
         audit_log_checkpoint(writer->log, fault);
    if (ok && position != NULL) {
        *position = heads[0].count - 1;
    }
    free(records);
    free(heads);
    return ok;
}
