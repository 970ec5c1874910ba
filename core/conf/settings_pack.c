#include "core/conf/settings_pack.h"

#include <string.h>

#include "core/conf/settings.h"
#include "core/packed/packed.h"

static void put_text(msgpack_packer *pk, const char *text)
{
    size_t len = strlen(text);
    msgpack_pack_str_with_body(pk, text, len);
}

static void put_field(msgpack_packer *pk, const struct whorl_setting *setting,
                      const struct field *field)
{
    switch (setting->type) {
    case WHORL_SETTING_INTEGER:
        msgpack_pack_int64(pk, field->integer);
        break;
    case WHORL_SETTING_REAL:
        msgpack_pack_double(pk, field->real);
        break;
    case WHORL_SETTING_BOOLEAN:
        field->boolean ? msgpack_pack_true(pk) : msgpack_pack_false(pk);
        break;
    case WHORL_SETTING_LIST:
        msgpack_pack_array(pk, field->list_count);
        for (size_t i = 0; i < field->list_count; i++) {
            put_text(pk, field->list[i]);
        }
        break;
    default:
        put_text(pk, field->string ? field->string : "");
        break;
    }
}

/* overrides: what isn't given is nil. */
static void put_fields(msgpack_packer *pk, struct schema schema, const struct field *fields,
                       bool overrides)
{
    msgpack_pack_array(pk, schema.count);
    for (size_t i = 0; i < schema.count; i++) {
        if (overrides && fields[i].line == 0) {
            msgpack_pack_nil(pk);
        } else {
            put_field(pk, schema_at(schema, i), &fields[i]);
        }
    }
}

static bool names_path(const struct whorl_setting *setting, const struct field *field)
{
    return (setting->flags & WHORL_SETTING_PATH) != 0 && field->string && field->string[0] == '/';
}

/* The paths among these fields: counted, and packed if pk isn't NULL. */
static size_t put_paths(msgpack_packer *pk, struct schema schema, const struct field *fields)
{
    size_t count = 0;
    for (size_t i = 0; i < schema.count; i++) {
        if (names_path(schema_at(schema, i), &fields[i])) {
            count++;
            if (pk) {
                put_text(pk, fields[i].string);
            }
        }
    }
    return count;
}

void settings_pack(const struct whorl_settings *whorl, msgpack_sbuffer *out)
{
    const struct settings *settings = settings_inside(whorl);
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, packed_write);
    msgpack_pack_array(&pk, 3);
    put_fields(&pk, settings->schema, settings->fields, false);
    msgpack_pack_array(&pk, settings->force_count);
    size_t paths = put_paths(NULL, settings->schema, settings->fields);
    for (size_t i = 0; i < settings->force_count; i++) {
        msgpack_pack_array(&pk, 2);
        put_text(&pk, settings->forces[i].code);
        put_fields(&pk, settings->schema, settings->forces[i].fields, true);
        paths += put_paths(NULL, settings->schema, settings->forces[i].fields);
    }
    msgpack_pack_array(&pk, paths);
    put_paths(&pk, settings->schema, settings->fields);
    for (size_t i = 0; i < settings->force_count; i++) {
        put_paths(&pk, settings->schema, settings->forces[i].fields);
    }
}

static const msgpack_object *part_of(const msgpack_object *object, uint32_t count, uint32_t index)
{
    bool good = object->type == MSGPACK_OBJECT_ARRAY && object->via.array.size == count &&
                object->via.array.ptr[index].type == MSGPACK_OBJECT_ARRAY;
    return good ? &object->via.array.ptr[index] : NULL;
}

static const char *get_text(struct arena *arena, const msgpack_object *object)
{
    if (object->type != MSGPACK_OBJECT_STR) {
        return NULL;
    }
    return arena_printf(arena, "%.*s", (int)object->via.str.size,
                        object->via.str.ptr ? object->via.str.ptr : "");
}

size_t settings_pack_paths(const msgpack_object *packed)
{
    const msgpack_object *paths = part_of(packed, 3, 2);
    return paths ? paths->via.array.size : 0;
}

const char *settings_pack_path(struct arena *arena, const msgpack_object *packed, size_t index)
{
    const msgpack_object *paths = part_of(packed, 3, 2);
    const char *path = paths && index < paths->via.array.size
                           ? get_text(arena, &paths->via.array.ptr[index])
                           : NULL;
    return path ? path : "";
}

static bool get_list(struct arena *arena, const msgpack_object *object, struct field *field)
{
    if (object->type != MSGPACK_OBJECT_ARRAY) {
        return false;
    }
    const char **list = arena_alloc(arena, (object->via.array.size + 1) * sizeof *list);
    for (uint32_t i = 0; i < object->via.array.size; i++) {
        list[i] = get_text(arena, &object->via.array.ptr[i]);
        if (!list[i]) {
            return false;
        }
    }
    field->list = list;
    field->list_count = object->via.array.size;
    return true;
}

static bool get_field(struct arena *arena, const struct whorl_setting *setting,
                      const msgpack_object *object, struct field *field)
{
    field->line = object->type != MSGPACK_OBJECT_NIL;
    if (field->line == 0) {
        return true;
    }
    switch (setting->type) {
    case WHORL_SETTING_INTEGER:
        field->integer = object->via.i64;
        return object->type == MSGPACK_OBJECT_POSITIVE_INTEGER ||
               object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER;
    case WHORL_SETTING_REAL:
        field->real = object->via.f64;
        return object->type == MSGPACK_OBJECT_FLOAT64;
    case WHORL_SETTING_BOOLEAN:
        field->boolean = object->via.boolean;
        return object->type == MSGPACK_OBJECT_BOOLEAN;
    case WHORL_SETTING_LIST:
        return get_list(arena, object, field);
    default:
        field->string = get_text(arena, object);
        return field->string != NULL;
    }
}

static const struct field *get_fields(struct arena *arena, struct schema schema,
                                      const msgpack_object *object)
{
    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size != schema.count) {
        return NULL;
    }
    struct field *fields = arena_alloc(arena, (schema.count + 1) * sizeof *fields);
    for (size_t i = 0; i < schema.count; i++) {
        if (!get_field(arena, schema_at(schema, i), &object->via.array.ptr[i], &fields[i])) {
            return NULL;
        }
    }
    return fields;
}

static bool get_forces(struct arena *arena, struct settings *settings, const msgpack_object *list)
{
    struct settings_force *forces = arena_alloc(arena, (list->via.array.size + 1) * sizeof *forces);
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        const msgpack_object *force = &list->via.array.ptr[i];
        const msgpack_object *values = part_of(force, 2, 1);
        forces[i].code = values ? get_text(arena, &force->via.array.ptr[0]) : NULL;
        forces[i].fields = values ? get_fields(arena, settings->schema, values) : NULL;
        if (!forces[i].code || !forces[i].fields) {
            return false;
        }
    }
    settings->forces = forces;
    settings->force_count = list->via.array.size;
    return true;
}

const struct whorl_settings *settings_unpack(struct arena *arena,
                                             const struct whorl_plugin *descriptor,
                                             const msgpack_object *packed)
{
    struct settings *settings = arena_alloc(arena, sizeof *settings);
    const msgpack_object *general = part_of(packed, 3, 0), *forces = part_of(packed, 3, 1);
    settings->schema =
        (struct schema){descriptor->settings, descriptor->setting_count, descriptor->setting_size};
    settings->fields = general ? get_fields(arena, settings->schema, general) : NULL;
    if (!settings->fields || !forces || !get_forces(arena, settings, forces)) {
        return NULL;
    }
    return settings_wrap(arena, settings);
}
