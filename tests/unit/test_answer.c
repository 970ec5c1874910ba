/* What backends answer: a malformed or inconsistent answer is refused by the name of its field, and
 * an incomplete search is never a no_match. And claimed against found. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/identify/answer.h"
#include "core/identify/claimed.h"
#include "packed.h"
#include "run_suite.h"

static struct packed packed;
static struct answer answer;
static struct whorl_fault fault;

static const struct person people[] = {{.backend = "ident1", .ref = "K1", .ref_len = 2},
                                       {.family = "Smith"}};
static const struct answer_question search = {.role = WHORL_ROLE_SEARCH, .samples = 0x5};
static const struct answer_question lookup = {
    .role = WHORL_ROLE_LOOKUP, .people = people, .people_count = 2};

static bool read_as(const struct answer_question *question, const char *text)
{
    fault = (struct whorl_fault){0};
    packed_make(&packed, "%s", text);
    bool good = answer_read((const uint8_t *)packed.bytes.data, packed.bytes.size, question,
                            &answer, &fault);
    packed_free(&packed);
    return good;
}

#define ONE "'candidates':[{'ref':'K1','score':50.5}]"
#define LEVEL(class) "{'gateway':'a','backend':'b','class':'" class "'}"
#define FOUND "'candidates':[{'ref':'K1','found_by':'pncid'}]"

static const struct {
    const struct answer_question *question;
    const char *text;
    enum answer_class class;
} good[] = {
    {&search, "{'class':'match'," ONE "}", ANSWER_MATCH},
    {&search, "{'class':'match'," ONE ",'searched':{'people':5,'of':9}}", ANSWER_MATCH},
    {&search, "{'class':'possible','reason':'two fingers disagree'," ONE "}", ANSWER_POSSIBLE},
    {&search, "{'class':'possible','candidates':[{'ref':'a','score':1},{'ref':'b','score':0}]}",
     ANSWER_POSSIBLE},
    {&search, "{'class':'no_match','searched':{'people':9,'of':9}}", ANSWER_NO_MATCH},
    {&search, "{'class':'no_match','searched':{'people':0,'of':0},'candidates':[]}",
     ANSWER_NO_MATCH},
    {&search, "{'class':'no_match','searched':{'people':8,'of':9}}", ANSWER_UNAVAILABLE},
    {&search, "{'class':'no_match'}", ANSWER_UNAVAILABLE},
    {&search, "{'class':'no_match','searched':{'people':9,'of':9},'age':0}", ANSWER_NO_MATCH},
    {&search, "{'class':'match','age':86400," ONE "}", ANSWER_MATCH},
    {&lookup, "{'class':'no_match','age':4}", ANSWER_NO_MATCH},
    {&search,
     "{'class':'poor_quality','reason':'r','samples':[{'sample':2,'quality':100,"
     "'advice':'again'},{'sample':0,'quality':0}]}",
     ANSWER_POOR_QUALITY},
    {&search, "{'class':'unavailable','reason':'starting'}", ANSWER_UNAVAILABLE},
    {&search, "{'class':'not_searched','reason':'gallery is empty'}", ANSWER_NOT_SEARCHED},
    {&search,
     "{'class':'match','candidates':[{'ref':'K1','score':1,'identifiers':{'pncid':'x'},"
     "'names':[{'family':'a','given':'b'},{'family':'c'}],'born':'1990-01-31',"
     "'details':[{'label':'l','value':'','level':'alert'}]}]}",
     ANSWER_MATCH},
    {&lookup, "{'class':'no_match'}", ANSWER_NO_MATCH},
    {&search,
     "{'class':'no_match','searched':{'people':9,'of':9},'levels':[{'gateway':'a','backend':'b',"
     "'class':'no_match','searched':{'people':1,'of':1},'elapsed_ms':5}]}",
     ANSWER_NO_MATCH},
    {&search,
     "{'class':'no_match','searched':{'people':9,'of':9},'levels':[{'gateway':'a','backend':'b',"
     "'class':'no_match','searched':{'people':1,'of':2},'elapsed_ms':5}]}",
     ANSWER_UNAVAILABLE},
    {&search,
     "{'class':'no_match','searched':{'people':9,'of':9},'levels':[" LEVEL("no_match") "," LEVEL(
         "unavailable") "]}",
     ANSWER_UNAVAILABLE},
    {&search,
     "{'class':'no_match','searched':{'people':9,'of':9},'levels':[" LEVEL("not_searched") "]}",
     ANSWER_UNAVAILABLE},
    {&lookup, "{'class':'no_match','levels':[" LEVEL("match") "]}", ANSWER_UNAVAILABLE},
    {&lookup, "{'class':'no_match','levels':[" LEVEL("no_match") "]}", ANSWER_NO_MATCH},
    {&search, "{'class':'match','levels':[" LEVEL("unavailable") "]," ONE "}", ANSWER_MATCH},
    {&search, "{'class':'match','candidates':[{'ref':'K1','score':1,'gateway':'nation'}]}",
     ANSWER_MATCH},
    {&lookup, "{'class':'match'," FOUND "}", ANSWER_MATCH},
    {&lookup, "{'class':'match','candidates':[{'ref':'a'},{'ref':'b'}]}", ANSWER_MATCH},
    {&lookup,
     "{'class':'match','candidates':[{'ref':'a','found_for':{'backend':'ident1',"
     "'ref':'K1'}}]}",
     ANSWER_MATCH},
};

START_TEST(a_good_answer_is_taken_with_its_class)
{
    ck_assert_msg(read_as(good[_i].question, good[_i].text), "%s: %s: %s", good[_i].text,
                  fault.where, fault.text);
    ck_assert_str_eq(answer_class_name(answer.class), answer_class_name(good[_i].class));
    bool needs_reason = answer.class >= ANSWER_POOR_QUALITY;
    ck_assert(!needs_reason || answer.reason[0] != '\0');
    answer_release(&answer);
    ck_assert_int_eq(answer.class, ANSWER_NONE);
}
END_TEST

static const struct {
    const struct answer_question *question;
    const char *text, *where;
} bad[] = {
    {&search, "{}", "class"},
    {&search, "{'class':'red'}", "class"},
    {&search, "{'class':'none'}", "class"},
    {&search, "{'class':1}", "class"},
    {&search, "{'class':'no_match','extra':1}", "extra"},
    {&search, "{'class':'match'}", "candidates"},
    {&search, "{'class':'match','candidates':[]}", "candidates"},
    {&search, "{'class':'possible'}", "candidates"},
    {&search, "{'class':'match','candidates':[{'ref':'a','score':1},{'ref':'b','score':0}]}",
     "candidates"},
    {&search, "{'class':'no_match'," ONE ",'searched':{'people':1,'of':1}}", "candidates"},
    {&search, "{'class':'unavailable','reason':'r'," ONE "}", "candidates"},
    {&search, "{'class':'poor_quality'}", "reason"},
    {&search, "{'class':'unavailable'}", "reason"},
    {&search, "{'class':'not_searched','reason':''}", "reason"},
    {&search, "{'class':'unavailable','reason':7}", "reason"},
    {&search, "{'class':'match','candidates':[{'score':1}]}", "candidates[0].ref"},
    {&search, "{'class':'match','candidates':[{'ref':'','score':1}]}", "candidates[0].ref"},
    {&search, "{'class':'match','candidates':[{'ref':'a'}]}", "candidates[0]"},
    {&search, "{'class':'match','candidates':[{'ref':'a','score':'high'}]}", "candidates[0].score"},
    {&search, "{'class':'match','candidates':[{'ref':'a','score':1,'found_by':'name'}]}",
     "candidates[0]"},
    {&search, "{'class':'match','candidates':[{'ref':'a','score':1,'born':'1990-02-30'}]}",
     "candidates[0]"},
    {&search, "{'class':'match','candidates':[{'ref':'a','score':1,'identifiers':{'pncid':5}}]}",
     "candidates[0].identifiers"},
    {&search, "{'class':'match','candidates':[{'ref':'a','score':1,'identifiers':{'':'x'}}]}",
     "candidates[0].identifiers"},
    {&search, "{'class':'match','candidates':[{'ref':'a','score':1,'names':[{'first':'x'}]}]}",
     "candidates[0].names[0].first"},
    {&search, "{'class':'match','candidates':[{'ref':'a','score':1,'names':['x']}]}",
     "candidates[0].names[0]"},
    {&search,
     "{'class':'match','candidates':[{'ref':'a','score':1,'details':[{'label':'l',"
     "'value':'v','level':'loud'}]}]}",
     "candidates[0].details[0]"},
    {&search,
     "{'class':'match','candidates':[{'ref':'a','score':1,'details':[{'label':'l',"
     "'level':'info'}]}]}",
     "candidates[0].details[0].value"},
    {&search, "{'class':'match'," ONE ",'searched':{'people':2,'of':1}}", "searched.people"},
    {&search, "{'class':'match'," ONE ",'searched':{'people':-1,'of':1}}", "searched.people"},
    {&search, "{'class':'match'," ONE ",'searched':{'people':1}}", "searched.of"},
    {&search, "{'class':'match'," ONE ",'levels':[]}", "levels"},
    {&search, "{'class':'match'," ONE ",'levels':[7]}", "levels[0]"},
    {&search, "{'class':'match'," ONE ",'levels':[{'backend':'b','class':'match'}]}",
     "levels[0].gateway"},
    {&search, "{'class':'match'," ONE ",'levels':[" LEVEL("match") "," LEVEL("red") "]}",
     "levels[1]"},
    {&search,
     "{'class':'match'," ONE ",'levels':[{'gateway':'a','backend':'b','class':'no_match',"
     "'searched':{'people':2,'of':1}}]}",
     "levels[0].searched.people"},
    {&search, "{'class':'match','candidates':[{'ref':'a','score':1,'gateway':''}]}",
     "candidates[0].gateway"},
    {&search, "{'class':'poor_quality','reason':'r','samples':[{'sample':1}]}", "samples[0]"},
    {&search, "{'class':'poor_quality','reason':'r','samples':[{'sample':20}]}",
     "samples[0].sample"},
    {&search, "{'class':'poor_quality','reason':'r','samples':[{'sample':2,'quality':101}]}",
     "samples[0].quality"},
    {&lookup, "{'class':'match'," ONE "}", "candidates[0]"},
    {&lookup, "{'class':'no_match','searched':{'people':1,'of':1}}", "searched"},
    {&lookup, "{'class':'no_match','samples':[]}", "samples"},
    {&lookup, "{'class':'no_match','age':-1}", "age"},
    {&lookup, "{'class':'no_match','age':1.5}", "age"},
    {&search, "{'class':'no_match','age':'new'}", "age"},
    {&search, "{'class':'match','age':10000000001," ONE "}", "age"},
    {&lookup,
     "{'class':'match','candidates':[{'ref':'a','found_for':{'backend':'ident1',"
     "'ref':'K2'}}]}",
     "candidates[0].found_for"},
    {&lookup,
     "{'class':'match','candidates':[{'ref':'a','found_for':{'backend':'other',"
     "'ref':'K1'}}]}",
     "candidates[0].found_for"},
    {&lookup, "{'class':'match','candidates':[{'ref':'a','found_for':{'backend':'ident1'}}]}",
     "candidates[0].found_for.ref"},
};

START_TEST(a_bad_answer_is_refused_by_the_name_of_its_field)
{
    ck_assert_msg(!read_as(bad[_i].question, bad[_i].text), "taken: %s", bad[_i].text);
    ck_assert_str_eq(fault.where, bad[_i].where);
    ck_assert_str_ne(fault.text, "");
    ck_assert_int_eq(answer.class, ANSWER_NONE);
    ck_assert_ptr_null(answer.bytes);
}
END_TEST

START_TEST(more_than_twenty_candidates_are_too_many)
{
    char text[2048] = "{'class':'possible','candidates':[{'ref':'a','score':1}";
    for (int i = 1; i < 21; i++) {
        strcat(text, ",{'ref':'a','score':1}");
    }
    strcat(text, "]}");
    ck_assert(!read_as(&search, text));
    ck_assert_str_eq(fault.where, "candidates");
}
END_TEST

START_TEST(bytes_cut_anywhere_are_no_answer)
{
    packed_make(&packed, "%s", good[11].text);
    for (size_t len = 0; len < packed.bytes.size; len++) {
        ck_assert(!answer_read((const uint8_t *)packed.bytes.data, len, &search, &answer, &fault));
    }
    packed_free(&packed);
}
END_TEST

static const struct {
    const char *family, *given, *born;
    const char *candidate;
    enum claimed_verdict name, date;
} claims[] = {
    {"Smith", "John", "1990-01-01",
     "{'names':[{'family':'SMITH','given':'john'}],"
     "'born':'1990-01-01'}",
     CLAIMED_SAME, CLAIMED_SAME},
    {"Smith", "John", "1990-01-01",
     "{'names':[{'family':'Calloway','given':'Dean'}],"
     "'born':'1979-07-21'}",
     CLAIMED_DIFFERS, CLAIMED_DIFFERS},
    {"Smith", "John", "",
     "{'names':[{'family':'Calloway','given':'Dean'},{'family':'smith',"
     "'given':'JOHN'}],'born':'1979-07-21'}",
     CLAIMED_SAME, CLAIMED_UNKNOWN},
    {"Smith", "John", "1990-01-01", "{'names':[{'family':'Smith','given':'Jon'}]}", CLAIMED_DIFFERS,
     CLAIMED_UNKNOWN},
    {"Smith", "", "", "{'names':[{'family':'Smith','given':'Jon'}]}", CLAIMED_SAME,
     CLAIMED_UNKNOWN},
    {"Smith", "John", "", "{'names':[{'family':'Smith'}]}", CLAIMED_SAME, CLAIMED_UNKNOWN},
    {"O'Brien-Jones", "Mary Ann", "", "{'names':[{'family':'OBRIEN JONES','given':'Mary-Ann'}]}",
     CLAIMED_SAME, CLAIMED_UNKNOWN},
    {"O\xe2\x80\x99"
     "Brien",
     "", "", "{'names':[{'family':'O\\u0027Brien'}]}", CLAIMED_SAME, CLAIMED_UNKNOWN},
    {"Zo\xc3\xab", "", "", "{'names':[{'family':'ZO\\u00eb'}]}", CLAIMED_SAME, CLAIMED_UNKNOWN},
    {"Zo\xc3\xab", "", "", "{'names':[{'family':'Zoe'}]}", CLAIMED_DIFFERS, CLAIMED_UNKNOWN},
    {"Smit", "", "", "{'names':[{'family':'Smith'}]}", CLAIMED_DIFFERS, CLAIMED_UNKNOWN},
    {"Smithe", "", "", "{'names':[{'family':'Smith'}]}", CLAIMED_DIFFERS, CLAIMED_UNKNOWN},
    {"Smith", "John", "", "{'names':[]}", CLAIMED_UNKNOWN, CLAIMED_UNKNOWN},
    {"Smith", "John", "", "{'ref':'x'}", CLAIMED_UNKNOWN, CLAIMED_UNKNOWN},
    {"", "", "1990-01-01", "{'names':[{'family':'Smith'}],'born':'1990-01-02'}", CLAIMED_UNKNOWN,
     CLAIMED_DIFFERS},
};

START_TEST(claimed_against_found)
{
    struct decoded_subject subject = {0};
    strcpy(subject.family, claims[_i].family);
    strcpy(subject.given, claims[_i].given);
    strcpy(subject.born, claims[_i].born);
    char text[256];
    strcpy(text, claims[_i].candidate);
    packed_make(&packed, "%s", text);
    ck_assert_int_eq(claimed_name(&subject, &packed.msg.root), claims[_i].name);
    ck_assert_int_eq(claimed_born(&subject, &packed.msg.root), claims[_i].date);
    packed_free(&packed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("answer");
    TCase *cases = tcase_create("answers");
    tcase_add_loop_test(cases, a_good_answer_is_taken_with_its_class, 0,
                        sizeof good / sizeof *good);
    tcase_add_loop_test(cases, a_bad_answer_is_refused_by_the_name_of_its_field, 0,
                        sizeof bad / sizeof *bad);
    tcase_add_test(cases, more_than_twenty_candidates_are_too_many);
    tcase_add_test(cases, bytes_cut_anywhere_are_no_answer);
    tcase_add_loop_test(cases, claimed_against_found, 0, sizeof claims / sizeof *claims);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
