/* whorl case: flags of unusual activity, followed to a finding. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/audit/case.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "core/identify/stamp.h"
#include "report/report.h"
#include "whorl/msg.h"

#define STATUS                                                                                     \
    "Exit status: 0 done, 1 there is no such case or it is closed, 2 wrong usage, 3 failure."

enum { OPT_REPORT = 0x100, OPT_FORCE, OPT_OFFICER, OPT_FLAG, OPT_WHY, OPT_FINDING, OPT_NOTE };

struct options {
    const char *dir, *report, *finding, *note, *format;
    struct case_opening opening;
    const char **arguments;
    size_t argument_count;
    size_t least, most; /* arguments */
};

static void clean(struct argp_state *state, const char *name, const char *text, size_t most)
{
    if (text[0] == '\0' || strlen(text) > most || !whorl_text_is_clean(text, strlen(text))) {
        argp_error(state, "%s must be clean text of 1 to %zu bytes", name, most);
    }
}

static const char *known_finding(struct argp_state *state, const char *text)
{
    for (size_t i = 0; case_findings[i].code != NULL; i++) {
        if (strcmp(case_findings[i].code, text) == 0) {
            return text;
        }
    }
    argp_error(state, "--finding is false_alert, explained, learning, misconduct, "
                      "gross_misconduct or criminal");
    return NULL;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_REPORT:
        o->report = arg;
        return 0;
    case OPT_FORCE:
        o->opening.force = arg;
        return 0;
    case OPT_OFFICER:
        o->opening.officer = arg;
        return 0;
    case OPT_FLAG:
        clean(state, "--flag", arg, 32);
        o->opening.flag = arg;
        return 0;
    case OPT_WHY:
        clean(state, "--why", arg, CASE_WHY_MAX);
        o->opening.why = arg;
        return 0;
    case OPT_FINDING:
        o->finding = known_finding(state, arg);
        return 0;
    case OPT_NOTE:
        clean(state, "--note", arg, CASE_NOTE_MAX);
        o->note = arg;
        return 0;
    case REPORT_FORMAT:
        o->format = report_parse_format(state, arg);
        return 0;
    case ARGP_KEY_ARG:
        if (o->argument_count == o->most) {
            break;
        }
        o->arguments[o->argument_count++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (o->argument_count < o->least) {
            argp_error(state, "an argument is missing");
        }
        break;
    default:
        break;
    }
    return parse_conf_dir(key, arg, state, &o->dir);
}

/* ------------------------------------------------------------------ what all begin with */

struct session {
    struct report_source source;
    struct cases cases;
};

static int begin(const struct options *o, struct session *s)
{
    struct whorl_fault fault = {0};
    struct scan scan;
    *s = (struct session){.cases = {0}};
    int code = report_open_source(o->dir, NULL, &s->source);
    if (code != EXIT_DONE) {
        return code;
    }
    if (!cases_read(s->source.log_dir, &s->cases, &scan, &fault)) {
        return print_fault(&fault);
    }
    if (s->cases.malformed > 0) {
        fprintf(stderr,
                "whorl case: %" PRIu64 " records of cases have not the form that they "
                "should have; they are left out\n",
                s->cases.malformed);
    }
    return EXIT_DONE;
}

static void end(struct session *s)
{
    cases_release(&s->cases);
    report_close_source(&s->source);
}

/* The case that an argument names; NULL with a message. */
static const struct case_state *named(const struct session *s, const char *text, bool open)
{
    char *stop;
    errno = 0;
    uint64_t number = strtoull(text, &stop, 10);
    bool valid = text[0] >= '0' && text[0] <= '9' && *stop == '\0' && errno == 0;
    const struct case_state *state = valid ? cases_find(&s->cases, number) : NULL;
    if (state == NULL) {
        fprintf(stderr, "whorl case: there is no case %s\n", text);
    } else if (open && state->closed[0] != '\0') {
        fprintf(stderr, "whorl case: case %s is closed\n", text);
        state = NULL;
    }
    return state;
}

/* ------------------------------------------------------------------ open */

static bool add_transaction(struct case_opening *opening, const char *text,
                            struct whorl_fault *fault)
{
    uint8_t uuid[16];
    if (!stamp_uuid_bytes(text, uuid)) {
        return whorl_fail(fault, "", "\"%.60s\" is no transaction", text);
    }
    for (size_t i = 0; i < opening->count; i++) {
        if (strcmp(opening->transactions[i], text) == 0) {
            return true;
        }
    }
    if (opening->count == CASE_TRANSACTIONS_MAX) {
        return whorl_fail(fault, "", "more than %u transactions", CASE_TRANSACTIONS_MAX);
    }
    snprintf(opening->transactions[opening->count++], 40, "%s", text);
    return true;
}

static const json_t *find_row(const json_t *report, const char *table, const char *code)
{
    size_t t, r;
    const json_t *each, *row;
    json_array_foreach(json_object_get(report, "tables"), t, each)
    {
        const char *id = json_string_value(json_object_get(each, "id"));
        if (id == NULL || strcmp(id, table) != 0) {
            continue;
        }
        json_array_foreach(json_object_get(each, "rows"), r, row)
        {
            const char *here = json_string_value(json_object_get(row, "code"));
            if (here != NULL && strcmp(here, code) == 0) {
                return row;
            }
        }
    }
    return NULL;
}

/* A text of a flag, as long as it may be. */
static const char *text_of(const json_t *values, const char *name, size_t most)
{
    const char *text = json_string_value(json_object_get(values, name));
    return text != NULL && text[0] != '\0' && strlen(text) <= most &&
                   whorl_text_is_clean(text, strlen(text))
               ? text
               : NULL;
}

/* Takes a flag from the report's JSON, which must outlive the opening. What it says of records is
 * looked up in the log all the same. */
static bool read_flag(const json_t *report, const char *path, const char *flag,
                      struct case_opening *opening, struct whorl_fault *fault)
{
    const char *kind = json_string_value(json_object_get(report, "report"));
    const json_t *values = json_object_get(find_row(report, "flags", flag), "values");
    if (kind == NULL || strcmp(kind, "unusual") != 0 || values == NULL) {
        return whorl_fail(fault, path, "is no report of unusual activity with a flag %.32s", flag);
    }
    opening->force = text_of(report, "force", 32);
    opening->officer = text_of(values, "officer", 32);
    opening->flag = text_of(values, "kind", 32);
    opening->why = text_of(values, "why", CASE_WHY_MAX);
    for (unsigned i = 1; i <= CASE_TRANSACTIONS_MAX; i++) {
        char code[64];
        snprintf(code, sizeof code, "%.32s-%u", flag, i);
        const json_t *row = find_row(report, "evidence", code);
        const char *id = json_string_value(json_object_get(row, "label"));
        if (row == NULL) {
            break;
        }
        if (id == NULL || !add_transaction(opening, id, fault)) {
            return id != NULL || whorl_fail(fault, path, "%s has no transaction", code);
        }
    }
    if (opening->count == 0) {
        return whorl_fail(fault, path,
                          "flag %.32s rests on no transaction of the table \"evidence\": make the "
                          "report again",
                          flag);
    }
    return (opening->force != NULL && opening->officer != NULL && opening->flag != NULL &&
            opening->why != NULL) ||
           whorl_fail(fault, path, "flag %.32s lacks force, officer, kind or why", flag);
}

static int fill_opening(struct options *o, json_t **report)
{
    struct whorl_fault fault = {0};
    json_error_t error;
    bool ok = true;
    if (o->report != NULL) {
        *report = json_load_file(o->report, JSON_REJECT_DUPLICATES, &error);
        ok = *report != NULL
                 ? read_flag(*report, o->report, o->arguments[0], &o->opening, &fault)
                 : whorl_fail(&fault, o->report, "line %d: %.100s", error.line, error.text);
    }
    for (size_t i = 0; ok && o->report == NULL && i < o->argument_count; i++) {
        ok = add_transaction(&o->opening, o->arguments[i], &fault);
    }
    return ok ? EXIT_DONE : print_fault(&fault);
}

static int open_case(struct options *o)
{
    struct session s;
    struct whorl_fault fault = {0};
    struct audit_writer *writer = NULL;
    json_t *report = NULL;
    uint64_t number;
    int code = begin(o, &s);
    o->opening.transactions = calloc(CASE_TRANSACTIONS_MAX, sizeof *o->opening.transactions);
    o->opening.records = calloc(CASE_TRANSACTIONS_MAX, sizeof *o->opening.records);
    if (o->opening.transactions == NULL || o->opening.records == NULL) {
        whorl_fail(&fault, "", "out of memory");
        code = print_fault(&fault);
    }
    if (code == EXIT_DONE) {
        code = fill_opening(o, &report);
    }
    if (code == EXIT_DONE) {
        if (conf_find_force(s.source.conf, o->opening.force) == NULL) {
            fprintf(stderr, "whorl case: the configuration has no force \"%s\"\n",
                    o->opening.force);
            code = EXIT_USAGE;
        } else if (!case_locate(s.source.log_dir, &o->opening, &fault) ||
                   (writer = audit_writer_open(s.source.conf, &fault)) == NULL ||
                   !case_open(writer, &o->opening, &number, &fault)) {
            code = print_fault(&fault);
        } else {
            printf("%" PRIu64 "\n", number);
        }
    }
    audit_writer_close(writer);
    json_decref(report);
    free(o->opening.transactions);
    free(o->opening.records);
    end(&s);
    return code;
}

static int run_open(int argc, char **argv)
{
    static const struct argp_option options[] = {
        CONF_DIR_OPTION,
        {"report", OPT_REPORT, "FILE", 0, "The JSON file of `whorl report unusual`", 2},
        {"force", OPT_FORCE, "CODE", 0, "Without a report: the officer's force", 3},
        {"officer", OPT_OFFICER, "ID", 0, "The officer", 3},
        {"flag", OPT_FLAG, "WORD", 0, "What kind of thing it is (default: other)", 3},
        {"why", OPT_WHY, "TEXT", 0, "Why the case is opened", 3},
        {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "--report FILE FLAG\n--force CODE --officer ID --why TEXT TRANSACTION...",
        .doc = "Opens a case from a flag of a report, or from transactions of an officer, and "
               "prints its number. The transactions must stand in the audit log.\v" STATUS,
    };
    struct options o = {.least = 1, .most = CASE_TRANSACTIONS_MAX, .opening.flag = "other"};
    o.arguments = calloc(CASE_TRANSACTIONS_MAX, sizeof *o.arguments);
    if (o.arguments == NULL) {
        return EXIT_FAILED;
    }
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    const struct case_opening *opening = &o.opening;
    bool by_hand = opening->force != NULL && opening->officer != NULL && opening->why != NULL;
    bool by_report = o.report != NULL && opening->force == NULL && opening->officer == NULL &&
                     opening->why == NULL && o.argument_count == 1;
    int code = EXIT_USAGE;
    if (by_report || (by_hand && o.report == NULL)) {
        code = open_case(&o);
    } else {
        fputs("whorl case open: expected --report FILE FLAG, or --force, --officer, --why and "
              "transactions\n",
              stderr);
    }
    free(o.arguments);
    return code;
}

/* ------------------------------------------------------------------ the others */

/* Does one thing to the case that the first argument names. */
static int with_case(const struct options *o, bool open,
                     int (*act)(const struct options *o, const struct session *s,
                                struct audit_writer *writer, const struct case_state *state))
{
    struct session s;
    struct whorl_fault fault = {0};
    int code = begin(o, &s);
    if (code == EXIT_DONE) {
        const struct case_state *state = named(&s, o->arguments[0], open);
        struct audit_writer *writer =
            state != NULL ? audit_writer_open(s.source.conf, &fault) : NULL;
        code = state == NULL    ? EXIT_NEGATIVE
               : writer == NULL ? print_fault(&fault)
                                : act(o, &s, writer, state);
        audit_writer_close(writer);
    }
    end(&s);
    return code;
}

static int do_assign(const struct options *o, const struct session *s, struct audit_writer *writer,
                     const struct case_state *state)
{
    struct whorl_fault fault = {0};
    (void)s;
    if (strcmp(o->arguments[1], state->officer) == 0) {
        fputs("whorl case: nobody follows a case about themselves\n", stderr);
        return EXIT_USAGE;
    }
    return case_assign(writer, state, o->arguments[1], &fault) ? EXIT_DONE : print_fault(&fault);
}

static int do_close(const struct options *o, const struct session *s, struct audit_writer *writer,
                    const struct case_state *state)
{
    struct whorl_fault fault = {0};
    (void)s;
    return case_close(writer, state, o->finding, o->note, &fault) ? EXIT_DONE : print_fault(&fault);
}

/* The view is recorded first: if it can't be, nothing is shown. */
static int do_show(const struct options *o, const struct session *s, struct audit_writer *writer,
                   const struct case_state *state)
{
    struct whorl_fault fault = {0};
    struct document doc = {0};
    int code = case_view(writer, state, &fault) && case_show(s->source.log_dir, state, &doc, &fault)
                   ? report_print(&doc, o->format)
                   : print_fault(&fault);
    document_release(&doc);
    return code;
}

static int run_assign(int argc, char **argv)
{
    static const struct argp_option options[] = {CONF_DIR_OPTION, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "CASE NAME",
        .doc = "Gives a case to somebody to follow.\v" STATUS,
    };
    const char *arguments[2];
    struct options o = {.arguments = arguments, .least = 2, .most = 2};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (arguments[1][0] == '\0' || strlen(arguments[1]) > CASE_ASSIGNEE_MAX ||
        !whorl_text_is_clean(arguments[1], strlen(arguments[1]))) {
        fprintf(stderr, "whorl case assign: NAME must be clean text of 1 to %u bytes\n",
                CASE_ASSIGNEE_MAX);
        return EXIT_USAGE;
    }
    return with_case(&o, true, do_assign);
}

static int run_close(int argc, char **argv)
{
    static const struct argp_option options[] = {
        CONF_DIR_OPTION,
        {"finding", OPT_FINDING, "CODE", 0,
         "false_alert, explained, learning, misconduct, gross_misconduct or criminal", 2},
        {"note", OPT_NOTE, "TEXT", 0, "What was found, in words", 2},
        {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "CASE",
        .doc = "Ends a case with what was found. It can't be opened again; open another.\v" STATUS,
    };
    const char *arguments[1];
    struct options o = {.arguments = arguments, .least = 1, .most = 1};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.finding == NULL || o.note == NULL) {
        fputs("whorl case close: --finding and --note are both needed\n", stderr);
        return EXIT_USAGE;
    }
    return with_case(&o, true, do_close);
}

static const struct argp_option shown_options[] = {CONF_DIR_OPTION, REPORT_FORMAT_OPTION(2), {0}};

static int run_show(int argc, char **argv)
{
    static const struct argp argp = {
        .options = shown_options,
        .parser = parse,
        .args_doc = "CASE",
        .doc = "Shows one case whole: whom it is about, why, its records, and what was done. That "
               "it was shown is recorded first.\v" STATUS,
    };
    const char *arguments[1];
    struct options o = {.arguments = arguments, .least = 1, .most = 1, .format = "text"};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return with_case(&o, false, do_show);
}

static int run_list(int argc, char **argv)
{
    static const struct argp argp = {
        .options = shown_options,
        .parser = parse,
        .doc = "Lists all cases: number, state, kind, to whom assigned, finding. It names no "
               "officer and is not recorded.\v" STATUS,
    };
    struct options o = {.format = "text"};
    struct session s;
    struct document doc = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    int code = begin(&o, &s);
    if (code == EXIT_DONE) {
        cases_list(&s.cases, &doc);
        code = report_print(&doc, o.format);
    }
    document_release(&doc);
    end(&s);
    return code;
}

int cmd_case(int argc, char **argv)
{
    static const struct subcommand commands[] = {
        {"open", run_open, "from a flag of a report, or from transactions"},
        {"list", run_list, "all cases, without whom they are about"},
        {"show", run_show, "one case whole; recorded"},
        {"assign", run_assign, "to somebody who follows it"},
        {"close", run_close, "with what was found"},
        {NULL, NULL, NULL},
    };
    period_use_uk_time();
    return subcommand_run("case", commands, argc, argv);
}
