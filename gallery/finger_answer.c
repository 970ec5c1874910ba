/* From a search's result to the answer of docs/plugins.md. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "finger_request.h"

#define TEXT_MAX 250u /* bytes of a reason or an advice */

/* A reason that is put together sentence by sentence. */
struct reason {
    char text[1024];
    size_t len;
};

/* Cuts a text to TEXT_MAX bytes without cutting a character in two. */
static const char *clip(char *text)
{
    size_t len = strlen(text);
    if (len > TEXT_MAX) {
        len = TEXT_MAX;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) {
            len--;
        }
        text[len] = '\0';
    }
    return text;
}

static void put_text(msgpack_packer *pk, const char *key, const char *text)
{
    char copy[1024];
    snprintf(copy, sizeof copy, "%s", text);
    whorl_put_str(pk, key, clip(copy));
}

__attribute__((format(printf, 2, 3))) static void say(struct reason *reason, const char *format,
                                                      ...)
{
    va_list args;
    if (reason->len > 0 && reason->len + 3 < sizeof reason->text) {
        memcpy(reason->text + reason->len, "; ", 3);
        reason->len += 2;
    }
    va_start(args, format);
    vsnprintf(reason->text + reason->len, sizeof reason->text - reason->len, format, args);
    va_end(args);
    reason->len = strlen(reason->text);
}

static void say_unused(struct reason *reason, const struct finger_request *request)
{
    for (size_t i = 0; i < request->sample_count; i++) {
        const struct finger_sample *sample = &request->samples[i];
        if (sample->state != SAMPLE_USABLE) {
            say(reason, "samples[%lld] (%s): %s", (long long)sample->index,
                decode_position_name(sample->position), sample->fault.text);
        }
    }
}

void finger_answer_plain(msgpack_packer *pk, const char *class, const char *reason)
{
    msgpack_pack_map(pk, 2);
    whorl_put_str(pk, "class", class);
    put_text(pk, "reason", reason);
}

static void pack_samples(msgpack_packer *pk, const struct finger_request *request)
{
    whorl_put_key(pk, "samples");
    msgpack_pack_array(pk, request->sample_count);
    for (size_t i = 0; i < request->sample_count; i++) {
        const struct finger_sample *sample = &request->samples[i];
        const char *advice = sample->state != SAMPLE_USABLE ? sample->fault.text
                                                            : afis_quality_advice(sample->reasons);
        msgpack_pack_map(pk, advice[0] ? 3 : 2);
        whorl_put_int(pk, "sample", sample->index);
        whorl_put_int(pk, "quality", sample->quality);
        if (advice[0]) {
            put_text(pk, "advice", advice);
        }
    }
}

void finger_answer_unusable(msgpack_packer *pk, const struct finger_request *request)
{
    struct reason reason = {.len = 0};
    bool failed = false;
    for (size_t i = 0; i < request->sample_count; i++) {
        failed = failed || request->samples[i].state == SAMPLE_FAILED;
    }
    say_unused(&reason, request);
    msgpack_pack_map(pk, 3);
    whorl_put_str(pk, "class", failed ? "unavailable" : "poor_quality");
    put_text(pk, "reason", reason.text);
    pack_samples(pk, request);
}

/* One candidate alone above the match threshold, and the next, which is among the result's, far
 * behind. */
static bool is_match(const struct gallery_result *result)
{
    return result->above_match >= 1 &&
           (result->candidate_count == 1 ||
            result->candidates[0].score - result->candidates[1].score >= FINGER_SEARCH_AHEAD) &&
           (result->candidate_count == 1 || result->candidates[1].score < result->match_threshold);
}

static const char *classify(const struct finger_search_standing *standing,
                            const struct gallery_result *result, struct reason *reason)
{
    if (!result->complete) {
        say(reason, "only %llu of %llu people could be searched: %s",
            (unsigned long long)result->people, (unsigned long long)result->of,
            result->trouble.text);
        return "unavailable";
    }
    if (result->of == 0) {
        say(reason, "the gallery is empty");
        return "unavailable";
    }
    if (result->comparable == 0) {
        say(reason, "nobody in the gallery has a print that these fingers could be compared with");
        return "unavailable";
    }
    if (result->candidate_count == 0) {
        return standing->missing > 0 && !standing->tolerated ? "unavailable" : "no_match";
    }
    return is_match(result) ? "match" : "possible";
}

static void pack_candidates(msgpack_packer *pk, const struct finger_request *request,
                            const struct gallery_result *result, size_t count)
{
    const struct finger_instance *instance = request->instance;
    whorl_put_key(pk, "candidates");
    msgpack_pack_array(pk, count);
    for (size_t i = 0; i < count; i++) {
        instance->kind->candidate(pk, result->candidates[i].person, result->candidates[i].score,
                                  instance->host->settings, request->force);
    }
}

static void pack_searched(msgpack_packer *pk, const struct finger_search_standing *standing,
                          const struct gallery_result *result)
{
    uint64_t missing = standing->tolerated ? 0 : standing->missing;
    whorl_put_key(pk, "searched");
    msgpack_pack_map(pk, 2);
    whorl_put_int(pk, "people", (int64_t)result->people);
    whorl_put_int(pk, "of", (int64_t)(result->of + missing));
}

void finger_answer_result(msgpack_packer *pk, const struct finger_request *request,
                          const struct gallery_result *result)
{
    const struct finger_search_standing *standing = &request->standing;
    bool copy = request->instance->copy.standing != NULL;
    struct reason reason = {.len = 0};
    const char *class = classify(standing, result, &reason);
    bool match = strcmp(class, "match") == 0, possible = strcmp(class, "possible") == 0;
    size_t most = request->instance->max_candidates;
    most = result->candidate_count < most ? result->candidate_count : most;
    size_t count = match ? 1 : possible ? most : 0;
    if (possible && result->above_possible > count) {
        say(&reason, "%llu more candidates are not shown",
            (unsigned long long)(result->above_possible - count));
    }
    if (count == 0 && result->comparable > 0 && result->comparable < result->people) {
        say(&reason, "%llu of %llu people have no valid print of these fingers",
            (unsigned long long)(result->people - result->comparable),
            (unsigned long long)result->people);
    }
    if (standing->missing > 0) {
        say(&reason, "%llu people of the source can't be read and were not searched",
            (unsigned long long)standing->missing);
    }
    say_unused(&reason, request);
    msgpack_pack_map(pk, 3u + copy + (reason.len > 0) + (count > 0));
    whorl_put_str(pk, "class", class);
    if (reason.len > 0) {
        put_text(pk, "reason", reason.text);
    }
    if (count > 0) {
        pack_candidates(pk, request, result, count);
    }
    pack_searched(pk, standing, result);
    if (copy) {
        whorl_put_int(pk, "age", standing->age);
    }
    pack_samples(pk, request);
}

void finger_search_pack_names(msgpack_packer *pk, const struct gallery_person *person)
{
    whorl_put_key(pk, "names");
    msgpack_pack_array(pk, person->name_count);
    for (size_t i = 0; i < person->name_count; i++) {
        msgpack_pack_map(pk, 2);
        whorl_put_str(pk, "family", person->names[i].family);
        whorl_put_str(pk, "given", person->names[i].given);
    }
}

void finger_search_pack_identifiers(msgpack_packer *pk, const struct gallery_person *person)
{
    whorl_put_key(pk, "identifiers");
    msgpack_pack_map(pk, person->identifier_count);
    for (size_t i = 0; i < person->identifier_count; i++) {
        whorl_put_str(pk, person->identifiers[i].key, person->identifiers[i].value);
    }
}

void finger_search_pack_detail(msgpack_packer *pk, const char *label, const char *value,
                               const char *level)
{
    msgpack_pack_map(pk, 3);
    whorl_put_str(pk, "label", label);
    whorl_put_str(pk, "value", value);
    whorl_put_str(pk, "level", level);
}
