#include "plugins/source/upstream/part.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Bounds of docs/plugins.md. */
enum { TEXT_MAX = 250, VALUE_MAX = 1000, REF_MAX = 128, NAMES = 64, DETAILS = 256, KEYS = 16 };

static const char *const class_names[PART_CLASSES] = {
    "match", "possible", "no_match", "poor_quality", "unavailable", "not_searched"};

const char *part_class_name(enum part_class class)
{
    return class_names[class];
}

void part_clip(char *text, size_t max)
{
    size_t len = strlen(text);
    if (len <= max) {
        return;
    }
    len = max;
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) {
        len--;
    }
    text[len] = '\0';
}

size_t part_count(const msgpack_object *list)
{
    return list ? list->via.array.size : 0;
}

void part_set(struct part *part, enum part_class class, const char *format, ...)
{
    char reason[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    part_clip(reason, PART_REASON_MAX);
    part->class = class;
    snprintf(part->reason, sizeof part->reason, "%s", reason);
    part->candidates = part->samples = part->levels = NULL;
    part->searched = false;
    part->age = -1;
}

static bool read_class(const msgpack_object *word, enum part_class *class)
{
    for (size_t i = 0; i < PART_CLASSES; i++) {
        if (whorl_str_is(word, class_names[i])) {
            *class = (enum part_class)i;
            return true;
        }
    }
    return false;
}

/* --- candidates --- */

/* A day of the calendar, from 1850 to 2199, as YYYY-MM-DD. */
static bool is_date(const msgpack_object *text)
{
    char day[11], again[16];
    struct tm tm = {0};
    if (!text) {
        return true;
    }
    if (!whorl_str_copy(text, day, sizeof day) || !strptime(day, "%Y-%m-%d", &tm) ||
        tm.tm_year < 1850 - 1900 || tm.tm_year > 2199 - 1900) {
        return false;
    }
    (void)timegm(&tm); /* moves what there is not, as 30 February, on */
    return strftime(again, sizeof again, "%Y-%m-%d", &tm) == 10 && strcmp(day, again) == 0;
}

/* A map of short texts by short keys, each once. */
static bool identifiers_good(const msgpack_object *map, struct whorl_fault *fault)
{
    for (uint32_t i = 0; map && i < map->via.map.size; i++) {
        const msgpack_object_kv *pair = &map->via.map.ptr[i];
        const msgpack_object *both[] = {&pair->key, &pair->val};
        for (size_t j = 0; j < 2; j++) {
            const msgpack_object *text = both[j];
            if (text->type != MSGPACK_OBJECT_STR || text->via.str.size == 0 ||
                text->via.str.size > TEXT_MAX ||
                !whorl_text_is_clean(text->via.str.ptr, text->via.str.size)) {
                return whorl_fail(fault, "identifiers", "hold what is no short text");
            }
        }
        for (uint32_t j = 0; j < i; j++) {
            if (msgpack_object_equal(map->via.map.ptr[j].key, pair->key)) {
                return whorl_fail(fault, "identifiers", "have a key twice");
            }
        }
    }
    return true;
}

static bool names_good(const msgpack_object *list, struct whorl_fault *fault)
{
    for (size_t i = 0; i < part_count(list); i++) {
        struct whorl_field f[] = {
            {.name = "family", .type = WHORL_FIELD_STR, .max = TEXT_MAX},
            {.name = "given", .type = WHORL_FIELD_STR, .max = TEXT_MAX},
        };
        if (!whorl_fields_read(&list->via.array.ptr[i], "names", f, COUNT(f), fault)) {
            return false;
        }
    }
    return true;
}

static bool details_good(const msgpack_object *list, struct whorl_fault *fault)
{
    for (size_t i = 0; i < part_count(list); i++) {
        struct whorl_field f[] = {
            {"label", WHORL_FIELD_STR, true, 1, TEXT_MAX, NULL},
            {"value", WHORL_FIELD_STR, true, 0, VALUE_MAX, NULL},
            {"level", WHORL_FIELD_STR, true, 1, 16, NULL},
        };
        if (!whorl_fields_read(&list->via.array.ptr[i], "details", f, COUNT(f), fault)) {
            return false;
        }
        if (!whorl_str_is(f[2].value, "alert") && !whorl_str_is(f[2].value, "warning") &&
            !whorl_str_is(f[2].value, "info")) {
            return whorl_fail(fault, "details", "have a level that there is not");
        }
    }
    return true;
}

/* Somebody who was asked about. */
static bool found_for_good(const msgpack_object *map, const msgpack_object *people,
                           struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        {"backend", WHORL_FIELD_STR, true, 1, PART_NAME_MAX, NULL},
        {"ref", WHORL_FIELD_STR, true, 1, REF_MAX, NULL},
    };
    if (!map) {
        return true;
    }
    if (!whorl_fields_read(map, "found_for", f, COUNT(f), fault)) {
        return false;
    }
    for (size_t i = 0; i < part_count(people); i++) {
        const msgpack_object *asked = whorl_map_get(&people->via.array.ptr[i], "found_for");
        const msgpack_object *backend = whorl_map_get(asked, "backend");
        const msgpack_object *ref = whorl_map_get(asked, "ref");
        if (backend && ref && msgpack_object_equal(*backend, *f[0].value) &&
            msgpack_object_equal(*ref, *f[1].value)) {
            return true;
        }
    }
    return whorl_fail(fault, "found_for", "is nobody that was asked about");
}

static bool candidate_good(const msgpack_object *map, const struct part_question *question,
                           struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        {"ref", WHORL_FIELD_STR, true, 1, REF_MAX, NULL},
        {"score", WHORL_FIELD_REAL, false, -1e6, 1e6, NULL},
        {"identifiers", WHORL_FIELD_MAP, false, 0, KEYS, NULL},
        {"names", WHORL_FIELD_ARRAY, false, 0, NAMES, NULL},
        {"born", WHORL_FIELD_STR, false, 10, 10, NULL},
        {"details", WHORL_FIELD_ARRAY, false, 0, DETAILS, NULL},
        {"found_by", WHORL_FIELD_STR, false, 1, 64, NULL},
        {"found_for", WHORL_FIELD_MAP, false, 0, 8, NULL},
        {"gateway", WHORL_FIELD_STR, false, 1, PART_NAME_MAX, NULL},
    };
    bool search = question->role == WHORL_ROLE_SEARCH;
    if (!whorl_fields_read_lenient(map, "candidates", f, COUNT(f), fault)) {
        return false;
    }
    if (search != (f[1].value != NULL) || (search && (f[6].value || f[7].value))) {
        return whorl_fail(fault, "candidates", "have fields of the other role");
    }
    if (!is_date(f[4].value)) {
        return whorl_fail(fault, "candidates.born", "is no date");
    }
    return identifiers_good(f[2].value, fault) && names_good(f[3].value, fault) &&
           details_good(f[5].value, fault) && found_for_good(f[7].value, question->people, fault);
}

static bool candidates_good(const msgpack_object *list, const struct part_question *question,
                            struct whorl_fault *fault)
{
    for (size_t i = 0; i < part_count(list); i++) {
        if (!candidate_good(&list->via.array.ptr[i], question, fault)) {
            return false;
        }
    }
    return true;
}

/* --- the rest --- */

static bool samples_good(const msgpack_object *list, const struct part_question *question,
                         bool renumbered, struct whorl_fault *fault)
{
    for (size_t i = 0; i < part_count(list); i++) {
        struct whorl_field f[] = {
            {"sample", WHORL_FIELD_INT, true, 0, PART_SAMPLES_MAX - 1, NULL},
            {"quality", WHORL_FIELD_INT, false, 0, 100, NULL},
            {"advice", WHORL_FIELD_STR, false, 0, TEXT_MAX, NULL},
        };
        if (!whorl_fields_read(&list->via.array.ptr[i], "samples", f, COUNT(f), fault)) {
            return false;
        }
        bool sent = renumbered && f[0].value->via.u64 < question->sample_count;
        for (size_t j = 0; !renumbered && j < question->sample_count; j++) {
            sent = sent || question->samples[j] == f[0].value->via.i64;
        }
        if (!sent) {
            return whorl_fail(fault, "samples", "are about one that was not sent");
        }
    }
    return true;
}

static bool read_searched(const msgpack_object *map, uint64_t *people, uint64_t *of,
                          struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        {"people", WHORL_FIELD_INT, true, 0, 9e15, NULL},
        {"of", WHORL_FIELD_INT, true, 0, 9e15, NULL},
    };
    if (!whorl_fields_read(map, "searched", f, COUNT(f), fault)) {
        return false;
    }
    *people = f[0].value->via.u64;
    *of = f[1].value->via.u64;
    return *people <= *of || whorl_fail(fault, "searched", "says more people than there are");
}

/* *negative: each of them says no_match, of everybody. */
static bool levels_good(const msgpack_object *list, bool *negative, struct whorl_fault *fault)
{
    *negative = true;
    for (size_t i = 0; i < part_count(list); i++) {
        struct whorl_field f[] = {
            {"gateway", WHORL_FIELD_STR, true, 1, PART_NAME_MAX, NULL},
            {"backend", WHORL_FIELD_STR, true, 1, PART_NAME_MAX, NULL},
            {"class", WHORL_FIELD_STR, true, 1, 32, NULL},
            {"reason", WHORL_FIELD_STR, false, 0, PART_REASON_MAX, NULL},
            {"searched", WHORL_FIELD_MAP, false, 0, 8, NULL},
            {"elapsed_ms", WHORL_FIELD_INT, false, 0, 1e9, NULL},
        };
        enum part_class class;
        uint64_t people = 0, of = 0;
        if (!whorl_fields_read(&list->via.array.ptr[i], "levels", f, COUNT(f), fault) ||
            (f[4].value && !read_searched(f[4].value, &people, &of, fault))) {
            return false;
        }
        if (!read_class(f[2].value, &class)) {
            return whorl_fail(fault, "levels", "have a class that there is not");
        }
        *negative = *negative && class == PART_NO_MATCH && people == of;
    }
    return true;
}

/* The class against the rest. */
static bool consistent(const struct part *part, enum whorl_role role, struct whorl_fault *fault)
{
    bool found = part->class == PART_MATCH || part->class == PART_POSSIBLE;
    size_t count = part_count(part->candidates);
    if (found != (count > 0) ||
        (part->class == PART_MATCH && role == WHORL_ROLE_SEARCH && count != 1)) {
        return whorl_fail(fault, "candidates", "are %zu, which is no %s", count,
                          part_class_name(part->class));
    }
    if (!found && part->class != PART_NO_MATCH && part->reason[0] == '\0') {
        return whorl_fail(fault, "reason", "is missing");
    }
    return true;
}

static bool read_fields(const msgpack_object *map, const struct part_question *question,
                        struct part *part, bool *negative, struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        {"class", WHORL_FIELD_STR, true, 1, 32, NULL},
        {"reason", WHORL_FIELD_STR, false, 0, PART_REASON_MAX, NULL},
        {"candidates", WHORL_FIELD_ARRAY, false, 0, PART_CANDIDATES_MAX, NULL},
        {"searched", WHORL_FIELD_MAP, false, 0, 8, NULL},
        {"samples", WHORL_FIELD_ARRAY, false, 0, PART_SAMPLES_MAX, NULL},
        {"levels", WHORL_FIELD_ARRAY, false, 1, PART_LEVELS_MAX, NULL},
        {"age", WHORL_FIELD_INT, false, 0, 1e10, NULL},
    };
    if (!whorl_fields_read_lenient(map, "", f, COUNT(f), fault)) {
        return false;
    }
    if (!read_class(f[0].value, &part->class)) {
        return whorl_fail(fault, "class", "is none of the six");
    }
    if (question->role == WHORL_ROLE_LOOKUP && (f[3].value || f[4].value)) {
        return whorl_fail(fault, f[3].value ? "searched" : "samples", "comes from searches only");
    }
    whorl_str_copy(f[1].value, part->reason, sizeof part->reason);
    part->candidates = f[2].value;
    part->searched = f[3].value != NULL;
    part->samples = f[4].value;
    part->levels = f[5].value;
    part->age = f[6].value ? f[6].value->via.i64 : -1;
    return (!part->searched || read_searched(f[3].value, &part->people, &part->of, fault)) &&
           samples_good(part->samples, question, part->renumbered, fault) &&
           levels_good(part->levels, negative, fault) &&
           candidates_good(part->candidates, question, fault) &&
           consistent(part, question->role, fault);
}

bool part_read(const msgpack_object *map, const struct part_question *question, struct part *part,
               struct whorl_fault *fault)
{
    bool negative = true;
    part->reason[0] = '\0';
    if (!read_fields(map, question, part, &negative, fault)) {
        part_set(part, PART_UNAVAILABLE, "the answer was malformed (%s: %s)", fault->where,
                 fault->text);
        return false;
    }
    bool whole =
        question->role != WHORL_ROLE_SEARCH || (part->searched && part->people == part->of);
    if (part->class == PART_NO_MATCH && (!whole || !negative)) {
        const msgpack_object *levels = part->levels;
        part_set(part, PART_UNAVAILABLE, "the search was not complete");
        part->levels = levels;
        part->doubted = true;
    }
    return true;
}
