/* What a person in a gallery may hold. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "afis/template.h"
#include "person.h"
#include "whorl/msg.h"

#define KEY_MAX 32u

/* The length of the UTF-8 sequence at p of at most n bytes, 0 if it is none or a control
 * character. Overlong forms, surrogates and what lies above U+10FFFF are none (RFC 3629). */
static size_t utf8_step(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80) {
        return p[0] >= 0x20 && p[0] != 0x7f ? 1 : 0;
    }
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n < len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    unsigned second = p[1];
    if ((p[0] == 0xc2 && second < 0xa0) || (p[0] == 0xe0 && second < 0xa0) ||
        (p[0] == 0xed && second > 0x9f) || (p[0] == 0xf0 && second < 0x90) ||
        (p[0] == 0xf4 && second > 0x8f)) {
        return 0;
    }
    return len;
}

static bool text_valid(const char *text, size_t min, size_t max, const char *where,
                       struct whorl_fault *fault)
{
    if (!text) {
        return whorl_fail(fault, where, "is missing");
    }
    size_t len = strnlen(text, max + 1);
    if (len < min || len > max) {
        return whorl_fail(fault, where, "must have %zu to %zu bytes", min, max);
    }
    for (size_t at = 0, step; at < len; at += step) {
        if (!(step = utf8_step((const unsigned char *)text + at, len - at))) {
            return whorl_fail(fault, where, "must be UTF-8 without control characters");
        }
    }
    return true;
}

static bool one_of(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(text, *words) == 0) {
            return true;
        }
    }
    return false;
}

static bool date_valid(const char *text)
{
    static const char shape[] = "0000-00-00";
    if (strlen(text) != sizeof shape - 1) {
        return false;
    }
    for (size_t i = 0; shape[i]; i++) {
        if (shape[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i]) {
            return false;
        }
    }
    struct tm given = {
        .tm_year = atoi(text) - 1900, .tm_mon = atoi(text + 5) - 1, .tm_mday = atoi(text + 8)};
    struct tm real = given;
    return timegm(&real) != -1 && real.tm_mon == given.tm_mon && real.tm_mday == given.tm_mday &&
           given.tm_mday > 0;
}

static bool key_valid(const char *key)
{
    if (!key || key[0] < 'a' || key[0] > 'z' || strlen(key) > KEY_MAX) {
        return false;
    }
    return strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(key);
}

static bool identifiers_valid(const struct gallery_person *person, struct whorl_fault *fault)
{
    if (person->identifier_count > PERSON_IDENTIFIERS_MAX) {
        return whorl_fail(fault, "identifiers", "must be at most %u", PERSON_IDENTIFIERS_MAX);
    }
    for (size_t i = 0; i < person->identifier_count; i++) {
        const struct gallery_pair *pair = &person->identifiers[i];
        if (!key_valid(pair->key)) {
            return whorl_fail(fault, "identifiers", "must have keys of a-z, 0-9 and _");
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(pair->key, person->identifiers[k].key) == 0) {
                return whorl_fail(fault, "identifiers", "must not repeat a key");
            }
        }
        if (!text_valid(pair->value, 1, GALLERY_TEXT_MAX, pair->key, fault)) {
            return false;
        }
    }
    return true;
}

static bool names_valid(const struct gallery_person *person, struct whorl_fault *fault)
{
    if (person->name_count > PERSON_NAMES_MAX) {
        return whorl_fail(fault, "names", "must be at most %u", PERSON_NAMES_MAX);
    }
    for (size_t i = 0; i < person->name_count; i++) {
        const struct gallery_name *name = &person->names[i];
        if (!text_valid(name->family, 0, 100, "names.family", fault) ||
            !text_valid(name->given, 0, 100, "names.given", fault)) {
            return false;
        }
        if (!name->family[0] && !name->given[0]) {
            return whorl_fail(fault, "names", "must not be empty");
        }
    }
    return true;
}

static bool details_valid(const struct gallery_person *person, struct whorl_fault *fault)
{
    static const char *const levels[] = {"alert", "warning", "info", NULL};
    if (person->detail_count > PERSON_DETAILS_MAX) {
        return whorl_fail(fault, "details", "must be at most %u", PERSON_DETAILS_MAX);
    }
    for (size_t i = 0; i < person->detail_count; i++) {
        const struct gallery_detail *detail = &person->details[i];
        if (!text_valid(detail->label, 1, 64, "details.label", fault) ||
            !text_valid(detail->value, 1, GALLERY_TEXT_MAX, "details.value", fault)) {
            return false;
        }
        if (!detail->level || !one_of(detail->level, levels)) {
            return whorl_fail(fault, "details.level", "must be alert, warning or info");
        }
    }
    return true;
}

static bool prints_valid(const struct gallery_person *person, struct whorl_fault *fault)
{
    if (person->print_count == 0 || person->print_count > GALLERY_PRINTS_MAX) {
        return whorl_fail(fault, "prints", "must be 1 to %u", GALLERY_PRINTS_MAX);
    }
    for (size_t i = 0; i < person->print_count; i++) {
        const struct gallery_print *print = &person->prints[i];
        if (print->position > 10) {
            return whorl_fail(fault, "prints.position", "must be 0 to 10");
        }
        for (size_t k = 0; k < i; k++) {
            if (print->position == person->prints[k].position &&
                print->impression == person->prints[k].impression) {
                return whorl_fail(fault, "prints", "must not repeat position %u, impression %u",
                                  print->position, print->impression);
            }
        }
        if (print->packed ? print->len == 0 || print->len > AFIS_PACKED_MAX : print->len != 0) {
            return whorl_fail(fault, "prints", "must have a template of 1 to %u bytes",
                              AFIS_PACKED_MAX);
        }
    }
    return true;
}

bool gallery_person_valid(const struct gallery_person *person, struct whorl_fault *fault)
{
    static const char *const sexes[] = {"", "male", "female", "other", "unknown", NULL};
    if (!text_valid(person->id, 1, GALLERY_ID_MAX, "id", fault) ||
        !text_valid(person->source, 0, GALLERY_TEXT_MAX, "source", fault)) {
        return false;
    }
    if (!person->born || (person->born[0] && !date_valid(person->born))) {
        return whorl_fail(fault, "born", "must be a date, YYYY-MM-DD");
    }
    if (!person->sex || !one_of(person->sex, sexes)) {
        return whorl_fail(fault, "sex", "must be male, female, other or unknown");
    }
    if (person->enrolled < 0) {
        return whorl_fail(fault, "enrolled", "must not be before 1970");
    }
    if (person->expires < 0) {
        return whorl_fail(fault, "expires", "must not be before 1970");
    }
    return identifiers_valid(person, fault) && names_valid(person, fault) &&
           details_valid(person, fault) && prints_valid(person, fault);
}
