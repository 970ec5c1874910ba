/* What reports count, and that nothing of it can break out of the files that it is written to. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugins/audit/log.h"
#include "report/activity.h"
#include "report/codes.h"
#include "report/group.h"
#include "report/month.h"
#include "report/public.h"
#include "report/subject.h"
#include "report/text.h"
#include "report/unusual.h"
#include "run_suite.h"
#include "whorl/msg.h"

/* What a record says; what is left out is ordinary. */
struct spec {
    const char *kind, *time, *force, *continues, *class, *lookup_class, *consent, *outcome;
    const char *stop_power, *reason, *family, *basis, *officer, *device, *ref, *why, *lookup_ref;
    int transaction; /* the last byte of its id */
    int samples, elapsed;
    bool control;
};

static struct facts facts;

static const char *otherwise(const char *text, const char *usual)
{
    return text != NULL ? text : usual;
}

static const char *uuid(int n)
{
    static char text[2][40];
    static int turn;
    turn = !turn;
    snprintf(text[turn], sizeof text[turn], "01a19611-c902-7f67-9fab-2d105184%04x", n);
    return text[turn];
}

static void pack_head(msgpack_packer *pk, const struct spec *s, const char *kind)
{
    whorl_put_int(pk, "v", 1);
    whorl_put_str(pk, "kind", kind);
    whorl_put_str(pk, "time", otherwise(s->time, "2026-11-10T12:00:00.000Z"));
    whorl_put_str(pk, "transaction", uuid(s->transaction));
    whorl_put_str(pk, "device", otherwise(s->device, "phone-1"));
    whorl_put_str(pk, "officer", otherwise(s->officer, "WMP1"));
    whorl_put_str(pk, "force", otherwise(s->force, "WMP"));
}

static void pack_answer(msgpack_packer *pk, const char *backend, const char *class, const char *ref,
                        const char *why)
{
    bool possible = strcmp(class, "possible") == 0, found = possible || strcmp(class, "match") == 0;
    msgpack_pack_map(pk, 6);
    whorl_put_str(pk, "backend", backend);
    whorl_put_bool(pk, "permitted", true);
    whorl_put_str(pk, "class", class);
    whorl_put_str(pk, "reason", why);
    whorl_put_key(pk, "candidates");
    msgpack_pack_array(pk, (size_t)found + possible);
    if (found) {
        whorl_put_key(pk, otherwise(ref, "K1"));
    }
    if (possible) {
        whorl_put_key(pk, "K9");
    }
    whorl_put_int(pk, "elapsed_ms", 5);
}

static void pack_identify(msgpack_packer *pk, const struct spec *s)
{
    msgpack_pack_map(pk, 17);
    pack_head(pk, s, "identify");
    whorl_put_str(pk, "basis", otherwise(s->basis, "consent"));
    whorl_put_str(pk, "stop_power", s->stop_power);
    whorl_put_str(pk, "reason", s->reason);
    whorl_put_int(pk, "reason_code", 1);
    whorl_put_str(pk, "consent", otherwise(s->consent, "given"));
    whorl_put_key(pk, "subject");
    msgpack_pack_map(pk, 2);
    whorl_put_str(pk, "condition", "adult");
    whorl_put_str(pk, "family", s->family);
    whorl_put_str(pk, "continues", s->continues);
    whorl_put_key(pk, "samples");
    msgpack_pack_array(pk, (size_t)s->samples);
    for (int i = 0; i < s->samples; i++) {
        msgpack_pack_map(pk, 0);
    }
    whorl_put_key(pk, "answers");
    msgpack_pack_array(pk, 2);
    pack_answer(pk, "ident1", otherwise(s->class, "no_match"), s->ref, s->why);
    pack_answer(pk, "pnc", otherwise(s->lookup_class, "not_searched"),
                otherwise(s->lookup_ref, otherwise(s->ref, "K1")), NULL);
    whorl_put_int(pk, "elapsed_ms", s->elapsed);
}

/* With a family name: one of it was asked about, and K1 is the answer. */
static void pack_lookup(msgpack_packer *pk, const struct spec *s)
{
    msgpack_pack_map(pk, 12);
    pack_head(pk, s, "lookup");
    whorl_put_str(pk, "basis", "consent");
    whorl_put_str(pk, "backend", "pnc");
    whorl_put_key(pk, "asked");
    msgpack_pack_array(pk, s->family != NULL);
    if (s->family != NULL) {
        msgpack_pack_map(pk, 1);
        whorl_put_str(pk, "family", s->family);
    }
    whorl_put_str(pk, "class", "match");
    whorl_put_key(pk, "candidates");
    msgpack_pack_array(pk, s->family != NULL);
    if (s->family != NULL) {
        whorl_put_key(pk, "K1");
    }
}

static void pack_outcome(msgpack_packer *pk, const struct spec *s)
{
    msgpack_pack_map(pk, 10);
    pack_head(pk, s, "outcome");
    whorl_put_str(pk, "outcome", s->outcome);
    whorl_put_bool(pk, "contacted_control", s->control);
    whorl_put_str(pk, "note", NULL);
}

/* Packs, parses and hands it to use; returns what that says, or false for a malformed one. */
static bool with_record(const struct spec *s, bool (*use)(void *ctx, const struct record *record),
                        void *ctx)
{
    msgpack_sbuffer out;
    msgpack_packer pk;
    struct whorl_msg msg;
    struct record record;
    struct whorl_fault fault;
    msgpack_sbuffer_init(&out);
    msgpack_packer_init(&pk, &out, msgpack_sbuffer_write);
    const char *kind = otherwise(s->kind, "identify");
    if (strcmp(kind, "identify") == 0) {
        pack_identify(&pk, s);
    } else if (strcmp(kind, "lookup") == 0) {
        pack_lookup(&pk, s);
    } else {
        pack_outcome(&pk, s);
    }
    ck_assert(whorl_msg_parse((const uint8_t *)out.data, out.size, &msg, &fault));
    bool ok = record_read(&msg.root, &record, &fault) && use(ctx, &record);
    whorl_msg_release(&msg);
    msgpack_sbuffer_destroy(&out);
    return ok;
}

static bool to_facts(void *ctx, const struct record *record)
{
    return facts_add(ctx, record);
}

static bool add(const struct spec *s)
{
    return with_record(s, to_facts, &facts);
}

static void begin(const char *month)
{
    struct period period;
    ck_assert(period_of_month(month, &period));
    facts_begin(&facts, &period, "WMP");
}

static struct totals finish(void)
{
    struct totals totals;
    facts_finish(&facts);
    ck_assert(month_totals(&facts, &totals));
    return totals;
}

static void end(void)
{
    facts_release(&facts);
}

START_TEST(scans_that_continue_one_another_are_one_person)
{
    begin("2026-11");
    add(&(struct spec){.transaction = 1, .samples = 2, .class = "poor_quality"});
    add(&(struct spec){.transaction = 2, .samples = 2, .continues = uuid(1)});
    add(&(struct spec){.transaction = 3, .samples = 2, .continues = uuid(2), .class = "match"});
    add(&(struct spec){.transaction = 4, .samples = 1});
    struct totals totals = finish();
    ck_assert_int_eq(totals.uses, 4);
    ck_assert_int_eq(totals.persons, 2);
    ck_assert_int_eq(totals.identifications, 1);
    end();
}
END_TEST

START_TEST(a_refusal_is_no_use_but_may_begin_a_chain)
{
    begin("2026-11");
    add(&(struct spec){.transaction = 1, .consent = "refused"});
    add(&(struct spec){.transaction = 2, .consent = "refused"});
    add(&(struct spec){.transaction = 3, .samples = 2, .continues = uuid(2)});
    struct totals totals = finish();
    ck_assert_int_eq(totals.transactions, 3);
    ck_assert_int_eq(totals.refusals, 2);
    ck_assert_int_eq(totals.uses, 1);
    ck_assert_int_eq(totals.persons, 1);
    end();
}
END_TEST

/* Of a transaction at 12:00: the same officer's on the same device, and the others. */
static const struct spec scans[] = {
    {.transaction = 1, .samples = 1},
    {.transaction = 2, .samples = 1, .time = "2026-11-10T12:09:00.000Z"},
    {.transaction = 3, .samples = 1, .time = "2026-11-10T12:11:00.000Z"},
    {.transaction = 4, .samples = 1, .time = "2026-11-10T12:12:00.000Z", .officer = "WMP2"},
    {.transaction = 5, .samples = 1, .time = "2026-11-10T12:13:00.000Z", .device = "phone-2"},
    {.transaction = 6, .samples = 1, .time = "2026-11-12T12:00:00.000Z"},
};
#define SCANS (sizeof scans / sizeof *scans)

static bool to_activity(void *ctx, const struct record *record)
{
    return activity_add(ctx, 0, record);
}

static uint32_t encounters(const struct spec *records, size_t count)
{
    struct period period;
    struct activity activity;
    ck_assert(period_of_month("2026-11", &period));
    activity_begin(&activity, &period, "WMP");
    for (size_t i = 0; i < count; i++) {
        struct spec s = records[i];
        s.continues = i > 0 ? uuid(records[0].transaction) : NULL;
        ck_assert(with_record(&s, to_activity, &activity));
    }
    ck_assert(activity_finish(&activity));
    uint32_t made = activity.count;
    activity_release(&activity);
    return made;
}

START_TEST(only_scans_of_one_officer_and_device_within_minutes_are_one_encounter)
{
    ck_assert_uint_eq(encounters(scans, 2), 1);
    ck_assert_uint_eq(encounters(scans, SCANS), 5);
}
END_TEST

START_TEST(who_finds_somebody_else_has_met_somebody_else)
{
    const struct spec again[] = {
        {.transaction = 1, .samples = 1, .class = "match"},
        {.transaction = 2, .samples = 1, .class = "match"},
        {.transaction = 3, .samples = 1, .class = "match", .ref = "K2"},
    };
    ck_assert_uint_eq(encounters(again, 2), 1);
    ck_assert_uint_eq(encounters(again, 3), 2);
}
END_TEST

START_TEST(one_outcome_is_enough_for_one_encounter_and_for_no_other)
{
    bool open[SCANS];
    begin("2026-11");
    for (size_t i = 0; i < SCANS; i++) {
        struct spec s = scans[i];
        s.continues = i > 0 ? uuid(1) : NULL;
        ck_assert(add(&s));
    }
    ck_assert(add(&(struct spec){.kind = "outcome", .transaction = 2, .outcome = "reported"}));
    finish();
    ck_assert(facts_open(&facts, open));
    for (size_t i = 0; i < SCANS; i++) {
        ck_assert_int_eq(open[i], i >= 2);
    }
    end();
}
END_TEST

START_TEST(a_chain_counts_in_the_month_in_which_it_began)
{
    begin("2026-11");
    add(&(struct spec){.transaction = 1, .samples = 2, .time = "2026-10-31T23:59:59.999Z"});
    add(&(struct spec){
        .transaction = 2, .samples = 2, .continues = uuid(1), .time = "2026-11-01T00:00:00.000Z"});
    struct totals totals = finish();
    ck_assert_int_eq(totals.uses, 1);
    ck_assert_int_eq(totals.persons, 0);
    end();
}
END_TEST

START_TEST(months_begin_and_end_at_local_midnight)
{
    begin("2026-07");
    add(&(struct spec){.transaction = 1, .time = "2026-06-30T22:59:59.999Z"});
    add(&(struct spec){.transaction = 2, .time = "2026-06-30T23:00:00.000Z"});
    add(&(struct spec){.transaction = 3, .time = "2026-07-31T22:59:59.999Z"});
    add(&(struct spec){.transaction = 4, .time = "2026-07-31T23:00:00.000Z"});
    ck_assert_int_eq(finish().uses, 2);
    ck_assert_int_eq(facts.rows[0].hour, 0);
    ck_assert_int_eq(facts.rows[1].hour, 23);
    end();
    /* The hour that comes twice, and the one before it. */
    struct local_time before = period_local(INT64_C(1792884600000)); /* 2026-10-24T23:30Z */
    ck_assert_int_eq(before.hour, 0);
    ck_assert_int_eq(period_local(INT64_C(1792884600000) + 3600000).hour, 1);
    ck_assert_int_eq(period_local(INT64_C(1792884600000) + 2 * 3600000).hour, 1);
    ck_assert_int_eq(before.weekday, 6);
}
END_TEST

START_TEST(days_and_months_that_the_calendar_has_not_are_refused)
{
    static const char *const months[] = {"2026-13", "2026-00",    "2026-1", "26-11",
                                         "2026/11", "2026-11-01", "",       "+026-11"};
    struct period period;
    for (size_t i = 0; i < sizeof months / sizeof *months; i++) {
        ck_assert_msg(!period_of_month(months[i], &period), "%s", months[i]);
    }
    ck_assert(!period_of_days("2026-02-29", "2026-03-01", &period));
    ck_assert(!period_of_days("2026-03-02", "2026-03-01", &period));
    ck_assert(period_of_days("2028-02-29", "2028-02-29", &period));
    ck_assert_int_eq(period.until - period.from, 86400000);
    ck_assert(period_of_days("2026-03-29", "2026-03-29", &period));
    ck_assert_int_eq(period.until - period.from, 23 * 3600000);
}
END_TEST

START_TEST(only_a_search_identifies_and_the_last_outcome_counts)
{
    begin("2026-11");
    add(&(struct spec){.transaction = 1, .samples = 2, .class = "match"});
    add(&(struct spec){.transaction = 2, .samples = 0, .lookup_class = "match"});
    add(&(struct spec){.transaction = 2, .kind = "lookup"});
    add(&(struct spec){.transaction = 3, .samples = 1, .class = "possible"});
    add(&(struct spec){
        .transaction = 1, .kind = "outcome", .outcome = "arrested_crime", .control = true});
    add(&(struct spec){.transaction = 1,
                       .kind = "outcome",
                       .outcome = "released",
                       .time = "2027-01-01T00:00:00.000Z"});
    add(&(struct spec){.transaction = 9, .kind = "outcome", .outcome = "released"});
    add(&(struct spec){.transaction = 5, .samples = 1, .class = "match", .force = "MPS"});
    struct totals totals = finish();
    ck_assert_int_eq(totals.uses, 3);
    ck_assert_int_eq(totals.identifications, 1);
    ck_assert_int_eq(totals.without_outcome, 2);
    ck_assert_int_eq(totals.contacted_control, 1);
    ck_assert_int_eq(totals.custody_avoided, 1);
    end();
}
END_TEST

START_TEST(the_95th_percentile_is_the_nearest_rank)
{
    begin("2026-11");
    for (int i = 1; i <= 40; i++) {
        add(&(struct spec){.transaction = i, .samples = 1, .elapsed = 1000 * i});
    }
    struct totals totals = finish();
    ck_assert_int_eq(totals.elapsed_p95_ms, 38000);
    ck_assert_int_eq(totals.elapsed_mean_ms, 20500);
    end();
}
END_TEST

START_TEST(records_without_the_form_of_their_kind_are_refused)
{
    begin("2026-11");
    ck_assert(!add(&(struct spec){.transaction = 1, .class = "perhaps"}));
    ck_assert(!add(&(struct spec){.transaction = 1, .consent = "maybe"}));
    ck_assert(!add(&(struct spec){.transaction = 1, .time = "2026-11-10 12:00:00.000Z"}));
    ck_assert(!add(&(struct spec){.transaction = 1, .time = "2026-02-30T12:00:00.000Z"}));
    ck_assert(!add(&(struct spec){.transaction = 1, .kind = "outcome", .outcome = "escaped"}));
    ck_assert(!add(&(struct spec){.transaction = 1, .elapsed = -1}));
    ck_assert(!add(&(struct spec){.transaction = 1, .reason = "bell\a"}));
    ck_assert_int_eq(facts.count, 0);
    ck_assert(add(&(struct spec){.transaction = 1}));
    ck_assert(!add(&(struct spec){.transaction = 1})); /* twice in the log */
    end();
}
END_TEST

/* ------------------------------------------------------------------ unusual activity */

static char *written(const struct document *doc, bool (*write)(const struct document *, FILE *))
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    ck_assert(write(doc, out));
    fclose(out);
    return text;
}

/* Sixty officers, twenty uses each, each with a reason of its own; but the first always types the
 * same, a character of which stands where a flag's text cuts it. */
static void type_reasons(struct activity *activity, const char *always)
{
    for (int i = 0; i < 1200; i++) {
        char officer[16], reason[32];
        snprintf(officer, sizeof officer, "WMP%d", i / 20);
        snprintf(reason, sizeof reason, "reason %d", i);
        const struct spec s = {.transaction = i + 1,
                               .officer = officer,
                               .samples = 1,
                               .reason = i < 20 ? always : reason};
        ck_assert(with_record(&s, to_activity, activity));
    }
}

/* Both ident1 and pnc found the officer. */
START_TEST(a_use_in_which_two_databases_found_the_officer_is_one_use)
{
    const struct unusual_options options = {.force = "WMP",
                                            .force_title = "WMP",
                                            .budget = 10,
                                            .percent = 1,
                                            .seed = "seed",
                                            .has_identities = true};
    struct others others = {.staff.most = 1};
    struct period period;
    struct activity activity;
    struct unusual unusual;
    ck_assert(period_of_month("2026-11", &period));
    activity_begin(&activity, &period, "WMP");
    ck_assert(with_record(
        &(struct spec){.transaction = 1, .samples = 1, .class = "match", .lookup_class = "match"},
        to_activity, &activity));
    ck_assert(activity_finish(&activity));
    struct identity identities[] = {{names_find(&activity.references, "ident1/K1", 9), 0},
                                    {names_find(&activity.references, "pnc/K1", 6), 0}};
    others.identities = identities;
    others.identity_count = 2;
    ck_assert_uint_eq(names_add(&others.staff, "WMP1", 4), 0);
    ck_assert(unusual_find(&activity, &others, &options, &unusual));
    ck_assert_uint_eq(unusual.flag_count, 1);
    ck_assert_uint_eq(unusual.flags[0].count, 1);
    ck_assert_str_eq(unusual.flags[0].why,
                     "1 of the officer's uses found a reference that is the officer's own.");
    unusual_release(&unusual);
    names_release(&others.staff);
    activity_release(&activity);
}
END_TEST

START_TEST(a_flag_has_its_reason_whatever_its_characters)
{
    const struct unusual_options options = {
        .force = "WMP", .force_title = "WMP", .budget = 10, .percent = 1, .seed = "seed"};
    const struct others others = {0};
    struct period period;
    struct activity activity;
    struct unusual unusual;
    struct scan scan = {0};
    struct document doc;
    char always[242] = "x";
    for (size_t i = 0; i < 120; i++) {
        strcat(always, "\u00e9");
    }
    ck_assert(period_of_month("2026-11", &period));
    activity_begin(&activity, &period, "WMP");
    type_reasons(&activity, always);
    ck_assert(activity_finish(&activity));
    ck_assert(unusual_find(&activity, &others, &options, &unusual));
    ck_assert(unusual_build(&unusual, &scan, "", &doc));
    char *json = written(&doc, document_json);
    ck_assert_ptr_nonnull(strstr(json, "uses (100 %) have the same reason, \\\"x\u00e9"));
    free(json);
    document_release(&doc);
    unusual_release(&unusual);
    activity_release(&activity);
}
END_TEST

/* ------------------------------------------------------------------ the log */

static bool count_record(void *ctx, uint64_t position, const struct record *record,
                         const msgpack_object *root)
{
    (void)record;
    ck_assert_int_eq(root->type, MSGPACK_OBJECT_MAP);
    *(uint64_t *)ctx = 10 * *(uint64_t *)ctx + position + 1;
    return true;
}

static msgpack_sbuffer packed_spec(const struct spec *s)
{
    msgpack_sbuffer out;
    msgpack_packer pk;
    msgpack_sbuffer_init(&out);
    msgpack_packer_init(&pk, &out, msgpack_sbuffer_write);
    pack_identify(&pk, s);
    return out;
}

START_TEST(a_scan_skips_malformed_records_and_says_which)
{
    char dir[] = "/tmp/whorl-report-XXXXXX", command[64];
    static const uint8_t empty_map[] = {0x80};
    struct whorl_fault fault = {0};
    struct audit_head heads[4];
    struct scan scan;
    uint64_t seen = 0;
    msgpack_sbuffer good = packed_spec(&(struct spec){.transaction = 1});
    msgpack_sbuffer bad = packed_spec(&(struct spec){.transaction = 2, .class = "perhaps"});
    const struct audit_record records[] = {{(const uint8_t *)good.data, good.size},
                                           {(const uint8_t *)bad.data, bad.size},
                                           {empty_map, sizeof empty_map},
                                           {(const uint8_t *)good.data, good.size}};
    ck_assert_ptr_nonnull(mkdtemp(dir));
    struct audit_log *log = audit_log_open(dir, "test.example/log", NULL, &fault);
    ck_assert_msg(log != NULL, "%s", fault.text);
    ck_assert(audit_log_append(log, records, 4, heads, &fault));
    audit_log_close(log);
    ck_assert(scan_log(dir, count_record, &seen, &scan, &fault));
    ck_assert_uint_eq(seen, 14);
    ck_assert_uint_eq(scan.records, 4);
    ck_assert_uint_eq(scan.malformed, 2);
    ck_assert_uint_eq(scan.first_malformed, 1);
    ck_assert_ptr_nonnull(strstr(scan.why, "answers.class"));
    ck_assert_str_eq(scan.last_time, "2026-11-10T12:00:00.000Z");
    msgpack_sbuffer_destroy(&good);
    msgpack_sbuffer_destroy(&bad);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
    ck_assert(!scan_log("/nowhere", count_record, &seen, &scan, &fault));
}
END_TEST

/* ------------------------------------------------------------------ files */

#define HOSTILE "=1+1,\"<script>alert('x')</script>&"

START_TEST(hostile_texts_stay_texts_in_every_file)
{
    struct document doc;
    struct scan scan = {0};
    struct month_options options = {.force = "WMP", .force_title = "<b>WMP"};
    begin("2026-11");
    add(&(struct spec){.transaction = 1, .samples = 1, .stop_power = HOSTILE});
    finish();
    ck_assert(month_build(&facts, &scan, &options, &doc));
    char *html = written(&doc, document_html), *csv = written(&doc, document_csv);
    ck_assert_ptr_null(strstr(html, "<script"));
    ck_assert_ptr_null(strstr(html, "<b>WMP"));
    ck_assert_ptr_nonnull(strstr(html, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;"));
    ck_assert_ptr_nonnull(
        strstr(csv, ",stop_power,\"'=1+1,\"\"<script>alert('x')</script>&\",\"'=1+1,"));
    free(html);
    free(csv);
    document_release(&doc);
    end();
}
END_TEST

START_TEST(a_text_is_cut_between_characters)
{
    static const char text[] = "a\u00e9\u20ac\U0001f600"; /* of 1, 2, 3 and 4 bytes */
    static const size_t fits[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    char copy[8];
    for (size_t most = 0; most < sizeof fits / sizeof *fits; most++) {
        ck_assert_uint_eq(text_fit(text, sizeof text - 1, most), fits[most]);
        ck_assert_int_eq(text_most(text, most), (int)fits[most]);
    }
    record_text_copy(&(struct record_text){text, sizeof text - 1}, copy, sizeof copy);
    ck_assert_str_eq(copy, "a\u00e9\u20ac");
}
END_TEST

START_TEST(a_document_that_json_can_not_say_whole_is_not_written)
{
    static const char *const bad[] = {"caf\xc3", "good"};
    char path[] = "/tmp/whorl-document-XXXXXX";
    struct whorl_fault fault = {0};
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    for (unsigned where = 0; where < 5; where++) {
        struct document doc;
        document_begin(&doc, "test", bad[where != 0], "");
        document_scope(&doc, "WMP", "2026-11-01", "2026-11-30");
        struct table *table = document_table(&doc, "table", "Table", bad[where != 1]);
        table_column(table, "value", "Value");
        struct doc_row *row = document_row(&doc, table, "code", bad[where != 2], bad[where != 3]);
        document_text(&doc, &row->cells[0], bad[where != 4]);
        fault.text[0] = '\0';
        ck_assert(!document_file(&doc, path, document_json, &fault));
        ck_assert_ptr_nonnull(strstr(fault.text, "UTF-8"));
        document_release(&doc);
    }
    unlink(path);
}
END_TEST

START_TEST(the_public_report_names_no_officer_device_or_rare_text)
{
    struct document doc;
    struct public_options options = {
        .force = "WMP", .force_title = "WMP", .threshold = 5, .rates = {14, 30}};
    begin("2026-11");
    for (int i = 1; i <= 60; i++) {
        add(&(struct spec){.transaction = i,
                           .samples = 1,
                           .class = i % 2 ? "match" : "no_match",
                           .stop_power = i == 7 ? "John Smith" : "rta-163"});
    }
    finish();
    ck_assert(public_build(&facts, &options, &doc));
    char *json = written(&doc, document_json);
    ck_assert_ptr_null(strstr(json, "WMP1"));
    ck_assert_ptr_null(strstr(json, "phone-1"));
    ck_assert_ptr_null(strstr(json, "John"));
    ck_assert_ptr_nonnull(strstr(json, "[c]"));
    free(json);
    document_release(&doc);
    end();
}
END_TEST

/* The kind of a cell of the first column. */
static enum cell_kind cell_of(const struct document *doc, const char *table, const char *code)
{
    for (size_t t = 0; t < doc->table_count; t++) {
        for (size_t r = 0; r < doc->tables[t].row_count; r++) {
            if (strcmp(doc->tables[t].id, table) == 0 &&
                strcmp(doc->tables[t].rows[r].code, code) == 0) {
                return doc->tables[t].rows[r].cells[0].kind;
            }
        }
    }
    return CELL_EMPTY;
}

/* So many uses on each of three bases; the look-up is made on those of `asked`. */
static void publish_bases(const int uses[3], const char *asked, struct document *doc)
{
    static const char *const bases[] = {"pace-61", "immigration", "rare"};
    struct public_options options = {
        .force = "WMP", .force_title = "WMP", .threshold = 5, .rates = {14, 30}};
    begin("2026-11");
    for (int b = 0, id = 1; b < 3; b++) {
        for (int i = 0; i < uses[b]; i++, id++) {
            add(&(struct spec){.transaction = id,
                               .samples = 1,
                               .basis = bases[b],
                               .lookup_class = strstr(asked, bases[b]) != NULL ? "no_match" : NULL,
                               .class = i % 2 ? "match" : "no_match"});
        }
    }
    add(&(struct spec){.kind = "lookup", .transaction = 1});
    finish();
    ck_assert(public_build(&facts, &options, doc));
    end();
}

/* 50, 5 and 1: the second has 5 at least, or it would have no row of its own. */
START_TEST(a_named_basis_hides_no_small_one_beside_it)
{
    struct document doc;
    publish_bases((const int[]){50, 5, 1}, "", &doc);
    ck_assert_int_eq(cell_of(&doc, "basis", "pace-61"), CELL_SUPPRESSED);
    ck_assert_int_eq(cell_of(&doc, "basis", "immigration"), CELL_SUPPRESSED);
    ck_assert_int_eq(cell_of(&doc, "basis", "(other)"), CELL_SUPPRESSED);
    document_release(&doc);
}
END_TEST

/* Who knows the policy adds up the bases on which a database is searched. */
START_TEST(answers_do_not_tell_a_basis_that_is_withheld)
{
    struct document doc;
    publish_bases((const int[]){60, 47, 3}, "immigration", &doc);
    ck_assert_int_eq(cell_of(&doc, "basis", "immigration"), CELL_SUPPRESSED);
    ck_assert_int_eq(cell_of(&doc, "answers_pnc", "not_searched"), CELL_EMPTY);
    ck_assert_int_eq(cell_of(&doc, "answers_ident1", "no_match"), CELL_COUNT);
    document_release(&doc);
    publish_bases((const int[]){60, 47, 3}, "immigration, rare", &doc);
    ck_assert_int_eq(cell_of(&doc, "answers_pnc", "not_searched"), CELL_COUNT);
    document_release(&doc);
    publish_bases((const int[]){60, 47, 0}, "immigration", &doc);
    ck_assert_int_eq(cell_of(&doc, "answers_pnc", "not_searched"), CELL_COUNT);
    document_release(&doc);
}
END_TEST

START_TEST(a_month_of_few_uses_publishes_nothing_but_that)
{
    struct document doc;
    struct public_options options = {
        .force = "WMP", .force_title = "WMP", .threshold = 5, .rates = {14, 30}};
    begin("2026-11");
    for (int i = 1; i <= 4; i++) {
        add(&(struct spec){.transaction = i, .samples = 1, .class = "match"});
    }
    finish();
    ck_assert(public_build(&facts, &options, &doc));
    ck_assert_uint_eq(doc.table_count, 2); /* the summary and the definitions */
    for (size_t r = 0; r < doc.tables[0].row_count; r++) {
        const struct doc_row *row = &doc.tables[0].rows[r];
        bool refusals = strcmp(row->code, "refusals") == 0;
        ck_assert_int_eq(row->cells[0].kind, refusals ? CELL_COUNT : CELL_SUPPRESSED);
    }
    document_release(&doc);
    end();
}
END_TEST

/* ------------------------------------------------------------------ subject access */

static bool to_subject(void *ctx, const struct record *record)
{
    return subject_find(ctx, record);
}

static uint32_t theirs(const struct subject_query *query, const struct spec *records, size_t count)
{
    struct subject *subject = subject_new(query);
    do {
        for (size_t i = 0; i < count; i++) {
            ck_assert(with_record(&records[i], to_subject, subject));
        }
    } while (subject_grew(subject));
    uint32_t found = subject_transactions(subject)->count;
    subject_free(subject);
    return found;
}

START_TEST(a_persons_transactions_are_found_by_number_name_and_reference)
{
    char first[40], second[40], third[40];
    snprintf(first, sizeof first, "%s", uuid(1));
    snprintf(second, sizeof second, "%s", uuid(2));
    snprintf(third, sizeof third, "%s", uuid(3));
    const struct spec records[] = {
        {.transaction = 1, .family = "Fox"},
        {.transaction = 2, .continues = first},
        {.transaction = 3, .continues = second, .class = "match"},
        {.transaction = 4, .family = "Foxe"},
        {.transaction = 5},
    };
    const struct subject_query by_number = {.transaction = third}, by_name = {.family = "FOX"},
                               by_ref = {.ref = "K1"}, nobody = {.ref = "K2"};
    ck_assert_uint_eq(theirs(&by_number, records, 5), 3);
    ck_assert_uint_eq(theirs(&by_name, records, 5), 3);
    ck_assert_uint_eq(theirs(&by_ref, records, 5), 3);
    ck_assert_uint_eq(theirs(&nobody, records, 5), 0);
}
END_TEST

struct telling {
    struct subject *subject;
    struct document doc;
};

static bool to_report(void *ctx, const struct record *record)
{
    struct telling *telling = ctx;
    subject_add(telling->subject, record, &telling->doc);
    return true;
}

/* The report as JSON. */
static char *told(const struct subject_query *query, const struct spec *records, size_t count)
{
    struct telling telling = {.subject = subject_new(query)};
    do {
        for (size_t i = 0; i < count; i++) {
            ck_assert(with_record(&records[i], to_subject, telling.subject));
        }
    } while (subject_grew(telling.subject));
    subject_begin(telling.subject, &telling.doc);
    for (size_t i = 0; i < count; i++) {
        ck_assert(with_record(&records[i], to_report, &telling));
    }
    char *json = written(&telling.doc, document_json);
    document_release(&telling.doc);
    subject_free(telling.subject);
    return json;
}

/* Of a scan of somebody else, whom the immigration database knows as X1. */
START_TEST(of_a_transaction_where_they_were_a_candidate_no_more_is_told)
{
    const struct spec records[] = {{.transaction = 1,
                                    .family = "Fox",
                                    .class = "possible",
                                    .lookup_class = "match",
                                    .lookup_ref = "X1"}};
    const struct subject_query query = {.ref = "K1"};
    ck_assert_uint_eq(theirs(&query, records, 1), 0);
    char *json = told(&query, records, 1);
    ck_assert_ptr_nonnull(strstr(json, "The reference was a candidate"));
    ck_assert_ptr_nonnull(strstr(json, "ident1: Possible"));
    ck_assert_ptr_null(strstr(json, "Fox"));
    ck_assert_ptr_null(strstr(json, "X1"));
    ck_assert_ptr_null(strstr(json, "K9"));
    ck_assert_ptr_null(strstr(json, uuid(1)));
    free(json);
}
END_TEST

START_TEST(a_reference_that_only_the_claimed_name_gave_finds_no_transaction)
{
    const struct spec records[] = {{.transaction = 1, .family = "Fox", .lookup_class = "match"},
                                   {.transaction = 1, .kind = "lookup", .family = "Fox"}};
    const struct subject_query query = {.ref = "K1"};
    ck_assert_uint_eq(theirs(&query, records, 1), 1); /* whom a search found */
    ck_assert_uint_eq(theirs(&query, records, 2), 0);
}
END_TEST

static bool is_ambiguous(const struct subject_query *query, const struct spec *records,
                         size_t count)
{
    char places[64];
    struct subject *subject = subject_new(query);
    do {
        for (size_t i = 0; i < count; i++) {
            ck_assert(with_record(&records[i], to_subject, subject));
        }
    } while (subject_grew(subject));
    bool ambiguous = subject_is_ambiguous(subject, places, sizeof places);
    ck_assert(!ambiguous || strcmp(places, "ident1, pnc") == 0);
    subject_free(subject);
    return ambiguous;
}

START_TEST(a_reference_in_two_databases_is_one_persons_only_if_a_transaction_says_so)
{
    const struct spec records[] = {
        {.transaction = 1, .class = "match"},
        {.transaction = 2, .lookup_class = "match"},
        {.transaction = 3, .class = "match", .lookup_class = "match"},
    };
    const struct subject_query alone = {.ref = "K1"}, whole = {.ref = "K1", .backend = "ident1"};
    ck_assert(is_ambiguous(&alone, records, 2));
    ck_assert(!is_ambiguous(&alone, records, 3));
    ck_assert(!is_ambiguous(&whole, records, 2));
    ck_assert_uint_eq(theirs(&whole, records, 2), 1);
}
END_TEST

START_TEST(a_long_reason_of_a_database_leaves_its_answer_whole)
{
    char why[252] = "x";
    for (size_t i = 0; i < 125; i++) {
        strcat(why, "\u00e9");
    }
    const struct spec records[] = {{.transaction = 1, .class = "unavailable", .why = why}};
    const struct subject_query query = {.transaction = uuid(1)};
    char *json = told(&query, records, 1);
    ck_assert_ptr_nonnull(strstr(json, why));
    free(json);
}
END_TEST

/* A record of an enrolment, or (ids that are no texts) something that only looks like one. */
static msgpack_sbuffer packed_collection(const char *store, const char *id)
{
    msgpack_sbuffer out;
    msgpack_packer pk;
    msgpack_sbuffer_init(&out);
    msgpack_packer_init(&pk, &out, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 8);
    whorl_put_int(&pk, "v", 1);
    whorl_put_str(&pk, "kind", "collection");
    whorl_put_str(&pk, "time", "2026-11-10T12:00:00.000Z");
    whorl_put_str(&pk, "transaction", NULL);
    whorl_put_str(&pk, "event", "enrolling");
    whorl_put_str(&pk, "store", store);
    whorl_put_str(&pk, "source", "custody");
    whorl_put_key(&pk, "ids");
    msgpack_pack_array(&pk, 2);
    whorl_put_key(&pk, "K7");
    if (id != NULL) {
        whorl_put_key(&pk, id);
    } else {
        msgpack_pack_int(&pk, 5);
    }
    return out;
}

START_TEST(a_collection_is_told_to_whom_it_names_and_to_nobody_else)
{
    const struct subject_query by_ref = {.ref = "K1"}, nobody = {.ref = "K2"};
    const struct subject_query *const queries[] = {&by_ref, &nobody};
    msgpack_sbuffer packed = packed_collection("ident1", "K1"),
                    bad = packed_collection("ident1", NULL);
    struct whorl_msg msg;
    struct whorl_fault fault;
    struct record record;
    ck_assert(whorl_msg_parse((const uint8_t *)packed.data, packed.size, &msg, &fault));
    ck_assert(record_read(&msg.root, &record, &fault));
    ck_assert_int_eq(record.kind, RECORD_COLLECTION);
    begin("2026-11");
    ck_assert(facts_add(&facts, &record)); /* no use of the service */
    ck_assert_uint_eq(facts.count, 0);
    finish();
    end();
    for (int i = 0; i < 2; i++) {
        struct document doc = {0};
        struct subject *subject = subject_new(queries[i]);
        ck_assert(subject_find(subject, &record));
        subject_begin(subject, &doc);
        subject_add(subject, &record, &doc);
        char *json = written(&doc, document_json);
        ck_assert_uint_eq(doc.tables[0].row_count, i == 0);
        ck_assert((strstr(json, "custody") != NULL) == (i == 0));
        ck_assert_ptr_null(strstr(json, "K7")); /* somebody else */
        free(json);
        document_release(&doc);
        subject_free(subject);
    }
    whorl_msg_release(&msg);
    ck_assert(whorl_msg_parse((const uint8_t *)bad.data, bad.size, &msg, &fault));
    ck_assert(!record_read(&msg.root, &record, &fault));
    ck_assert_str_eq(fault.where, "ids");
    whorl_msg_release(&msg);
    msgpack_sbuffer_destroy(&packed);
    msgpack_sbuffer_destroy(&bad);
}
END_TEST

/* How many rows a collection into a store has, of somebody who is known by name. */
static size_t rows_of_collection(const char *store, const struct spec *records, size_t count)
{
    const struct subject_query by_name = {.family = "Fox"};
    struct subject *subject = subject_new(&by_name);
    struct document doc = {0};
    struct whorl_msg msg;
    struct whorl_fault fault;
    struct record record;
    msgpack_sbuffer packed = packed_collection(store, "K1");
    for (size_t i = 0; i < count; i++) {
        ck_assert(with_record(&records[i], to_subject, subject));
    }
    ck_assert(whorl_msg_parse((const uint8_t *)packed.data, packed.size, &msg, &fault));
    ck_assert(record_read(&msg.root, &record, &fault));
    subject_begin(subject, &doc);
    subject_add(subject, &record, &doc);
    size_t rows = doc.tables[0].row_count;
    document_release(&doc);
    subject_free(subject);
    whorl_msg_release(&msg);
    msgpack_sbuffer_destroy(&packed);
    return rows;
}

START_TEST(a_name_leads_to_the_collection_of_whom_a_search_found_and_of_no_namesake)
{
    const struct spec found[] = {
        {.transaction = 1, .family = "Fox", .class = "match", .lookup_class = "match"},
        {.transaction = 1, .kind = "lookup"},
    };
    const struct spec namesake[] = {
        {.transaction = 1, .family = "Fox", .lookup_class = "match"},
        {.transaction = 1, .kind = "lookup", .family = "Fox"},
    };
    const struct spec other[] = {{.transaction = 1, .family = "Foxe", .class = "match"}};
    ck_assert_uint_eq(rows_of_collection("ident1", found, 2), 1);
    ck_assert_uint_eq(rows_of_collection("pnc", found, 2), 1);
    ck_assert_uint_eq(rows_of_collection("immigration", found, 2), 0);
    ck_assert_uint_eq(rows_of_collection("pnc", namesake, 2), 0);
    ck_assert_uint_eq(rows_of_collection("ident1", other, 1), 0);
}
END_TEST

int main(void)
{
    period_use_uk_time();
    Suite *suite = suite_create("report");
    TCase *tcase = tcase_create("report");
    tcase_add_test(tcase, scans_that_continue_one_another_are_one_person);
    tcase_add_test(tcase, a_refusal_is_no_use_but_may_begin_a_chain);
    tcase_add_test(tcase, only_scans_of_one_officer_and_device_within_minutes_are_one_encounter);
    tcase_add_test(tcase, who_finds_somebody_else_has_met_somebody_else);
    tcase_add_test(tcase, one_outcome_is_enough_for_one_encounter_and_for_no_other);
    tcase_add_test(tcase, a_chain_counts_in_the_month_in_which_it_began);
    tcase_add_test(tcase, months_begin_and_end_at_local_midnight);
    tcase_add_test(tcase, days_and_months_that_the_calendar_has_not_are_refused);
    tcase_add_test(tcase, only_a_search_identifies_and_the_last_outcome_counts);
    tcase_add_test(tcase, the_95th_percentile_is_the_nearest_rank);
    tcase_add_test(tcase, records_without_the_form_of_their_kind_are_refused);
    tcase_add_test(tcase, a_scan_skips_malformed_records_and_says_which);
    tcase_add_test(tcase, hostile_texts_stay_texts_in_every_file);
    tcase_add_test(tcase, a_text_is_cut_between_characters);
    tcase_add_test(tcase, a_document_that_json_can_not_say_whole_is_not_written);
    tcase_add_test(tcase, of_a_transaction_where_they_were_a_candidate_no_more_is_told);
    tcase_add_test(tcase, a_reference_that_only_the_claimed_name_gave_finds_no_transaction);
    tcase_add_test(tcase,
                   a_reference_in_two_databases_is_one_persons_only_if_a_transaction_says_so);
    tcase_add_test(tcase, a_long_reason_of_a_database_leaves_its_answer_whole);
    tcase_add_test(tcase, a_use_in_which_two_databases_found_the_officer_is_one_use);
    tcase_add_test(tcase, a_flag_has_its_reason_whatever_its_characters);
    tcase_add_test(tcase, the_public_report_names_no_officer_device_or_rare_text);
    tcase_add_test(tcase, a_named_basis_hides_no_small_one_beside_it);
    tcase_add_test(tcase, answers_do_not_tell_a_basis_that_is_withheld);
    tcase_add_test(tcase, a_month_of_few_uses_publishes_nothing_but_that);
    tcase_add_test(tcase, a_persons_transactions_are_found_by_number_name_and_reference);
    tcase_add_test(tcase, a_collection_is_told_to_whom_it_names_and_to_nobody_else);
    tcase_add_test(tcase, a_name_leads_to_the_collection_of_whom_a_search_found_and_of_no_namesake);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
