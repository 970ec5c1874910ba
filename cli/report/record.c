#include "report/record.h"

#include <string.h>

#include "core/identify/stamp.h"
#include "report/codes.h"
#include "report/period.h"
#include "report/text.h"
#include "whorl/msg.h"

#define STR(field, needed, most)                                                                   \
    {                                                                                              \
        .name = (field), .type = WHORL_FIELD_STR, .required = (needed), .min = (needed) ? 1 : 0,   \
        .max = (most)                                                                              \
    }
#define INT(field, needed, least, most)                                                            \
    {                                                                                              \
        .name = (field), .type = WHORL_FIELD_INT, .required = (needed), .min = (least),            \
        .max = (most)                                                                              \
    }
#define ARRAY(field, most)                                                                         \
    {                                                                                              \
        .name = (field), .type = WHORL_FIELD_ARRAY, .required = true, .min = 0, .max = (most)      \
    }
#define COUNT(fields) (sizeof(fields) / sizeof(*(fields)))

bool record_text_is(const struct record_text *text, const char *other)
{
    return text->at != NULL && strlen(other) == text->len &&
           memcmp(text->at, other, text->len) == 0;
}

void record_text_copy(const struct record_text *text, char *out, size_t cap)
{
    size_t len = text->at == NULL ? 0 : text_fit(text->at, text->len, cap - 1);
    if (len > 0) {
        memcpy(out, text->at, len);
    }
    out[len] = '\0';
}

bool record_uuid(const struct record_text *text, uint8_t uuid[16])
{
    char copy[STAMP_UUID_LEN + 1];
    if (text->at == NULL || text->len != STAMP_UUID_LEN) {
        return false;
    }
    record_text_copy(text, copy, sizeof copy);
    return stamp_uuid_bytes(copy, uuid);
}

static struct record_text text_of(const struct whorl_field *field)
{
    if (field->value == NULL) {
        return (struct record_text){0};
    }
    /* An empty string may have no bytes to point to. */
    const msgpack_object_str *str = &field->value->via.str;
    return (struct record_text){str->ptr != NULL ? str->ptr : "", str->size};
}

/* A code of a list; absent: the place after its last. */
static bool code_of(const struct whorl_field *field, const struct code_list *list, const char *path,
                    uint8_t *out, struct whorl_fault *fault)
{
    *out = list->count;
    if (field->value == NULL) {
        return true;
    }
    *out = codes_find(list, field->value->via.str.ptr, field->value->via.str.size);
    return *out < list->count || whorl_fail(fault, path, "is no code that is known");
}

static bool check_refs(const msgpack_object *list, const char *path, struct whorl_fault *fault)
{
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        const msgpack_object *ref = &list->via.array.ptr[i];
        if (ref->type != MSGPACK_OBJECT_STR ||
            !whorl_text_is_clean(ref->via.str.ptr, ref->via.str.size)) {
            return whorl_fail(fault, path, "must hold texts");
        }
    }
    return true;
}

static bool read_answer(const msgpack_object *map, struct record_answer *out,
                        struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        STR("backend", true, 64), {.name = "permitted", .type = WHORL_FIELD_BOOL, .required = true},
        STR("class", true, 32),   STR("reason", false, 1000),
        ARRAY("candidates", 64),  INT("elapsed_ms", true, 0, 1e9),
    };
    if (!whorl_fields_read_lenient(map, "answers", f, COUNT(f), fault) ||
        !code_of(&f[2], &codes_class, "answers.class", &out->class, fault)) {
        return false;
    }
    out->backend = text_of(&f[0]);
    out->permitted = f[1].value->via.boolean;
    out->reason = text_of(&f[3]);
    out->candidates = f[4].value;
    return check_refs(f[4].value, "candidates", fault);
}

static bool read_answers(const msgpack_object *list, struct record *out, struct whorl_fault *fault)
{
    out->answer_count = list->via.array.size;
    for (size_t i = 0; i < out->answer_count; i++) {
        if (!read_answer(&list->via.array.ptr[i], &out->answers[i], fault)) {
            return false;
        }
    }
    return true;
}

static bool read_subject(const msgpack_object *map, struct record *out, struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        STR("condition", true, 32),         STR("family", false, 100),
        STR("given", false, 100),           STR("born", false, 10),
        STR("gender", false, 32),           STR("age_band", false, 32),
        STR("ethnicity_officer", false, 8), STR("ethnicity_self", false, 8),
    };
    if (!whorl_fields_read_lenient(map, "subject", f, COUNT(f), fault)) {
        return false;
    }
    out->family = text_of(&f[1]);
    out->given = text_of(&f[2]);
    out->born = text_of(&f[3]);
    return code_of(&f[0], &codes_condition, "subject.condition", &out->condition, fault) &&
           code_of(&f[4], &codes_gender, "subject.gender", &out->gender, fault) &&
           code_of(&f[5], &codes_age_band, "subject.age_band", &out->age_band, fault) &&
           code_of(&f[6], &codes_ethnicity_officer, "subject.ethnicity_officer",
                   &out->ethnicity_officer, fault) &&
           code_of(&f[7], &codes_ethnicity_self, "subject.ethnicity_self", &out->ethnicity_self,
                   fault);
}

static uint8_t reason_code_of(const struct whorl_field *field)
{
    return field->value == NULL ? codes_reason_code.count : (uint8_t)field->value->via.u64;
}

static bool read_identify(const msgpack_object *root, struct record *out, struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        STR("device", true, 64),
        STR("officer", true, 32),
        STR("force", true, 32),
        STR("basis", true, 64),
        STR("stop_power", false, 64),
        STR("reason", false, 250),
        INT("reason_code", false, 0, 9),
        STR("consent", true, 32),
        {.name = "subject", .type = WHORL_FIELD_MAP, .required = true, .max = 64},
        STR("continues", false, 64),
        ARRAY("samples", 64),
        ARRAY("answers", RECORD_ANSWERS_MAX),
        INT("elapsed_ms", true, 0, 1e9),
    };
    if (!whorl_fields_read_lenient(root, "", f, COUNT(f), fault) ||
        !code_of(&f[7], &codes_consent, "consent", &out->consent, fault) ||
        !read_subject(f[8].value, out, fault) || !read_answers(f[11].value, out, fault)) {
        return false;
    }
    out->device = text_of(&f[0]);
    out->officer = text_of(&f[1]);
    out->force = text_of(&f[2]);
    out->basis = text_of(&f[3]);
    out->stop_power = text_of(&f[4]);
    out->reason = text_of(&f[5]);
    out->reason_code = reason_code_of(&f[6]);
    out->continues = text_of(&f[9]);
    out->samples = f[10].value->via.array.size;
    out->elapsed_ms = (uint32_t)f[12].value->via.u64;
    return true;
}

static bool read_lookup(const msgpack_object *root, struct record *out, struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        STR("device", true, 64),  STR("officer", true, 32),  STR("force", true, 32),
        STR("basis", true, 64),   STR("reason", false, 250), INT("reason_code", false, 0, 9),
        STR("backend", true, 64), ARRAY("asked", 64),        STR("class", true, 32),
        ARRAY("candidates", 64),
    };
    struct record_answer *answer = &out->answers[0];
    if (!whorl_fields_read_lenient(root, "", f, COUNT(f), fault) ||
        !code_of(&f[8], &codes_class, "class", &answer->class, fault) ||
        !check_refs(f[9].value, "candidates", fault)) {
        return false;
    }
    out->device = text_of(&f[0]);
    out->officer = text_of(&f[1]);
    out->force = text_of(&f[2]);
    out->basis = text_of(&f[3]);
    out->reason = text_of(&f[4]);
    out->reason_code = reason_code_of(&f[5]);
    out->asked = f[7].value;
    out->answer_count = 1;
    answer->backend = text_of(&f[6]);
    answer->permitted = true;
    answer->candidates = f[9].value;
    return true;
}

static bool read_refused(const msgpack_object *root, struct record *out, struct whorl_fault *fault)
{
    struct whorl_field f[] = {STR("device", false, 64), STR("officer", false, 32),
                              STR("force", false, 32), STR("code", true, 64)};
    if (!whorl_fields_read_lenient(root, "", f, COUNT(f), fault)) {
        return false;
    }
    out->device = text_of(&f[0]);
    out->officer = text_of(&f[1]);
    out->force = text_of(&f[2]);
    out->code = text_of(&f[3]);
    return true;
}

static bool read_outcome(const msgpack_object *root, struct record *out, struct whorl_fault *fault)
{
    struct whorl_field f[] = {
        STR("device", true, 64),
        STR("officer", true, 32),
        STR("force", true, 32),
        STR("outcome", true, 32),
        {.name = "contacted_control", .type = WHORL_FIELD_BOOL},
        STR("note", false, 250),
    };
    if (!whorl_fields_read_lenient(root, "", f, COUNT(f), fault) ||
        !code_of(&f[3], &codes_outcome, "outcome", &out->outcome, fault)) {
        return false;
    }
    out->device = text_of(&f[0]);
    out->officer = text_of(&f[1]);
    out->force = text_of(&f[2]);
    out->contacted_control = f[4].value != NULL && f[4].value->via.boolean;
    out->note = text_of(&f[5]);
    return true;
}

static bool read_disclosure(const msgpack_object *root, struct record *out,
                            struct whorl_fault *fault)
{
    struct whorl_field f[] = {STR("device", true, 64), STR("officer", true, 32),
                              STR("force", true, 32)};
    if (!whorl_fields_read_lenient(root, "", f, COUNT(f), fault)) {
        return false;
    }
    out->device = text_of(&f[0]);
    out->officer = text_of(&f[1]);
    out->force = text_of(&f[2]);
    return true;
}

static bool read_change(const msgpack_object *root, struct record *out, struct whorl_fault *fault)
{
    struct whorl_field f[] = {STR("event", true, 32), STR("store", true, 64),
                              STR("source", false, 250), ARRAY("ids", 1000)};
    if (!whorl_fields_read_lenient(root, "", f, COUNT(f), fault) ||
        !check_refs(f[3].value, "ids", fault)) {
        return false;
    }
    out->event = text_of(&f[0]);
    out->store = text_of(&f[1]);
    out->source = text_of(&f[2]);
    out->ids = f[3].value;
    return true;
}

static bool of_transaction(enum record_kind kind)
{
    return kind == RECORD_IDENTIFY || kind == RECORD_LOOKUP || kind == RECORD_OUTCOME ||
           kind == RECORD_DISCLOSURE;
}

static enum record_kind kind_of(const struct whorl_field *field)
{
    static const char *const kinds[] = {"identify",   "lookup",     "refused",    "outcome",
                                        "disclosure", "collection", "alteration", "erasure"};
    unsigned kind = 0;
    while (kind < RECORD_OTHER && !whorl_str_is(field->value, kinds[kind])) {
        kind++;
    }
    return (enum record_kind)kind;
}

bool record_read(const msgpack_object *root, struct record *out, struct whorl_fault *fault)
{
    struct whorl_field f[] = {INT("v", true, 1, 1), STR("kind", true, 64), STR("time", true, 24),
                              STR("transaction", false, 64)};
    char time[32];
    uint8_t uuid[16];
    *out = (struct record){0};
    if (!whorl_fields_read_lenient(root, "", f, COUNT(f), fault)) {
        return false;
    }
    out->kind = kind_of(&f[1]);
    out->time = text_of(&f[2]);
    out->transaction = text_of(&f[3]);
    record_text_copy(&out->time, time, sizeof time);
    if (!period_read_time(time, &out->time_ms)) {
        return whorl_fail(fault, "time", "is no time in UTC with milliseconds");
    }
    if (of_transaction(out->kind) && !record_uuid(&out->transaction, uuid)) {
        return whorl_fail(fault, "transaction", "is no transaction id");
    }
    switch (out->kind) {
    case RECORD_IDENTIFY:
        return read_identify(root, out, fault);
    case RECORD_LOOKUP:
        return read_lookup(root, out, fault);
    case RECORD_REFUSED:
        return read_refused(root, out, fault);
    case RECORD_OUTCOME:
        return read_outcome(root, out, fault);
    case RECORD_DISCLOSURE:
        return read_disclosure(root, out, fault);
    case RECORD_COLLECTION:
    case RECORD_ALTERATION:
    case RECORD_ERASURE:
        return read_change(root, out, fault);
    case RECORD_OTHER:
    default:
        return true;
    }
}
