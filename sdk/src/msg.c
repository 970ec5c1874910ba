/* Walking, parsing and writing messages. The format is the msgpack specification of 2013 (with str,
 * bin and ext). */
#include "whorl/msg.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ZONE_CHUNK 1000u /* bytes; what malloc keeps at hand for each thread ends at 1 KB */

/* Cuts a character off that a full buffer has cut short. */
static void trim_text(char *text)
{
    size_t len = strlen(text);
    size_t start = len;
    while (start > 0 && len - start < 4 && ((uint8_t)text[start - 1] & 0xc0) == 0x80) {
        start--;
    }
    uint8_t first = start > 0 ? (uint8_t)text[start - 1] : 0;
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
    if (size > 1 && len - start + 1 < size) {
        text[start - 1] = '\0';
    }
}

bool(whorl_fail)(struct whorl_fault *fault, const char *where, const char *format, ...)
{
    if (fault == NULL) {
        return false;
    }
    snprintf(fault->where, sizeof fault->where, "%s", where);
    va_list args;
    va_start(args, format);
    vsnprintf(fault->text, sizeof fault->text, format, args);
    va_end(args);
    trim_text(fault->where);
    trim_text(fault->text);
    return false;
}

/* --- The walk ------------------------------------------------------------------------------- */

enum form_kind { FORM_DATA, FORM_ARRAY, FORM_MAP, FORM_NEVER };

/* How an object with a given first byte goes on: a length field of `width` bytes, then `fixed`
 * bytes and as many (data) or objects (arrays) or pairs (maps) as the length says. */
struct form {
    uint8_t kind, width, fixed;
};

/* First bytes c0 to df; all others carry their length in themselves. */
static const struct form forms[32] = {
    {FORM_DATA, 0, 0},  {FORM_NEVER, 0, 0}, {FORM_DATA, 0, 0}, {FORM_DATA, 0, 0}, /* nil, bool */
    {FORM_DATA, 1, 0},  {FORM_DATA, 2, 0},  {FORM_DATA, 4, 0},                    /* bin */
    {FORM_DATA, 1, 1},  {FORM_DATA, 2, 1},  {FORM_DATA, 4, 1},                    /* ext */
    {FORM_DATA, 0, 4},  {FORM_DATA, 0, 8},                                        /* float */
    {FORM_DATA, 0, 1},  {FORM_DATA, 0, 2},  {FORM_DATA, 0, 4}, {FORM_DATA, 0, 8}, /* uint */
    {FORM_DATA, 0, 1},  {FORM_DATA, 0, 2},  {FORM_DATA, 0, 4}, {FORM_DATA, 0, 8}, /* int */
    {FORM_DATA, 0, 2},  {FORM_DATA, 0, 3},  {FORM_DATA, 0, 5},                    /* fixext */
    {FORM_DATA, 0, 9},  {FORM_DATA, 0, 17},                                       /* fixext */
    {FORM_DATA, 1, 0},  {FORM_DATA, 2, 0},  {FORM_DATA, 4, 0},                    /* str */
    {FORM_ARRAY, 2, 0}, {FORM_ARRAY, 4, 0}, {FORM_MAP, 2, 0},  {FORM_MAP, 4, 0},
};

/* One object's head, read. */
struct head {
    enum form_kind kind;
    bool whole;        /* its length field is there; else size is all that is known */
    uint64_t size;     /* bytes of the object, without what it contains */
    uint64_t children; /* objects that it contains */
};

static uint64_t big_endian(const uint8_t *bytes, size_t width)
{
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* Reads the head of the object at bytes, which is no small integer; len >= 1. */
static inline struct head read_head(const uint8_t *bytes, size_t len)
{
    uint8_t first = bytes[0];
    if (first < 0x90) {
        return (struct head){FORM_MAP, true, 1, 2 * (uint64_t)(first & 0x0f)};
    }
    if (first < 0xa0) {
        return (struct head){FORM_ARRAY, true, 1, first & 0x0fu};
    }
    if (first < 0xc0) {
        return (struct head){FORM_DATA, true, 1u + (first & 0x1fu), 0};
    }
    struct form form = forms[first - 0xc0];
    uint64_t size = 1u + form.width + form.fixed;
    if (len < 1u + form.width) {
        return (struct head){form.kind, false, size, 0};
    }
    uint64_t length = big_endian(bytes + 1, form.width);
    if (form.kind == FORM_DATA) {
        return (struct head){form.kind, true, size + length, 0};
    }
    return (struct head){form.kind, true, size, form.kind == FORM_MAP ? 2 * length : length};
}

/* Whether a message stays in bounds with this object in it, whatever follows; an object that
 * contains none was counted before. at: where it begins; before: objects before it; need: objects
 * still to come after it and outside it. Every object takes a byte at least. */
static inline bool head_fits(struct head head, size_t at, uint64_t before, uint64_t need,
                             uint32_t depth, size_t max)
{
    if (head.kind == FORM_DATA) {
        return at + head.size + need <= max;
    }
    return head.kind != FORM_NEVER && depth < WHORL_MSG_MAX_DEPTH &&
           before + 1 + need + head.children <= WHORL_MSG_MAX_OBJECTS &&
           at + head.size + head.children + need <= max;
}

/* Says why it doesn't. */
static void tell_misfit(struct head head, size_t at, uint64_t before, uint64_t need, uint32_t depth,
                        size_t max, struct whorl_fault *fault)
{
    if (head.kind == FORM_NEVER) {
        whorl_fail(fault, "", "byte %zu: c1 begins no msgpack object", at);
    } else if (head.kind != FORM_DATA && depth == WHORL_MSG_MAX_DEPTH) {
        whorl_fail(fault, "", "byte %zu: arrays and maps nest deeper than %u", at,
                   WHORL_MSG_MAX_DEPTH);
    } else if (before + 1 + need + head.children > WHORL_MSG_MAX_OBJECTS) {
        whorl_fail(fault, "", "byte %zu: the message has more than %u objects", at,
                   WHORL_MSG_MAX_OBJECTS);
    } else {
        whorl_fail(fault, "", "byte %zu: the message goes on past the %zu bytes that it may have",
                   at, max);
    }
}

enum whorl_msg_walk whorl_msg_walk_on(struct whorl_msg_walker *walker, const uint8_t *bytes,
                                      size_t len, size_t max, size_t *used,
                                      struct whorl_fault *fault)
{
    /* In locals, since the compiler must assume that the bytes may alias the walker. */
    size_t at = walker->at;
    uint32_t objects = walker->objects, depth = walker->depth, *left = walker->left;
    uint64_t need = objects == 0 ? 1 : walker->need;
    uint64_t wanted = at + need;
    if (max == 0) {
        whorl_fail(fault, "", "byte 0: there is no room for a message");
        return WHORL_MSG_BAD;
    }
    while (need > 0) {
        struct head head = {FORM_DATA, true, 1, 0};
        if (at >= len) {
            wanted = at + need;
            break;
        }
        uint8_t first = bytes[at];
        if (first >= 0x80 && first < 0xe0) {
            head = read_head(bytes + at, len - at);
            if (!head_fits(head, at, objects, need - 1, depth, max)) {
                tell_misfit(head, at, objects, need - 1, depth, max, fault);
                return WHORL_MSG_BAD;
            }
            if (!head.whole || head.size > len - at) {
                wanted = at + head.size + head.children + need - 1;
                break;
            }
        }
        at += head.size;
        objects++;
        need = need - 1 + head.children;
        if (head.children > 0) {
            left[depth++] = (uint32_t)head.children;
            continue;
        }
        while (depth > 0 && --left[depth - 1] == 0) {
            depth--;
        }
    }
    walker->at = at;
    walker->objects = objects;
    walker->depth = depth;
    walker->need = (uint32_t)need;
    *used = need == 0 ? at : wanted;
    return need == 0 ? WHORL_MSG_WHOLE : WHORL_MSG_MORE;
}

enum whorl_msg_walk whorl_msg_walk(const uint8_t *bytes, size_t len, size_t max, size_t *used,
                                   struct whorl_fault *fault)
{
    struct whorl_msg_walker walker = {0};
    return whorl_msg_walk_on(&walker, bytes, len, max, used, fault);
}

/* --- Parsing -------------------------------------------------------------------------------- */

bool whorl_msg_build(const uint8_t *bytes, size_t len, msgpack_zone *zone, msgpack_object *root,
                     struct whorl_fault *fault)
{
    size_t off = 0;
    msgpack_unpack_return got = msgpack_unpack((const char *)bytes, len, &off, zone, root);
    if (got ==
        MSGPACK_UNPACK_SUCCESS) { /* nothing is left over: that is MSGPACK_UNPACK_EXTRA_BYTES */
        return true;
    }
    if (got == MSGPACK_UNPACK_NOMEM_ERROR) {
        return whorl_fail(fault, "", "out of memory for a message of %zu bytes", len);
    }
    return whorl_fail(fault, "", "the message of %zu bytes can't be parsed", len);
}

bool whorl_msg_parse(const uint8_t *bytes, size_t len, struct whorl_msg *out,
                     struct whorl_fault *fault)
{
    *out = (struct whorl_msg){0};
    size_t used = 0;
    /* Never WHORL_MSG_MORE: what needs more than len bytes is longer than its bound. */
    if (whorl_msg_walk(bytes, len, len, &used, fault) != WHORL_MSG_WHOLE) {
        return false;
    }
    if (used != len) {
        return whorl_fail(fault, "", "byte %zu: bytes are left over after the message", used);
    }
    out->zone = msgpack_zone_new(ZONE_CHUNK);
    if (out->zone == NULL) {
        return whorl_fail(fault, "", "out of memory for a message of %zu bytes", len);
    }
    if (!whorl_msg_build(bytes, len, out->zone, &out->root, fault)) {
        whorl_msg_release(out);
        return false;
    }
    return true;
}

void whorl_msg_release(struct whorl_msg *msg)
{
    if (msg->zone != NULL) {
        msgpack_zone_free(msg->zone);
    }
    *msg = (struct whorl_msg){0};
}

/* --- Text ----------------------------------------------------------------------------------- */

/* Length in bytes of the sequence that begins here and is a character beyond ASCII that may stand
 * in text, or 0. RFC 3629, section 4: no overlong forms, no surrogates, nothing past U+10FFFF. */
static size_t clean_character(const uint8_t *text, size_t len)
{
    uint8_t first = text[0];
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || size > len) {
        return 0;
    }
    /* The bounds of the second byte depend on the first; further ones are 80 to bf. */
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (first == 0xc2) {
        low = 0xa0; /* U+0080 to U+009F are control characters */
    }
    if (text[1] < low || text[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return size;
}

bool whorl_text_is_clean(const char *text, size_t len)
{
    const uint8_t *at = (const uint8_t *)text;
    while (len > 0) {
        size_t size = *at >= 0x20 && *at < 0x7f ? 1 : clean_character(at, len);
        if (size == 0) {
            return false;
        }
        at += size;
        len -= size;
    }
    return true;
}

/* --- Fields --------------------------------------------------------------------------------- */

/* The full name of a field: path and a key that may hold anything and must not carry it on. */
static void join_path(char *full, size_t cap, const char *path, const char *key, size_t key_len)
{
    size_t at = (size_t)snprintf(full, cap, "%s%s", path, path[0] == '\0' ? "" : ".");
    if (at >= cap) {
        return;
    }
    for (size_t i = 0; i < key_len && at + 1 < cap; i++, at++) {
        full[at] = key[i] >= 0x20 && key[i] < 0x7f ? key[i] : '?';
    }
    full[at] = '\0';
}

static bool size_fits(double size, const struct whorl_field *field, const char *unit,
                      const char *where, struct whorl_fault *fault)
{
    if (size >= field->min && size <= field->max) {
        return true;
    }
    if (field->min == field->max) {
        return whorl_fail(fault, where, "must have %.0f %s, not %.0f", field->min, unit, size);
    }
    return whorl_fail(fault, where, "must have %.0f to %.0f %s, not %.0f", field->min, field->max,
                      unit, size);
}

static bool check_text(const msgpack_object *value, const struct whorl_field *field,
                       const char *where, struct whorl_fault *fault)
{
    if (value->type != MSGPACK_OBJECT_STR) {
        return whorl_fail(fault, where, "must be a string");
    }
    if (!size_fits(value->via.str.size, field, "bytes", where, fault)) {
        return false;
    }
    if (!whorl_text_is_clean(value->via.str.ptr, value->via.str.size)) {
        return whorl_fail(fault, where, "must be UTF-8 without control characters");
    }
    return true;
}

static bool check_number(const msgpack_object *value, const struct whorl_field *field,
                         const char *where, struct whorl_fault *fault)
{
    bool whole = field->type == WHORL_FIELD_INT;
    double number = NAN;
    if (value->type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
        number = (double)value->via.u64;
    } else if (value->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
        number = (double)value->via.i64;
    } else if (!whole &&
               (value->type == MSGPACK_OBJECT_FLOAT32 || value->type == MSGPACK_OBJECT_FLOAT64)) {
        number = value->via.f64;
    } else {
        return whorl_fail(fault, where, "must be %s", whole ? "an integer" : "a number");
    }
    if (!isfinite(number) || number < field->min || number > field->max) {
        return whorl_fail(fault, where, "must be from %.15g to %.15g", field->min, field->max);
    }
    return true;
}

static bool check_value(const msgpack_object *value, const struct whorl_field *field,
                        const char *where, struct whorl_fault *fault)
{
    switch (field->type) {
    case WHORL_FIELD_STR:
        return check_text(value, field, where, fault);
    case WHORL_FIELD_BIN:
        /* The older msgpack has one type for both, and some clients still write it. */
        if (value->type != MSGPACK_OBJECT_BIN && value->type != MSGPACK_OBJECT_STR) {
            return whorl_fail(fault, where, "must be binary");
        }
        return size_fits(value->via.bin.size, field, "bytes", where, fault);
    case WHORL_FIELD_INT:
    case WHORL_FIELD_REAL:
        return check_number(value, field, where, fault);
    case WHORL_FIELD_BOOL:
        return value->type == MSGPACK_OBJECT_BOOLEAN ||
               whorl_fail(fault, where, "must be true or false");
    case WHORL_FIELD_MAP:
        if (value->type != MSGPACK_OBJECT_MAP) {
            return whorl_fail(fault, where, "must be a map");
        }
        return size_fits(value->via.map.size, field, "pairs", where, fault);
    case WHORL_FIELD_ARRAY:
        if (value->type != MSGPACK_OBJECT_ARRAY) {
            return whorl_fail(fault, where, "must be an array");
        }
        return size_fits(value->via.array.size, field, "elements", where, fault);
    }
    return whorl_fail(fault, where, "has no known type");
}

/* Whether a str, whose pointer msgpack-c leaves NULL when it is empty, has exactly this text. */
static bool same_text(const msgpack_object_str *str, const char *text)
{
    size_t len = strlen(text);
    return str->size == len && (len == 0 || memcmp(str->ptr, text, len) == 0);
}

/* The field of that name, or count. */
static size_t find_field(const msgpack_object_str *key, const struct whorl_field *fields,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (same_text(key, fields[i].name)) {
            return i;
        }
    }
    return count;
}

/* Says what is wrong with a field. Its full name is made here alone: nearly all are right. */
static bool check_again(const msgpack_object *value, const struct whorl_field *field,
                        const char *path, const msgpack_object_str *key, struct whorl_fault *fault)
{
    char where[sizeof fault->where];
    join_path(where, sizeof where, path, key->ptr, key->size);
    return check_value(value, field, where, fault);
}

/* Sorts one pair in. seen: a bit per field. */
static bool read_pair(const msgpack_object_kv *pair, const char *path, struct whorl_field *fields,
                      size_t count, bool strict, uint64_t *seen, struct whorl_fault *fault)
{
    if (pair->key.type != MSGPACK_OBJECT_STR) {
        return !strict || whorl_fail(fault, path, "has a field whose name is no string");
    }
    const msgpack_object_str *key = &pair->key.via.str;
    size_t i = find_field(key, fields, count);
    if (i == count && !strict) {
        return true;
    }
    if (i < count && !(*seen & UINT64_C(1) << i)) {
        *seen |= UINT64_C(1) << i;
        if (pair->val.type == MSGPACK_OBJECT_NIL) {
            return true;
        }
        fields[i].value = &pair->val;
        if (check_value(&pair->val, &fields[i], "", NULL)) {
            return true;
        }
        return check_again(&pair->val, &fields[i], path, key, fault);
    }
    char where[sizeof fault->where];
    join_path(where, sizeof where, path, key->ptr, key->size);
    return whorl_fail(fault, where, i == count ? "is not a known field" : "is there twice");
}

static bool read_fields(const msgpack_object *map, const char *path, struct whorl_field *fields,
                        size_t count, bool strict, struct whorl_fault *fault)
{
    for (size_t i = 0; i < count; i++) {
        fields[i].value = NULL;
    }
    if (count > WHORL_FIELDS_MAX) {
        return whorl_fail(fault, path, "has a table of more than %u fields", WHORL_FIELDS_MAX);
    }
    if (map == NULL || map->type != MSGPACK_OBJECT_MAP) {
        return whorl_fail(fault, path, "must be a map");
    }
    uint64_t seen = 0;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        if (!read_pair(&map->via.map.ptr[i], path, fields, count, strict, &seen, fault)) {
            return false;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (fields[i].required && fields[i].value == NULL) {
            char where[sizeof fault->where];
            join_path(where, sizeof where, path, fields[i].name, strlen(fields[i].name));
            return whorl_fail(fault, where, "is missing");
        }
    }
    return true;
}

bool whorl_fields_read(const msgpack_object *map, const char *path, struct whorl_field *fields,
                       size_t count, struct whorl_fault *fault)
{
    return read_fields(map, path, fields, count, true, fault);
}

bool whorl_fields_read_lenient(const msgpack_object *map, const char *path,
                               struct whorl_field *fields, size_t count, struct whorl_fault *fault)
{
    return read_fields(map, path, fields, count, false, fault);
}

const msgpack_object *whorl_map_get(const msgpack_object *map, const char *key)
{
    if (map == NULL || map->type != MSGPACK_OBJECT_MAP) {
        return NULL;
    }
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        if (whorl_str_is(&map->via.map.ptr[i].key, key)) {
            return &map->via.map.ptr[i].val;
        }
    }
    return NULL;
}

bool whorl_str_is(const msgpack_object *object, const char *text)
{
    return object != NULL && object->type == MSGPACK_OBJECT_STR &&
           same_text(&object->via.str, text);
}

bool whorl_str_copy(const msgpack_object *object, char *text, size_t cap)
{
    if (cap == 0) {
        return false;
    }
    text[0] = '\0';
    if (object == NULL || object->type != MSGPACK_OBJECT_STR || object->via.str.size >= cap) {
        return false;
    }
    if (object->via.str.size > 0) {
        memcpy(text, object->via.str.ptr, object->via.str.size);
    }
    text[object->via.str.size] = '\0';
    return true;
}

/* --- Writers -------------------------------------------------------------------------------- */

static void pack_text(msgpack_packer *pk, const char *text)
{
    size_t len = strlen(text);
    msgpack_pack_str(pk, len);
    msgpack_pack_str_body(pk, text, len);
}

void whorl_put_key(msgpack_packer *pk, const char *key)
{
    pack_text(pk, key);
}

void whorl_put_str(msgpack_packer *pk, const char *key, const char *text)
{
    pack_text(pk, key);
    if (text == NULL) {
        msgpack_pack_nil(pk);
    } else {
        pack_text(pk, text);
    }
}

void whorl_put_int(msgpack_packer *pk, const char *key, int64_t value)
{
    pack_text(pk, key);
    msgpack_pack_int64(pk, value);
}

void whorl_put_real(msgpack_packer *pk, const char *key, double value)
{
    pack_text(pk, key);
    msgpack_pack_double(pk, value);
}

void whorl_put_bool(msgpack_packer *pk, const char *key, bool value)
{
    pack_text(pk, key);
    if (value) {
        msgpack_pack_true(pk);
    } else {
        msgpack_pack_false(pk);
    }
}

void whorl_put_bin(msgpack_packer *pk, const char *key, const void *bytes, size_t len)
{
    pack_text(pk, key);
    msgpack_pack_bin(pk, len);
    msgpack_pack_bin_body(pk, bytes, len);
}

void whorl_put_object(msgpack_packer *pk, const char *key, const msgpack_object *value)
{
    pack_text(pk, key);
    msgpack_pack_object(pk, *value);
}
