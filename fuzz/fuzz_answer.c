/* The check of backends' answers: the first byte says whether a search or a look-up was asked. What
 * is taken must be consistent: that is what the officer sees. */
#include <string.h>

#include "core/identify/answer.h"
#include "core/identify/claimed.h"
#include "fuzz.h"

static void check_answer(const struct answer *answer, uint32_t role)
{
    uint32_t count = answer->candidates == NULL ? 0 : answer->candidates->via.array.size;
    bool found = answer->class == ANSWER_MATCH || answer->class == ANSWER_POSSIBLE;
    FUZZ_CHECK(answer->class != ANSWER_NONE);
    FUZZ_CHECK(found == (count > 0));
    FUZZ_CHECK(count <= ANSWER_CANDIDATES_MAX);
    FUZZ_CHECK(answer->class < ANSWER_POOR_QUALITY || answer->reason[0] != '\0');
    FUZZ_CHECK(answer->class != ANSWER_NO_MATCH || role == WHORL_ROLE_LOOKUP ||
               answer->searched != NULL);
    struct decoded_subject subject = {.family = "Smith", .given = "John", .born = "1990-01-01"};
    for (uint32_t i = 0; i < count; i++) {
        const msgpack_object *candidate = &answer->candidates->via.array.ptr[i];
        FUZZ_CHECK(whorl_map_get(candidate, "ref") != NULL);
        claimed_name(&subject, candidate);
        claimed_born(&subject, candidate);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct person people[] = {{.backend = "ident1", .ref = "K1", .ref_len = 2},
                                           {.family = "Smith"}};
    if (size == 0) {
        return 0;
    }
    const struct answer_question question = {.role = data[0] % 2 == 0 ? WHORL_ROLE_SEARCH
                                                                      : WHORL_ROLE_LOOKUP,
                                             .samples = 0x5,
                                             .people = people,
                                             .people_count = 2};
    struct answer answer;
    struct whorl_fault fault = {0};
    if (answer_read(data + 1, size - 1, &question, &answer, &fault)) {
        check_answer(&answer, question.role);
        answer_release(&answer);
    }
    return 0;
}
