/* whorl audit: whether the audit log is intact, and what stands in it. */
#include <argp.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "plugin_dir.h"
#include "plugins/audit/log.h"
#include "screen.h"

enum { OPT_TRANSACTION = 0x100, OPT_JSON };

static const struct argp_option options_list[] = {
    {"conf", 'c', "DIR", 0, "The server's configuration", 0},
    {"transaction", OPT_TRANSACTION, "ID", 0, "list: only the records of this transaction", 0},
    {"json", OPT_JSON, NULL, 0, "list: whole records, as JSON lines", 0},
    {0},
};

struct options {
    const char *action, *conf, *transaction;
    bool json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'c':
        o->conf = arg;
        return 0;
    case OPT_TRANSACTION:
        o->transaction = arg;
        return 0;
    case OPT_JSON:
        o->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0 || (strcmp(arg, "verify") != 0 && strcmp(arg, "list") != 0))
            argp_error(state, "unexpected argument \"%s\": expected verify or list", arg);
        o->action = arg;
        return 0;
    case ARGP_KEY_END:
        if (o->action == NULL || o->conf == NULL)
            argp_error(state, o->action == NULL ? "expected verify or list" : "-c is missing");
        if (strcmp(o->action, "verify") == 0 && (o->transaction != NULL || o->json))
            argp_error(state, "--transaction and --json go with list");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ------------------------------------------------------------------ verify */

static void show_progress(void *ctx, uint64_t done, uint64_t of)
{
    (void)ctx;
    fprintf(stderr, "\rverifying: record %" PRIu64 " of %" PRIu64 " (%.0f %%) ", done, of,
            of > 0 ? 100.0 * (double)done / (double)of : 100.0);
}

static int verify(const char *dir)
{
    struct audit_report report;
    struct whorl_fault fault;
    bool terminal = isatty(STDERR_FILENO) == 1;
    enum audit_verdict verdict =
        audit_verify(dir, terminal ? show_progress : NULL, NULL, &report, &fault);
    if (terminal)
        fputs("\r\033[K", stderr);
    if (verdict == AUDIT_FAILED) {
        fprintf(stderr, "whorl audit: %s\n", fault.text);
        return 3;
    }
    if (verdict == AUDIT_BROKEN) {
        printf("NOT INTACT: record %" PRIu64 ": %s\n", report.position, report.what);
        return 1;
    }
    printf("intact: %" PRIu64 " records, head ", report.head.count);
    for (size_t i = 0; i < AUDIT_HASH; i++)
        printf("%02x", report.head.hash[i]);
    if (report.erased > 0)
        printf(", %" PRIu64 " of them erased", report.erased);
    putchar('\n');
    return 0;
}

/* ------------------------------------------------------------------ list */

/* One line for a person. Control characters can't get in: whoever wrote the record kept them out;
 * should it hold some all the same, they are not sent to the terminal. */
static void show_line(uint64_t position, const msgpack_object *record)
{
    static const char *const fields[] = {"time", "kind", "transaction", "force", "officer"};
    printf("%" PRIu64, position);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        char text[128];
        bool there = whorl_str_copy(whorl_map_get(record, fields[i]), text, sizeof(text)) &&
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

int cmd_audit(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options_list,
        .parser = parse,
        .args_doc = "verify|list",
        .doc = "Reads the audit log, also beside a running server. verify reads all of it and "
               "says whether it is intact, or which record is the first bad one and what is wrong "
               "with it. list prints the records in their order.\v"
               "Exit status: 0 intact or listed, 1 not intact, 2 wrong usage, 3 failure.",
    };
    struct options o = {0};
    char dir[PATH_MAX];
    struct whorl_fault fault;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (!plugin_dir_find(o.conf, "whorl-audit.so", dir, sizeof(dir)))
        return 3;
    if (strcmp(o.action, "verify") == 0)
        return verify(dir);
    if (!audit_each(dir, show, &o, &fault)) {
        fprintf(stderr, "whorl audit: %s\n", fault.text);
        return 3;
    }
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 3;
}
