#include "cli/plugin/plugin_judge.h"

#include <stdio.h>
#include <string.h>

#include "core/identify/answer.h"
#include "core/identify/sink.h"

static bool judge_receipt(const uint8_t *bytes, size_t len, char class[KIT_CLASS_MAX],
                          struct whorl_fault *fault)
{
    struct sink_receipt receipt;
    if (!sink_receipt_read(bytes, len, &receipt, fault)) {
        return false;
    }
    snprintf(class, KIT_CLASS_MAX, "%s", receipt.stored ? "stored" : "not_stored");
    return true;
}

bool plugin_judge(const struct kit_asked *asked, const uint8_t *answer, size_t len,
                  char class[KIT_CLASS_MAX], struct whorl_fault *fault)
{
    if (asked->role == WHORL_ROLE_SINK) {
        return judge_receipt(answer, len, class, fault);
    }
    const struct person person = {.backend = asked->backend,
                                  .ref = asked->ref,
                                  .ref_len = asked->ref ? strlen(asked->ref) : 0};
    const struct answer_question question = {.role = asked->role,
                                             .samples = asked->sample ? 1 : 0,
                                             .people = &person,
                                             .people_count = asked->backend ? 1 : 0};
    struct answer read;
    if (!answer_read(answer, len, &question, &read, fault)) {
        return false;
    }
    snprintf(class, KIT_CLASS_MAX, "%s", answer_class_name(read.class));
    answer_release(&read);
    return true;
}
