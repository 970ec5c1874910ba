/* Requests that gateways make, and backends that pass requests on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow_world.h"
#include "run_suite.h"

#define FOUND                                                                                      \
    "'people':[{'found_for':{'backend':'ident1','ref':'K9'},'identifiers':{'pncid':'P9'}}]"

START_TEST(a_gateway_s_request_asks_look_ups_about_whom_it_names)
{
    send_as(3, 1, "identify",
            "{'request_id':'request-1'," ASK ",'route':['wmp','region']," FOUND "}");
    assert_class(await(1), "records", "match", "");
    assert_class(await(1), "finder", "not_searched", "no sample was given");
    const msgpack_object *candidates = whorl_map_get(answer_of(await(1), "records"), "candidates");
    ck_assert(whorl_str_is(whorl_map_get(&candidates->via.array.ptr[0], "ref"), "P9"));
    ck_assert(whorl_str_is(whorl_map_get(&await(1)->msg.root, "gateway"), "nation"));
    struct packed record = {0}, lookup = {0};
    ck_assert_uint_eq(records_of("identify", transaction_of(await(1)), &record), 1);
    ck_assert(whorl_str_is(whorl_map_get(&record.msg.root, "device"), "region"));
    const msgpack_object *route = whorl_map_get(&record.msg.root, "route");
    ck_assert_uint_eq(route->via.array.size, 2);
    ck_assert(whorl_str_is(&route->via.array.ptr[0], "wmp"));
    ck_assert_uint_eq(records_of("lookup", transaction_of(await(1)), &lookup), 1);
    const msgpack_object *asked = whorl_map_get(&lookup.msg.root, "asked");
    const msgpack_object *found_for = whorl_map_get(&asked->via.array.ptr[0], "found_for");
    ck_assert(whorl_str_is(whorl_map_get(found_for, "ref"), "K9"));
    packed_free(&record);
    packed_free(&lookup);
}
END_TEST

/* One whom the gateway names, by that identifier. */
#define NAMED(key, value)                                                                          \
    "{'found_for':{'backend':'ident1','ref':'K" value "'},'identifiers':{'" key "':'" value "'}}"

START_TEST(whom_a_gateway_names_and_this_look_up_cannot_find_leaves_it_incomplete)
{
    send_as(3, 1, "identify",
            "{'request_id':'request-1'," ASK ",'route':['region'],"
            "'people':[" NAMED("pncid", "N1") "," NAMED("shoe", "44") "]}");
    assert_class(await(1), "records", "unavailable",
                 "1 of the 2 people found could not be asked about");
    send_as(3, 2, "identify",
            "{'request_id':'request-2'," ASK ",'route':['region'],"
            "'people':[" NAMED("shoe", "44") "," NAMED("pncid", "P1") "]}");
    assert_class(await(2), "records", "match", "1 of the 2 people found could not be asked about");
    send_as(3, 3, "identify",
            "{'request_id':'request-3'," ASK ",'route':['region'],"
            "'people':[" NAMED("shoe", "44") "]}");
    assert_class(await(3), "records", "not_searched", "nobody to look up");
}
END_TEST

/* What a backend was told of who asks; false: nothing. */
static bool told(const char *backend, uint8_t *bytes, size_t cap, struct whorl_msg *msg)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s/request", setup->conf->core.data_dir, backend);
    FILE *file = fopen(path, "re");
    size_t len = file == NULL ? 0 : fread(bytes, 1, cap, file);
    if (file != NULL) {
        fclose(file);
    }
    return file != NULL && whorl_msg_parse(bytes, len, msg, &fault);
}

START_TEST(who_asks_is_told_to_backends_that_pass_calls_on_and_to_no_other)
{
    uint8_t bytes[2048];
    struct whorl_msg msg;
    send_as(3, 1, "identify",
            "{'request_id':'request-1'," ASK ",'reason_code':0,'subject':{'family':'Jones'},"
            "'route':['wmp','region']," SAMPLES("none", "none") "}");
    assert_class(await(1), "finder", "no_match", "");
    assert_class(await(1), "second", "no_match", "");
    ck_assert(!told("second", bytes, sizeof bytes, &msg));
    ck_assert(told("finder", bytes, sizeof bytes, &msg));
    static const char *const texts[][2] = {{"gateway", "nation"}, {"backend", "finder"},
                                           {"officer", "full"},   {"basis", "consent"},
                                           {"consent", "given"},  {"reason", "doubted"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ck_assert_msg(whorl_str_is(whorl_map_get(&msg.root, texts[i][0]), texts[i][1]), "%s",
                      texts[i][0]);
    }
    ck_assert_uint_eq(msg.root.via.map.size, 9); /* these, reason_code, subject and route */
    ck_assert_int_eq(whorl_map_get(&msg.root, "reason_code")->via.i64, 0);
    const msgpack_object *subject = whorl_map_get(&msg.root, "subject");
    ck_assert_uint_eq(subject->via.map.size, 1);
    ck_assert(whorl_str_is(whorl_map_get(subject, "family"), "Jones"));
    const msgpack_object *route = whorl_map_get(&msg.root, "route");
    ck_assert_uint_eq(route->via.array.size, 2);
    ck_assert(whorl_str_is(&route->via.array.ptr[1], "region"));
    whorl_msg_release(&msg);
}
END_TEST

START_TEST(a_gateway_gives_its_request_up_and_it_is_recorded)
{
    send_as(3, 1, "identify",
            "{'request_id':'request-1'," ASK
            ",'route':['region'],'subject':{'family':'Jones'}," SAMPLE("hang") "}");
    send_as(3, 2, "cancel", "{'request_id':'request-2'}");
    ck_assert(!whorl_map_get(&await(2)->msg.root, "cancelled")->via.boolean);
    ck_assert(!replies[1].done);
    send_as(1, 3, "cancel", "{'request_id':'request-1'}");
    assert_refused(await(3), "invalid", "");
    send_as(3, 4, "cancel", "{'request_id':'request-1'}");
    ck_assert(whorl_map_get(&await(4)->msg.root, "cancelled")->via.boolean);
    assert_class(await(1), "finder", "unavailable", "gave it up");
    assert_class(await(1), "records", "unavailable", "gave it up");
    ck_assert_uint_eq(records_of("identify", transaction_of(await(1)), NULL), 1);
    send_as(3, 5, "cancel", "{'request_id':'request-1'}");
    ck_assert(!whorl_map_get(&await(5)->msg.root, "cancelled")->via.boolean);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flow_gateway");
    TCase *cases = tcase_create("gateways");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, a_gateway_s_request_asks_look_ups_about_whom_it_names);
    tcase_add_test(cases, whom_a_gateway_names_and_this_look_up_cannot_find_leaves_it_incomplete);
    tcase_add_test(cases, who_asks_is_told_to_backends_that_pass_calls_on_and_to_no_other);
    tcase_add_test(cases, a_gateway_gives_its_request_up_and_it_is_recorded);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
