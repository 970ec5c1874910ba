#include "core/identify/answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/identify/decode.h"
#include "core/identify/people.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Bounds of docs/plugins.md. */
#define TEXT_MAX 250 /* bytes of a name, a label, advice */
#define VALUE_MAX 1000
#define NAMES_MAX 64
#define DETAILS_MAX 256
#define LEVELS_MAX 16
#define AGE_MAX 1e10 /* seconds: three hundred years, so from any clock */

static const char *const class_names[] = {
    [ANSWER_NONE] = "none",
    [ANSWER_MATCH] = "match",
    [ANSWER_POSSIBLE] = "possible",
    [ANSWER_NO_MATCH] = "no_match",
    [ANSWER_POOR_QUALITY] = "poor_quality",
    [ANSWER_UNAVAILABLE] = "unavailable",
    [ANSWER_NOT_SEARCHED] = "not_searched",
};

const char *answer_class_name(enum answer_class class)
{
    return class_names[class];
}

void answer_release(struct answer *answer)
{
    if (answer->bytes != NULL) {
        whorl_msg_release(&answer->msg);
        explicit_bzero(answer->bytes, answer->len);
        free(answer->bytes);
    }
    *answer = (struct answer){0};
}

void answer_set(struct answer *answer, enum answer_class class, const char *format, ...)
{
    answer_release(answer);
    answer->class = class;
    va_list args;
    va_start(args, format);
    vsnprintf(answer->reason, sizeof answer->reason, format, args);
    va_end(args);
}

static bool names_good(const msgpack_object *list, const char *path, struct whorl_fault *fault)
{
    for (uint32_t i = 0; list != NULL && i < list->via.array.size; i++) {
        struct whorl_field f[] = {
            {.name = "family", .type = WHORL_FIELD_STR, .min = 0, .max = TEXT_MAX},
            {.name = "given", .type = WHORL_FIELD_STR, .min = 0, .max = TEXT_MAX},
        };
        char inner[96];
        snprintf(inner, sizeof inner, "%s.names[%u]", path, i);
        if (!whorl_fields_read(&list->via.array.ptr[i], inner, f, COUNT(f), fault)) {
            return false;
        }
    }
    return true;
}

static bool details_good(const msgpack_object *list, const char *path, struct whorl_fault *fault)
{
    for (uint32_t i = 0; list != NULL && i < list->via.array.size; i++) {
        struct whorl_field f[] = {
            {.name = "label", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = TEXT_MAX},
            {.name = "value",
             .type = WHORL_FIELD_STR,
             .required = true,
             .min = 0,
             .max = VALUE_MAX},
            {.name = "level", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 16},
        };
        char inner[96];
        snprintf(inner, sizeof inner, "%s.details[%u]", path, i);
        if (!whorl_fields_read(&list->via.array.ptr[i], inner, f, COUNT(f), fault)) {
            return false;
        }
        if (!whorl_str_is(f[2].value, "alert") && !whorl_str_is(f[2].value, "warning") &&
            !whorl_str_is(f[2].value, "info")) {
            return whorl_fail(fault, inner, "has a level that is not alert, warning or info");
        }
    }
    return true;
}

/* found_for has to be one of the people that the look-up was asked about. */
static bool found_for_good(const msgpack_object *map, const char *path,
                           const struct answer_question *question, struct whorl_fault *fault)
{
    if (map == NULL) {
        return true;
    }
    struct whorl_field f[] = {
        {.name = "backend", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 32},
        {.name = "ref", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = ANSWER_REF_MAX},
    };
    char inner[96];
    snprintf(inner, sizeof inner, "%s.found_for", path);
    if (!whorl_fields_read(map, inner, f, COUNT(f), fault)) {
        return false;
    }
    for (size_t i = 0; i < question->people_count; i++) {
        const struct person *person = &question->people[i];
        if (person->backend != NULL && whorl_str_is(f[0].value, person->backend) &&
            f[1].value->via.str.size == person->ref_len &&
            memcmp(f[1].value->via.str.ptr, person->ref, person->ref_len) == 0) {
            return true;
        }
    }
    return whorl_fail(fault, inner, "is nobody that was asked about");
}

/* A score comes from searches only, found_by and found_for from look-ups only. */
static bool role_good(uint32_t role, const char *path, const msgpack_object *score,
                      const msgpack_object *found_by, const msgpack_object *found_for,
                      struct whorl_fault *fault)
{
    if (role == WHORL_ROLE_SEARCH && score == NULL) {
        return whorl_fail(fault, path, "has no score");
    }
    if (role == WHORL_ROLE_SEARCH && (found_by != NULL || found_for != NULL)) {
        return whorl_fail(fault, path, "has found_by or found_for, which only look-ups give");
    }
    if (role == WHORL_ROLE_LOOKUP && score != NULL) {
        return whorl_fail(fault, path, "has a score, which only searches give");
    }
    return true;
}

static bool candidate_good(const msgpack_object *map, uint32_t index,
                           const struct answer_question *question, struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        {.name = "ref", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = ANSWER_REF_MAX},
        {.name = "score", .type = WHORL_FIELD_REAL, .min = -1e6, .max = 1e6},
        {.name = "identifiers", .type = WHORL_FIELD_MAP, .min = 0, .max = PEOPLE_IDENTIFIERS_MAX},
        {.name = "names", .type = WHORL_FIELD_ARRAY, .min = 0, .max = NAMES_MAX},
        {.name = "born", .type = WHORL_FIELD_STR, .min = 10, .max = 10},
        {.name = "details", .type = WHORL_FIELD_ARRAY, .min = 0, .max = DETAILS_MAX},
        {.name = "found_by", .type = WHORL_FIELD_STR, .min = 1, .max = 64},
        {.name = "found_for", .type = WHORL_FIELD_MAP, .min = 0, .max = 8},
        {.name = "gateway", .type = WHORL_FIELD_STR, .min = 1, .max = CONF_GATEWAY_MAX},
    };
    char path[32];
    snprintf(path, sizeof path, "candidates[%u]", index);
    if (!whorl_fields_read(map, path, f, COUNT(f), fault) ||
        !role_good(question->role, path, f[1].value, f[6].value, f[7].value, fault)) {
        return false;
    }
    char born[11];
    if (f[4].value != NULL &&
        (!whorl_str_copy(f[4].value, born, sizeof born) || !decode_date_valid(born))) {
        return whorl_fail(fault, path, "has a born that is no date as YYYY-MM-DD");
    }
    char inner[64];
    snprintf(inner, sizeof inner, "%s.identifiers", path);
    return people_identifiers_good(f[2].value, inner, fault) &&
           names_good(f[3].value, path, fault) && details_good(f[5].value, path, fault) &&
           found_for_good(f[7].value, path, question, fault);
}

static bool candidates_good(const msgpack_object *list, const struct answer_question *question,
                            struct whorl_fault *fault)
{
    for (uint32_t i = 0; list != NULL && i < list->via.array.size; i++) {
        if (!candidate_good(&list->via.array.ptr[i], i, question, fault)) {
            return false;
        }
    }
    return true;
}

static bool samples_good(const msgpack_object *list, const struct answer_question *question,
                         struct whorl_fault *fault)
{
    for (uint32_t i = 0; list != NULL && i < list->via.array.size; i++) {
        struct whorl_field f[] = {
            {.name = "sample",
             .type = WHORL_FIELD_INT,
             .required = true,
             .min = 0,
             .max = DECODE_SAMPLES_MAX - 1},
            {.name = "quality", .type = WHORL_FIELD_INT, .min = 0, .max = 100},
            {.name = "advice", .type = WHORL_FIELD_STR, .min = 0, .max = TEXT_MAX},
        };
        char path[32];
        snprintf(path, sizeof path, "samples[%u]", i);
        if (!whorl_fields_read(&list->via.array.ptr[i], path, f, COUNT(f), fault)) {
            return false;
        }
        if ((question->samples >> f[0].value->via.u64 & 1u) == 0) {
            return whorl_fail(fault, path, "is about a sample that was not sent");
        }
    }
    return true;
}

/* Reads {people, of}; *whole: everybody was compared. path: the map's name. */
static bool searched_good(const msgpack_object *map, const char *path, bool *whole,
                          struct whorl_fault *fault)
{
    *whole = false;
    if (map == NULL) {
        return true;
    }
    struct whorl_field f[] = {
        {.name = "people", .type = WHORL_FIELD_INT, .required = true, .min = 0, .max = 9e15},
        {.name = "of", .type = WHORL_FIELD_INT, .required = true, .min = 0, .max = 9e15},
    };
    if (!whorl_fields_read(map, path, f, COUNT(f), fault)) {
        return false;
    }
    if (f[0].value->via.u64 > f[1].value->via.u64) {
        char inner[96];
        snprintf(inner, sizeof inner, "%s.people", path);
        return whorl_fail(fault, inner, "is more than %s.of", path);
    }
    *whole = f[0].value->via.u64 == f[1].value->via.u64;
    return true;
}

static bool class_read(const msgpack_object *word, enum answer_class *class)
{
    for (size_t i = ANSWER_MATCH; i < COUNT(class_names); i++) {
        if (whorl_str_is(word, class_names[i])) {
            *class = (enum answer_class)i;
            return true;
        }
    }
    return false;
}

static bool level_good(const msgpack_object *map, uint32_t index, bool *negative,
                       struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        {.name = "gateway",
         .type = WHORL_FIELD_STR,
         .required = true,
         .min = 1,
         .max = CONF_GATEWAY_MAX},
        {.name = "backend",
         .type = WHORL_FIELD_STR,
         .required = true,
         .min = 1,
         .max = CONF_NAME_MAX},
        {.name = "class", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 32},
        {.name = "reason", .type = WHORL_FIELD_STR, .min = 0, .max = ANSWER_REASON_MAX},
        {.name = "searched", .type = WHORL_FIELD_MAP, .min = 0, .max = 8},
        {.name = "elapsed_ms", .type = WHORL_FIELD_INT, .min = 0, .max = 1e9},
    };
    char path[32], inner[64];
    enum answer_class class;
    bool whole;
    snprintf(path, sizeof path, "levels[%u]", index);
    snprintf(inner, sizeof inner, "%s.searched", path);
    if (!whorl_fields_read(map, path, f, COUNT(f), fault) ||
        !searched_good(f[4].value, inner, &whole, fault)) {
        return false;
    }
    if (!class_read(f[2].value, &class)) {
        return whorl_fail(fault, path, "has a class that is none of the six");
    }
    *negative = *negative && class == ANSWER_NO_MATCH && (f[4].value == NULL || whole);
    return true;
}

/* *negative: each of them says no_match, of everybody. */
static bool levels_good(const msgpack_object *list, bool *negative, struct whorl_fault *fault)
{
    *negative = true;
    for (uint32_t i = 0; list != NULL && i < list->via.array.size; i++) {
        if (!level_good(&list->via.array.ptr[i], i, negative, fault)) {
            return false;
        }
    }
    return true;
}

/* The class against the rest. */
static bool consistent(const struct answer *answer, uint32_t role, struct whorl_fault *fault)
{
    uint32_t count = answer->candidates == NULL ? 0 : answer->candidates->via.array.size;
    const char *class = answer_class_name(answer->class);
    bool found = answer->class == ANSWER_MATCH || answer->class == ANSWER_POSSIBLE;
    if (found && count == 0) {
        return whorl_fail(fault, "candidates", "there are none, but the class is %s", class);
    }
    if (!found && count > 0) {
        return whorl_fail(fault, "candidates", "there are %u, but the class is %s", count, class);
    }
    if (answer->class == ANSWER_MATCH && role == WHORL_ROLE_SEARCH && count != 1) {
        return whorl_fail(fault, "candidates", "a match has one, not %u", count);
    }
    if (!found && answer->class != ANSWER_NO_MATCH && answer->reason[0] == '\0') {
        return whorl_fail(fault, "reason", "is missing, but the class is %s", class);
    }
    return true;
}

/* What keeps a no_match from being one. */
struct doubts {
    bool whole;    /* of a search: everybody was compared */
    bool negative; /* of a cascade: each level says no_match */
};

static bool fields_good(struct answer *answer, const struct answer_question *question,
                        struct doubts *doubts, struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        {.name = "class", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 32},
        {.name = "reason", .type = WHORL_FIELD_STR, .min = 0, .max = ANSWER_REASON_MAX},
        {.name = "candidates", .type = WHORL_FIELD_ARRAY, .min = 0, .max = ANSWER_CANDIDATES_MAX},
        {.name = "searched", .type = WHORL_FIELD_MAP, .min = 0, .max = 8},
        {.name = "samples", .type = WHORL_FIELD_ARRAY, .min = 0, .max = DECODE_SAMPLES_MAX},
        {.name = "levels", .type = WHORL_FIELD_ARRAY, .min = 1, .max = LEVELS_MAX},
        {.name = "age", .type = WHORL_FIELD_INT, .min = 0, .max = AGE_MAX},
    };
    if (!whorl_fields_read(&answer->msg.root, "", f, COUNT(f), fault)) {
        return false;
    }
    if (!class_read(f[0].value, &answer->class)) {
        return whorl_fail(fault, "class", "is none of the six");
    }
    whorl_str_copy(f[1].value, answer->reason, sizeof answer->reason);
    answer->candidates = f[2].value;
    answer->searched = f[3].value;
    answer->samples = f[4].value;
    answer->levels = f[5].value;
    answer->age = f[6].value;
    if (question->role == WHORL_ROLE_LOOKUP &&
        (answer->searched != NULL || answer->samples != NULL)) {
        return whorl_fail(fault, answer->searched != NULL ? "searched" : "samples",
                          "comes from searches only");
    }
    return searched_good(answer->searched, "searched", &doubts->whole, fault) &&
           levels_good(answer->levels, &doubts->negative, fault) &&
           samples_good(answer->samples, question, fault) &&
           candidates_good(answer->candidates, question, fault) &&
           consistent(answer, question->role, fault);
}

static void say_left(const struct answer_question *question, char reason[ANSWER_REASON_MAX + 1])
{
    (void)snprintf(reason, ANSWER_REASON_MAX + 1,
                   "%zu of the %zu people found could not be asked about", question->people_left,
                   question->people_left + question->people_count);
}

bool answer_read(const uint8_t *bytes, size_t len, const struct answer_question *question,
                 struct answer *answer, struct whorl_fault *fault)
{
    *answer = (struct answer){0};
    if (len == 0) {
        return whorl_fail(fault, "", "is empty");
    }
    answer->bytes = malloc(len);
    if (answer->bytes == NULL) {
        return whorl_fail(fault, "", "out of memory");
    }
    memcpy(answer->bytes, bytes, len);
    answer->len = len;
    if (!whorl_msg_parse(answer->bytes, len, &answer->msg, fault)) {
        explicit_bzero(answer->bytes, len);
        free(answer->bytes);
        *answer = (struct answer){0};
        return false;
    }
    struct doubts doubts = {.whole = false};
    if (!fields_good(answer, question, &doubts, fault)) {
        answer_release(answer);
        return false;
    }
    bool left = question->role == WHORL_ROLE_LOOKUP && question->people_left > 0;
    if (answer->class != ANSWER_NO_MATCH) {
        if (left && answer->reason[0] == '\0') {
            say_left(question, answer->reason);
        }
        return true;
    }
    if (left) {
        char reason[ANSWER_REASON_MAX + 1];
        say_left(question, reason);
        answer_set(answer, ANSWER_UNAVAILABLE, "%s", reason);
    } else if (!doubts.negative) {
        answer_set(answer, ANSWER_UNAVAILABLE, "not every level of the cascade was searched");
    } else if (question->role == WHORL_ROLE_SEARCH && !doubts.whole) {
        answer_set(answer, ANSWER_UNAVAILABLE, "the search was not complete");
    }
    return true;
}
