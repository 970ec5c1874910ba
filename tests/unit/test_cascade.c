/* Cascades without a network: what two levels' answers become together, for every pair of classes,
 * judged by the very code that judges backends' answers; and what goes up, by the code that reads
 * devices' requests. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/identify/answer.h"
#include "core/identify/decode.h"
#include "packed.h"
#include "plugins/source/upstream/ask.h"
#include "plugins/source/upstream/merge.h"
#include "run_suite.h"

static struct whorl_fault fault;

/* --- classes --- */

enum { M = PART_MATCH, P = PART_POSSIBLE, N = PART_NO_MATCH };
enum { Q = PART_POOR_QUALITY, U = PART_UNAVAILABLE, S = PART_NOT_SEARCHED };

/* Rows: what is here; columns: what is upstream; both in the order M P N Q U S. Two matches: if
 * they agree. */
static const int together[PART_CLASSES][PART_CLASSES] = {
    {M, P, M, M, M, M}, {P, P, P, P, P, P}, {M, P, N, Q, U, U},
    {M, P, Q, Q, U, Q}, {M, P, U, U, U, U}, {M, P, U, Q, U, S},
};

START_TEST(every_pair_of_classes_has_its_class)
{
    for (int i = 0; i < PART_CLASSES; i++) {
        for (int j = 0; j < PART_CLASSES; j++) {
            ck_assert_int_eq((int)merge_class((enum part_class)i, (enum part_class)j, true),
                             together[i][j]);
            bool matches = i == M && j == M;
            ck_assert_int_eq((int)merge_class((enum part_class)i, (enum part_class)j, false),
                             matches ? P : together[i][j]);
        }
    }
}
END_TEST

START_TEST(nobody_is_no_match_unless_both_say_so_and_nobody_found_is_lost)
{
    for (int i = 0; i < PART_CLASSES; i++) {
        for (int j = 0; j < PART_CLASSES; j++) {
            for (int agree = 0; agree < 2; agree++) {
                enum part_class class =
                    merge_class((enum part_class)i, (enum part_class)j, agree != 0);
                ck_assert((class == PART_NO_MATCH) == (i == N && j == N));
                ck_assert((class == PART_MATCH || class == PART_POSSIBLE) ==
                          (i == M || i == P || j == M || j == P));
                ck_assert_int_eq((int)class, (int)merge_class((enum part_class)j,
                                                              (enum part_class)i, agree != 0));
            }
        }
    }
}
END_TEST

/* --- answers --- */

#define HERE "{'ref':'K1','score':40,'identifiers':{'pncid':'P1','cro':'C1'}}"
#define SAME "{'ref':'N7','score':50,'identifiers':{'pncid':'P1'}}"
#define OTHER "{'ref':'N8','score':60,'identifiers':{'pncid':'P2','cro':'C1'}}"
#define WHOLE(people) "'searched':{'people':" people ",'of':" people "}"

/* A search's answer of each class, here and upstream. */
static const char *const answers_here[PART_CLASSES] = {
    "{'class':'match','candidates':[" HERE "]," WHOLE("3") "}",
    "{'class':'possible','candidates':[" HERE ",{'ref':'K2','score':30}]," WHOLE("3") "}",
    "{'class':'no_match'," WHOLE("3") "}",
    "{'class':'poor_quality','reason':'smudged','samples':[{'sample':4,'advice':'again'}]}",
    "{'class':'unavailable','reason':'the gallery is empty'," WHOLE("0") "}",
    "{'class':'not_searched','reason':'nothing to do'}",
};
static const char *const answers_upstream[PART_CLASSES] = {
    "{'class':'match','candidates':[" SAME "]," WHOLE("9") ",'age':7}",
    "{'class':'possible','candidates':[" OTHER "," SAME "]," WHOLE("9") "}",
    "{'class':'no_match'," WHOLE(
        "9") ",'levels':[{'gateway':'region','backend':'ident1','class':"
             "'no_match'},{'gateway':'nation','backend':'ident1','class':'no_match'}]}",
    "{'class':'poor_quality','reason':'blurred','samples':[{'sample':1,'quality':5}]}",
    "{'class':'unavailable','reason':'nation did not "
    "answer','levels':[{'gateway':'region','backend':"
    "'ident1','class':'no_match'},{'gateway':'nation','backend':'ident1','class':'unavailable'}]}",
    "{'class':'not_searched','reason':'not permitted'}",
};

static const struct part_question question = {
    .role = WHORL_ROLE_SEARCH, .samples = {4, 9}, .sample_count = 2};
static const struct answer_question judged = {.role = WHORL_ROLE_SEARCH,
                                              .samples = 1u << 4 | 1u << 9};

struct told {
    struct packed packed;
    struct part part;
};

static void tell(struct told *told, const char *gateway, bool upstream,
                 const struct part_question *asked, const char *text)
{
    packed_make(&told->packed, "%s", text);
    told->part = (struct part){.renumbered = upstream, .elapsed_ms = 5};
    strcpy(told->part.gateway, gateway);
    strcpy(told->part.backend, "ident1");
    (void)part_read(&told->packed.msg.root, asked, &told->part, &fault);
}

/* What the core makes of both together. */
static void merge(const struct told *here, const struct told *upstream,
                  const struct part_question *asked, const struct answer_question *question_of,
                  struct answer *answer)
{
    const struct part *parts[2] = {&here->part, upstream ? &upstream->part : NULL};
    msgpack_sbuffer packed;
    msgpack_packer pk;
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
    merge_pack(&pk, parts, upstream ? 2 : 1, asked);
    ck_assert_msg(
        answer_read((const uint8_t *)packed.data, packed.size, question_of, answer, &fault),
        "%s: %s", fault.where, fault.text);
    msgpack_sbuffer_destroy(&packed);
}

static bool is_ref(const msgpack_object *candidates, uint32_t index, const char *ref,
                   const char *gateway)
{
    const msgpack_object *candidate = &candidates->via.array.ptr[index];
    return whorl_str_is(whorl_map_get(candidate, "ref"), ref) &&
           whorl_str_is(whorl_map_get(candidate, "gateway"), gateway);
}

START_TEST(every_pair_of_answers_becomes_one_that_the_core_takes)
{
    for (int i = 0; i < PART_CLASSES; i++) {
        for (int j = 0; j < PART_CLASSES; j++) {
            struct told here, upstream;
            struct answer answer;
            tell(&here, "wmp", false, &question, answers_here[i]);
            tell(&upstream, "region", true, &question, answers_upstream[j]);
            ck_assert_int_eq((int)here.part.class, i);
            ck_assert_int_eq((int)upstream.part.class, j);
            merge(&here, &upstream, &question, &judged, &answer);
            ck_assert_str_eq(answer_class_name(answer.class),
                             part_class_name((enum part_class)together[i][j]));
            ck_assert_uint_eq(answer.levels->via.array.size, 1 + (j == N || j == U ? 2u : 1u));
            /* who failed is named */
            ck_assert(i != U || strstr(answer.reason, "wmp did not answer") != NULL);
            ck_assert(j != U || strstr(answer.reason, "nation did not answer") != NULL);
            ck_assert(i != S || strstr(answer.reason, "wmp did not search") != NULL);
            ck_assert(j != S || strstr(answer.reason, "region did not search") != NULL);
            answer_release(&answer);
            packed_free(&here.packed);
            packed_free(&upstream.packed);
        }
    }
}
END_TEST

START_TEST(each_answer_alone_keeps_its_class)
{
    for (int i = 0; i < PART_CLASSES; i++) {
        struct told upstream;
        struct answer answer;
        tell(&upstream, "region", true, &question, answers_upstream[i]);
        merge(&upstream, NULL, &question, &judged, &answer);
        ck_assert_str_eq(answer_class_name(answer.class), part_class_name((enum part_class)i));
        answer_release(&answer);
        packed_free(&upstream.packed);
    }
}
END_TEST

START_TEST(candidates_are_named_ordered_and_counted)
{
    struct told here, upstream;
    struct answer answer;
    tell(&here, "wmp", false, &question, answers_here[M]);
    tell(&upstream, "region", true, &question, answers_upstream[M]);
    merge(&here, &upstream, &question, &judged, &answer);
    ck_assert_int_eq(answer.class, ANSWER_MATCH); /* the same PNCID */
    ck_assert_uint_eq(answer.candidates->via.array.size, 1);
    ck_assert(is_ref(answer.candidates, 0, "N7", "region"));
    ck_assert_str_eq(answer.reason, "wmp found the same person, as K1");
    ck_assert_int_eq(whorl_map_get(answer.searched, "people")->via.i64, 12);
    ck_assert_int_eq(answer.age->via.i64, 7);
    answer_release(&answer);
    packed_free(&upstream.packed);
    tell(&upstream, "region", true, &question, answers_upstream[P]);
    merge(&here, &upstream, &question, &judged, &answer);
    ck_assert_int_eq(answer.class, ANSWER_POSSIBLE);
    ck_assert(is_ref(answer.candidates, 0, "N8", "region"));
    ck_assert(is_ref(answer.candidates, 1, "N7", "region"));
    ck_assert(is_ref(answer.candidates, 2, "K1", "wmp"));
    answer_release(&answer);
    packed_free(&upstream.packed);
    tell(&upstream, "region", true, &question,
         "{'class':'match','candidates':[" OTHER "]," WHOLE("9") "}");
    merge(&here, &upstream, &question, &judged, &answer);
    ck_assert_int_eq(answer.class, ANSWER_POSSIBLE); /* one CRO number, but two PNCIDs */
    ck_assert_str_eq(answer.reason, "wmp and region found different people");
    answer_release(&answer);
    packed_free(&upstream.packed);
    packed_free(&here.packed);
}
END_TEST

START_TEST(samples_keep_the_places_that_the_device_gave_them)
{
    struct told here, upstream;
    struct answer answer;
    tell(&here, "wmp", false, &question, answers_here[N]);
    tell(&upstream, "region", true, &question, answers_upstream[Q]);
    merge(&here, &upstream, &question, &judged, &answer);
    ck_assert_int_eq(answer.class, ANSWER_POOR_QUALITY);
    const msgpack_object *sample = &answer.samples->via.array.ptr[0];
    ck_assert_int_eq(whorl_map_get(sample, "sample")->via.i64, 9);
    answer_release(&answer);
    packed_free(&here.packed);
    packed_free(&upstream.packed);
}
END_TEST

/* Twenty candidates here and twenty upstream. */
START_TEST(more_than_twenty_candidates_are_cut_with_a_word)
{
    struct told here, upstream;
    struct answer answer;
    char text[4096] = "{'class':'possible','candidates':[{'ref':'x','score':20}";
    for (int i = 19; i > 0; i--) {
        char more[64];
        snprintf(more, sizeof more, ",{'ref':'x','score':%d}", i);
        strcat(text, more);
    }
    strcat(text, "]," WHOLE("30") "}");
    tell(&here, "wmp", false, &question, text);
    tell(&upstream, "region", true, &question, text);
    merge(&here, &upstream, &question, &judged, &answer);
    ck_assert_uint_eq(answer.candidates->via.array.size, 20);
    ck_assert_str_eq(answer.reason, "20 more candidates are not shown");
    ck_assert(is_ref(answer.candidates, 0, "x", "wmp"));
    ck_assert(is_ref(answer.candidates, 1, "x", "region"));
    answer_release(&answer);
    packed_free(&here.packed);
    packed_free(&upstream.packed);
}
END_TEST

START_TEST(long_reasons_are_cut_between_characters)
{
    struct told here, upstream;
    struct answer answer;
    char text[1400] = "{'class':'unavailable','reason':'";
    for (int i = 0; i < 125; i++) {
        strcat(text, "\\u00e9"); /* two bytes */
    }
    strcat(text, "'}");
    char big[1400];
    snprintf(big, sizeof big, "%s", text);
    tell(&here, "wmp", false, &question, big);
    tell(&upstream, "regions", true, &question, big);
    merge(&here, &upstream, &question, &judged, &answer);
    ck_assert_uint_le(strlen(answer.reason), 250);
    ck_assert(whorl_text_is_clean(answer.reason, strlen(answer.reason)));
    answer_release(&answer);
    packed_free(&here.packed);
    packed_free(&upstream.packed);
}
END_TEST

/* --- look-ups --- */

#define FOUND_FOR(ref) "'found_for':{'backend':'ident1','ref':'" ref "'}"

START_TEST(look_ups_about_one_person_agree_unless_an_identifier_differs)
{
    struct packed people;
    static const struct person persons[] = {{.backend = "ident1", .ref = "A", .ref_len = 1},
                                            {.backend = "ident1", .ref = "B", .ref_len = 1}};
    static const struct answer_question lookup = {
        .role = WHORL_ROLE_LOOKUP, .people = persons, .people_count = 2};
    static const struct {
        const char *upstream;
        enum answer_class class;
    } cases[] = {
        {"{'class':'match','candidates':[{'ref':'1'," FOUND_FOR(
             "A") ",'identifiers':{'pncid':'P'}}]}",
         ANSWER_MATCH},
        {"{'class':'match','candidates':[{'ref':'1'," FOUND_FOR(
             "A") ",'identifiers':{'pncid':'X'}}]}",
         ANSWER_POSSIBLE},
        {"{'class':'match','candidates':[{'ref':'1'," FOUND_FOR(
             "B") ",'identifiers':{'pncid':'X'}}]}",
         ANSWER_MATCH},
        {"{'class':'match','candidates':[{'ref':'1'," FOUND_FOR("C") "}]}", ANSWER_MATCH},
        {"{'class':'no_match','searched':{'people':1,'of':1}}", ANSWER_MATCH},
    };
    packed_make(&people, "[{" FOUND_FOR("A") ",'identifiers':{'pncid':'P'}},{" FOUND_FOR(
                             "B") ",'identifiers':{'pncid':'Q'}}]");
    const struct part_question asked = {.role = WHORL_ROLE_LOOKUP, .people = &people.msg.root};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct told here, upstream;
        struct answer answer;
        tell(&here, "wmp", false, &asked,
             "{'class':'match','candidates':[{'ref':'1'," FOUND_FOR(
                 "A") ",'identifiers':{'pncid':'P'}}]}");
        tell(&upstream, "nation", true, &asked, cases[i].upstream);
        /* the last two are malformed: who was asked about nobody, and a count that look-ups lack */
        ck_assert_int_eq(upstream.part.class == PART_UNAVAILABLE, i >= 3);
        merge(&here, &upstream, &asked, &lookup, &answer);
        ck_assert_int_eq(answer.class, cases[i].class);
        ck_assert(is_ref(answer.candidates, 0, "1", "wmp"));
        answer_release(&answer);
        packed_free(&here.packed);
        packed_free(&upstream.packed);
    }
    packed_free(&people);
}
END_TEST

/* --- what goes up --- */

#define REQUEST(more)                                                                              \
    "'request':{'gateway':'midlands','backend':'ident1','officer':'WMP1','basis':'consent',"       \
    "'consent':'given','reason':'doubted','reason_code':0,'subject':{'family':'Jones'}," more "}"
#define HEAD                                                                                       \
    "'transaction':'01a2000a-66b7-77a3-94ac-b738645a4d62','force':'WMP','deadline_ms':9000,"
#define SAMPLE(index)                                                                              \
    "{'index':" index ",'modality':'finger','format':'png','position':2,'data':'x'}"

START_TEST(what_goes_up_is_a_request_that_a_gateway_takes)
{
    struct packed message;
    struct ask ask;
    struct decoded_identify decoded;
    struct whorl_msg msg;
    msgpack_sbuffer packed;
    msgpack_packer pk;
    packed_make(&message, "{'op':'search'," HEAD "'samples':[" SAMPLE("3") "," SAMPLE(
                              "5") "]," REQUEST("'route':['wmp']") "}");
    ck_assert_msg(ask_read(&message.msg.root, WHORL_ROLE_SEARCH, &ask, &fault), "%s: %s",
                  fault.where, fault.text);
    ck_assert_int_eq(ask.question.samples[1], 5);
    ck_assert(ask_may_pass(&ask, "nation", &fault));
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
    ask_pack(&pk, &ask, "prints", 4000);
    ck_assert(whorl_msg_parse((const uint8_t *)packed.data, packed.size, &msg, &fault));
    ck_assert_msg(decode_identify(&msg.root, &decoded, &fault), "%s: %s", fault.where, fault.text);
    ck_assert_str_eq(decoded.request_id, "01a2000a-66b7-77a3-94ac-b738645a4d62/ident1");
    ck_assert_str_eq(decoded.officer, "WMP1");
    ck_assert_str_eq(decoded.reason, "doubted");
    ck_assert_int_eq(decoded.reason_code, 0);
    ck_assert(decoded.consent_given && !decoded.condition_given);
    ck_assert_str_eq(decoded.subject.family, "Jones");
    ck_assert_uint_eq(decoded.route_count, 2);
    ck_assert_str_eq(decoded.route[0], "wmp");
    ck_assert_str_eq(decoded.route[1], "midlands");
    ck_assert_str_eq(decoded.checks[0], "prints");
    ck_assert_uint_eq(decoded.sample_count, 2);
    ck_assert_int_eq(decoded.samples[0].position, 2);
    ck_assert_int_eq(decoded.deadline_ms, 4000);
    decode_release(&decoded);
    whorl_msg_release(&msg);
    msgpack_sbuffer_destroy(&packed);
    packed_free(&message);
}
END_TEST

START_TEST(people_go_up_as_they_are)
{
    struct packed message;
    struct ask ask;
    struct decoded_identify decoded;
    struct whorl_msg msg;
    msgpack_sbuffer packed;
    msgpack_packer pk;
    packed_make(
        &message,
        "{'op':'lookup'," HEAD "'people':[{" FOUND_FOR(
            "K1") ",'identifiers':{'cro':'C'}},{'family':'Doe'}]," REQUEST("'route':[]") "}");
    ck_assert(ask_read(&message.msg.root, WHORL_ROLE_LOOKUP, &ask, &fault));
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
    ask_pack(&pk, &ask, "pnc", 4000);
    ck_assert(whorl_msg_parse((const uint8_t *)packed.data, packed.size, &msg, &fault));
    ck_assert_msg(decode_identify(&msg.root, &decoded, &fault), "%s: %s", fault.where, fault.text);
    ck_assert_uint_eq(decoded.people.count, 2);
    ck_assert_str_eq(people_at(&decoded.people, 0).backend, "ident1");
    ck_assert_str_eq(people_at(&decoded.people, 1).family, "Doe");
    ck_assert_uint_eq(decoded.sample_count, 0);
    decode_release(&decoded);
    whorl_msg_release(&msg);
    msgpack_sbuffer_destroy(&packed);
    packed_free(&message);
}
END_TEST

START_TEST(loops_and_ways_that_are_too_long_are_not_gone)
{
    static const struct {
        const char *route, *upstream;
        bool may;
    } ways[] = {
        {"'route':[]", "nation", true},
        {"'route':[]", "midlands", false}, /* itself */
        {"'route':['wmp','met']", "met", false},
        {"'route':['1','2','3','4','5','6','7']", "nation", true},
        {"'route':['1','2','3','4','5','6','7','8']", "nation", false},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct packed message;
        struct ask ask;
        char text[1024];
        snprintf(text, sizeof text,
                 "{'op':'search'," HEAD "'samples':[" SAMPLE("0") "]," REQUEST("%s") "}",
                 ways[i].route);
        packed_make(&message, "%s", text);
        ck_assert(ask_read(&message.msg.root, WHORL_ROLE_SEARCH, &ask, &fault));
        ck_assert_int_eq(ask_may_pass(&ask, ways[i].upstream, &fault), ways[i].may);
        packed_free(&message);
    }
}
END_TEST

START_TEST(a_message_without_who_asks_is_not_passed_on)
{
    struct packed message;
    struct ask ask;
    packed_make(&message, "{'op':'search'," HEAD "'samples':[" SAMPLE("3") "]}");
    ck_assert(!ask_read(&message.msg.root, WHORL_ROLE_SEARCH, &ask, &fault));
    ck_assert_str_eq(fault.where, "request");
    ck_assert_uint_eq(ask.question.sample_count, 1); /* but what was found here can be judged */
    packed_free(&message);
}
END_TEST

START_TEST(time_gets_shorter_at_each_level_and_never_too_short)
{
    uint64_t before = 0;
    for (uint64_t left = 0; left <= 600000; left += 7) {
        struct ask_time time = ask_time(left);
        ck_assert(time.given_ms == 0 || time.given_ms >= ASK_LEAST_MS);
        ck_assert(time.given_ms == 0 || (time.given_ms < time.waited_ms && time.waited_ms < left));
        ck_assert_uint_ge(time.given_ms, before); /* more time here is never less there */
        before = time.given_ms;
    }
    uint64_t left = 60000;
    for (int level = 0; level < ASK_ROUTE_MAX; level++) {
        left = ask_time(left).given_ms;
    }
    ck_assert_uint_gt(left, 30000); /* a minute is enough for eight levels */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cascade");
    TCase *cases = tcase_create("cascade");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, every_pair_of_classes_has_its_class);
    tcase_add_test(cases, nobody_is_no_match_unless_both_say_so_and_nobody_found_is_lost);
    tcase_add_test(cases, every_pair_of_answers_becomes_one_that_the_core_takes);
    tcase_add_test(cases, each_answer_alone_keeps_its_class);
    tcase_add_test(cases, candidates_are_named_ordered_and_counted);
    tcase_add_test(cases, samples_keep_the_places_that_the_device_gave_them);
    tcase_add_test(cases, more_than_twenty_candidates_are_cut_with_a_word);
    tcase_add_test(cases, long_reasons_are_cut_between_characters);
    tcase_add_test(cases, look_ups_about_one_person_agree_unless_an_identifier_differs);
    tcase_add_test(cases, what_goes_up_is_a_request_that_a_gateway_takes);
    tcase_add_test(cases, people_go_up_as_they_are);
    tcase_add_test(cases, loops_and_ways_that_are_too_long_are_not_gone);
    tcase_add_test(cases, a_message_without_who_asks_is_not_passed_on);
    tcase_add_test(cases, time_gets_shorter_at_each_level_and_never_too_short);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
