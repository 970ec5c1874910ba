/* Requests: every field of identify, good and bad in every way, and the fault names it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/identify/decode.h"
#include "packed.h"
#include "run_suite.h"

static struct packed packed;
static struct decoded_identify request;
static struct whorl_fault fault;

/* Decodes the smallest good request with more fields. */
static bool decode(const char *more)
{
    fault = (struct whorl_fault){0};
    packed_make(&packed, "{'request_id':'12345678','officer':'WMP1','basis':'consent'%s%s}",
                more[0] != '\0' ? "," : "", more);
    bool good = decode_identify(&packed.msg.root, &request, &fault);
    packed_free(&packed);
    return good;
}

#define SAMPLE "'modality':'finger','format':'png','data':'x'"
#define HUNDRED                                                                                    \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"                                           \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* What may be added to a good request. */
static const char *const good[] = {
    "",
    "'stop_power':'rta-163'",
    "'stop_power':null",
    "'reason':'abc'",
    "'reason':'" HUNDRED HUNDRED "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee'",
    "'reason_code':0",
    "'reason_code':9",
    "'consent':'given'",
    "'consent':'given_by_guardian'",
    "'consent':'refused'",
    "'consent':'not_asked'",
    "'consent':'unable'",
    "'subject':{}",
    "'subject':{'condition':'deceased','family':'O\\u2019Brien','given':'Zo\\u00eb',"
    "'born':'2000-02-29','gender':'other','age_band':'65+','ethnicity_officer':'6',"
    "'ethnicity_self':'NS'}",
    "'samples':[]",
    "'samples':[{" SAMPLE "}]",
    "'samples':[{" SAMPLE ",'position':0,'dpi':1,'width':0,'height':0}]",
    "'samples':[{" SAMPLE ",'position':255,'dpi':10000,'width':1000000,'height':1000000}]",
    "'checks':['ident1']",
    "'checks':['a','b','c','d','e','f','g','h','i','j','k','l','m','n','o','p']",
    "'continues':'01a2000a-66b7-77a3-94ac-b738645a4d62'",
    "'deadline_ms':1000",
    "'deadline_ms':600000",
};

START_TEST(every_good_value_is_taken)
{
    ck_assert_msg(decode(good[_i]), "%s: %s: %s", good[_i], fault.where, fault.text);
}
END_TEST

/* What may not, and the field that has to be named. */
static const struct {
    const char *more, *where;
} bad[] = {
    {"'colour':'red'", "colour"},
    {"'stop_power':''", "stop_power"},
    {"'stop_power':7", "stop_power"},
    {"'stop_power':'" HUNDRED "'", "stop_power"},
    {"'stop_power':'a\\u0000b'", "stop_power"},
    {"'stop_power':'a\\nb'", "stop_power"},
    {"'reason':'ab'", "reason"},
    {"'reason':'" HUNDRED HUNDRED HUNDRED "'", "reason"},
    {"'reason':['abc']", "reason"},
    {"'reason_code':-1", "reason_code"},
    {"'reason_code':10", "reason_code"},
    {"'reason_code':1.5", "reason_code"},
    {"'reason_code':'1'", "reason_code"},
    {"'consent':'GIVEN'", "consent"},
    {"'consent':''", "consent"},
    {"'consent':true", "consent"},
    {"'subject':'adult'", "subject"},
    {"'subject':{'name':'x'}", "subject.name"},
    {"'subject':{'condition':'asleep'}", "subject.condition"},
    {"'subject':{'condition':1}", "subject.condition"},
    {"'subject':{'family':''}", "subject.family"},
    {"'subject':{'family':'" HUNDRED "a'}", "subject.family"},
    {"'subject':{'given':''}", "subject.given"},
    {"'subject':{'given':[]}", "subject.given"},
    {"'subject':{'born':'1999-02-29'}", "subject.born"},
    {"'subject':{'born':'1900-02-29'}", "subject.born"},
    {"'subject':{'born':'2000-13-01'}", "subject.born"},
    {"'subject':{'born':'2000-00-10'}", "subject.born"},
    {"'subject':{'born':'2000-04-31'}", "subject.born"},
    {"'subject':{'born':'2000-04-00'}", "subject.born"},
    {"'subject':{'born':'1849-12-31'}", "subject.born"},
    {"'subject':{'born':'2200-01-01'}", "subject.born"},
    {"'subject':{'born':'01/01/2000'}", "subject.born"},
    {"'subject':{'born':'2000-1-010'}", "subject.born"},
    {"'subject':{'born':'2000-01-1 '}", "subject.born"},
    {"'subject':{'born':'2000-01-01T'}", "subject.born"},
    {"'subject':{'born':20000101}", "subject.born"},
    {"'subject':{'gender':'m'}", "subject.gender"},
    {"'subject':{'age_band':'18-25'}", "subject.age_band"},
    {"'subject':{'ethnicity_officer':'7'}", "subject.ethnicity_officer"},
    {"'subject':{'ethnicity_officer':6}", "subject.ethnicity_officer"},
    {"'subject':{'ethnicity_self':'W4'}", "subject.ethnicity_self"},
    {"'samples':{}", "samples"},
    {"'samples':['x']", "samples[0]"},
    {"'samples':[{" SAMPLE "},{'format':'png','data':'x'}]", "samples[1].modality"},
    {"'samples':[{'modality':'finger','data':'x'}]", "samples[0].format"},
    {"'samples':[{'modality':'finger','format':'png'}]", "samples[0].data"},
    {"'samples':[{'modality':'finger','format':'png','data':''}]", "samples[0].data"},
    {"'samples':[{'modality':'finger','format':'png','data':5}]", "samples[0].data"},
    {"'samples':[{'modality':'','format':'png','data':'x'}]", "samples[0].modality"},
    {"'samples':[{'modality':'" HUNDRED "','format':'png','data':'x'}]", "samples[0].modality"},
    {"'samples':[{'modality':'finger','format':'" HUNDRED "','data':'x'}]", "samples[0].format"},
    {"'samples':[{" SAMPLE ",'position':-1}]", "samples[0].position"},
    {"'samples':[{" SAMPLE ",'position':256}]", "samples[0].position"},
    {"'samples':[{" SAMPLE ",'dpi':0}]", "samples[0].dpi"},
    {"'samples':[{" SAMPLE ",'dpi':10001}]", "samples[0].dpi"},
    {"'samples':[{" SAMPLE ",'width':-1}]", "samples[0].width"},
    {"'samples':[{" SAMPLE ",'height':1000001}]", "samples[0].height"},
    {"'samples':[{" SAMPLE ",'height':'1'}]", "samples[0].height"},
    {"'samples':[{" SAMPLE ",'shoe':44}]", "samples[0].shoe"},
    {"'checks':[]", "checks"},
    {"'checks':'ident1'", "checks"},
    {"'checks':['ident1',5]", "checks[1]"},
    {"'checks':['']", "checks[0]"},
    {"'checks':['" HUNDRED "']", "checks[0]"},
    {"'checks':['a','b','a']", "checks[2]"},
    {"'checks':['a','b','c','d','e','f','g','h','i','j','k','l','m','n','o','p','q']", "checks"},
    {"'continues':''", "continues"},
    {"'continues':'yesterday'", "continues"},
    {"'continues':'01A2000A-66B7-77A3-94AC-B738645A4D62'", "continues"},
    {"'continues':'01a2000a-66b7-77a3-94ac_b738645a4d62'", "continues"},
    {"'continues':1", "continues"},
    {"'deadline_ms':999", "deadline_ms"},
    {"'deadline_ms':600001", "deadline_ms"},
    {"'deadline_ms':'soon'", "deadline_ms"},
};

START_TEST(every_bad_value_is_refused_by_its_name)
{
    ck_assert_msg(!decode(bad[_i].more), "taken: %s", bad[_i].more);
    ck_assert_str_eq(fault.where, bad[_i].where);
    ck_assert_str_ne(fault.text, "");
}
END_TEST

START_TEST(required_fields_have_to_be_there)
{
    static const struct {
        const char *text, *where;
    } cases[] = {
        {"{'officer':'WMP1','basis':'consent'}", "request_id"},
        {"{'request_id':'12345678','basis':'consent'}", "officer"},
        {"{'request_id':'12345678','officer':'WMP1'}", "basis"},
        {"{'request_id':null,'officer':'WMP1','basis':'consent'}", "request_id"},
        {"{'request_id':'1234567','officer':'WMP1','basis':'consent'}", "request_id"},
        {"{'request_id':'" HUNDRED "','officer':'WMP1','basis':'consent'}", "request_id"},
        {"{'request_id':'12345678','officer':'" HUNDRED "','basis':'consent'}", "officer"},
        {"{'request_id':'12345678','officer':'','basis':'consent'}", "officer"},
        {"{'request_id':'12345678','officer':'WMP1','basis':'" HUNDRED "'}", "basis"},
        {"{'request_id':'12345678','officer':'WMP1','basis':3}", "basis"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        packed_make(&packed, "%s", cases[i].text);
        ck_assert(!decode_identify(&packed.msg.root, &request, &fault));
        ck_assert_str_eq(fault.where, cases[i].where);
        packed_free(&packed);
    }
}
END_TEST

START_TEST(a_repeated_field_is_refused)
{
    static const uint8_t twice[] = "\x84\xaarequest_id\xa8"
                                   "12345678\xa7officer\xa4WMP1\xa5"
                                   "basis\xa7"
                                   "consent\xa5"
                                   "basis\xa7"
                                   "consent";
    struct whorl_msg msg;
    ck_assert(whorl_msg_parse(twice, sizeof twice - 1, &msg, &fault));
    ck_assert(!decode_identify(&msg.root, &request, &fault));
    ck_assert_str_eq(fault.where, "basis");
    whorl_msg_release(&msg);
}
END_TEST

START_TEST(what_is_left_out_has_its_default)
{
    ck_assert(decode(""));
    ck_assert_str_eq(request.consent, "not_asked");
    ck_assert_str_eq(request.subject.condition, "adult");
    ck_assert(!request.consent_given && !request.condition_given);
    ck_assert_int_eq(request.reason_code, DECODE_ABSENT);
    ck_assert_int_eq(request.deadline_ms, DECODE_ABSENT);
    ck_assert_uint_eq(request.sample_count, 0);
    ck_assert_uint_eq(request.check_count, 0);
    ck_assert_str_eq(request.subject.family, "");
}
END_TEST

START_TEST(every_field_arrives)
{
    packed_make(&packed, "{'request_id':'12345678','officer':'WMP1','basis':'consent',"
                         "'samples':[{'modality':'face','format':'raw','data':'bytes','position':3,"
                         "'dpi':500,'width':10,'height':20}],'checks':['b','a'],'reason_code':4,"
                         "'subject':{'born':'1990-01-31','ethnicity_self':'M9'}}");
    ck_assert(decode_identify(&packed.msg.root, &request, &fault));
    const struct decoded_sample *sample = &request.samples[0];
    ck_assert_uint_eq(request.sample_count, 1);
    ck_assert_str_eq(sample->modality, "face");
    ck_assert_str_eq(sample->format, "raw");
    ck_assert_uint_eq(sample->len, 5);
    ck_assert_mem_eq(sample->data, "bytes", 5);
    ck_assert_int_eq(sample->position, 3);
    ck_assert_int_eq(sample->dpi, 500);
    ck_assert_int_eq(sample->width, 10);
    ck_assert_int_eq(sample->height, 20);
    ck_assert_str_eq(request.checks[0], "b");
    ck_assert_str_eq(request.checks[1], "a");
    ck_assert_ptr_null(request.checks[2]);
    ck_assert_int_eq(request.reason_code, 4);
    ck_assert_str_eq(request.subject.born, "1990-01-31");
    ck_assert_str_eq(request.subject.ethnicity_self, "M9");
    packed_free(&packed);
}
END_TEST

START_TEST(presence_is_what_the_device_said)
{
    static const char *const fields[] = {"stop_power",
                                         "reason",
                                         "reason_code",
                                         "consent",
                                         "samples",
                                         "checks",
                                         "continues",
                                         "subject.condition",
                                         "subject.family",
                                         "subject.given",
                                         "subject.born",
                                         "subject.gender",
                                         "subject.age_band",
                                         "subject.ethnicity_officer",
                                         "subject.ethnicity_self"};
    ck_assert(decode(""));
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        ck_assert_msg(!decode_present(&request, fields[i]), "%s", fields[i]);
    }
    ck_assert(decode_present(&request, "basis"));
    ck_assert(!decode_present(&request, "nonsense"));
    ck_assert(decode("'stop_power':'x','reason':'abc','reason_code':0,'consent':'unable',"
                     "'samples':[{" SAMPLE "}],'checks':['a'],"
                     "'continues':'01a2000a-66b7-77a3-94ac-b738645a4d62','subject':{"
                     "'condition':'adult','family':'a','given':'b','born':'2000-01-01',"
                     "'gender':'male','age_band':'0-9','ethnicity_officer':'0',"
                     "'ethnicity_self':'W1'}"));
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        ck_assert_msg(decode_present(&request, fields[i]), "%s", fields[i]);
    }
}
END_TEST

static void digest_of(const char *text, uint8_t first_of_key, uint8_t digest[32])
{
    uint8_t key[32] = {first_of_key};
    packed_make(&packed, "%s", text);
    ck_assert_msg(decode_identify(&packed.msg.root, &request, &fault), "%s", fault.text);
    ck_assert(decode_digest(&request, key, digest));
    decode_release(&request);
    packed_free(&packed);
}

START_TEST(the_digest_is_of_the_content_whatever_its_order_and_of_every_field)
{
    uint8_t first[32];
    uint8_t other[32];
    digest_of("{'request_id':'12345678','officer':'A','basis':'c','reason':'abc',"
              "'samples':[{" SAMPLE "}]}",
              1, first);
    digest_of("{'samples':[{'data':'x','format':'png','modality':'finger','position':null}],"
              "'reason':'abc','basis':'c','officer':'A','request_id':'12345678'}",
              1, other);
    ck_assert_mem_eq(first, other, 32);
    digest_of("{'request_id':'12345678','officer':'A','basis':'c','reason':'abc',"
              "'samples':[{" SAMPLE "}]}",
              2, other);
    ck_assert_mem_ne(first, other, 32);
    static const char *const others[] = {
        "'officer':'B','basis':'c','reason':'abc','samples':[{" SAMPLE "}]",
        "'officer':'A','basis':'d','reason':'abc','samples':[{" SAMPLE "}]",
        "'officer':'A','basis':'c','reason':'abd','samples':[{" SAMPLE "}]",
        "'officer':'A','basis':'c','stop_power':'abc','samples':[{" SAMPLE "}]",
        "'officer':'A','basis':'c','reason':'abc','samples':[]",
        "'officer':'A','basis':'c','reason':'abc','samples':[{" SAMPLE "},{" SAMPLE "}]",
        "'officer':'A','basis':'c','reason':'abc','samples':[{" SAMPLE ",'position':0}]",
        "'officer':'A','basis':'c','reason':'abc','samples':[{" SAMPLE ",'dpi':500}]",
        "'officer':'A','basis':'c','reason':'abc','samples':[{'modality':'finger','format':'png',"
        "'data':'y'}]",
        "'officer':'A','basis':'c','reason':'abc','samples':[{" SAMPLE "}],'checks':['a']",
        "'officer':'A','basis':'c','reason':'abc','samples':[{" SAMPLE "}],'reason_code':1",
        "'officer':'A','basis':'c','reason':'abc','samples':[{" SAMPLE "}],'deadline_ms':1000",
        "'officer':'A','basis':'c','reason':'abc','samples':[{" SAMPLE "}],'consent':'given'",
        "'officer':'A','basis':'c','reason':'abc','samples':[{" SAMPLE "}],"
        "'subject':{'family':'x'}",
        "'officer':'A','basis':'c','reason':'abc','samples':[{" SAMPLE "}],"
        "'subject':{'given':'x'}",
        "'officer':'A','basis':'c','reason':'abc','samples':[{" SAMPLE "}],'route':['x']",
        "'officer':'A','basis':'c','reason':'abc','samples':[{" SAMPLE "}],'route':['y']",
        "'officer':'A','basis':'c','reason':'abc','samples':[{" SAMPLE "}],"
        "'people':[{'family':'x'}]",
    };
    uint8_t seen[sizeof others / sizeof *others][32];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char text[512];
        snprintf(text, sizeof text, "{'request_id':'12345678',%s}", others[i]);
        digest_of(text, 1, seen[i]);
        ck_assert_mem_ne(first, seen[i], 32);
        for (size_t j = 0; j < i; j++) {
            ck_assert_mem_ne(seen[j], seen[i], 32);
        }
    }
}
END_TEST

#define FOUND(ref) "{'found_for':{'backend':'ident1','ref':'" ref "'},'identifiers':{'pncid':'P'}}"

START_TEST(what_a_gateway_adds_arrives_and_outlives_the_request)
{
    ck_assert(decode("'route':['wmp','region.1'],'people':[" FOUND(
        "K1") ",{'family':'a','given':'b','born':'2000-02-29'},{'family':'c'}]"));
    ck_assert_uint_eq(request.route_count, 2);
    ck_assert_str_eq(request.route[1], "region.1");
    ck_assert_uint_eq(request.people.count, 3);
    struct person first = people_at(&request.people, 0), second = people_at(&request.people, 1),
                  third = people_at(&request.people, 2);
    ck_assert_str_eq(first.backend, "ident1");
    ck_assert_uint_eq(first.ref_len, 2);
    ck_assert_mem_eq(first.ref, "K1", 2);
    ck_assert(whorl_str_is(whorl_map_get(first.identifiers, "pncid"), "P"));
    ck_assert_ptr_null(second.identifiers);
    ck_assert_str_eq(second.born, "2000-02-29");
    ck_assert_str_eq(third.family, "c");
    ck_assert_ptr_null(third.given);
    decode_release(&request);
}
END_TEST

static const struct {
    const char *field, *where;
} bad_ways[] = {
    {"'route':[]", "route"},
    {"'route':'wmp'", "route"},
    {"'route':['']", "route[0]"},
    {"'route':['a','b c']", "route[1]"},
    {"'route':['a',7]", "route[1]"},
    {"'route':['.a']", "route[0]"},
    {"'route':['abcdefghijklmnopqrstuvwxyz0123456']", "route[0]"},
    {"'route':['1','2','3','4','5','6','7','8','9']", "route"},
    {"'people':[]", "people"},
    {"'people':{}", "people"},
    {"'people':[7]", "people[0]"},
    {"'people':[{}]", "people[0]"},
    {"'people':[{'family':'a'},{'given':'b'}]", "people[1]"},
    {"'people':[{'family':'a','shoe':'44'}]", "people[0].shoe"},
    {"'people':[{'family':'a','born':'2001-02-29'}]", "people[0]"},
    {"'people':[{'identifiers':{'pncid':'P'}}]", "people[0]"},
    {"'people':[{'found_for':{'backend':'a','ref':'b'}}]", "people[0]"},
    {"'people':[{'found_for':{'backend':'a','ref':'b'},'identifiers':{}}]",
     "people[0].identifiers"},
    {"'people':[{'found_for':{'backend':'a','ref':'b'},'identifiers':{'pncid':7}}]",
     "people[0].identifiers"},
    {"'people':[{'found_for':{'backend':'a','ref':'b'},'identifiers':{'x\\u0007y':'P'}}]",
     "people[0].identifiers"},
    {"'people':[{'found_for':{'backend':'a'},'identifiers':{'pncid':'P'}}]", "people[0].found_for"},
    {"'people':[{'found_for':{'backend':'a','ref':'b'},'identifiers':{'pncid':'P'},"
     "'family':'x'}]",
     "people[0]"},
};

START_TEST(what_a_gateway_adds_is_refused_by_its_name)
{
    ck_assert_msg(!decode(bad_ways[_i].field), "%s", bad_ways[_i].field);
    ck_assert_msg(strncmp(fault.where, bad_ways[_i].where, strlen(bad_ways[_i].where)) == 0,
                  "%s: %s", bad_ways[_i].field, fault.where);
    decode_release(&request);
}
END_TEST

START_TEST(a_refused_request_still_says_who_asked_if_that_is_readable)
{
    packed_make(&packed, "{'request_id':'12345678','officer':'WMP1','basis':7}");
    ck_assert(!decode_identify(&packed.msg.root, &request, &fault));
    ck_assert_str_eq(request.request_id, "12345678");
    ck_assert_str_eq(request.officer, "WMP1");
    packed_free(&packed);
    packed_make(&packed, "{'request_id':[],'officer':'a\\u001b[0m','basis':7}");
    ck_assert(!decode_identify(&packed.msg.root, &request, &fault));
    ck_assert_str_eq(request.request_id, "");
    ck_assert_str_eq(request.officer, "");
    packed_free(&packed);
    packed_make(&packed, "[1]");
    ck_assert(!decode_identify(&packed.msg.root, &request, &fault));
    packed_free(&packed);
}
END_TEST

START_TEST(outcomes_are_checked_field_by_field)
{
    static const struct {
        const char *text, *where; /* NULL: good */
    } cases[] = {
        {"{'officer':'A','transaction':'01a2000a-66b7-77a3-94ac-b738645a4d62','outcome':"
         "'released','contacted_control':true,'note':'x'}",
         NULL},
        {"{'officer':'A','transaction':'01a2000a-66b7-77a3-94ac-b738645a4d62','outcome':"
         "'arrested_immigration'}",
         NULL},
        {"{'transaction':'01a2000a-66b7-77a3-94ac-b738645a4d62','outcome':'released'}", "officer"},
        {"{'officer':'A','outcome':'released'}", "transaction"},
        {"{'officer':'A','transaction':'x','outcome':'released'}", "transaction"},
        {"{'officer':'A','transaction':'01a2000a-66b7-77a3-94ac-b738645a4d62'}", "outcome"},
        {"{'officer':'A','transaction':'01a2000a-66b7-77a3-94ac-b738645a4d62','outcome':'shot'}",
         "outcome"},
        {"{'officer':'A','transaction':'01a2000a-66b7-77a3-94ac-b738645a4d62','outcome':"
         "'released','contacted_control':'yes'}",
         "contacted_control"},
        {"{'officer':'A','transaction':'01a2000a-66b7-77a3-94ac-b738645a4d62','outcome':"
         "'released','note':'" HUNDRED HUNDRED HUNDRED "'}",
         "note"},
        {"{'officer':'A','transaction':'01a2000a-66b7-77a3-94ac-b738645a4d62','outcome':"
         "'released','mood':'x'}",
         "mood"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct decoded_outcome outcome;
        packed_make(&packed, "%s", cases[i].text);
        bool taken = decode_outcome(&packed.msg.root, &outcome, &fault);
        ck_assert_int_eq(taken, cases[i].where == NULL);
        if (!taken) {
            ck_assert_str_eq(fault.where, cases[i].where);
        } else {
            ck_assert_int_eq(outcome.contacted_control, i == 0 ? 1 : DECODE_ABSENT);
        }
        packed_free(&packed);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("decode");
    TCase *cases = tcase_create("requests");
    tcase_add_loop_test(cases, every_good_value_is_taken, 0, sizeof good / sizeof *good);
    tcase_add_loop_test(cases, every_bad_value_is_refused_by_its_name, 0, sizeof bad / sizeof *bad);
    tcase_add_test(cases, required_fields_have_to_be_there);
    tcase_add_test(cases, a_repeated_field_is_refused);
    tcase_add_test(cases, what_is_left_out_has_its_default);
    tcase_add_test(cases, every_field_arrives);
    tcase_add_test(cases, presence_is_what_the_device_said);
    tcase_add_test(cases, the_digest_is_of_the_content_whatever_its_order_and_of_every_field);
    tcase_add_test(cases, what_a_gateway_adds_arrives_and_outlives_the_request);
    tcase_add_loop_test(cases, what_a_gateway_adds_is_refused_by_its_name, 0,
                        sizeof bad_ways / sizeof *bad_ways);
    tcase_add_test(cases, a_refused_request_still_says_who_asked_if_that_is_readable);
    tcase_add_test(cases, outcomes_are_checked_field_by_field);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
