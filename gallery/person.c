#include "person.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

#include "afis/template.h"
#include "block.h"
#include "bytes.h"
#include "whorl/msg.h"

#define VERSION 1u
#define HEADER 12u
#define RECORD_MAX 65536u

enum { AT_VERSION = 0, AT_CHECKSUM = 4, AT_BLOCK = 8 };

static uint32_t checksum(const uint8_t *bytes, size_t len)
{
    return libdeflate_crc32(0, bytes + AT_BLOCK, len - AT_BLOCK);
}

static void pack_text(msgpack_packer *pk, const char *text)
{
    size_t len = strlen(text);
    msgpack_pack_str(pk, len);
    msgpack_pack_str_body(pk, text, len);
}

static void pack_lists(msgpack_packer *pk, const struct gallery_person *person)
{
    whorl_put_key(pk, "identifiers");
    msgpack_pack_map(pk, person->identifier_count);
    for (size_t i = 0; i < person->identifier_count; i++) {
        whorl_put_str(pk, person->identifiers[i].key, person->identifiers[i].value);
    }
    whorl_put_key(pk, "names");
    msgpack_pack_array(pk, person->name_count);
    for (size_t i = 0; i < person->name_count; i++) {
        msgpack_pack_array(pk, 2);
        pack_text(pk, person->names[i].family);
        pack_text(pk, person->names[i].given);
    }
    whorl_put_key(pk, "details");
    msgpack_pack_array(pk, person->detail_count);
    for (size_t i = 0; i < person->detail_count; i++) {
        msgpack_pack_array(pk, 3);
        pack_text(pk, person->details[i].label);
        pack_text(pk, person->details[i].value);
        pack_text(pk, person->details[i].level);
    }
    whorl_put_key(pk, "prints");
    msgpack_pack_array(pk, person->print_count);
    for (size_t i = 0; i < person->print_count; i++) {
        msgpack_pack_array(pk, 3);
        msgpack_pack_uint8(pk, person->prints[i].position);
        msgpack_pack_uint8(pk, person->prints[i].impression);
        msgpack_pack_bin(pk, GALLERY_DIGEST);
        msgpack_pack_bin_body(pk, person->prints[i].digest, GALLERY_DIGEST);
    }
}

/* A buffer that remembers that a write did not fit: the packing functions go on after one. */
struct sink {
    msgpack_sbuffer *out;
    bool full;
};

static int sink_write(void *arg, const char *bytes, size_t len)
{
    struct sink *sink = arg;
    if (!sink->full && msgpack_sbuffer_write(sink->out, bytes, len) != 0) {
        sink->full = true;
    }
    return sink->full ? -1 : 0;
}

bool person_encode(const struct gallery_person *person, uint32_t block, msgpack_sbuffer *out)
{
    static const char room[HEADER] = {0};
    struct sink sink = {out, false};
    msgpack_packer pk;
    msgpack_packer_init(&pk, &sink, sink_write);
    sink_write(&sink, room, sizeof room);
    msgpack_pack_map(&pk, 9);
    pack_lists(&pk, person);
    whorl_put_str(&pk, "born", person->born);
    whorl_put_str(&pk, "sex", person->sex);
    whorl_put_str(&pk, "source", person->source);
    whorl_put_int(&pk, "enrolled", person->enrolled);
    whorl_put_int(&pk, "expires", person->expires);
    if (sink.full || out->size > RECORD_MAX) {
        return false;
    }
    uint8_t *bytes = (uint8_t *)out->data;
    put32(bytes + AT_VERSION, VERSION);
    put32(bytes + AT_BLOCK, block);
    put32(bytes + AT_CHECKSUM, checksum(bytes, out->size));
    return true;
}

bool person_block(const uint8_t *bytes, size_t len, uint32_t *block)
{
    if (len < HEADER || len > RECORD_MAX || get32(bytes + AT_VERSION) != VERSION ||
        get32(bytes + AT_CHECKSUM) != checksum(bytes, len)) {
        return false;
    }
    *block = get32(bytes + AT_BLOCK);
    return true;
}

/* A decoded person is one piece of memory: the person, its lists, then its texts. */
struct arena {
    struct gallery_person person;
    struct gallery_pair pairs[PERSON_IDENTIFIERS_MAX];
    struct gallery_name names[PERSON_NAMES_MAX];
    struct gallery_detail details[PERSON_DETAILS_MAX];
    struct gallery_print prints[GALLERY_PRINTS_MAX];
    char *text; /* what is left of it */
    char texts[];
};

/* Copies a string object; "" for anything else (the validity check then says what is missing). A
 * string takes at least a byte beside its own in the record, so the room suffices. */
static const char *take_text(struct arena *arena, const msgpack_object *object)
{
    char *text = arena->text;
    size_t len = 0;
    if (object && object->type == MSGPACK_OBJECT_STR) {
        len = object->via.str.size;
        memcpy(text, object->via.str.ptr, len);
    }
    text[len] = 0;
    arena->text += len + 1;
    return text;
}

/* The elements of the array's i-th element, NULL when it has another number of them. */
static const msgpack_object *row(const msgpack_object *array, size_t i, uint32_t columns)
{
    const msgpack_object *o = &array->via.array.ptr[i];
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != columns) {
        return NULL;
    }
    return o->via.array.ptr;
}

static void take_pairs(struct arena *arena, const msgpack_object *map)
{
    for (size_t i = 0; i < map->via.map.size; i++) {
        arena->pairs[i].key = take_text(arena, &map->via.map.ptr[i].key);
        arena->pairs[i].value = take_text(arena, &map->via.map.ptr[i].val);
    }
    arena->person.identifiers = arena->pairs;
    arena->person.identifier_count = map->via.map.size;
}

static bool take_names(struct arena *arena, const msgpack_object *array)
{
    for (size_t i = 0; i < array->via.array.size; i++) {
        const msgpack_object *o = row(array, i, 2);
        if (!o) {
            return false;
        }
        arena->names[i].family = take_text(arena, &o[0]);
        arena->names[i].given = take_text(arena, &o[1]);
    }
    arena->person.names = arena->names;
    arena->person.name_count = array->via.array.size;
    return true;
}

static bool take_details(struct arena *arena, const msgpack_object *array)
{
    for (size_t i = 0; i < array->via.array.size; i++) {
        const msgpack_object *o = row(array, i, 3);
        if (!o) {
            return false;
        }
        arena->details[i].label = take_text(arena, &o[0]);
        arena->details[i].value = take_text(arena, &o[1]);
        arena->details[i].level = take_text(arena, &o[2]);
    }
    arena->person.details = arena->details;
    arena->person.detail_count = array->via.array.size;
    return true;
}

static bool take_prints(struct arena *arena, const msgpack_object *array)
{
    for (size_t i = 0; i < array->via.array.size; i++) {
        const msgpack_object *o = row(array, i, 3);
        struct gallery_print *print = &arena->prints[i];
        if (!o || o[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER || o[0].via.u64 > 10 ||
            o[1].type != MSGPACK_OBJECT_POSITIVE_INTEGER || o[1].via.u64 > 255 ||
            o[2].type != MSGPACK_OBJECT_BIN || o[2].via.bin.size != GALLERY_DIGEST) {
            return false;
        }
        print->position = (uint8_t)o[0].via.u64;
        print->impression = (uint8_t)o[1].via.u64;
        memcpy(print->digest, o[2].via.bin.ptr, GALLERY_DIGEST);
    }
    arena->person.prints = arena->prints;
    arena->person.print_count = array->via.array.size;
    return true;
}

enum { IDENTIFIERS, NAMES, DETAILS, PRINTS, BORN, SEX, SOURCE, ENROLLED, EXPIRES, FIELDS };

static bool take_fields(struct arena *arena, const msgpack_object *root, struct whorl_fault *fault)
{
    const double latest = 253402300799.0; /* the end of the year 9999 */
    struct whorl_field fields[FIELDS] = {
        [IDENTIFIERS] = {"identifiers", WHORL_FIELD_MAP, true, 0, PERSON_IDENTIFIERS_MAX, NULL},
        [NAMES] = {"names", WHORL_FIELD_ARRAY, true, 0, PERSON_NAMES_MAX, NULL},
        [DETAILS] = {"details", WHORL_FIELD_ARRAY, true, 0, PERSON_DETAILS_MAX, NULL},
        [PRINTS] = {"prints", WHORL_FIELD_ARRAY, true, 1, GALLERY_PRINTS_MAX, NULL},
        [BORN] = {"born", WHORL_FIELD_STR, true, 0, 10, NULL},
        [SEX] = {"sex", WHORL_FIELD_STR, true, 0, 10, NULL},
        [SOURCE] = {"source", WHORL_FIELD_STR, true, 0, GALLERY_TEXT_MAX, NULL},
        [ENROLLED] = {"enrolled", WHORL_FIELD_INT, true, 0, latest, NULL},
        [EXPIRES] = {"expires", WHORL_FIELD_INT, true, 0, latest, NULL},
    };
    if (!whorl_fields_read(root, "", fields, FIELDS, fault)) {
        return false;
    }
    struct gallery_person *person = &arena->person;
    take_pairs(arena, fields[IDENTIFIERS].value);
    if (!take_names(arena, fields[NAMES].value) || !take_details(arena, fields[DETAILS].value) ||
        !take_prints(arena, fields[PRINTS].value)) {
        return whorl_fail(fault, "", "has a malformed list");
    }
    person->born = take_text(arena, fields[BORN].value);
    person->sex = take_text(arena, fields[SEX].value);
    person->source = take_text(arena, fields[SOURCE].value);
    person->enrolled = fields[ENROLLED].value->via.i64;
    person->expires = fields[EXPIRES].value->via.i64;
    return gallery_person_valid(person, fault);
}

bool person_agrees(const struct gallery_person *person, const struct block_entry *entry)
{
    if (person->print_count != entry->print_count || person->expires != entry->expires) {
        return false;
    }
    const uint8_t *at = entry->prints;
    for (size_t i = 0; i < person->print_count; i++) {
        struct gallery_print print;
        block_print(&at, &print);
        if (print.position != person->prints[i].position ||
            print.impression != person->prints[i].impression) {
            return false;
        }
    }
    return true;
}

/* Copies the templates from the entry to behind the texts, where there is room for them. */
static bool take_templates(struct arena *arena, const struct block_entry *entry,
                           struct whorl_fault *fault)
{
    if (!person_agrees(&arena->person, entry)) {
        return whorl_fail(fault, "", "disagrees with its block");
    }
    uint8_t *to = (uint8_t *)arena->text;
    const uint8_t *at = entry->prints;
    for (size_t i = 0; i < arena->person.print_count; i++) {
        struct gallery_print print;
        block_print(&at, &print);
        memcpy(to, print.packed, print.len);
        arena->prints[i].packed = to;
        arena->prints[i].len = print.len;
        to += print.len;
    }
    return true;
}

/* Texts take at most the record's bytes; the id and the templates come on top. */
static struct arena *new_arena(const char *id, size_t id_len, size_t room)
{
    struct arena *arena = calloc(1, sizeof *arena + id_len + 1 + room);
    if (!arena) {
        return NULL;
    }
    arena->text = arena->texts;
    memcpy(arena->text, id, id_len);
    arena->person.id = arena->text;
    arena->text += id_len + 1;
    return arena;
}

struct gallery_person *person_decode(const char *id, size_t id_len, const uint8_t *bytes,
                                     size_t len, const struct block_entry *entry,
                                     struct whorl_fault *fault)
{
    struct whorl_msg msg;
    uint32_t block;
    if (id_len > GALLERY_ID_MAX || !person_block(bytes, len, &block)) {
        whorl_fail(fault, "", "fails its checksum");
        return NULL;
    }
    if (!whorl_msg_parse(bytes + HEADER, len - HEADER, &msg, fault)) {
        return NULL;
    }
    struct arena *arena = new_arena(id, id_len, len + (entry ? entry->len : 0u));
    bool done = arena ? take_fields(arena, &msg.root, fault) &&
                            (!entry || take_templates(arena, entry, fault))
                      : whorl_fail(fault, "", "no memory");
    whorl_msg_release(&msg);
    if (done) {
        return &arena->person;
    }
    free(arena);
    return NULL;
}

void gallery_person_free(struct gallery_person *person)
{
    free(person);
}
