/* The whole way of a request, with the real host, real modules that do as they are told, and the
 * real ledger: classes never blur, a failed sink means no answer, a repeat searches nothing twice,
 * and a reload loses nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/identify/stamp.h"
#include "flow_world.h"
#include "run_suite.h"

START_TEST(a_match_is_looked_up_recorded_and_answered)
{
    ask(1, "request-1",
        SAMPLES("match", "none") ",'subject':{'family':'Smith','born':'1979-07-21'}");
    const struct reply *reply = await(1);
    assert_class(reply, "finder", "match", "");
    assert_class(reply, "second", "no_match", "");
    assert_class(reply, "records", "match", "");
    const msgpack_object *record =
        &whorl_map_get(answer_of(reply, "records"), "candidates")->via.array.ptr[0];
    ck_assert(whorl_str_is(whorl_map_get(record, "ref"), "P1"));
    ck_assert(whorl_str_is(whorl_map_get(whorl_map_get(record, "found_for"), "ref"), "K1"));
    ck_assert(whorl_str_is(whorl_map_get(&reply->msg.root, "show"), "Say why"));
    const msgpack_object *found =
        &whorl_map_get(whorl_map_get(&reply->msg.root, "claimed"), "found")->via.array.ptr[0];
    ck_assert(whorl_map_get(found, "name_differs")->via.boolean);
    ck_assert(!whorl_map_get(found, "born_differs")->via.boolean);
    ck_assert_int_eq(whorl_map_get(found, "born_differs")->type, MSGPACK_OBJECT_BOOLEAN);
    ck_assert_uint_eq(records_of("identify", transaction_of(reply), NULL), 1);
    struct packed last = {0};
    ck_assert_uint_eq(records_of("lookup", transaction_of(reply), &last), 1);
    const msgpack_object *asked = &whorl_map_get(&last.msg.root, "asked")->via.array.ptr[0];
    ck_assert_uint_eq(whorl_map_get(asked, "identifiers")->via.map.size, 1);
    const msgpack_object *found_for = whorl_map_get(asked, "found_for");
    ck_assert(whorl_str_is(whorl_map_get(found_for, "backend"), "finder"));
    ck_assert(whorl_str_is(whorl_map_get(found_for, "ref"), "K1"));
    packed_free(&last);
}
END_TEST

static const struct {
    const char *word, *class, *reason;
} classes[] = {
    {"match", "match", ""},
    {"none", "no_match", ""},
    {"slow", "no_match", ""},
    {"partial", "unavailable", "not complete"},
    {"poor", "poor_quality", "smudged"},
    {"odd", "unavailable", "malformed"},
    {"garbage", "unavailable", "malformed"},
    {"hang", "unavailable", "no answer within"},
};

START_TEST(a_failure_is_unavailable_and_never_no_match)
{
    char more[256];
    snprintf(more, sizeof more, SAMPLE("%s"), classes[_i].word);
    ask(1, "request-1", more);
    const struct reply *reply = await(1);
    assert_class(reply, "finder", classes[_i].class, classes[_i].reason);
    assert_class(reply, "second", "not_searched", "takes no sample of finger as png");
    struct packed last = {0};
    ck_assert_uint_eq(records_of("identify", transaction_of(reply), &last), 1);
    const msgpack_object *first = &whorl_map_get(&last.msg.root, "answers")->via.array.ptr[0];
    ck_assert(whorl_str_is(whorl_map_get(first, "class"), classes[_i].class));
    packed_free(&last);
}
END_TEST

START_TEST(the_record_says_how_old_each_backend_s_data_was)
{
    ask(1, "request-1", SAMPLES("aged", "match"));
    const msgpack_object *transaction = transaction_of(await(1));
    struct packed whole = {0}, lookup = {0};
    ck_assert_uint_eq(records_of("identify", transaction, &whole), 1);
    ck_assert_uint_eq(records_of("lookup", transaction, &lookup), 1);
    const msgpack_object_array *all = &whorl_map_get(&whole.msg.root, "answers")->via.array;
    ck_assert_uint_eq(all->size, 3);
    for (uint32_t i = 0; i < all->size; i++) {
        const msgpack_object *backend = whorl_map_get(&all->ptr[i], "backend");
        const msgpack_object *age = whorl_map_get(&all->ptr[i], "age");
        int expected = whorl_str_is(backend, "finder")    ? 7
                       : whorl_str_is(backend, "records") ? 4
                                                          : -1;
        ck_assert_ptr_nonnull(age);
        ck_assert_int_eq(age->type,
                         expected < 0 ? MSGPACK_OBJECT_NIL : MSGPACK_OBJECT_POSITIVE_INTEGER);
        ck_assert(expected < 0 || age->via.i64 == expected);
    }
    ck_assert_int_eq(whorl_map_get(&lookup.msg.root, "age")->via.i64, 4);
    packed_free(&whole);
    packed_free(&lookup);
}
END_TEST

START_TEST(one_backends_failure_leaves_the_others_alone)
{
    ask(1, "request-1", SAMPLES("garbage", "match"));
    const struct reply *reply = await(1);
    assert_class(reply, "finder", "unavailable", "malformed");
    assert_class(reply, "second", "match", "");
    assert_class(reply, "records", "match", "");
}
END_TEST

static const struct {
    const char *finder, *second, *class, *reason;
} crowds[] = {
    {"crowd", "none", "no_match", ""},
    {"crowd7", "none", "match", ""},
    {"crowd20", "none", "match", ""},
    /* The best of each are asked about first. */
    {"crowd", "match", "match", "1 of the 21 people found could not be asked about"},
    {"crowd", "crowd10", "match", "20 of the 40 people found could not be asked about"},
    {"crowd", "crowd11", "unavailable", "20 of the 40 people found could not be asked about"},
};

START_TEST(a_look_up_of_some_of_those_found_is_no_no_match)
{
    char more[256];
    snprintf(more, sizeof more, SAMPLES("%s", "%s"), crowds[_i].finder, crowds[_i].second);
    ask(1, "request-1", more);
    const struct reply *reply = await(1);
    assert_class(reply, "records", crowds[_i].class, crowds[_i].reason);
    struct packed last = {0};
    ck_assert_uint_eq(records_of("lookup", transaction_of(reply), &last), 1);
    ck_assert_uint_eq(whorl_map_get(&last.msg.root, "asked")->via.array.size, 20);
    ck_assert(whorl_str_is(whorl_map_get(&last.msg.root, "class"), crowds[_i].class));
    packed_free(&last);
}
END_TEST

START_TEST(claimed_details_are_looked_up_when_nobody_was_found)
{
    ask(1, "request-1", SAMPLE("none") ",'subject':{'family':'Jones','given':'Ann'}");
    assert_class(await(1), "records", "match", "");
    ask(2, "request-2", SAMPLE("none") ",'subject':{'family':'Garbage'}");
    assert_class(await(2), "records", "unavailable", "malformed");
    ask(3, "request-3", SAMPLE("none"));
    assert_class(await(3), "records", "not_searched", "nobody to look up");
    ask(4, "request-4", "'subject':{'family':'Jones'}");
    assert_class(await(4), "records", "match", "");
    assert_class(await(4), "finder", "not_searched", "no sample was given");
}
END_TEST

START_TEST(policy_decides_for_each_backend)
{
    ask(1, "request-1", SAMPLE("match") ",'checks':['finder']");
    assert_class(await(1), "finder", "match", "");
    assert_class(await(1), "records", "not_searched", "not asked for");
    send_as(1, 2, "identify",
            "{'request_id':'request-2','officer':'plain','basis':'consent','consent':'given',"
            "'reason':'abc'," SAMPLE("match") "}");
    assert_class(await(2), "finder", "match", "");
    assert_class(await(2), "records", "not_searched", "not entitled to records");
    send_as(1, 3, "identify",
            "{'request_id':'request-3','officer':'full','basis':'narrow'," SAMPLE("match") "}");
    assert_class(await(3), "finder", "match", "");
    assert_class(await(3), "records", "not_searched", "not permitted on basis narrow");
    send_as(1, 4, "identify",
            "{'request_id':'request-4','officer':'guest','basis':'narrow'," SAMPLE("match") "}");
    assert_class(await(4), "finder", "match", "");
    assert_class(await(4), "second", "not_searched", "not switched on for force BTP");
    send_as(1, 5, "identify",
            "{'request_id':'request-5','officer':'full','basis':'consent','consent':'refused'}");
    assert_class(await(5), "finder", "not_searched", "with consent refused");
    assert_class(await(5), "records", "not_searched", "with consent refused");
    ck_assert_uint_eq(records_of("identify", NULL, NULL), 5);
    ck_assert_uint_eq(records_of("lookup", NULL, NULL), 0);
}
END_TEST

static const char *const telling[] = {"field", "key", "twice"};

START_TEST(a_malformed_answer_is_logged_without_what_it_calls_things)
{
    char more[256];
    snprintf(more, sizeof more, SAMPLE("%s"), telling[_i]);
    ask(1, "request-1", more);
    assert_class(await(1), "finder", "unavailable", "malformed");
    ck_assert(log_holds("a backend's answer is malformed"));
    ck_assert(!log_holds("Ferncastle") && !log_holds("1979"));
}
END_TEST

static const struct {
    uint8_t device;
    const char *argument, *code, *where;
} refusals[] = {
    {9, "{}", "device_unknown", ""},
    {2, "{}", "device_revoked", ""},
    {1, "7", "invalid", ""},
    {1, "{}", "invalid", "request_id"},
    {1, "{'request_id':'request-1','officer':'who','basis':'consent'}", "officer_unknown",
     "officer"},
    {1, "{'request_id':'request-1','officer':'a b','basis':'consent'}", "officer_unknown",
     "officer"},
    {1, "{'request_id':'request-1','officer':'gone','basis':'consent'}", "officer_revoked",
     "officer"},
    {1, "{'request_id':'request-1','officer':'out','basis':'consent'}", "officer_revoked",
     "officer"},
    {1, "{'request_id':'request-1','officer':'other','basis':'consent'}", "officer_not_of_force",
     "officer"},
    {1, "{'request_id':'request-1','officer':'nowhere','basis':'consent'}", "officer_not_of_force",
     "officer"},
    {1, "{'request_id':'request-1','officer':'full','basis':'whim'}", "invalid", "basis"},
    {1, "{'request_id':'request-1','officer':'full','basis':'consent','consent':'given'}",
     "invalid", "reason"},
    {1, "{'request_id':'request-1'," ASK ",'checks':['finder','mi5']}", "invalid", "checks[1]"},
    {1, "{'request_id':'request-1'," ASK ",'checks':['keeper']}", "invalid", "checks[0]"},
    {1, "{'request_id':'request-1'," ASK ",'continues':'01a2000a-66b7-77a3-94ac-b738645a4d62'}",
     "invalid", "continues"},
    {1,
     "{'request_id':'request-1','officer':'full','basis':'consent','consent':'refused'," SAMPLE(
         "match") "}",
     "invalid", "samples"},
    {1, "{'request_id':'request-1'," ASK ",'route':['region']}", "invalid", "route"},
    {1, "{'request_id':'request-1'," ASK ",'people':[{'family':'x'}]}", "invalid", "people"},
    {3, "{'request_id':'request-1'," ASK "}", "invalid", "route"},
    {3, "{'request_id':'request-1'," ASK ",'route':['region','wmp']}", "invalid", "route"},
    {3, "{'request_id':'request-1'," ASK ",'route':['nation','region']}", "loop", "route"},
    {3, "{'request_id':'request-1'," ASK ",'route':['wmp','met','wmp','region']}", "loop", "route"},
};

START_TEST(a_refused_request_is_recorded_before_it_is_answered)
{
    send_as(refusals[_i].device, 1, "identify", refusals[_i].argument);
    assert_refused(await(1), refusals[_i].code, refusals[_i].where);
    struct packed last = {0};
    ck_assert_uint_eq(records_of("refused", NULL, &last), 1);
    ck_assert(whorl_str_is(whorl_map_get(&last.msg.root, "code"), refusals[_i].code));
    ck_assert_ptr_nonnull(whorl_map_get(&last.msg.root, "device"));
    packed_free(&last);
    ck_assert_uint_eq(records_of("identify", NULL, NULL), 0);
}
END_TEST

START_TEST(without_a_durable_record_there_is_no_answer)
{
    write_plugins(true, true);
    reload();
    ask(1, "request-1", SAMPLE("match"));
    assert_refused(await(1), "audit_unavailable", "");
    ck_assert_ptr_null(replies[1].bytes);
    ask(2, "request-1", SAMPLE("match"));
    assert_refused(await(2), "audit_unavailable", "");
    send_as(1, 3, "identify", "{}");
    assert_refused(await(3), "invalid", "request_id");
}
END_TEST

START_TEST(a_busy_sink_is_waited_for)
{
    /* It takes one call at a time. */
    for (uint64_t call = 1; call <= 30; call++) {
        char id[16];
        snprintf(id, sizeof id, "request-%02u", (unsigned)call);
        ask(call, id, SAMPLE("none"));
    }
    for (uint64_t call = 1; call <= 30; call++) {
        assert_class(await(call), "finder", "no_match", "");
    }
    ck_assert_uint_eq(records_of("identify", NULL, NULL), 30);
}
END_TEST

static void run_for(unsigned ms)
{
    uint64_t until = uv_hrtime() + ms * UINT64_C(1000000);
    while (uv_hrtime() < until) {
        uv_run(&loop, UV_RUN_ONCE);
    }
}

static void set_stuck(bool stuck)
{
    char path[512];
    snprintf(path, sizeof path, "%s/keeper/stuck", setup->conf->core.data_dir);
    FILE *file = stuck ? fopen(path, "we") : NULL;
    ck_assert(stuck ? file != NULL && fclose(file) == 0 : unlink(path) == 0);
}

/* The sink takes one call at a time, and has one that was given up on. */
START_TEST(those_who_wait_for_a_stuck_sink_are_refused_in_time)
{
    set_stuck(true);
    uint64_t began = uv_hrtime();
    ask(1, "request-1", SAMPLE("none") ",'deadline_ms':1000");
    ask(2, "request-2", SAMPLE("none") ",'deadline_ms':3000");
    ask(3, "request-3", SAMPLE("none") ",'deadline_ms':3000");
    ask(4, "request-4", SAMPLE("none") ",'deadline_ms':3000");
    for (uint64_t call = 1; call <= 4; call++) {
        assert_refused(await(call), "audit_unavailable", "");
    }
    ck_assert_uint_lt(uv_hrtime() - began, UINT64_C(20000000000)); /* not when it comes loose */
    set_stuck(false);
    /* Refused at once until the sink has let go of what was given up on. */
    uint64_t call = 5;
    for (bool served = false; !served; call++) {
        char id[24];
        ck_assert_uint_lt(call, REPLIES_MAX);
        snprintf(id, sizeof id, "request-%u", (unsigned)call);
        ask(call, id, SAMPLE("none"));
        served = await(call)->code[0] == '\0';
        usleep(served ? 0 : 20000);
    }
    assert_class(&replies[call - 1], "finder", "no_match", "");
}
END_TEST

START_TEST(those_who_wait_for_a_sink_that_was_replaced_are_refused_in_time)
{
    set_stuck(true);
    ask(1, "request-1", SAMPLE("none"));
    run_for(300); /* the sink has its record, for as long as its deadline is */
    ask(2, "request-2", SAMPLE("none") ",'deadline_ms':1000");
    write_plugins(true, true);
    reload();
    assert_refused(await(2), "audit_unavailable", "");
    ck_assert(!replies[1].done);
    set_stuck(false);
    assert_class(await(1), "finder", "no_match", "");
}
END_TEST

START_TEST(progress_does_not_tell_that_somebody_was_found)
{
    ask(1, "request-1", SAMPLE("match"));
    assert_class(await(1), "records", "match", "");
    ck_assert_uint_eq(notified, 1); /* of the search */
    ask(2, "request-2", SAMPLE("match") ",'subject':{'family':'Calloway'}");
    assert_class(await(2), "records", "match", "");
    ck_assert_uint_eq(notified, 3); /* and of the look-up, which comes in any case */
}
END_TEST

START_TEST(a_repeat_gets_nothing_that_is_not_permitted_any_more)
{
    struct registry_officer officer;
    ask(1, "request-1", SAMPLE("match"));
    assert_class(await(1), "records", "match", "");
    ck_assert_int_eq(registry_officer(registry, "full", &officer, &fault), REGISTRY_PRESENT);
    officer.entitlement_count = 0;
    ck_assert(registry_put_officer(registry, &officer, true, &fault));
    ask(2, "request-1", SAMPLE("match"));
    assert_refused(await(2), "conflict", "request_id");
    officer.entitlement_count = 1;
    ck_assert(registry_put_officer(registry, &officer, true, &fault));
    ask(3, "request-1", SAMPLE("match"));
    assert_class(await(3), "records", "match", "");
}
END_TEST

START_TEST(a_repeat_joins_or_returns_the_same_transaction)
{
    ask(1, "request-1", SAMPLE("slow"));
    ask(2, "request-1", SAMPLE("slow"));
    ck_assert(!replies[1].done && !replies[2].done);
    await(1);
    await(2);
    ck_assert_uint_ge(notified, 2); /* both who wait hear of the progress */
    ask(3, "request-1", SAMPLE("slow"));
    ck_assert(!replies[3].done); /* first its disclosure is recorded */
    await(3);
    for (int i = 2; i <= 3; i++) {
        ck_assert_uint_eq(replies[i].len, replies[1].len);
        ck_assert_mem_eq(replies[i].bytes, replies[1].bytes, replies[1].len);
    }
    ck_assert_uint_eq(records_of("identify", NULL, NULL), 1);
    ask(4, "request-1", SAMPLE("none"));
    assert_refused(await(4), "conflict", "request_id");
    ask(5, "request-2", SAMPLE("slow"));
    ck_assert(!msgpack_object_equal(*transaction_of(await(5)), *transaction_of(&replies[1])));
}
END_TEST

START_TEST(an_answer_is_kept_for_as_long_as_is_configured_now)
{
    ask(1, "request-1", SAMPLE("match"));
    assert_class(await(1), "finder", "match", "");
    ask(2, "request-2", SAMPLE("slow"));
    write_core(1);
    reload();
    assert_class(await(2), "finder", "no_match", "");
    run_for(1000);
    for (uint64_t call = 3; call <= 4; call++) {
        ask(call, call == 3 ? "request-1" : "request-2", SAMPLE("match"));
        assert_refused(await(call), "conflict", "request_id");
        ck_assert_ptr_nonnull(strstr(replies[call].message, "no longer held"));
    }
    ask(5, "request-5", SAMPLE("match"));
    assert_class(await(5), "finder", "match", "");
    write_core(600);
    reload();
    run_for(1000);
    ask(6, "request-5", SAMPLE("match"));
    assert_class(await(6), "finder", "match", "");
}
END_TEST

/* Swaps the setup for one whose sink stores nothing, or does again. */
static void use_sink(bool failing)
{
    write_plugins(true, failing);
    reload();
}

START_TEST(an_answer_that_goes_out_again_is_recorded_each_time)
{
    ask(1, "request-1", SAMPLE("slow"));
    ask(2, "request-1", SAMPLE("slow")); /* joins */
    await(1);
    await(2);
    const msgpack_object *transaction = transaction_of(&replies[1]);
    ck_assert_uint_eq(records_of("disclosure", transaction, NULL), 1);
    ask(3, "request-1", SAMPLE("slow"));
    await(3);
    ask(4, "request-1", SAMPLE("slow"));
    await(4);
    struct packed last = {0};
    ck_assert_uint_eq(records_of("disclosure", transaction, &last), 3);
    const msgpack_object *record = &last.msg.root;
    ck_assert(whorl_str_is(whorl_map_get(record, "request_id"), "request-1"));
    ck_assert(whorl_str_is(whorl_map_get(record, "device"), "phone-1"));
    ck_assert(whorl_str_is(whorl_map_get(record, "officer"), "full"));
    ck_assert(whorl_str_is(whorl_map_get(record, "force"), "WMP"));
    ck_assert_uint_eq(whorl_map_get(record, "policy")->via.str.size, 64);
    packed_free(&last);
    ck_assert_uint_eq(records_of("identify", transaction, NULL), 1);
}
END_TEST

START_TEST(an_answer_does_not_go_out_again_without_its_record)
{
    ask(1, "request-1", SAMPLE("match"));
    assert_class(await(1), "finder", "match", "");
    use_sink(true);
    ask(2, "request-1", SAMPLE("match"));
    assert_refused(await(2), "audit_unavailable", "");
    ck_assert_ptr_null(replies[2].bytes);
    use_sink(false);
    ask(3, "request-1", SAMPLE("match"));
    assert_class(await(3), "finder", "match", "");
    ck_assert_uint_eq(records_of("disclosure", transaction_of(&replies[1]), NULL), 1);
}
END_TEST

START_TEST(an_error_that_is_repeated_discloses_nothing)
{
    use_sink(true);
    ask(1, "request-1", SAMPLE("match"));
    assert_refused(await(1), "audit_unavailable", "");
    use_sink(false);
    ask(2, "request-1", SAMPLE("match"));
    assert_refused(await(2), "audit_unavailable", "");
    ck_assert_uint_eq(records_of("disclosure", NULL, NULL), 0);
}
END_TEST

static bool audit_ok(uint64_t call)
{
    send_as(1, call, "capabilities", "{'officer':'plain'}");
    const msgpack_object *sinks = whorl_map_get(&await(call)->msg.root, "audit");
    ck_assert_uint_eq(sinks->via.array.size, 1);
    ck_assert(whorl_str_is(whorl_map_get(&sinks->via.array.ptr[0], "sink"), "keeper"));
    return whorl_map_get(&sinks->via.array.ptr[0], "ok")->via.boolean;
}

START_TEST(capabilities_say_when_records_cannot_be_stored)
{
    ck_assert(audit_ok(1));
    use_sink(true);
    ask(2, "request-1", SAMPLE("match"));
    assert_refused(await(2), "audit_unavailable", "");
    ck_assert(!audit_ok(3));
    use_sink(false);
    ask(4, "request-2", SAMPLE("match"));
    assert_class(await(4), "finder", "match", "");
    ck_assert(audit_ok(5));
}
END_TEST

/* Every kind of record names the configuration that it was written under. */
START_TEST(every_record_holds_the_policy_s_hash)
{
    static const char *const kinds[] = {"identify", "lookup", "outcome", "refused", "disclosure"};
    char outcome[256], transaction[STAMP_UUID_LEN + 1];
    ask(1, "request-1", SAMPLE("match"));
    await(1);
    ask(2, "request-1", SAMPLE("match"));
    await(2);
    whorl_str_copy(transaction_of(&replies[1]), transaction, sizeof transaction);
    snprintf(outcome, sizeof outcome, "{'officer':'full','transaction':'%s','outcome':'released'}",
             transaction);
    send_as(1, 3, "record_outcome", outcome);
    await(3);
    send_as(1, 4, "identify", "{}");
    await(4);
    char expected[65];
    for (size_t i = 0; i < 32; i++) {
        snprintf(expected + 2 * i, 3, "%02x", setup->conf->digest[i]);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct packed last = {0};
        ck_assert_msg(records_of(kinds[i], NULL, &last) > 0, "%s", kinds[i]);
        ck_assert_msg(whorl_str_is(whorl_map_get(&last.msg.root, "policy"), expected), "%s",
                      kinds[i]);
        packed_free(&last);
    }
}
END_TEST

START_TEST(too_many_joining_one_transaction_are_told_to_wait)
{
    for (uint64_t call = 1; call <= 9; call++) {
        ask(call, "request-1", SAMPLE("slow"));
    }
    assert_refused(await(9), "busy", "");
    for (uint64_t call = 1; call <= 8; call++) {
        assert_class(await(call), "finder", "no_match", "");
    }
}
END_TEST

START_TEST(after_a_restart_a_repeat_searches_nothing_and_names_its_transaction)
{
    ask(1, "request-1", SAMPLE("match"));
    char transaction[64];
    ck_assert(whorl_str_copy(transaction_of(await(1)), transaction, sizeof transaction));
    while (identify_open(identify) > 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    identify_close(identify);
    start_service();
    ask(2, "request-1", SAMPLE("match"));
    assert_refused(await(2), "conflict", "request_id");
    ck_assert_ptr_nonnull(strstr(replies[2].message, transaction));
    ck_assert_uint_eq(records_of("identify", NULL, NULL), 1);
    char outcome[256];
    snprintf(outcome, sizeof outcome, "{'officer':'plain','transaction':'%s','outcome':'released'}",
             transaction);
    send_as(1, 3, "record_outcome", outcome);
    ck_assert_ptr_nonnull(await(3)->bytes);
    ck_assert_uint_eq(records_of("outcome", transaction_of(await(3)), NULL), 1);
    snprintf(outcome, sizeof outcome, "{'officer':'guest','transaction':'%s','outcome':'released'}",
             transaction);
    send_as(1, 4, "record_outcome", outcome);
    assert_refused(await(4), "invalid", "transaction");
    snprintf(outcome, sizeof outcome, SAMPLE("none") ",'continues':'%s'", transaction);
    ask(5, "request-2", outcome);
    assert_class(await(5), "finder", "no_match", "");
}
END_TEST

START_TEST(a_call_in_flight_keeps_its_setup_through_a_reload)
{
    ask(1, "request-1", SAMPLES("slow", "slow"));
    write_plugins(false, false);
    struct setup *fresh = start_setup();
    for (size_t i = 0; i < fresh->count; i++) {
        if (strcmp(fresh->plugins[i].conf->name, "second") != 0) {
            ck_assert_ptr_eq(fresh->plugins[i].backend, setup->plugins[i].backend);
        }
    }
    identify_use(identify, fresh);
    setup_unref(setup);
    setup = fresh;
    ask(2, "request-2", SAMPLES("match", "match"));
    assert_class(await(2), "finder", "match", "");
    assert_class(await(2), "second", "not_searched", "disabled by configuration");
    ck_assert(!replies[1].done);
    assert_class(await(1), "second", "no_match", "");
    assert_class(await(1), "finder", "no_match", "");
}
END_TEST

START_TEST(a_draining_server_finishes_what_it_has_and_takes_nothing_new)
{
    ask(1, "request-1", SAMPLE("slow"));
    identify_drain(identify);
    ask(2, "request-2", SAMPLE("none"));
    assert_refused(await(2), "draining", "");
    ck_assert(!replies[1].done);
    assert_class(await(1), "finder", "no_match", "");
    ck_assert_uint_eq(identify_open(identify), 0);
}
END_TEST

START_TEST(the_whole_deadline_bounds_the_searches)
{
    ask(1, "request-1", SAMPLES("hang", "hang") ",'deadline_ms':1000");
    assert_class(await(1), "second", "unavailable", "no answer within");
    assert_class(await(1), "records", "not_searched", "nobody");
}
END_TEST

START_TEST(capabilities_are_those_of_device_and_officer)
{
    send_as(1, 1, "capabilities", "{'officer':'plain'}");
    const msgpack_object *backends = whorl_map_get(&await(1)->msg.root, "backends");
    ck_assert_uint_eq(backends->via.array.size, 3);
    ck_assert(whorl_map_get(&backends->via.array.ptr[0], "allowed")->via.boolean);
    ck_assert(!whorl_map_get(&backends->via.array.ptr[2], "allowed")->via.boolean);
    ck_assert(whorl_str_is(whorl_map_get(&backends->via.array.ptr[2], "reason"),
                           "officer is not entitled to records"));
    ck_assert_uint_eq(whorl_map_get(&replies[1].msg.root, "bases")->via.array.size, 3);
    send_as(1, 2, "capabilities", "{'officer':'other'}");
    assert_refused(await(2), "officer_not_of_force", "officer");
    send_as(1, 3, "no_such_method", "{}");
    assert_refused(await(3), "unknown_method", "");
    send_as(1, 4, "ping", "");
    ck_assert(whorl_str_is(&await(4)->msg.root, "pong"));
}
END_TEST

START_TEST(an_officer_who_calls_too_often_is_told_when_to_come_again)
{
    for (uint64_t call = 1; call <= 40; call++) {
        send_as(1, call, "capabilities", "{'officer':'full'}");
        ck_assert_str_eq(await(call)->code, "");
    }
    ask(41, "request-1", SAMPLE("match"));
    ck_assert(replies[41].done); /* at once: nothing is searched and nothing recorded */
    assert_refused(&replies[41], "busy", "officer");
    ck_assert_uint_gt(replies[41].retry_ms, 100000);
    ck_assert_uint_eq(records_of("refused", NULL, NULL), 0);
    send_as(1, 42, "capabilities", "{'officer':'plain'}");
    ck_assert_str_eq(await(42)->code, "");
    struct identify_stats stats;
    identify_stats(identify, &stats);
    ck_assert_uint_eq(stats.requests[IDENTIFY_CAPABILITIES], 41);
    ck_assert_uint_eq(stats.officers, 2);
    for (size_t i = 0; identify_code_name(i) != NULL; i++) {
        ck_assert_uint_eq(stats.errors[i], strcmp(identify_code_name(i), "busy") == 0);
    }
}
END_TEST

/* From now on the finder takes four calls, and has them: 1 to 4, "request-1" to "request-4". */
static void fill_finder(void)
{
    char id[16];
    finder_calls = 4;
    write_plugins(true, false);
    reload();
    for (uint64_t call = 1; call <= 4; call++) {
        snprintf(id, sizeof id, "request-%d", (int)call);
        ask(call, id, SAMPLE("slow"));
        ck_assert(!replies[call].done);
    }
}

START_TEST(when_every_search_is_full_the_request_is_told_to_come_again)
{
    fill_finder();
    ask(5, "request-5", SAMPLE("match"));
    ck_assert(replies[5].done);
    assert_refused(&replies[5], "busy", "");
    for (uint64_t call = 1; call <= 4; call++) {
        await(call);
    }
    ask(6, "request-5", SAMPLE("match")); /* the same, later: it was never begun */
    assert_class(await(6), "finder", "match", "");
}
END_TEST

START_TEST(a_full_search_turns_away_only_what_needs_it)
{
    fill_finder();
    /* Before anything else of it is looked at: neither recorded nor judged. */
    send_as(9, 5, "identify", "{'request_id':'request-5'," SAMPLE("match") "}");
    ck_assert(replies[5].done);
    assert_refused(&replies[5], "busy", "");
    ck_assert_uint_eq(records_of("refused", NULL, NULL), 0);
    ask(6, "request-1", SAMPLE("slow")); /* a repeat joins what is under way */
    ck_assert(!replies[6].done);
    ask(7, "request-1", SAMPLE("match")); /* or learns that it is none */
    assert_refused(await(7), "conflict", "request_id");
    ask(8, "request-8", SAMPLES("match", "none")); /* another search takes raw */
    assert_class(await(8), "second", "no_match", "");
    assert_class(&replies[8], "finder", "unavailable", "too many calls");
    ask(9, "request-9", "'subject':{'family':'Nowak'}"); /* no search is needed */
    assert_class(await(9), "finder", "not_searched", "no sample was given");
    ask(10, "request-10", "'samples':[{'modality':'iris','format':'png','data':'x'}]");
    assert_class(await(10), "finder", "not_searched", "takes no sample");
    for (uint64_t call = 1; call <= 4; call++) {
        assert_class(await(call), "finder", "no_match", "");
    }
    assert_class(await(6), "finder", "no_match", "");
    send_as(9, 11, "identify", "{'request_id':'request-5'," SAMPLE("match") "}");
    assert_refused(await(11), "device_unknown", "");
    ck_assert_uint_eq(records_of("refused", NULL, NULL), 2); /* and the conflict */
    ask(12, "request-1", SAMPLE("slow")); /* kept: answered though nothing is asked */
    assert_class(await(12), "finder", "no_match", "");
}
END_TEST

/* Whether capabilities say that the finder can be asked now. */
static bool finder_available(uint64_t call)
{
    send_as(1, call, "capabilities", "{'officer':'full'}");
    const msgpack_object *backends = whorl_map_get(&await(call)->msg.root, "backends");
    const msgpack_object *finder = &backends->via.array.ptr[0];
    ck_assert(whorl_str_is(whorl_map_get(finder, "name"), "finder"));
    bool available = whorl_map_get(finder, "available")->via.boolean;
    ck_assert_int_eq(whorl_map_get(finder, "retry_ms") == NULL, available);
    return available;
}

START_TEST(a_backend_that_keeps_failing_is_cut_off_and_let_in_again)
{
    uint64_t call = 1;
    char id[16];
    ck_assert(finder_available(call++));
    for (; call <= 4; call++) {
        snprintf(id, sizeof id, "request-%d", (int)call);
        ask(call, id, SAMPLE("odd")); /* a malformed answer: only the flow can tell */
        assert_class(await(call), "finder", "unavailable", "malformed");
    }
    ck_assert(!finder_available(call++));
    ask(call, "request-cut", SAMPLES("match", "none"));
    assert_class(await(call), "finder", "unavailable", "cut off");
    assert_class(&replies[call], "second", "no_match", ""); /* the others go on */
    for (bool again = false; !again && call < REPLIES_MAX - 2;) {
        run_for(60);
        snprintf(id, sizeof id, "request-%d", (int)++call);
        ask(call, id, SAMPLE("match"));
        const msgpack_object *answer = answer_of(await(call), "finder");
        again = whorl_str_is(whorl_map_get(answer, "class"), "match");
    }
    ck_assert(finder_available(call + 1));
}
END_TEST

static void event_done(void *ctx, bool stored)
{
    *(int *)ctx = stored ? 1 : -1;
}

START_TEST(events_of_the_server_are_recorded_with_both_configurations)
{
    int stored = 0;
    uint8_t before[32] = {0xab};
    identify_record_event(identify, "reloaded", before, event_done, &stored);
    while (stored == 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    ck_assert_int_eq(stored, 1);
    struct packed last = {0};
    ck_assert_uint_eq(records_of("server", NULL, &last), 1);
    ck_assert(whorl_str_is(whorl_map_get(&last.msg.root, "event"), "reloaded"));
    ck_assert_uint_eq(whorl_map_get(&last.msg.root, "policy")->via.str.size, 64);
    ck_assert_mem_eq(whorl_map_get(&last.msg.root, "policy_before")->via.str.ptr, "ab0000", 6);
    packed_free(&last);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flow");
    TCase *cases = tcase_create("requests");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, a_match_is_looked_up_recorded_and_answered);
    tcase_add_loop_test(cases, a_failure_is_unavailable_and_never_no_match, 0,
                        sizeof classes / sizeof *classes);
    tcase_add_test(cases, the_record_says_how_old_each_backend_s_data_was);
    tcase_add_loop_test(cases, a_malformed_answer_is_logged_without_what_it_calls_things, 0,
                        sizeof telling / sizeof *telling);
    tcase_add_test(cases, one_backends_failure_leaves_the_others_alone);
    tcase_add_loop_test(cases, a_look_up_of_some_of_those_found_is_no_no_match, 0,
                        sizeof crowds / sizeof crowds[0]);
    tcase_add_test(cases, claimed_details_are_looked_up_when_nobody_was_found);
    tcase_add_test(cases, policy_decides_for_each_backend);
    tcase_add_loop_test(cases, a_refused_request_is_recorded_before_it_is_answered, 0,
                        sizeof refusals / sizeof *refusals);
    tcase_add_test(cases, without_a_durable_record_there_is_no_answer);
    tcase_add_test(cases, a_busy_sink_is_waited_for);
    tcase_add_test(cases, a_repeat_joins_or_returns_the_same_transaction);
    tcase_add_test(cases, a_repeat_gets_nothing_that_is_not_permitted_any_more);
    tcase_add_test(cases, an_answer_is_kept_for_as_long_as_is_configured_now);
    tcase_add_test(cases, those_who_wait_for_a_stuck_sink_are_refused_in_time);
    tcase_add_test(cases, those_who_wait_for_a_sink_that_was_replaced_are_refused_in_time);
    tcase_add_test(cases, progress_does_not_tell_that_somebody_was_found);
    tcase_add_test(cases, an_answer_that_goes_out_again_is_recorded_each_time);
    tcase_add_test(cases, an_answer_does_not_go_out_again_without_its_record);
    tcase_add_test(cases, an_error_that_is_repeated_discloses_nothing);
    tcase_add_test(cases, capabilities_say_when_records_cannot_be_stored);
    tcase_add_test(cases, every_record_holds_the_policy_s_hash);
    tcase_add_test(cases, too_many_joining_one_transaction_are_told_to_wait);
    tcase_add_test(cases, after_a_restart_a_repeat_searches_nothing_and_names_its_transaction);
    tcase_add_test(cases, a_call_in_flight_keeps_its_setup_through_a_reload);
    tcase_add_test(cases, a_draining_server_finishes_what_it_has_and_takes_nothing_new);
    tcase_add_test(cases, the_whole_deadline_bounds_the_searches);
    tcase_add_test(cases, capabilities_are_those_of_device_and_officer);
    tcase_add_test(cases, an_officer_who_calls_too_often_is_told_when_to_come_again);
    tcase_add_test(cases, when_every_search_is_full_the_request_is_told_to_come_again);
    tcase_add_test(cases, a_full_search_turns_away_only_what_needs_it);
    tcase_add_test(cases, a_backend_that_keeps_failing_is_cut_off_and_let_in_again);
    tcase_add_test(cases, events_of_the_server_are_recorded_with_both_configurations);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
