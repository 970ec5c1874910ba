/* whorl report subject-access. */
#include <argp.h>
#include <string.h>

#include "commands.h"
#include "common.h"
#include "core/identify/decode.h"
#include "core/identify/stamp.h"
#include "report/disclosure.h"
#include "report/month.h"
#include "report/report.h"
#include "report/subject.h"
#include "whorl/msg.h"

/* What the protocol and an answer take at most. */
enum { NAME_BYTES = 100, REF_BYTES = 128 };
enum { OPT_TRANSACTION = 0x100, OPT_FAMILY, OPT_GIVEN, OPT_BORN, OPT_REF };

struct options {
    const char *dir, *format;
    struct subject_query query;
    char backend[65]; /* query.backend */
};

/* What no record can hold would find nothing, which is no answer to a person: in a terminal that
 * is not UTF-8, a name with an accent. */
static char *text(struct argp_state *state, const char *name, char *arg, size_t most)
{
    size_t len = strlen(arg);
    if (len == 0 || len > most || !whorl_text_is_clean(arg, len)) {
        argp_error(state, "%s must have 1 to %zu bytes of UTF-8 without control characters", name,
                   most);
    }
    return arg;
}

static void check(const struct options *o, struct argp_state *state)
{
    const struct subject_query *q = &o->query;
    uint8_t uuid[16];
    if ((q->transaction != NULL) + (q->family != NULL) + (q->ref != NULL) != 1) {
        argp_error(state, "expected one of --transaction, --family and --ref");
    } else if ((q->given != NULL || q->born != NULL) && q->family == NULL) {
        argp_error(state, "--given and --born go with --family");
    } else if (q->born != NULL && !decode_date_valid(q->born)) {
        argp_error(state, "--born: expected a date as YYYY-MM-DD, found \"%s\"", q->born);
    } else if (q->transaction != NULL && !stamp_uuid_bytes(q->transaction, uuid)) {
        argp_error(state, "\"%s\" is no transaction", q->transaction);
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_TRANSACTION:
        o->query.transaction = arg;
        return 0;
    case OPT_FAMILY:
        o->query.family = text(state, "--family", arg, NAME_BYTES);
        return 0;
    case OPT_GIVEN:
        o->query.given = text(state, "--given", arg, NAME_BYTES);
        return 0;
    case OPT_BORN:
        o->query.born = arg;
        return 0;
    case OPT_REF:
        o->query.ref = text(state, "--ref", arg, REF_BYTES + sizeof o->backend);
        return 0;
    case REPORT_FORMAT:
        o->format = report_parse_format(state, arg);
        return 0;
    case ARGP_KEY_END:
        check(o, state);
        break;
    default:
        break;
    }
    return parse_conf_dir(key, arg, state, &o->dir);
}

struct pass {
    struct subject *subject;
    struct document *doc; /* NULL: still looking */
    bool full;
};

static bool see(void *ctx, uint64_t position, const struct record *record,
                const msgpack_object *root)
{
    struct pass *pass = ctx;
    (void)position;
    (void)root;
    if (pass->doc != NULL) {
        subject_add(pass->subject, record, pass->doc);
        return true;
    }
    pass->full = !subject_find(pass->subject, record);
    return !pass->full;
}

/* 0 when all of the person's transactions are known. */
static int look(const char *log_dir, struct pass *pass, struct scan *scan)
{
    struct whorl_fault fault = {0};
    do {
        if (!scan_log(log_dir, see, pass, scan, &fault)) {
            return print_fault(&fault);
        }
        if (pass->full) {
            fputs("whorl report: more than 10,000 transactions, or out of memory: say more of the "
                  "person\n",
                  stderr);
            return EXIT_FAILED;
        }
    } while (subject_grew(pass->subject));
    char places[512];
    if (subject_is_ambiguous(pass->subject, places, sizeof places)) {
        fprintf(stderr,
                "whorl report: the reference stands in %s, and may be another person's in each: "
                "say which by --ref DATABASE/REF\n",
                places);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

/* Records whose transactions are told, and only then prints them. */
static int disclose(const struct report_source *source, const struct options *o,
                    const struct subject *subject, const struct scan *scan, struct document *doc)
{
    const struct disclosure shown = {.report = "subject-access",
                                     .flags = DISCLOSURE_NONE,
                                     .sample = DISCLOSURE_NONE,
                                     .transactions = subject_transactions(subject)};
    struct whorl_fault fault = {0};
    bool found = doc->table_count > 0 && doc->tables[0].row_count > 0;
    if (!report_disclose(source, &shown, &fault)) {
        return print_fault(&fault);
    }
    month_source(doc, scan);
    int code = report_warn(scan, report_print(doc, o->format));
    return code == EXIT_DONE && !found ? EXIT_NEGATIVE : code;
}

/* Takes BACKEND/REF apart, if BACKEND is one: references may have a stroke themselves. */
static void name_backend(const struct conf *conf, struct options *o)
{
    const char *stroke = o->query.ref != NULL ? strchr(o->query.ref, '/') : NULL;
    size_t len = stroke != NULL ? (size_t)(stroke - o->query.ref) : 0;
    if (len > 0 && len < sizeof o->backend) {
        memcpy(o->backend, o->query.ref, len);
        o->backend[len] = '\0';
        if (conf_find_plugin(conf, o->backend) != NULL) {
            o->query.backend = o->backend;
            o->query.ref = stroke + 1;
        }
    }
}

static int make(const struct report_source *source, void *options)
{
    struct options *o = options;
    name_backend(source->conf, o);
    struct pass pass = {.subject = subject_new(&o->query)};
    struct document doc = {0};
    struct scan scan = {0};
    struct whorl_fault fault = {0};
    if (pass.subject == NULL) {
        fputs("whorl report: out of memory\n", stderr);
        return EXIT_FAILED;
    }
    int code = look(source->log_dir, &pass, &scan);
    if (code == EXIT_DONE) {
        subject_begin(pass.subject, &doc);
        pass.doc = &doc;
        if (!scan_log(source->log_dir, see, &pass, &scan, &fault)) {
            code = print_fault(&fault);
        }
    }
    if (code == EXIT_DONE) {
        code = disclose(source, o, pass.subject, &scan, &doc);
    }
    document_release(&doc);
    subject_free(pass.subject);
    return code;
}

int report_subject_access(int argc, char **argv)
{
    static const struct argp_option options[] = {
        CONF_DIR_OPTION,
        {"transaction", OPT_TRANSACTION, "ID", 0, "The transaction that the person was told", 2},
        {"family", OPT_FAMILY, "NAME", 0, "The family name that the person claimed", 2},
        {"given", OPT_GIVEN, "NAME", 0, "With --family: the given name", 2},
        {"born", OPT_BORN, "DATE", 0, "With --family: the birth date, YYYY-MM-DD", 2},
        {"ref", OPT_REF, "[BACKEND/]REF", 0, "A database's reference of the person", 2},
        REPORT_FORMAT_OPTION(3),
        {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "Prints what is recorded of a person, with all transactions that continue one "
               "another: when, why, on which basis, which databases were searched, what they "
               "answered, and what happened next; also when data that databases hold of them was "
               "collected, altered or erased. Officers, devices and candidates who may be "
               "other people are left out. That it is printed is recorded first. Two people may "
               "have claimed the same name: whoever "
               "answers the request must make sure of the person.\v"
               "Exit status: 0 something is recorded, 1 nothing is, or some records of the log are "
               "malformed, 2 wrong usage, 3 failure.",
    };
    struct options o = {.format = "text"};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return report_with_source(o.dir, NULL, make, &o);
}
