#include "core/module/describe.h"

#include <float.h>
#include <string.h>

#include "core/module/judge.h"
#include "core/packed/packed.h"
#include "whorl/msg.h"

enum {
    MINOR,
    VERSION,
    TITLE,
    ROLE,
    FLAGS,
    MODALITIES,
    FORMATS,
    KEYS,
    ENTITLEMENT,
    SETTINGS,
    CHECK,
    COUNT
};
enum { TEXT_MAX = 100, WORDS_MAX = 64, SETTINGS_MAX = 256 };

static void put_words(msgpack_packer *pk, const char *key, const char *const *words)
{
    size_t count = 0;
    whorl_put_key(pk, key);
    if (!words) {
        msgpack_pack_nil(pk);
        return;
    }
    while (words[count]) {
        count++;
    }
    msgpack_pack_array(pk, count);
    for (size_t i = 0; i < count; i++) {
        msgpack_pack_str_with_body(pk, words[i], strlen(words[i]));
    }
}

static void put_setting(msgpack_packer *pk, const struct whorl_setting *setting)
{
    msgpack_pack_map(pk, 7);
    whorl_put_str(pk, "name", setting->name);
    whorl_put_int(pk, "type", setting->type);
    whorl_put_int(pk, "flags", setting->flags);
    whorl_put_str(pk, "fallback", setting->fallback);
    whorl_put_real(pk, "min", setting->min);
    whorl_put_real(pk, "max", setting->max);
    whorl_put_str(pk, "about", setting->about);
}

void module_describe(const struct whorl_plugin *plugin, msgpack_sbuffer *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, packed_write);
    msgpack_pack_map(&pk, COUNT);
    whorl_put_int(&pk, "abi_minor", plugin->abi_minor);
    whorl_put_str(&pk, "version", plugin->version);
    whorl_put_str(&pk, "title", plugin->title);
    whorl_put_int(&pk, "role", plugin->role);
    whorl_put_int(&pk, "flags", plugin->flags);
    put_words(&pk, "modalities", plugin->modalities);
    put_words(&pk, "formats", plugin->formats);
    put_words(&pk, "keys", plugin->keys);
    whorl_put_str(&pk, "entitlement", plugin->entitlement);
    whorl_put_key(&pk, "settings");
    msgpack_pack_array(&pk, plugin->setting_count);
    for (size_t i = 0; i < plugin->setting_count; i++) {
        put_setting(&pk, module_setting(plugin, i));
    }
    whorl_put_bool(&pk, "check", plugin->check != NULL);
}

struct reader {
    void *(*alloc)(void *ctx, size_t size);
    void *ctx;
    struct whorl_fault *fault;
};

/* A str with a NUL behind it; NULL for an absent one. */
static const char *text_of(const struct reader *reader, const msgpack_object *object)
{
    if (!object) {
        return NULL;
    }
    char *text = reader->alloc(reader->ctx, object->via.str.size + 1);
    return memcpy(text, object->via.str.ptr ? object->via.str.ptr : "", object->via.str.size);
}

static double real_of(const msgpack_object *object)
{
    switch (object->type) {
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return (double)object->via.u64;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return (double)object->via.i64;
    default:
        return object->via.f64;
    }
}

static bool read_words(const struct reader *reader, const struct whorl_field *field,
                       const char *const **words)
{
    *words = NULL;
    if (!field->value) {
        return true;
    }
    const msgpack_object_array *array = &field->value->via.array;
    const char **list = reader->alloc(reader->ctx, (array->size + 1) * sizeof *list);
    for (uint32_t i = 0; i < array->size; i++) {
        if (array->ptr[i].type != MSGPACK_OBJECT_STR || array->ptr[i].via.str.size > TEXT_MAX) {
            return whorl_fail(reader->fault, field->name, "must hold words");
        }
        list[i] = text_of(reader, &array->ptr[i]);
    }
    *words = list;
    return true;
}

static bool read_setting(const struct reader *reader, const msgpack_object *object,
                         struct whorl_setting *setting)
{
    struct whorl_field fields[] = {
        {"name", WHORL_FIELD_STR, true, 1, TEXT_MAX, NULL},
        {"type", WHORL_FIELD_INT, true, 0, UINT32_MAX, NULL},
        {"flags", WHORL_FIELD_INT, true, 0, UINT32_MAX, NULL},
        {"fallback", WHORL_FIELD_STR, false, 0, MODULE_LINE_MAX, NULL},
        {"min", WHORL_FIELD_REAL, true, -DBL_MAX, DBL_MAX, NULL},
        {"max", WHORL_FIELD_REAL, true, -DBL_MAX, DBL_MAX, NULL},
        {"about", WHORL_FIELD_STR, false, 0, MODULE_LINE_MAX, NULL},
    };
    if (!whorl_fields_read(object, "settings", fields, sizeof fields / sizeof fields[0],
                           reader->fault)) {
        return false;
    }
    *setting = (struct whorl_setting){
        .name = text_of(reader, fields[0].value),
        .type = (uint32_t)fields[1].value->via.u64,
        .flags = (uint32_t)fields[2].value->via.u64,
        .fallback = text_of(reader, fields[3].value),
        .min = real_of(fields[4].value),
        .max = real_of(fields[5].value),
        .about = text_of(reader, fields[6].value),
    };
    return true;
}

static bool read_settings(const struct reader *reader, const msgpack_object_array *array,
                          struct whorl_plugin *plugin)
{
    struct whorl_setting *settings =
        reader->alloc(reader->ctx, (array->size + 1) * sizeof *settings);
    for (uint32_t i = 0; i < array->size; i++) {
        if (!read_setting(reader, &array->ptr[i], &settings[i])) {
            return false;
        }
    }
    plugin->settings = settings;
    plugin->setting_count = array->size;
    return true;
}

static struct whorl_plugin *read_descriptor(const struct reader *reader,
                                            const msgpack_object *object,
                                            const struct whorl_plugin *functions)
{
    struct whorl_field fields[COUNT] = {
        [MINOR] = {"abi_minor", WHORL_FIELD_INT, true, 0, UINT16_MAX, NULL},
        [VERSION] = {"version", WHORL_FIELD_STR, true, 1, TEXT_MAX, NULL},
        [TITLE] = {"title", WHORL_FIELD_STR, true, 1, TEXT_MAX, NULL},
        [ROLE] = {"role", WHORL_FIELD_INT, true, 0, UINT32_MAX, NULL},
        [FLAGS] = {"flags", WHORL_FIELD_INT, true, 0, UINT32_MAX, NULL},
        [MODALITIES] = {"modalities", WHORL_FIELD_ARRAY, false, 0, WORDS_MAX, NULL},
        [FORMATS] = {"formats", WHORL_FIELD_ARRAY, false, 0, WORDS_MAX, NULL},
        [KEYS] = {"keys", WHORL_FIELD_ARRAY, false, 0, WORDS_MAX, NULL},
        [ENTITLEMENT] = {"entitlement", WHORL_FIELD_STR, false, 1, TEXT_MAX, NULL},
        [SETTINGS] = {"settings", WHORL_FIELD_ARRAY, true, 0, SETTINGS_MAX, NULL},
        [CHECK] = {"check", WHORL_FIELD_BOOL, true, 0, 0, NULL},
    };
    if (!whorl_fields_read(object, "", fields, COUNT, reader->fault)) {
        return NULL;
    }
    struct whorl_plugin *plugin = reader->alloc(reader->ctx, sizeof *plugin);
    *plugin = *functions;
    plugin->magic = WHORL_PLUGIN_MAGIC;
    plugin->abi_major = WHORL_ABI_MAJOR;
    plugin->abi_minor = (uint16_t)fields[MINOR].value->via.u64;
    plugin->size = sizeof *plugin;
    plugin->setting_size = sizeof(struct whorl_setting);
    plugin->version = text_of(reader, fields[VERSION].value);
    plugin->title = text_of(reader, fields[TITLE].value);
    plugin->role = (uint32_t)fields[ROLE].value->via.u64;
    plugin->flags = (uint32_t)fields[FLAGS].value->via.u64;
    plugin->entitlement = text_of(reader, fields[ENTITLEMENT].value);
    if (!fields[CHECK].value->via.boolean) {
        plugin->check = NULL;
    }
    bool good = read_words(reader, &fields[MODALITIES], &plugin->modalities) &&
                read_words(reader, &fields[FORMATS], &plugin->formats) &&
                read_words(reader, &fields[KEYS], &plugin->keys) &&
                read_settings(reader, &fields[SETTINGS].value->via.array, plugin);
    return good ? plugin : NULL;
}

const struct whorl_plugin *module_undescribe(const uint8_t *bytes, size_t len, const char *path,
                                             const struct whorl_plugin *functions,
                                             void *(*alloc)(void *ctx, size_t size), void *ctx,
                                             struct whorl_fault *fault)
{
    struct reader reader = {alloc, ctx, fault};
    struct whorl_msg message;
    if (len > DESCRIBE_MAX || !whorl_msg_parse(bytes, len, &message, fault)) {
        whorl_fail(fault, "module", "%s: what its process says of it is no descriptor", path);
        return NULL;
    }
    struct whorl_plugin *plugin = read_descriptor(&reader, &message.root, functions);
    whorl_msg_release(&message);
    return plugin && module_judge(path, plugin, fault) ? plugin : NULL;
}
