/* What another gateway answers, and what this one is asked, taken apart: whatever isn't as it must
 * be makes an `unavailable` that names the field, and never a no_match. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packed.h"
#include "plugins/source/upstream/ask.h"
#include "plugins/source/upstream/merge.h"
#include "run_suite.h"

static struct whorl_fault fault;

#define WHOLE "'searched':{'people':3,'of':3}"
#define LEVEL "'gateway':'g','backend':'b'"
#define POSSIBLE(more) "{'class':'possible'," WHOLE ",'candidates':[{" more "}]}"
#define FOUND(more) POSSIBLE("'ref':'K1','score':40," more)
#define LONG                                                                                       \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaa"                                                                                      \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaa"                                                                                      \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" /* 252 */

static const struct part_question search = {
    .role = WHORL_ROLE_SEARCH, .samples = {4, 9}, .sample_count = 2};

struct malformed {
    const char *answer, *where, *text; /* text NULL: any */
};

static const struct malformed searches[] = {
    {"[]", "", NULL},
    {"{" WHOLE "}", "class", NULL},
    {"{'class':5}", "class", NULL},
    {"{'class':'perhaps'," WHOLE "}", "class", "is none of the six"},
    {"{'class':'no_match','searched':{'people':5,'of':3}}", "searched",
     "says more people than there are"},
    {"{'class':'no_match','searched':{'people':5}}", "searched.of", NULL},
    {"{'class':'no_match'," WHOLE ",'samples':[{'sample':2}]}", "samples",
     "are about one that was not sent"},
    {"{'class':'no_match'," WHOLE ",'samples':[{'quality':2}]}", "samples.sample", NULL},
    {"{'class':'no_match'," WHOLE ",'samples':[{'sample':0,'quality':101}]}", "samples.quality",
     NULL},
    {"{'class':'no_match'," WHOLE ",'levels':[]}", "levels", NULL},
    {"{'class':'no_match'," WHOLE ",'levels':[{" LEVEL "}]}", "levels.class", NULL},
    {"{'class':'no_match'," WHOLE ",'levels':[{" LEVEL ",'class':'wow'}]}", "levels",
     "have a class that there is not"},
    {"{'class':'no_match'," WHOLE ",'levels':[{" LEVEL
     ",'class':'no_match','searched':{'people':2,'of':1}}]}",
     "searched", "says more people than there are"},
    {"{'class':'match'," WHOLE "}", "candidates", "are 0, which is no match"},
    {"{'class':'possible'," WHOLE "}", "candidates", "are 0, which is no possible"},
    {"{'class':'match'," WHOLE ",'candidates':[{'ref':'a','score':1},{'ref':'b','score':1}]}",
     "candidates", "are 2, which is no match"},
    {"{'class':'no_match'," WHOLE ",'candidates':[{'ref':'a','score':1}]}", "candidates",
     "are 1, which is no no_match"},
    {"{'class':'unavailable'}", "reason", "is missing"},
    {"{'class':'not_searched','reason':''}", "reason", "is missing"},
    {POSSIBLE("'score':40"), "candidates.ref", NULL},
    {POSSIBLE("'ref':'K1'"), "candidates", "have fields of the other role"},
    {FOUND("'found_by':'pncid'"), "candidates", "have fields of the other role"},
    {FOUND("'found_for':{'backend':'b','ref':'r'}"), "candidates", "have fields of the other role"},
    {FOUND("'born':'1990-02-30'"), "candidates.born", "is no date"},
    {FOUND("'born':'1849-12-31'"), "candidates.born", "is no date"},
    {FOUND("'born':'2200-01-01'"), "candidates.born", "is no date"},
    {FOUND("'born':'1990/01/01'"), "candidates.born", "is no date"},
    {FOUND("'born':'1990- 1-01'"), "candidates.born", "is no date"},
    {FOUND("'identifiers':{'pncid':5}"), "identifiers", "hold what is no short text"},
    {FOUND("'identifiers':{'pncid':''}"), "identifiers", "hold what is no short text"},
    {FOUND("'identifiers':{'':'a'}"), "identifiers", "hold what is no short text"},
    {FOUND("'identifiers':{'pncid':'" LONG "'}"), "identifiers", "hold what is no short text"},
    {FOUND("'identifiers':{'pncid':'a\\u0007b'}"), "identifiers", "hold what is no short text"},
    {FOUND("'names':[{'family':5}]"), "names.family", NULL},
    {FOUND("'names':[{'first':'a'}]"), "names.first", NULL},
    {FOUND("'details':[{'label':'l','value':'v'}]"), "details.level", NULL},
    {FOUND("'details':[{'label':'l','value':'v','level':'loud'}]"), "details",
     "have a level that there is not"},
};

/* Reads an answer as one of the gateway above, or of the data here; false as part_read. */
static bool read_part(const char *text, const struct part_question *question, bool renumbered,
                      struct part *part)
{
    struct packed packed;
    packed_make(&packed, "%s", text);
    *part = (struct part){.renumbered = renumbered};
    fault = (struct whorl_fault){"", ""};
    bool good = part_read(&packed.msg.root, question, part, &fault);
    ck_assert(good || (part->class == PART_UNAVAILABLE && !part->candidates && !part->searched));
    packed_free(&packed);
    return good;
}

static void refused(const struct malformed *wrong, const struct part_question *question)
{
    struct part part;
    ck_assert_msg(!read_part(wrong->answer, question, true, &part), "taken: %s", wrong->answer);
    ck_assert_msg(strcmp(fault.where, wrong->where) == 0, "%s: at %s: %s", wrong->answer,
                  fault.where, fault.text);
    ck_assert_msg(!wrong->text || strcmp(fault.text, wrong->text) == 0, "%s: %s", wrong->answer,
                  fault.text);
    ck_assert(strstr(part.reason, "the answer was malformed (") == part.reason);
}

START_TEST(a_malformed_answer_of_a_search_is_unavailable_and_its_field_named)
{
    refused(&searches[_i], &search);
}
END_TEST

#define ASKED(ref) "{'found_for':{'backend':'ident1','ref':'" ref "'}}"
#define LOOKED(more) "{'class':'match','candidates':[{'ref':'1'," more "}]}"

static const struct malformed lookups[] = {
    {"{'class':'no_match'," WHOLE "}", "searched", "comes from searches only"},
    {"{'class':'no_match','samples':[]}", "samples", "comes from searches only"},
    {LOOKED("'score':5"), "candidates", "have fields of the other role"},
    {LOOKED("'found_for':{'backend':'ident1'}"), "found_for.ref", NULL},
    {LOOKED("'found_for':{'backend':'ident1','ref':'C'}"), "found_for",
     "is nobody that was asked about"},
    {LOOKED("'found_for':{'backend':'other','ref':'A'}"), "found_for",
     "is nobody that was asked about"},
};

START_TEST(a_malformed_answer_of_a_look_up_is_unavailable_and_its_field_named)
{
    struct packed people;
    /* one who was found by a search, one by words, one whose search was not named */
    packed_make(&people, "[" ASKED("A") ",{'family':'Doe'},{'found_for':{'ref':'C'}}]");
    const struct part_question lookup = {.role = WHORL_ROLE_LOOKUP, .people = &people.msg.root};
    struct part part;
    refused(&lookups[_i], &lookup);
    ck_assert_msg(read_part(LOOKED("'found_for':{'backend':'ident1','ref':'A'},'found_by':'name'"),
                            &lookup, true, &part),
                  "%s: %s", fault.where, fault.text);
    ck_assert_msg(read_part(LOOKED("'names':[]"), &lookup, true, &part), "%s", fault.text);
    ck_assert_int_eq(part.class, PART_MATCH);
    packed_free(&people);
}
END_TEST

/* JSON has no such maps. */
START_TEST(an_identifier_that_is_there_twice_makes_an_answer_malformed)
{
    msgpack_sbuffer bytes;
    msgpack_packer pk;
    struct whorl_msg msg;
    struct part part = {.renumbered = true};
    msgpack_sbuffer_init(&bytes);
    msgpack_packer_init(&pk, &bytes, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 2);
    whorl_put_str(&pk, "class", "possible");
    whorl_put_key(&pk, "candidates");
    msgpack_pack_array(&pk, 1);
    msgpack_pack_map(&pk, 3);
    whorl_put_str(&pk, "ref", "K1");
    whorl_put_int(&pk, "score", 4);
    whorl_put_key(&pk, "identifiers");
    msgpack_pack_map(&pk, 2);
    whorl_put_str(&pk, "pncid", "a");
    whorl_put_str(&pk, "pncid", "b");
    ck_assert(whorl_msg_parse((const uint8_t *)bytes.data, bytes.size, &msg, &fault));
    ck_assert(!part_read(&msg.root, &search, &part, &fault));
    ck_assert_str_eq(fault.where, "identifiers");
    ck_assert_str_eq(fault.text, "have a key twice");
    whorl_msg_release(&msg);
    msgpack_sbuffer_destroy(&bytes);
}
END_TEST

START_TEST(everything_that_an_answer_may_hold_is_taken)
{
    static const char *const good[] = {
        FOUND("'identifiers':{'pncid':'P1','cro':'C1'},'names':[{'family':'A','given':'B'}],"
              "'born':'1990-02-28','details':[{'label':'l','value':'v','level':'warning'},"
              "{'label':'m','value':'','level':'info'}],'gateway':'nation'"),
        "{'class':'no_match'," WHOLE ",'age':5,'levels':[{" LEVEL ",'class':'no_match'," WHOLE
        ",'elapsed_ms':4}],'samples':[{'sample':0,'quality':5},{'sample':1,'advice':'again'}]}",
        "{'class':'no_match'," WHOLE ",'tomorrow':'s field'}",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct part part;
        ck_assert_msg(read_part(good[i], &search, true, &part), "%zu: %s: %s", i, fault.where,
                      fault.text);
        ck_assert_int_ne(part.class, PART_UNAVAILABLE);
    }
}
END_TEST

START_TEST(a_no_match_that_is_not_of_everybody_at_every_level_is_unavailable)
{
    static const char *const partial[] = {
        "{'class':'no_match'}",
        "{'class':'no_match','searched':{'people':2,'of':3}}",
        "{'class':'no_match'," WHOLE ",'levels':[{" LEVEL ",'class':'no_match'},{" LEVEL
        ",'class':'unavailable'}]}",
        "{'class':'no_match'," WHOLE ",'levels':[{" LEVEL ",'class':'not_searched'},{" LEVEL
        ",'class':'no_match'}]}",
        "{'class':'no_match'," WHOLE ",'levels':[{" LEVEL
        ",'class':'no_match','searched':{'people':1,'of':2}}]}",
    };
    for (size_t i = 0; i < sizeof partial / sizeof *partial; i++) {
        struct part part;
        ck_assert(read_part(partial[i], &search, true, &part));
        ck_assert_int_eq(part.class, PART_UNAVAILABLE);
        ck_assert(part.doubted);
        ck_assert_str_eq(part.reason, "the search was not complete");
    }
}
END_TEST

START_TEST(samples_are_counted_as_they_were_sent_above_and_as_the_device_did_here)
{
    struct part part;
    static const char third[] = "{'class':'no_match'," WHOLE ",'samples':[{'sample':9}]}";
    static const char second[] = "{'class':'no_match'," WHOLE ",'samples':[{'sample':1}]}";
    ck_assert(read_part(third, &search, false, &part));
    ck_assert(!read_part(third, &search, true, &part));
    ck_assert(read_part(second, &search, true, &part));
    ck_assert(!read_part(second, &search, false, &part));
}
END_TEST

START_TEST(a_reason_is_cut_between_characters)
{
    struct part part = {.renumbered = false};
    char text[600] = "x";
    for (int i = 0; i < 200; i++)
        strcat(text, "\u00e9"); /* two bytes, of which one would end at the bound */
    part_set(&part, PART_UNAVAILABLE, "%s", text);
    ck_assert_uint_eq(strlen(part.reason), PART_REASON_MAX - 1);
    ck_assert(whorl_text_is_clean(part.reason, strlen(part.reason)));
    part_set(&part, PART_UNAVAILABLE, "%s", text + 1);
    ck_assert_uint_eq(strlen(part.reason), PART_REASON_MAX);
}
END_TEST

/* ------------------------------------------------------------------ one answer of two */

struct told {
    struct packed packed;
    struct part part;
};

static void tell(struct told *told, const char *gateway, const char *text)
{
    packed_make(&told->packed, "%s", text);
    told->part = (struct part){.renumbered = false};
    snprintf(told->part.gateway, sizeof told->part.gateway, "%s", gateway);
    strcpy(told->part.backend, "ident1");
    ck_assert_msg(part_read(&told->packed.msg.root, &search, &told->part, &fault), "%s: %s: %s",
                  text, fault.where, fault.text);
}

static struct whorl_msg merge(const char *here, const char *above, msgpack_sbuffer *bytes)
{
    struct told told[2];
    const struct part *parts[2] = {&told[0].part, &told[1].part};
    struct whorl_msg msg;
    msgpack_packer pk;
    tell(&told[0], "wmp", here);
    tell(&told[1], "region", above);
    msgpack_sbuffer_init(bytes);
    msgpack_packer_init(&pk, bytes, msgpack_sbuffer_write);
    merge_pack(&pk, parts, 2, &search);
    ck_assert(whorl_msg_parse((const uint8_t *)bytes->data, bytes->size, &msg, &fault));
    packed_free(&told[0].packed);
    packed_free(&told[1].packed);
    return msg;
}

static void is_candidate(const struct whorl_msg *msg, uint32_t index, const char *ref,
                         const char *gateway)
{
    const msgpack_object *list = whorl_map_get(&msg->root, "candidates");
    ck_assert_ptr_nonnull(list);
    ck_assert_uint_gt(list->via.array.size, index);
    const msgpack_object *candidate = &list->via.array.ptr[index];
    ck_assert(whorl_str_is(whorl_map_get(candidate, "ref"), ref));
    ck_assert(whorl_str_is(whorl_map_get(candidate, "gateway"), gateway));
}

/* Scores are numbers of any kind, and a gateway further up keeps its name. */
START_TEST(candidates_are_ordered_by_scores_of_any_kind_and_keep_whose_they_are)
{
    msgpack_sbuffer bytes;
    struct whorl_msg msg = merge(
        "{'class':'possible'," WHOLE
        ",'candidates':[{'ref':'half','score':0.5},{'ref':'below','score':-3}]}",
        "{'class':'possible'," WHOLE ",'candidates':[{'ref':'two','score':2,'gateway':'nation'}]}",
        &bytes);
    is_candidate(&msg, 0, "two", "nation");
    is_candidate(&msg, 1, "half", "wmp");
    is_candidate(&msg, 2, "below", "wmp");
    whorl_msg_release(&msg);
    msgpack_sbuffer_destroy(&bytes);
}
END_TEST

static const struct {
    const char *here, *above;
    bool same;
} pairs[] = {
    {"'identifiers':{'pncid':'P1'}", "'identifiers':{'pncid':'P1'}", true},
    {"'identifiers':{'pncid':'P1'}", "'identifiers':{'pncid':'P2'}", false},
    {"'identifiers':{'pncid':'P1'}", "'identifiers':{'cro':'P1'}", false},
    {"'identifiers':{'pncid':'P1'}", "'born':'1990-01-01'", false},
    {"'born':'1990-01-01'", "'identifiers':{'pncid':'P1'}", false},
    {"'identifiers':null", "'identifiers':{'pncid':'P1'}", false},
};

START_TEST(matches_are_of_one_person_only_if_they_share_an_identifier_and_none_differs)
{
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char here[256], above[256];
        msgpack_sbuffer bytes;
        snprintf(here, sizeof here,
                 "{'class':'match'," WHOLE ",'candidates':[{'ref':'K1','score':9,%s}]}",
                 pairs[i].here);
        snprintf(above, sizeof above,
                 "{'class':'match'," WHOLE ",'candidates':[{'ref':'N1','score':9,%s}]}",
                 pairs[i].above);
        struct whorl_msg msg = merge(here, above, &bytes);
        ck_assert_msg(
            whorl_str_is(whorl_map_get(&msg.root, "class"), pairs[i].same ? "match" : "possible"),
            "%zu", i);
        whorl_msg_release(&msg);
        msgpack_sbuffer_destroy(&bytes);
    }
}
END_TEST

/* ------------------------------------------------------------------ what is asked */

#define HEAD(op)                                                                                   \
    "'op':'" op "','transaction':'01a2000a-66b7-77a3-94ac-b738645a4d62','deadline_ms':9000,"
#define SAMPLE "'samples':[{'index':0,'data':'x'}],"
#define WHO "'gateway':'midlands','backend':'ident1','officer':'W','basis':'c','subject':{}"

static const struct {
    enum whorl_role role;
    const char *message, *where;
} unasked[] = {
    {WHORL_ROLE_SEARCH, "[]", ""},
    {WHORL_ROLE_SEARCH, "{'op':'search'}", "transaction"},
    {WHORL_ROLE_SEARCH, "{" HEAD("lookup") SAMPLE "'request':{" WHO ",'route':[]}}", "op"},
    {WHORL_ROLE_LOOKUP, "{" HEAD("search") "'people':[{}],'request':{" WHO ",'route':[]}}", "op"},
    {WHORL_ROLE_SEARCH,
     "{" HEAD("search") "'samples':[{'data':'x'}],'request':{" WHO ",'route':[]}}",
     "samples.index"},
    {WHORL_ROLE_SEARCH, "{" HEAD("search") SAMPLE "'request':{" WHO "}}", "request.route"},
};

START_TEST(a_message_that_is_none_of_a_host_is_not_passed_on)
{
    for (size_t i = 0; i < sizeof unasked / sizeof *unasked; i++) {
        struct packed message;
        struct ask ask;
        packed_make(&message, "%s", unasked[i].message);
        ck_assert(!ask_read(&message.msg.root, unasked[i].role, &ask, &fault));
        ck_assert_str_eq(fault.where, unasked[i].where);
        packed_free(&message);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upstream_parts");
    TCase *cases = tcase_create("parts");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, a_malformed_answer_of_a_search_is_unavailable_and_its_field_named, 0,
                        sizeof searches / sizeof *searches);
    tcase_add_loop_test(cases, a_malformed_answer_of_a_look_up_is_unavailable_and_its_field_named,
                        0, sizeof lookups / sizeof *lookups);
    tcase_add_test(cases, an_identifier_that_is_there_twice_makes_an_answer_malformed);
    tcase_add_test(cases, everything_that_an_answer_may_hold_is_taken);
    tcase_add_test(cases, a_no_match_that_is_not_of_everybody_at_every_level_is_unavailable);
    tcase_add_test(cases, samples_are_counted_as_they_were_sent_above_and_as_the_device_did_here);
    tcase_add_test(cases, a_reason_is_cut_between_characters);
    tcase_add_test(cases, candidates_are_ordered_by_scores_of_any_kind_and_keep_whose_they_are);
    tcase_add_test(cases,
                   matches_are_of_one_person_only_if_they_share_an_identifier_and_none_differs);
    tcase_add_test(cases, a_message_that_is_none_of_a_host_is_not_passed_on);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
