#include "packed.h"

#include <check.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void pack(msgpack_packer *pk, const json_t *value, bool bin)
{
    const char *key;
    json_t *inner;
    size_t i;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        msgpack_pack_map(pk, json_object_size(value));
        json_object_foreach((json_t *)value, key, inner)
        {
            msgpack_pack_str_with_body(pk, key, strlen(key));
            pack(pk, inner, strcmp(key, "data") == 0);
        }
        break;
    case JSON_ARRAY:
        msgpack_pack_array(pk, json_array_size(value));
        json_array_foreach(value, i, inner)
        {
            pack(pk, inner, false);
        }
        break;
    case JSON_STRING:
        if (bin) {
            msgpack_pack_bin_with_body(pk, json_string_value(value), json_string_length(value));
        } else {
            msgpack_pack_str_with_body(pk, json_string_value(value), json_string_length(value));
        }
        break;
    case JSON_INTEGER:
        msgpack_pack_int64(pk, json_integer_value(value));
        break;
    case JSON_REAL:
        msgpack_pack_double(pk, json_real_value(value));
        break;
    case JSON_TRUE:
        msgpack_pack_true(pk);
        break;
    case JSON_FALSE:
        msgpack_pack_false(pk);
        break;
    case JSON_NULL:
        msgpack_pack_nil(pk);
        break;
    }
}

void packed_make(struct packed *packed, const char *format, ...)
{
    char text[16384];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ck_assert(n > 0 && (size_t)n < sizeof text);
    for (char *at = text; *at != '\0'; at++) {
        *at = *at == '\'' ? '"' : *at;
    }
    json_error_t error;
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    ck_assert_msg(value != NULL, "%s: %s", error.text, text);
    msgpack_sbuffer_init(&packed->bytes);
    msgpack_packer pk;
    msgpack_packer_init(&pk, &packed->bytes, msgpack_sbuffer_write);
    pack(&pk, value, false);
    json_decref(value);
    struct whorl_fault fault = {0};
    ck_assert_msg(whorl_msg_parse((const uint8_t *)packed->bytes.data, packed->bytes.size,
                                  &packed->msg, &fault),
                  "%s", fault.text);
}

void packed_free(struct packed *packed)
{
    whorl_msg_release(&packed->msg);
    msgpack_sbuffer_destroy(&packed->bytes);
}
