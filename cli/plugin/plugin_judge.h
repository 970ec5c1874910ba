/* What the server would say of a plugin's answer, for the conformance kit. */
#ifndef CLI_PLUGIN_JUDGE_H
#define CLI_PLUGIN_JUDGE_H

#include "sdk/kit/kit.h"

/* A kit_judge that reads answers as core does, receipts of sinks included. */
bool plugin_judge(const struct kit_asked *asked, const uint8_t *answer, size_t len,
                  char class[KIT_CLASS_MAX], struct whorl_fault *fault);

#endif
