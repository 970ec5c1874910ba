/* whorl audit: whether the audit log is intact, what stands in it, proofs of it for others, and
 * witnesses. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/audit/audit_witness.h"
#include "cli/audit/change.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/day.h"
#include "cli/device/screen.h"
#include "cli/plugin_dir.h"
#include "core/identify/stamp.h"
#include "plugins/audit/proof.h"

enum {
    OPT_TRANSACTION = 0x100,
    OPT_JSON,
    OPT_KEY,
    OPT_BEFORE,
    OPT_WITNESS,
    OPT_COSIGNED,
    OPT_OLD,
    OPT_NAME
};

static const struct argp_option options_list[] = {
    {"conf", 'c', "DIR", 0, "The server's configuration", 0},
    {"transaction", OPT_TRANSACTION, "ID", 0, "list: only the records of this transaction", 0},
    {"key", OPT_KEY, "VKEY", 0,
     "The verifier key that checkpoints must be signed by; without it the one beside the log, "
     "which whoever can write there could have replaced. witness: of the log to witness",
     0},
    {"witness", OPT_WITNESS, "VKEY", 0,
     "verify, cosigned: the witness's verifier key; verify then demands its cosignature", 0},
    {"cosigned", OPT_COSIGNED, "FILE", 0,
     "verify: the cosigned checkpoint, as the witness keeps it (its file \"latest\"); without it "
     "the copy beside the log",
     0},
    {"old", OPT_OLD, "N", 0, "request: the witness has cosigned the first N records", 0},
    {"name", OPT_NAME, "NAME", 0,
     "witness: make one of this name in DIR, best a name of its own domain and a path", 0},
    {"before", OPT_BEFORE, "DATE", 0,
     "erase: records of days before this one (UTC), today at the latest", 0},
    {"json", OPT_JSON, NULL, 0, "list: whole records, as JSON lines", 0},
    {0},
};

struct options {
    const char *action, *conf_dir, *transaction, *before, *name, *old;
    const struct conf *conf; /* what conf_dir holds */
    struct audit_trust trust;
    const char *arguments[2]; /* of the action */
    unsigned argument_count;
    bool json;
};

/* What the command can do, and how many arguments it takes for that. dir: the log's folder; NULL
 * for an action of another host, which has no configuration. */
struct action {
    const char *name;
    unsigned arguments;
    int (*run)(const char *dir, const struct options *o);
};

static void print_base64(const uint8_t hash[AUDIT_HASH])
{
    uint8_t text[48];
    EVP_EncodeBlock(text, hash, AUDIT_HASH);
    printf("%s", (const char *)text);
}

static int complain(const struct whorl_fault *fault)
{
    fprintf(stderr, "whorl audit: %s\n", fault->text);
    return 3;
}

/* ------------------------------------------------------------------ verify */

static void show_progress(void *ctx, uint64_t done, uint64_t of)
{
    (void)ctx;
    fprintf(stderr, "\rverifying: record %" PRIu64 " of %" PRIu64 " (%.0f %%) ", done, of,
            of > 0 ? 100.0 * (double)done / (double)of : 100.0);
}

/* LMDB takes what a page says of itself for true: one that is damaged may end the process. */
static void say_damaged(int number)
{
    static const char text[] =
        "whorl audit: the audit log can't be verified: a page of its file is "
        "damaged, so that it can't be read\n";
    (void)number;
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
    _exit(3);
}

static int verify(const char *dir, const struct options *o)
{
    struct audit_report report;
    struct whorl_fault fault;
    signal(SIGSEGV, say_damaged);
    signal(SIGBUS, say_damaged);
    signal(SIGABRT, say_damaged);
    bool terminal = isatty(STDERR_FILENO) == 1;
    enum audit_verdict verdict =
        audit_verify(dir, &o->trust, terminal ? show_progress : NULL, NULL, &report, &fault);
    if (terminal) {
        fputs("\r\033[K", stderr);
    }
    if (verdict == AUDIT_FAILED) {
        return complain(&fault);
    }
    if (verdict == AUDIT_BROKEN) {
        printf("NOT INTACT: record %" PRIu64 ": %s\n", report.position, report.what);
        return 1;
    }
    printf("intact: %" PRIu64 " records, root ", report.head.count);
    print_base64(report.root);
    if (report.erased > 0) {
        printf(", %" PRIu64 " of them erased", report.erased);
    }
    putchar('\n');
    if (o->trust.witness != NULL) {
        char when[STAMP_TIME_LEN + 1];
        stamp_time((int64_t)report.cosigned_time * 1000, when);
        printf("witnessed: the first %" PRIu64 ", %s\n", report.cosigned, when);
    }
    return 0;
}

/* ------------------------------------------------------------------ list */

/* One line for a person: who asked what, or what was done to which store by whom. Control
 * characters can't get in: whoever wrote the record kept them out; should it hold some all the
 * same, they are not sent to the terminal. */
static void show_line(uint64_t position, const msgpack_object *record)
{
    static const char *const fields[] = {"time", "kind", "transaction", "force", "officer"};
    static const char *const upkeep[] = {"time", "kind", "event", "store", "user"};
    bool done_here = whorl_map_get(record, "store") != NULL;
    printf("%" PRIu64, position);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        char text[128];
        bool there = whorl_str_copy(whorl_map_get(record, done_here ? upkeep[i] : fields[i]), text,
                                    sizeof(text)) &&
                     whorl_text_is_clean(text, strlen(text)) && text[0] != '\0';
        printf("  %s", there ? text : "-");
    }
    putchar('\n');
}

static bool show(void *ctx, uint64_t position, const struct audit_record *record)
{
    const struct options *o = ctx;
    struct whorl_fault fault;
    struct whorl_msg msg;
    if (!whorl_msg_parse(record->bytes, record->len, &msg, &fault)) {
        fprintf(stderr, "record %" PRIu64 ": %s\n", position, fault.text);
        return true;
    }
    if (o->transaction == NULL ||
        whorl_str_is(whorl_map_get(&msg.root, "transaction"), o->transaction)) {
        if (o->json) {
            printf("{\"position\":%" PRIu64 ",\"record\":", position);
            screen_json_line(&msg.root, stdout);
            puts("}");
        } else {
            show_line(position, &msg.root);
        }
    }
    whorl_msg_release(&msg);
    return !ferror(stdout);
}

static int list(const char *dir, const struct options *o)
{
    struct whorl_fault fault;
    /* The visitor only reads the options. */
    if (!audit_each(dir, show, (void *)(uintptr_t)o, &fault)) {
        return complain(&fault);
    }
    return 0;
}

/* ------------------------------------------------------------------ proofs */

static int export(const char *dir, const struct options *o)
{
    struct audit_checkpoint checkpoint;
    struct whorl_fault fault;
    if (!audit_checkpoint_read(dir, o->trust.vkey, &checkpoint, &fault) ||
        !audit_export(dir, &checkpoint, o->arguments[0], &fault)) {
        return complain(&fault);
    }
    printf("exported %" PRIu64 " records to %s, verifier key %s\n", checkpoint.count,
           o->arguments[0], checkpoint.vkey);
    return 0;
}

static bool read_number(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    if (errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0') {
        return true;
    }
    fprintf(stderr, "whorl audit: \"%s\" is not a number\n", text);
    return false;
}

static void print_proof(const struct audit_proof *proof)
{
    printf("\"proof\":[");
    for (size_t i = 0; i < proof->count; i++) {
        fputs(i > 0 ? ",\"" : "\"", stdout);
        print_base64(proof->hashes[i]);
        putchar('"');
    }
    puts("]}");
}

static int prove(const char *dir, const struct options *o)
{
    struct audit_checkpoint checkpoint;
    struct audit_proof proof;
    struct whorl_fault fault;
    uint8_t commitment[AUDIT_HASH];
    uint64_t position;
    if (!read_number(o->arguments[0], &position)) {
        return 2;
    }
    if (!audit_checkpoint_read(dir, o->trust.vkey, &checkpoint, &fault) ||
        !audit_prove_inclusion(dir, &checkpoint, position, commitment, &proof, &fault)) {
        return complain(&fault);
    }
    printf("{\"position\":%" PRIu64 ",\"size\":%" PRIu64 ",\"root\":\"", position,
           checkpoint.count);
    print_base64(checkpoint.root);
    printf("\",\"leaf\":\"");
    print_base64(commitment);
    printf("\",");
    print_proof(&proof);
    return 0;
}

static int consistency(const char *dir, const struct options *o)
{
    struct audit_checkpoint checkpoint;
    struct audit_proof proof;
    struct whorl_fault fault;
    uint8_t first_root[AUDIT_HASH], second_root[AUDIT_HASH];
    uint64_t first, second;
    if (!read_number(o->arguments[0], &first) || !read_number(o->arguments[1], &second)) {
        return 2;
    }
    if (!audit_checkpoint_read(dir, o->trust.vkey, &checkpoint, &fault) ||
        !audit_prove_consistency(dir, &checkpoint, first, second, first_root, second_root, &proof,
                                 &fault)) {
        return complain(&fault);
    }
    printf("{\"first\":%" PRIu64 ",\"second\":%" PRIu64 ",\"first_root\":\"", first, second);
    print_base64(first_root);
    printf("\",\"second_root\":\"");
    print_base64(second_root);
    printf("\",");
    print_proof(&proof);
    return 0;
}

/* ------------------------------------------------------------------ erase */

/* Whether a record is of a day before the one given. Its time begins with the day. */
static bool is_due(void *ctx, uint64_t position, const struct audit_record *record)
{
    const struct options *o = ctx;
    struct whorl_fault fault;
    struct whorl_msg msg;
    char time[64] = "";
    (void)position;
    if (!whorl_msg_parse(record->bytes, record->len, &msg, &fault)) {
        return false;
    }
    bool dated = whorl_str_copy(whorl_map_get(&msg.root, "time"), time, sizeof(time)) &&
                 strlen(time) > strlen(o->before);
    whorl_msg_release(&msg);
    return dated && strncmp(time, o->before, strlen(o->before)) < 0;
}

/* Writes one record of what is done, with a log of its own: LMDB uses the memory of pages again as
 * it is, so writing on with the one that erased would put pieces of what it erased into the file.
 */
static bool record_erasure(const struct options *o, const char *event, uint64_t count,
                           struct whorl_fault *fault)
{
    struct audit_writer *log = audit_writer_open(o->conf, fault);
    if (log == NULL) {
        return false;
    }
    const struct change erasure = {.kind = CHANGE_ERASURE,
                                   .event = event,
                                   .store = audit_writer_name(log),
                                   .count = (int64_t)count,
                                   .before = o->before};
    bool ok = change_record(log, &erasure, 1, fault);
    audit_writer_close(log);
    return ok;
}

/* What was erased is recorded, also when it went no further: else the log would have more erased
 * records than anybody says to have erased. */
static int erase(const char *dir, const struct options *o)
{
    struct whorl_fault fault = {{0}, {0}}, unrecorded = {{0}, {0}};
    uint64_t erased = 0;
    if (!record_erasure(o, "erasing", 0, &fault)) {
        return complain(&fault);
    }
    /* The visitor only reads the options. */
    bool ok = audit_erase(dir, is_due, (void *)(uintptr_t)o, &erased, &fault);
    bool recorded = (!ok && erased == 0) || record_erasure(o, "erased", erased, &unrecorded);
    if (ok || erased > 0) {
        printf("%" PRIu64 " records from before %s erased\n", erased, o->before);
    }
    if (!ok) {
        complain(&fault);
    }
    if (!recorded) {
        complain(&unrecorded);
    }
    return ok && recorded ? 0 : 3;
}

/* ------------------------------------------------------------------ witnesses */

static int request(const char *dir, const struct options *o)
{
    uint64_t old = UINT64_MAX;
    if (o->old != NULL && !read_number(o->old, &old)) {
        return 2;
    }
    return audit_witness_ask(dir, o->trust.vkey, old);
}

static int cosigned(const char *dir, const struct options *o)
{
    return audit_witness_take(dir, o->trust.vkey, o->trust.witness);
}

static int witness(const char *dir, const struct options *o)
{
    (void)dir;
    return o->name != NULL ? audit_witness_begin(o->arguments[0], o->name, o->trust.vkey)
                           : audit_witness_serve(o->arguments[0]);
}

static const struct action actions[] = {
    {"verify", 0, verify},   {"list", 0, list},         {"export", 1, export},
    {"prove", 1, prove},     {"erase", 0, erase},       {"consistency", 2, consistency},
    {"request", 0, request}, {"cosigned", 0, cosigned}, {"witness", 1, witness},
    {NULL, 0, NULL},
};

/* ------------------------------------------------------------------ the command line */

static const struct action *find_action(const char *name)
{
    const struct action *action = actions;
    while (action->name != NULL && strcmp(action->name, name) != 0) {
        action++;
    }
    return action->name != NULL ? action : NULL;
}

static void check_transaction(struct argp_state *state, const char *transaction)
{
    uint8_t uuid[16];
    if (transaction != NULL && !stamp_uuid_bytes(transaction, uuid)) {
        argp_error(state, "--transaction: \"%s\" is no transaction", transaction);
    }
}

/* Options that go with some actions only. NULL: there is nothing wrong. */
static const char *misplaced(const struct options *o, const struct action *action)
{
    bool verifies = action->run == verify, takes = action->run == cosigned;
    if (action->run != list && (o->transaction != NULL || o->json)) {
        return "--transaction and --json go with list";
    }
    if ((action->run == erase) != (o->before != NULL)) {
        return "erase takes --before DATE, nothing else does";
    }
    if (o->trust.witness != NULL && !verifies && !takes) {
        return "--witness goes with verify and cosigned";
    }
    if (takes && o->trust.witness == NULL) {
        return "cosigned takes --witness VKEY";
    }
    if (o->trust.cosigned != NULL && (!verifies || o->trust.witness == NULL)) {
        return "--cosigned goes with verify --witness VKEY";
    }
    if (o->old != NULL && action->run != request) {
        return "--old goes with request";
    }
    if (action->run == witness ? (o->name != NULL) != (o->trust.vkey != NULL) : o->name != NULL) {
        return "witness DIR --name NAME --key VKEY makes a witness; --name goes with nothing else";
    }
    return NULL;
}

static void check_usage(struct argp_state *state, const struct options *o)
{
    const struct action *action = o->action != NULL ? find_action(o->action) : NULL;
    if (action == NULL) {
        argp_error(state, "expected verify, list, export, prove, consistency, erase, request, "
                          "cosigned or witness");
    } else if (o->argument_count != action->arguments) {
        argp_error(state, "%s takes %u arguments", action->name, action->arguments);
    } else if ((action->run == witness) == (o->conf_dir != NULL)) {
        argp_error(state, o->conf_dir == NULL ? "-c is missing" : "witness takes no -c");
    } else if (misplaced(o, action) != NULL) {
        argp_error(state, "%s", misplaced(o, action));
    }
    check_transaction(state, o->transaction);
}

/* Today's records say what is being erased: they stay. */
static error_t parse_before(const char *arg, struct argp_state *state, const char **before)
{
    int64_t day;
    if (!read_day(arg, &day)) {
        argp_error(state, "--before: expected a date as YYYY-MM-DD, found \"%s\"", arg);
    } else if (day > time(NULL)) {
        argp_error(state, "--before: %s has not come yet: today (UTC) is the latest day", arg);
    }
    *before = arg;
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'c':
        o->conf_dir = arg;
        return 0;
    case OPT_TRANSACTION:
        o->transaction = arg;
        return 0;
    case OPT_JSON:
        o->json = true;
        return 0;
    case OPT_BEFORE:
        return parse_before(arg, state, &o->before);
    case OPT_KEY:
        o->trust.vkey = arg;
        return 0;
    case OPT_WITNESS:
        o->trust.witness = arg;
        return 0;
    case OPT_COSIGNED:
        o->trust.cosigned = arg;
        return 0;
    case OPT_OLD:
        o->old = arg;
        return 0;
    case OPT_NAME:
        o->name = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num == 0) {
            o->action = arg;
        } else if (state->arg_num <= 2) {
            o->arguments[o->argument_count++] = arg;
        } else {
            argp_error(state, "unexpected argument \"%s\"", arg);
        }
        return 0;
    case ARGP_KEY_END:
        check_usage(state, o);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cmd_audit(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options_list,
        .parser = parse,
        .args_doc = "verify\nlist\nexport OUT\nprove N\nconsistency M N\nerase --before DATE\n"
                    "request\ncosigned --witness VKEY\nwitness DIR [--name NAME --key VKEY]",
        .doc =
            "Reads the audit log, also beside a running server. verify reads all of it and says "
            "whether it is intact, or which record is the first bad one and what is wrong with it. "
            "list prints the records in their order. export writes the signed checkpoint and the "
            "Merkle tree to the directory OUT, in tlog-tiles layout: others can verify the log "
            "with it and learn nothing of its records. prove prints the proof that record N is in "
            "the checkpoint's tree, consistency the proof that the first M records are the "
            "beginning of the first N. erase removes records and their salts for good; the log "
            "stays intact without them, and records the erasure. request prints what asks a "
            "witness "
            "to cosign the checkpoint; witness, on another host, reads that from standard input "
            "and prints its cosignature, or refuses what does not continue what it cosigned "
            "before; cosigned reads that reply and keeps it beside the log.\v"
            "Exit status: 0 intact or done, 1 not intact or refused, 2 wrong usage, 3 failure.",
    };
    struct options o = {0};
    char dir[PATH_MAX];
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.conf_dir == NULL) {
        return find_action(o.action)->run(NULL, &o);
    }
    struct conf *conf = read_conf(o.conf_dir);
    if (conf == NULL) {
        return 3;
    }
    o.conf = conf;
    int exit_code = plugin_dir_find(conf, "whorl-audit.so", dir, sizeof(dir)) != NULL
                        ? find_action(o.action)->run(dir, &o)
                        : 3;
    conf_unref(conf);
    return exit_code;
}
