#include "core/identify/people.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/identify/decode.h"
#include "core/packed/packed.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool is_short_text(const msgpack_object *object)
{
    const msgpack_object_str *str = &object->via.str;
    return object->type == MSGPACK_OBJECT_STR && str->size >= 1 && str->size <= PEOPLE_TEXT_MAX &&
           whorl_text_is_clean(str->ptr, str->size);
}

/* No key is named in what is said: it is somebody else's text, and this goes into the log. */
bool people_identifiers_good(const msgpack_object *map, const char *path, struct whorl_fault *fault)
{
    for (uint32_t i = 0; map != NULL && i < map->via.map.size; i++) {
        const msgpack_object_kv *pair = &map->via.map.ptr[i];
        if (!is_short_text(&pair->key) || !is_short_text(&pair->val)) {
            return whorl_fail(fault, path, "has a %s that is no text of 1 to %d bytes",
                              is_short_text(&pair->key) ? "value" : "key", PEOPLE_TEXT_MAX);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (msgpack_object_equal(map->via.map.ptr[j].key, pair->key)) {
                return whorl_fail(fault, path, "has a key twice");
            }
        }
    }
    return true;
}

enum { FOUND_FOR, IDENTIFIERS, FAMILY, GIVEN, BORN, FIELDS };

/* Somebody whom a search found, by identifiers, or somebody as claimed, by name. */
static bool read_person(const msgpack_object *map, size_t index, struct people *out,
                        struct whorl_fault *fault)
{
    struct whorl_field f[FIELDS] = {
        [FOUND_FOR] = {.name = "found_for", .type = WHORL_FIELD_MAP, .min = 2, .max = 2},
        [IDENTIFIERS] = {.name = "identifiers",
                         .type = WHORL_FIELD_MAP,
                         .min = 1,
                         .max = PEOPLE_IDENTIFIERS_MAX},
        [FAMILY] = {.name = "family", .type = WHORL_FIELD_STR, .min = 1, .max = 100},
        [GIVEN] = {.name = "given", .type = WHORL_FIELD_STR, .min = 1, .max = 100},
        [BORN] = {.name = "born", .type = WHORL_FIELD_STR, .min = 10, .max = 10},
    };
    struct whorl_field found[] = {
        {.name = "backend", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = 32},
        {.name = "ref", .type = WHORL_FIELD_STR, .required = true, .min = 1, .max = ANSWER_REF_MAX},
    };
    char path[32], inner[64];
    snprintf(path, sizeof path, "people[%zu]", index);
    if (!whorl_fields_read(map, path, f, FIELDS, fault)) {
        return false;
    }
    bool named = f[FAMILY].value != NULL || f[GIVEN].value != NULL || f[BORN].value != NULL;
    if ((f[FOUND_FOR].value == NULL) != (f[IDENTIFIERS].value == NULL) ||
        named == (f[FOUND_FOR].value != NULL) || (named && f[FAMILY].value == NULL)) {
        return whorl_fail(fault, path,
                          "must have found_for and identifiers, or a family name instead");
    }
    snprintf(inner, sizeof inner, "%s.found_for", path);
    if (f[FOUND_FOR].value != NULL &&
        !whorl_fields_read(f[FOUND_FOR].value, inner, found, COUNT(found), fault)) {
        return false;
    }
    whorl_str_copy(found[0].value, out->texts[index].backend, sizeof out->texts[index].backend);
    whorl_str_copy(f[FAMILY].value, out->texts[index].family, sizeof out->texts[index].family);
    whorl_str_copy(f[GIVEN].value, out->texts[index].given, sizeof out->texts[index].given);
    if (f[BORN].value != NULL &&
        (!whorl_str_copy(f[BORN].value, out->texts[index].born, sizeof out->texts[index].born) ||
         !decode_date_valid(out->texts[index].born))) {
        return whorl_fail(fault, path, "has a born that is no date as YYYY-MM-DD");
    }
    snprintf(inner, sizeof inner, "%s.identifiers", path);
    return people_identifiers_good(f[IDENTIFIERS].value, inner, fault);
}

/* Packs the array anew, so that it outlives the request. */
static bool keep(const msgpack_object *list, struct people *out, struct whorl_fault *fault)
{
    msgpack_sbuffer packed;
    msgpack_packer pk;
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&pk, &packed, packed_write);
    bool good = msgpack_pack_object(&pk, *list) == 0;
    if (!good || !whorl_msg_parse((const uint8_t *)packed.data, packed.size, &out->msg, fault)) {
        packed_wipe(&packed);
        return whorl_fail(fault, "people", "could not be kept: out of memory");
    }
    out->len = packed.size;
    out->bytes = (uint8_t *)msgpack_sbuffer_release(&packed);
    return true;
}

bool people_read(const msgpack_object *list, struct people *out, struct whorl_fault *fault)
{
    *out = (struct people){0};
    if (list == NULL) {
        return true;
    }
    if (!keep(list, out, fault)) {
        return false;
    }
    const msgpack_object_array *array = &out->msg.root.via.array;
    for (uint32_t i = 0; i < array->size; i++) {
        if (!read_person(&array->ptr[i], i, out, fault)) {
            people_release(out);
            return false;
        }
    }
    out->count = array->size;
    return true;
}

struct person people_at(const struct people *people, size_t index)
{
    const msgpack_object *map = &people->msg.root.via.array.ptr[index];
    const msgpack_object *identifiers = whorl_map_get(map, "identifiers");
    if (identifiers == NULL || identifiers->type != MSGPACK_OBJECT_MAP) {
        const char *given = people->texts[index].given, *born = people->texts[index].born;
        return (struct person){.family = people->texts[index].family,
                               .given = given[0] != '\0' ? given : NULL,
                               .born = born[0] != '\0' ? born : NULL};
    }
    const msgpack_object *ref = whorl_map_get(whorl_map_get(map, "found_for"), "ref");
    return (struct person){.backend = people->texts[index].backend,
                           .ref = ref->via.str.ptr,
                           .ref_len = ref->via.str.size,
                           .identifiers = identifiers};
}

void people_release(struct people *people)
{
    if (people->bytes != NULL) {
        whorl_msg_release(&people->msg);
        explicit_bzero(people->bytes, people->len);
        free(people->bytes);
    }
    explicit_bzero(people, sizeof *people);
}
