/* whorl synth month: a simulated month of transactions, straight into the audit log. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/synth/synth_month.h"
#include "plugins/audit/entry.h"
#include "plugins/audit/log.h"
#include "plugins/audit/reader.h"
#include "whorl/msg.h"

#define GROUP 8192u /* records that are made durable together */
#define TRANSACTIONS_MAX 10000000u

#define MISUSE_MOST 1000u /* officers for each kind */

enum { OPT_MONTH = 0x100, OPT_TRANSACTIONS, OPT_SEED, OPT_MISUSE, OPT_FILES };

struct options {
    const char *dir, *files;
    struct period period;
    uint64_t transactions, seed;
    uint32_t misuse[MISUSES];
    bool has_month;
};

static uint64_t parse_number(struct argp_state *state, const char *name, const char *text,
                             uint64_t least, uint64_t most)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < least ||
        value > most) {
        argp_error(state, "--%s: %s is not a whole number from %" PRIu64 " to %" PRIu64, name, text,
                   least, most);
    }
    return value;
}

/* "2" for all kinds, or "hours=3,self=1" for some; what is not named stays as it was. */
static void parse_misuse(struct argp_state *state, const char *text, uint32_t misuse[MISUSES])
{
    char item[64];
    for (const char *at = text; at != NULL; at = *at == ',' ? at + 1 : NULL) {
        size_t len = strcspn(at, ",");
        snprintf(item, sizeof item, "%.*s", (int)len, at);
        char *value = strchr(item, '=');
        unsigned kind = 0;
        if (value != NULL) {
            *value++ = '\0';
            while (kind < MISUSES && strcmp(item, synth_misuse_names[kind]) != 0) {
                kind++;
            }
            if (kind == MISUSES) {
                argp_error(state, "--misuse: there is no kind \"%s\"", item);
            }
            misuse[kind] = (uint32_t)parse_number(state, "misuse", value, 0, MISUSE_MOST);
        } else {
            uint32_t all = (uint32_t)parse_number(state, "misuse", item, 0, MISUSE_MOST);
            for (; kind < MISUSES; kind++) {
                misuse[kind] = all;
            }
        }
        at += len;
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_MONTH:
        o->has_month = period_of_month(arg, &o->period);
        if (!o->has_month) {
            argp_error(state, "expected a month as YYYY-MM, found \"%s\"", arg);
        }
        return 0;
    case OPT_TRANSACTIONS:
        o->transactions = parse_number(state, "transactions", arg, 1, TRANSACTIONS_MAX);
        return 0;
    case OPT_SEED:
        o->seed = parse_number(state, "seed", arg, 0, UINT64_MAX);
        return 0;
    case OPT_MISUSE:
        parse_misuse(state, arg, o->misuse);
        return 0;
    case OPT_FILES:
        o->files = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->has_month) {
            argp_error(state, "--month is missing");
        }
        break;
    default:
        break;
    }
    return parse_conf_dir(key, arg, state, &o->dir);
}

/* ------------------------------------------------------------------ writing */

struct group {
    struct audit_log *log;
    uint8_t *bytes; /* of all records, one after the other */
    size_t len, cap;
    struct audit_record records[GROUP];
    size_t offsets[GROUP];
    struct audit_head heads[GROUP];
    size_t count;
    uint64_t written;
};

static bool flush(struct group *group, struct whorl_fault *fault)
{
    if (group->count == 0) {
        return true;
    }
    for (size_t i = 0; i < group->count; i++) {
        group->records[i].bytes = group->bytes + group->offsets[i];
    }
    if (!audit_log_append(group->log, group->records, group->count, group->heads, fault)) {
        return false;
    }
    group->written += group->count;
    group->count = group->len = 0;
    return true;
}

static bool add(struct group *group, const msgpack_sbuffer *record, struct whorl_fault *fault)
{
    if (group->count == GROUP && !flush(group, fault)) {
        return false;
    }
    if (group->len + record->size > group->cap) {
        size_t cap = 2 * group->cap + record->size + 65536;
        uint8_t *bytes = realloc(group->bytes, cap);
        if (bytes == NULL) {
            return whorl_fail(fault, "", "out of memory");
        }
        group->bytes = bytes;
        group->cap = cap;
    }
    memcpy(group->bytes + group->len, record->data, record->size);
    group->offsets[group->count] = group->len;
    group->records[group->count++].len = record->size;
    group->len += record->size;
    return true;
}

static bool write_events(const struct synth_month *month, struct group *group,
                         struct whorl_fault *fault)
{
    msgpack_sbuffer records[SYNTH_RECORDS_MAX];
    bool ok = true;
    for (size_t i = 0; i < SYNTH_RECORDS_MAX; i++) {
        msgpack_sbuffer_init(&records[i]);
    }
    for (uint32_t e = 0; ok && e < month->event_count; e++) {
        size_t count = synth_month_records(month, &month->events[e], records);
        for (size_t i = 0; ok && i < count; i++) {
            ok = add(group, &records[i], fault);
        }
    }
    for (size_t i = 0; i < SYNTH_RECORDS_MAX; i++) {
        msgpack_sbuffer_destroy(&records[i]);
    }
    return ok && flush(group, fault) && audit_log_checkpoint(group->log, fault);
}

/* ------------------------------------------------------------------ the log */

/* Records of what was put where, and of the server itself: they say nothing of anybody's use. */
static bool is_upkeep(const msgpack_object *record)
{
    static const char *const kinds[] = {"collection", "alteration", "erasure", "server"};
    const msgpack_object *kind = whorl_map_get(record, "kind");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (whorl_str_is(kind, kinds[i])) {
            return true;
        }
    }
    return false;
}

/* An erased record may have been of any kind. */
static bool see_entry(void *ctx, const struct audit_tree *tree, uint64_t position,
                      const uint8_t *bytes, size_t len)
{
    struct audit_entry entry;
    struct whorl_fault fault;
    struct whorl_msg msg;
    bool upkeep = false;
    (void)tree;
    (void)position;
    if (audit_entry_read(bytes, len, &entry) && entry.form != AUDIT_ERASED &&
        whorl_msg_parse(entry.record, entry.record_len, &msg, &fault)) {
        upkeep = is_upkeep(&msg.root);
        whorl_msg_release(&msg);
    }
    *(bool *)ctx = !upkeep;
    return upkeep;
}

/* Invented records never go among those of real uses. */
static bool check_fresh(const char *dir, struct whorl_fault *fault)
{
    char data[PATH_MAX];
    struct audit_reader reader;
    bool any = false;
    if ((size_t)snprintf(data, sizeof data, "%s/data.mdb", dir) >= sizeof data) {
        return whorl_fail(fault, dir, "the path is too long");
    }
    if (access(data, F_OK) != 0) {
        return true;
    }
    if (!audit_reader_open(&reader, dir, fault)) {
        return false;
    }
    bool ok = audit_reader_each(&reader, 0, see_entry, &any, fault);
    audit_reader_close(&reader);
    return ok && (!any || whorl_fail(fault, dir,
                                     "this audit log has records of real uses, or erased ones: a "
                                     "simulated month is written to one without"));
}

static const struct conf_plugin *find_audit(const struct conf *conf)
{
    for (size_t i = 0; i < conf->plugin_count; i++) {
        const char *slash = strrchr(conf->plugins[i].module, '/');
        if (conf->plugins[i].enabled &&
            strcmp(slash != NULL ? slash + 1 : conf->plugins[i].module, "whorl-audit.so") == 0) {
            return &conf->plugins[i];
        }
    }
    return NULL;
}

static struct audit_log *open_log(const struct conf *conf, struct whorl_fault *fault)
{
    char dir[PATH_MAX];
    const struct conf_plugin *plugin = find_audit(conf);
    if (plugin == NULL) {
        whorl_fail(fault, conf->dir, "no enabled plugin has the module whorl-audit.so");
        return NULL;
    }
    if ((size_t)snprintf(dir, sizeof dir, "%s/%s", conf->core.data_dir, plugin->name) >=
        sizeof dir) {
        whorl_fail(fault, conf->dir, "data_dir is too long");
        return NULL;
    }
    if ((mkdir(conf->core.data_dir, 0700) != 0 && errno != EEXIST) ||
        (mkdir(dir, 0700) != 0 && errno != EEXIST)) {
        whorl_fail(fault, dir, "cannot be made: %s", strerror(errno));
        return NULL;
    }
    const struct whorl_settings *settings = plugin->settings;
    const char *key = settings->string(settings, NULL, "key");
    return check_fresh(dir, fault) ? audit_log_open(dir, settings->string(settings, NULL, "origin"),
                                                    key[0] != '\0' ? key : NULL, fault)
                                   : NULL;
}

static int write_month(const struct conf *conf, const struct options *o)
{
    struct whorl_fault fault = {0};
    struct synth_month month = {0};
    struct group *group = calloc(1, sizeof *group);
    if (group == NULL) {
        whorl_fail(&fault, "", "out of memory");
        return print_fault(&fault);
    }
    group->log = open_log(conf, &fault);
    bool ok = group->log != NULL &&
              synth_month_make(conf, &o->period, (uint32_t)o->transactions, o->misuse, o->seed,
                               &month, &fault) &&
              (o->files == NULL || synth_month_files(&month, o->files, &fault)) &&
              write_events(&month, group, &fault);
    if (ok) {
        printf("%u transactions of %u officers, %" PRIu64 " records\n", month.use_count,
               month.officer_count, group->written);
    }
    synth_month_release(&month);
    audit_log_close(group->log);
    free(group->bytes);
    free(group);
    return ok ? EXIT_DONE : print_fault(&fault);
}

int cmd_synth_month(int argc, char **argv)
{
    static const struct argp_option options[] = {
        CONF_DIR_OPTION,
        {"month", OPT_MONTH, "YYYY-MM", 0, "The month to simulate", 2},
        {"transactions", OPT_TRANSACTIONS, "N", 0, "How many, 1 to 10000000 (default 100000)", 2},
        {"seed", OPT_SEED, "N", 0, "Whole number that everything follows from (default 1)", 2},
        {"misuse", OPT_MISUSE, "N|KIND=N,...", 0,
         "How many officers misuse the service in each way: hours, volume, repeat, self, "
         "colleague, outcome, travel, hit-rate, reason (default 2). What is added for it comes on "
         "top of the transactions",
         3},
        {"files", OPT_FILES, "DIR", 0,
         "Writes roster.csv, identities.csv and positions.csv to DIR, for `whorl report unusual`, "
         "and labels.csv: who misused it how, in which transactions",
         3},
        {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc =
            "Writes a simulated month of transactions, with their look-ups, outcomes and refused "
            "requests, to the audit log of a configuration whose log has no records of real "
            "uses: to try reports on. Forces, policies and backends are those of the "
            "configuration; officers, "
            "devices and people are invented.\v"
            "Exit status: 0 written, 2 wrong usage, 3 failure.",
    };
    struct options o = {.transactions = 100000, .seed = 1};
    for (unsigned kind = 0; kind < MISUSES; kind++) {
        o.misuse[kind] = 2;
    }
    period_use_uk_time();
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    struct conf *conf = read_conf(o.dir);
    int code = conf != NULL ? write_month(conf, &o) : EXIT_FAILED;
    conf_unref(conf);
    return code;
}
