/* Manifests as JSON lines. Texts stay in the parsed object, which the person keeps. */
#include <string.h>

#include "cli/enrol/manifest_internal.h"
#include "whorl/msg.h"

#define LINE_MAX_BYTES (1u << 20)

/* Refuses keys that are not in the list. */
static bool keys_known(json_t *object, const char *where, const char *const *names,
                       struct whorl_fault *fault)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object)) {
        return whorl_fail(fault, where, "must be an object");
    }
    json_object_foreach(object, key, value)
    {
        const char *const *name = names;
        while (*name && strcmp(*name, key) != 0) {
            name++;
        }
        if (!*name) {
            return whorl_fail(fault, where, "there is no field \"%.40s\"", key);
        }
    }
    return true;
}

/* A string member; "" when it is absent or null. */
static bool get_text(json_t *object, const char *key, const char **out, struct whorl_fault *fault)
{
    json_t *value = json_object_get(object, key);
    *out = "";
    if (!value || json_is_null(value)) {
        return true;
    }
    if (!json_is_string(value)) {
        return whorl_fail(fault, key, "must be a string");
    }
    *out = json_string_value(value);
    return true;
}

static bool get_number(json_t *object, const char *key, json_int_t max, json_int_t fallback,
                       json_int_t *out, struct whorl_fault *fault)
{
    json_t *value = json_object_get(object, key);
    *out = fallback;
    if (!value || json_is_null(value)) {
        return true;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > max) {
        return whorl_fail(fault, key, "must be a whole number from 0 to %lld", (long long)max);
    }
    *out = json_integer_value(value);
    return true;
}

/* An array member of at most max elements, NULL when it is absent. */
static bool get_array(json_t *object, const char *key, size_t max, json_t **out,
                      struct whorl_fault *fault)
{
    *out = json_object_get(object, key);
    if (!*out || json_is_null(*out)) {
        *out = NULL;
        return true;
    }
    if (!json_is_array(*out) || json_array_size(*out) > max) {
        return whorl_fail(fault, key, "must be an array of at most %zu", max);
    }
    return true;
}

static bool read_identifiers(struct manifest_person *person, struct whorl_fault *fault)
{
    const char *key;
    json_t *value, *map = json_object_get(person->json, "identifiers");
    if (!map || json_is_null(map)) {
        return true;
    }
    if (!json_is_object(map)) {
        return whorl_fail(fault, "identifiers", "must be an object");
    }
    json_object_foreach(map, key, value)
    {
        if (!json_is_string(value)) {
            return whorl_fail(fault, "identifiers", "must hold strings");
        }
        if (!manifest_add_identifier(person, key, json_string_value(value), fault)) {
            return false;
        }
    }
    return true;
}

static bool read_names(struct manifest_person *person, struct whorl_fault *fault)
{
    static const char *const keys[] = {"family", "given", NULL};
    json_t *array, *name;
    size_t i;
    if (!get_array(person->json, "names", 32, &array, fault)) {
        return false;
    }
    json_array_foreach(array, i, name)
    {
        if (!keys_known(name, "names", keys, fault) ||
            !get_text(name, "family", &person->names[i].family, fault) ||
            !get_text(name, "given", &person->names[i].given, fault)) {
            return false;
        }
        person->person.name_count++;
    }
    return true;
}

static bool read_details(struct manifest_person *person, struct whorl_fault *fault)
{
    static const char *const keys[] = {"label", "value", "level", NULL};
    json_t *array, *detail;
    size_t i;
    if (!get_array(person->json, "details", 32, &array, fault)) {
        return false;
    }
    json_array_foreach(array, i, detail)
    {
        struct gallery_detail *to = &person->details[i];
        if (!keys_known(detail, "details", keys, fault) ||
            !get_text(detail, "label", &to->label, fault) ||
            !get_text(detail, "value", &to->value, fault) ||
            !get_text(detail, "level", &to->level, fault)) {
            return false;
        }
        if (!to->level[0]) {
            to->level = "info";
        }
        person->person.detail_count++;
    }
    return true;
}

static bool read_finger(struct manifest_person *person, json_t *finger, unsigned long line,
                        struct whorl_fault *fault)
{
    static const char *const keys[] = {"position", "impression", "file", "dpi",
                                       "width",    "height",     NULL};
    json_int_t position, impression, dpi, width, height;
    const char *file;
    if (!keys_known(finger, "fingers", keys, fault) ||
        !get_number(finger, "position", 10, -1, &position, fault) ||
        !get_number(finger, "impression", 255, 1, &impression, fault) ||
        !get_number(finger, "dpi", 10000, 0, &dpi, fault) ||
        !get_number(finger, "width", 1000000, 0, &width, fault) ||
        !get_number(finger, "height", 1000000, 0, &height, fault) ||
        !get_text(finger, "file", &file, fault)) {
        return false;
    }
    if (position < 0) {
        return whorl_fail(fault, "position", "is missing");
    }
    struct manifest_print print = {.line = line,
                                   .file = (char *)(uintptr_t)file,
                                   .position = (uint8_t)position,
                                   .impression = (uint8_t)impression,
                                   .dpi = (uint32_t)dpi,
                                   .width = (uint32_t)width,
                                   .height = (uint32_t)height};
    return manifest_add_print(person, &print, fault);
}

static bool read_fingers(struct manifest_person *person, struct whorl_fault *fault)
{
    json_t *array, *finger;
    size_t i;
    if (!get_array(person->json, "fingers", GALLERY_PRINTS_MAX, &array, fault)) {
        return false;
    }
    if (json_array_size(array) == 0) {
        return whorl_fail(fault, "fingers", "there are none");
    }
    json_array_foreach(array, i, finger)
    {
        if (!read_finger(person, finger, person->line, fault)) {
            return false;
        }
    }
    return true;
}

static bool read_person(struct manifest_person *person, struct whorl_fault *fault)
{
    static const char *const keys[] = {"person",  "identifiers", "names",   "born",    "sex",
                                       "details", "source",      "expires", "fingers", NULL};
    const char *id, *expires;
    return keys_known(person->json, "", keys, fault) &&
           get_text(person->json, "person", &id, fault) && manifest_set_id(person, id, fault) &&
           get_text(person->json, "born", &person->person.born, fault) &&
           get_text(person->json, "sex", &person->person.sex, fault) &&
           get_text(person->json, "source", &person->person.source, fault) &&
           get_text(person->json, "expires", &expires, fault) &&
           (!expires[0] || manifest_set_expires(person, expires, fault)) &&
           read_identifiers(person, fault) && read_names(person, fault) &&
           read_details(person, fault) && read_fingers(person, fault) &&
           manifest_check(person, fault);
}

struct manifest_person *manifest_json_line(struct manifest *manifest, size_t len,
                                           struct whorl_fault *fault)
{
    json_error_t error;
    if (len > LINE_MAX_BYTES) {
        whorl_fail(fault, "", "the line is longer than %u bytes", LINE_MAX_BYTES);
        return NULL;
    }
    struct manifest_person *person = manifest_person_new(manifest->line);
    if (!person) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    person->json = json_loadb(manifest->buffer, len, JSON_REJECT_DUPLICATES, &error);
    if (person->json && read_person(person, fault)) {
        return person;
    }
    if (!person->json) {
        whorl_fail(fault, "", "column %d: %.120s", error.column, error.text);
    }
    manifest_person_free(person);
    return NULL;
}
