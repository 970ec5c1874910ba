/* What another gateway answers: whatever it is, the answer that is made of it and of the local one
 * is taken by the core, what was found here is still in it, and it is no no_match unless both are.
 * The first byte chooses role and local class. */
#include <string.h>

#include "core/identify/answer.h"
#include "fuzz.h"
#include "plugins/source/upstream/merge.h"

/* {backend: "ident1", ref: "K1"} under found_for, alone in an array. */
static const uint8_t asked_bytes[] = "\x91\x81\xa9"
                                     "found_for\x82\xa7"
                                     "backend\xa6"
                                     "ident1\xa3"
                                     "ref\xa2K1";
/* A candidate's array: {ref: "L1", score: 9.0}, and without the score. */
static const uint8_t found_bytes[] = "\x91\x82\xa3"
                                     "ref\xa2L1\xa5"
                                     "score\xca\x41\x10\x00\x00";
static const uint8_t record_bytes[] = "\x91\x81\xa3"
                                      "ref\xa2L1";

static void merge(const struct part *here, const struct part *there,
                  const struct part_question *question)
{
    static const struct person people[] = {{.backend = "ident1", .ref = "K1", .ref_len = 2}};
    const struct part *const parts[] = {here, there};
    const struct answer_question judged = {
        .role = question->role, .samples = 0x5, .people = people, .people_count = 1};
    struct answer answer;
    struct whorl_fault fault;
    msgpack_sbuffer packed;
    msgpack_packer pk;
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
    merge_pack(&pk, parts, 2, question);
    FUZZ_CHECK(answer_read((const uint8_t *)packed.data, packed.size, &judged, &answer, &fault));
    bool found =
        here->class == PART_MATCH || there->class == PART_MATCH || there->class == PART_POSSIBLE;
    FUZZ_CHECK((answer.class == ANSWER_MATCH || answer.class == ANSWER_POSSIBLE) == found);
    FUZZ_CHECK((answer.class == ANSWER_NO_MATCH) ==
               (here->class == PART_NO_MATCH && there->class == PART_NO_MATCH));
    answer_release(&answer);
    msgpack_sbuffer_destroy(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct whorl_msg asked, found, msg;
    struct whorl_fault fault;
    if (size == 0) {
        return 0;
    }
    bool search = data[0] % 2 == 0;
    FUZZ_CHECK(whorl_msg_parse(asked_bytes, sizeof asked_bytes - 1, &asked, &fault));
    FUZZ_CHECK(whorl_msg_parse(search ? found_bytes : record_bytes,
                               (search ? sizeof found_bytes : sizeof record_bytes) - 1, &found,
                               &fault));
    const struct part_question question = {.role = search ? WHORL_ROLE_SEARCH : WHORL_ROLE_LOOKUP,
                                           .people = &asked.root,
                                           .samples = {0, 2},
                                           .sample_count = 2};
    struct part here = {.gateway = "wmp", .backend = "b", .age = -1};
    struct part there = {.gateway = "nation", .backend = "b", .renumbered = true};
    here.class = data[0] / 2 % 2 == 0 ? PART_MATCH : PART_NO_MATCH;
    here.candidates = here.class == PART_MATCH ? &found.root : NULL;
    here.searched = search;
    here.people = here.of = 3;
    if (whorl_msg_parse(data + 1, size - 1, &msg, &fault)) {
        (void)part_read(&msg.root, &question, &there, &fault);
        merge(&here, &there, &question);
        whorl_msg_release(&msg);
    }
    whorl_msg_release(&found);
    whorl_msg_release(&asked);
    return 0;
}
