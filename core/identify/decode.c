#include "core/identify/decode.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define SAMPLE_BYTES_MAX 4294967295.0 /* the frame's own bound is far below */

static const char *const consents[] = {
    "given", "given_by_guardian", "refused", "not_asked", "unable", NULL};
static const char *const conditions[] = {"adult", "child", "unconscious", "deceased", NULL};
static const char *const genders[] = {"male", "female", "other", "unknown", NULL};
static const char *const age_bands[] = {"0-9",   "10-17", "18-24", "25-34",
                                        "35-49", "50-64", "65+",   NULL};
static const char *const ethnicities_officer[] = {"0", "1", "2", "3", "4", "5", "6", NULL};
static const char *const ethnicities_self[] = {"W1", "W2", "W3", "W9", "M1", "M2", "M3",
                                               "M9", "A1", "A2", "A3", "A4", "A9", "B1",
                                               "B2", "B9", "O2", "O9", "NS", NULL};
static const char *const outcomes[] = {
    "arrested_crime",    "arrested_immigration", "reported",          "released", "hospital",
    "victim_identified", "wrong_person",         "no_further_action", NULL};

/* Copies a str that has to be one of the words; a field that was left out becomes `fallback`. */
static bool take_word(const struct whorl_field *field, const char *path, const char *const *words,
                      const char *fallback, char *out, size_t cap, struct whorl_fault *fault)
{
    if (field->value == NULL) {
        snprintf(out, cap, "%s", fallback);
        return true;
    }
    char list[160] = "";
    size_t len = 0;
    for (const char *const *word = words; *word != NULL; word++) {
        if (whorl_str_is(field->value, *word)) {
            snprintf(out, cap, "%s", *word);
            return true;
        }
        int n = snprintf(list + len, sizeof list - len, "%s%s", len == 0 ? "" : ", ", *word);
        len += n > 0 && (size_t)n < sizeof list - len ? (size_t)n : 0;
    }
    char where[96];
    snprintf(where, sizeof where, "%s%s", path, field->name);
    return whorl_fail(fault, where, "must be one of %s", list);
}

static int64_t take_int(const struct whorl_field *field)
{
    return field->value == NULL ? DECODE_ABSENT : field->value->via.i64;
}

/* An id's characters are checked where it is looked up; here it has to have no NUL and fit. */
static bool take_text(const struct whorl_field *field, char *out, size_t cap,
                      struct whorl_fault *fault)
{
    if (field->value == NULL) {
        out[0] = '\0';
        return true;
    }
    return whorl_str_copy(field->value, out, cap) ||
           whorl_fail(fault, field->name, "must be a text of at most %zu bytes", cap - 1);
}

/* The number that these digits make. */
static int number_of(const char *digits, int count)
{
    int number = 0;
    for (int i = 0; i < count; i++) {
        number = number * 10 + (digits[i] - '0');
    }
    return number;
}

bool decode_date_valid(const char *text)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (strlen(text) != 10 || text[4] != '-' || text[7] != '-') {
        return false;
    }
    for (int i = 0; i < 10; i++) {
        if (i != 4 && i != 7 && (text[i] < '0' || text[i] > '9')) {
            return false;
        }
    }
    int year = number_of(text, 4);
    int month = number_of(text + 5, 2);
    int day = number_of(text + 8, 2);
    if (year < 1850 || year > 2199 || month < 1 || month > 12 || day < 1) {
        return false;
    }
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day <= days[month - 1] + (month == 2 && leap ? 1 : 0);
}

static bool decode_subject(const msgpack_object *map, struct decoded_subject *out, bool *condition,
                           struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        {.name = "condition", .type = WHORL_FIELD_STR, .min = 1, .max = 16},
        {.name = "family", .type = WHORL_FIELD_STR, .min = 1, .max = 100},
        {.name = "given", .type = WHORL_FIELD_STR, .min = 1, .max = 100},
        {.name = "born", .type = WHORL_FIELD_STR, .min = 10, .max = 10},
        {.name = "gender", .type = WHORL_FIELD_STR, .min = 1, .max = 16},
        {.name = "age_band", .type = WHORL_FIELD_STR, .min = 1, .max = 16},
        {.name = "ethnicity_officer", .type = WHORL_FIELD_STR, .min = 1, .max = 16},
        {.name = "ethnicity_self", .type = WHORL_FIELD_STR, .min = 1, .max = 16},
    };
    if (map != NULL && !whorl_fields_read(map, "subject", f, COUNT(f), fault)) {
        return false;
    }
    whorl_str_copy(f[1].value, out->family, sizeof out->family);
    whorl_str_copy(f[2].value, out->given, sizeof out->given);
    *condition = f[0].value != NULL;
    if (f[3].value != NULL && (!whorl_str_copy(f[3].value, out->born, sizeof out->born) ||
                               !decode_date_valid(out->born))) {
        out->born[0] = '\0';
        return whorl_fail(fault, "subject.born", "must be a date as YYYY-MM-DD");
    }
    static const char path[] = "subject.";
    return take_word(&f[0], path, conditions, "adult", out->condition, sizeof out->condition,
                     fault) &&
           take_word(&f[4], path, genders, "", out->gender, sizeof out->gender, fault) &&
           take_word(&f[5], path, age_bands, "", out->age_band, sizeof out->age_band, fault) &&
           take_word(&f[6], path, ethnicities_officer, "", out->ethnicity_officer,
                     sizeof out->ethnicity_officer, fault) &&
           take_word(&f[7], path, ethnicities_self, "", out->ethnicity_self,
                     sizeof out->ethnicity_self, fault);
}

static bool decode_sample(const msgpack_object *map, uint32_t index, struct decoded_sample *out,
                          struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        {.name = "modality", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 32},
        {.name = "format", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 32},
        {.name = "data",
         .type = WHORL_FIELD_BIN,
         .required = true,
         .min = 1,
         .max = SAMPLE_BYTES_MAX},
        {.name = "position", .type = WHORL_FIELD_INT, .min = 0, .max = 255},
        {.name = "dpi", .type = WHORL_FIELD_INT, .min = 1, .max = 10000},
        {.name = "width", .type = WHORL_FIELD_INT, .min = 0, .max = 1000000},
        {.name = "height", .type = WHORL_FIELD_INT, .min = 0, .max = 1000000},
    };
    char path[24];
    snprintf(path, sizeof path, "samples[%u]", index);
    if (!whorl_fields_read(map, path, f, COUNT(f), fault)) {
        return false;
    }
    whorl_str_copy(f[0].value, out->modality, sizeof out->modality);
    whorl_str_copy(f[1].value, out->format, sizeof out->format);
    out->data = f[2].value->via.bin.ptr;
    out->len = f[2].value->via.bin.size;
    out->position = take_int(&f[3]);
    out->dpi = take_int(&f[4]);
    out->width = take_int(&f[5]);
    out->height = take_int(&f[6]);
    return true;
}

static bool decode_samples(const msgpack_object *list, struct decoded_identify *out,
                           struct whorl_fault *fault)
{
    for (uint32_t i = 0; list != NULL && i < list->via.array.size; i++) {
        if (!decode_sample(&list->via.array.ptr[i], i, &out->samples[i], fault)) {
            return false;
        }
        out->sample_count = i + 1;
    }
    return true;
}

static bool decode_checks(const msgpack_object *list, struct decoded_identify *out,
                          struct whorl_fault *fault)
{
    for (uint32_t i = 0; list != NULL && i < list->via.array.size; i++) {
        char where[24];
        snprintf(where, sizeof where, "checks[%u]", i);
        const msgpack_object *name = &list->via.array.ptr[i];
        char *copy = out->check_names[i];
        if (!whorl_str_copy(name, copy, sizeof out->check_names[i]) || copy[0] == '\0') {
            return whorl_fail(fault, where, "must be a text of 1 to 32 bytes");
        }
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(copy, out->check_names[j]) == 0) {
                return whorl_fail(fault, where, "names the same backend as checks[%u]", j);
            }
        }
        out->checks[i] = copy;
        out->check_count = i + 1;
    }
    return true;
}

static bool decode_continues(const struct whorl_field *field, struct decoded_identify *out,
                             struct whorl_fault *fault)
{
    uint8_t bytes[16];
    if (field->value == NULL) {
        return true;
    }
    if (!whorl_str_copy(field->value, out->continues, sizeof out->continues) ||
        !stamp_uuid_bytes(out->continues, bytes)) {
        out->continues[0] = '\0';
        return whorl_fail(fault, "continues", "must be a transaction's UUID, in lower case");
    }
    return true;
}

static bool decode_route(const msgpack_object *list, struct decoded_identify *out,
                         struct whorl_fault *fault)
{
    for (uint32_t i = 0; list != NULL && i < list->via.array.size; i++) {
        char where[24];
        snprintf(where, sizeof where, "route[%u]", i);
        if (!whorl_str_copy(&list->via.array.ptr[i], out->route[i], sizeof out->route[i]) ||
            !conf_is_gateway(out->route[i])) {
            return whorl_fail(fault, where, "must be a gateway's name");
        }
        out->route_count = i + 1;
    }
    return true;
}

/* What the audit record of a refusal needs, out of an argument that may be bad in any way. */
static void peek(const msgpack_object *argument, const char *key, char *out, size_t cap)
{
    const msgpack_object *value = whorl_map_get(argument, key);
    if (value == NULL || !whorl_str_copy(value, out, cap) || !registry_id_valid(out, cap - 1)) {
        out[0] = '\0';
    }
}

bool decode_identify(const msgpack_object *argument, struct decoded_identify *out,
                     struct whorl_fault *fault)
{
    *out = (struct decoded_identify){0};
    peek(argument, "request_id", out->request_id, sizeof out->request_id);
    peek(argument, "officer", out->officer, sizeof out->officer);
    struct whorl_field f[] = {
        {.name = "request_id",
         .type = WHORL_FIELD_STR,
         .required = true,
         .min = 8,
         .max = DECODE_REQUEST_MAX},
        {.name = "officer", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 32},
        {.name = "basis", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 64},
        {.name = "stop_power", .type = WHORL_FIELD_STR, .min = 1, .max = 64},
        {.name = "reason", .type = WHORL_FIELD_STR, .min = 3, .max = 250},
        {.name = "reason_code", .type = WHORL_FIELD_INT, .min = 0, .max = 9},
        {.name = "consent", .type = WHORL_FIELD_STR, .min = 1, .max = 20},
        {.name = "subject", .type = WHORL_FIELD_MAP, .min = 0, .max = 64},
        {.name = "samples", .type = WHORL_FIELD_ARRAY, .min = 0, .max = DECODE_SAMPLES_MAX},
        {.name = "checks", .type = WHORL_FIELD_ARRAY, .min = 1, .max = DECODE_CHECKS_MAX},
        {.name = "continues", .type = WHORL_FIELD_STR, .min = 1, .max = 64},
        {.name = "deadline_ms", .type = WHORL_FIELD_INT, .min = 1000, .max = 600000},
        {.name = "route", .type = WHORL_FIELD_ARRAY, .min = 1, .max = DECODE_ROUTE_MAX},
        {.name = "people", .type = WHORL_FIELD_ARRAY, .min = 1, .max = ANSWER_PEOPLE_MAX},
    };
    if (!whorl_fields_read(argument, "", f, COUNT(f), fault) ||
        !take_text(&f[0], out->request_id, sizeof out->request_id, fault) ||
        !take_text(&f[1], out->officer, sizeof out->officer, fault) ||
        !take_text(&f[2], out->basis, sizeof out->basis, fault) ||
        !take_text(&f[3], out->stop_power, sizeof out->stop_power, fault) ||
        !take_text(&f[4], out->reason, sizeof out->reason, fault)) {
        return false;
    }
    out->reason_code = take_int(&f[5]);
    out->deadline_ms = take_int(&f[11]);
    out->consent_given = f[6].value != NULL;
    return take_word(&f[6], "", consents, "not_asked", out->consent, sizeof out->consent, fault) &&
           decode_subject(f[7].value, &out->subject, &out->condition_given, fault) &&
           decode_samples(f[8].value, out, fault) && decode_checks(f[9].value, out, fault) &&
           decode_continues(&f[10], out, fault) && decode_route(f[12].value, out, fault) &&
           people_read(f[13].value, &out->people, fault);
}

void decode_release(struct decoded_identify *request)
{
    people_release(&request->people);
}

bool decode_outcome(const msgpack_object *argument, struct decoded_outcome *out,
                    struct whorl_fault *fault)
{
    *out = (struct decoded_outcome){.contacted_control = DECODE_ABSENT};
    peek(argument, "officer", out->officer, sizeof out->officer);
    struct whorl_field f[] = {
        {.name = "officer", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 32},
        {.name = "transaction", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 64},
        {.name = "outcome", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 32},
        {.name = "contacted_control", .type = WHORL_FIELD_BOOL},
        {.name = "note", .type = WHORL_FIELD_STR, .min = 0, .max = 250},
    };
    if (!whorl_fields_read(argument, "", f, COUNT(f), fault) ||
        !take_text(&f[0], out->officer, sizeof out->officer, fault) ||
        !take_word(&f[2], "", outcomes, "", out->outcome, sizeof out->outcome, fault) ||
        !take_text(&f[4], out->note, sizeof out->note, fault)) {
        return false;
    }
    uint8_t bytes[16];
    if (!whorl_str_copy(f[1].value, out->transaction, sizeof out->transaction) ||
        !stamp_uuid_bytes(out->transaction, bytes)) {
        out->transaction[0] = '\0';
        return whorl_fail(fault, "transaction", "must be a transaction's UUID, in lower case");
    }
    if (f[3].value != NULL) {
        out->contacted_control = f[3].value->via.boolean ? 1 : 0;
    }
    return true;
}

bool decode_capabilities(const msgpack_object *argument, char officer[REGISTRY_OFFICER_MAX + 1],
                         struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        {.name = "officer", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 32},
    };
    peek(argument, "officer", officer, REGISTRY_OFFICER_MAX + 1);
    return whorl_fields_read(argument, "", f, COUNT(f), fault) &&
           take_text(&f[0], officer, REGISTRY_OFFICER_MAX + 1, fault);
}

bool decode_cancel(const msgpack_object *argument, char request_id[DECODE_REQUEST_MAX + 1],
                   struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        {.name = "request_id",
         .type = WHORL_FIELD_STR,
         .required = true,
         .min = 8,
         .max = DECODE_REQUEST_MAX},
    };
    return whorl_fields_read(argument, "", f, COUNT(f), fault) &&
           take_text(&f[0], request_id, DECODE_REQUEST_MAX + 1, fault);
}

bool decode_present(const void *request, const char *field)
{
    const struct decoded_identify *r = request;
    const struct {
        const char *name;
        bool present;
    } fields[] = {
        {"stop_power", r->stop_power[0] != '\0'},
        {"reason", r->reason[0] != '\0'},
        {"reason_code", r->reason_code != DECODE_ABSENT},
        {"consent", r->consent_given},
        {"samples", r->sample_count > 0},
        {"checks", r->check_count > 0},
        {"continues", r->continues[0] != '\0'},
        {"subject.condition", r->condition_given},
        {"subject.family", r->subject.family[0] != '\0'},
        {"subject.given", r->subject.given[0] != '\0'},
        {"subject.born", r->subject.born[0] != '\0'},
        {"subject.gender", r->subject.gender[0] != '\0'},
        {"subject.age_band", r->subject.age_band[0] != '\0'},
        {"subject.ethnicity_officer", r->subject.ethnicity_officer[0] != '\0'},
        {"subject.ethnicity_self", r->subject.ethnicity_self[0] != '\0'},
    };
    for (size_t i = 0; i < COUNT(fields); i++) {
        if (strcmp(fields[i].name, field) == 0) {
            return fields[i].present;
        }
    }
    return strcmp(field, "request_id") == 0 || strcmp(field, "officer") == 0 ||
           strcmp(field, "basis") == 0;
}

/* Every item goes in with its length, so that no two different requests give the same bytes. */
static void digest_bytes(EVP_MD_CTX *md, bool *good, const void *bytes, uint64_t len)
{
    *good = *good && EVP_DigestUpdate(md, &len, sizeof len) == 1 &&
            EVP_DigestUpdate(md, bytes, (size_t)len) == 1;
}

static void digest_text(EVP_MD_CTX *md, bool *good, const char *text)
{
    digest_bytes(md, good, text, strlen(text));
}

static void digest_int(EVP_MD_CTX *md, bool *good, int64_t value)
{
    digest_bytes(md, good, &value, sizeof value);
}

static void digest_sample(EVP_MD_CTX *md, bool *good, const struct decoded_sample *sample)
{
    digest_text(md, good, sample->modality);
    digest_text(md, good, sample->format);
    digest_int(md, good, sample->position);
    digest_int(md, good, sample->dpi);
    digest_int(md, good, sample->width);
    digest_int(md, good, sample->height);
    digest_bytes(md, good, sample->data, sample->len);
}

bool decode_digest(const struct decoded_identify *request, const uint8_t key[32],
                   uint8_t digest[32])
{
    const struct decoded_subject *subject = &request->subject;
    const char *const texts[] = {
        request->officer,        request->basis,     request->stop_power,
        request->reason,         request->consent,   subject->condition,
        subject->family,         subject->given,     subject->born,
        subject->gender,         subject->age_band,  subject->ethnicity_officer,
        subject->ethnicity_self, request->continues,
    };
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (md == NULL) {
        return false;
    }
    bool good = EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
    digest_bytes(md, &good, key, 32);
    for (size_t i = 0; i < COUNT(texts); i++) {
        digest_text(md, &good, texts[i]);
    }
    digest_int(md, &good, request->reason_code);
    digest_int(md, &good, request->deadline_ms);
    digest_int(md, &good, (int64_t)request->sample_count);
    for (size_t i = 0; i < request->sample_count; i++) {
        digest_sample(md, &good, &request->samples[i]);
    }
    digest_int(md, &good, (int64_t)request->check_count);
    for (size_t i = 0; i < request->check_count; i++) {
        digest_text(md, &good, request->checks[i]);
    }
    digest_int(md, &good, (int64_t)request->route_count);
    for (size_t i = 0; i < request->route_count; i++) {
        digest_text(md, &good, request->route[i]);
    }
    digest_bytes(md, &good, request->people.bytes, request->people.len);
    good = good && EVP_DigestFinal_ex(md, digest, NULL) == 1;
    EVP_MD_CTX_free(md);
    return good;
}
