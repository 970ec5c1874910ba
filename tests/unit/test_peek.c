/* What is found in packed messages without a tree is what the tree says. */
#include <check.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "core/packed/peek.h"
#include "whorl/msg.h"

static uint32_t seed;

static uint32_t any(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static void put_text(msgpack_packer *pk)
{
    static const uint32_t lengths[] = {0, 1, 5, 31, 32, 255, 256, 70000};
    static char text[70000];
    uint32_t len = lengths[any(100) == 0 ? any(8) : any(7)];
    memset(text, 'a' + (int)any(3), len);
    msgpack_pack_str_with_body(pk, text, len);
}

static void put_any(msgpack_packer *pk, unsigned depth)
{
    static const uint32_t counts[] = {0, 1, 3, 15, 16, 20};
    uint32_t count = counts[any(6)];
    switch (any(depth < 3 ? 9 : 6)) {
    case 0:
        msgpack_pack_int64(pk, (int64_t)((uint64_t)any(1u << 24) << any(40)) - (1 << 20));
        break;
    case 1:
        msgpack_pack_double(pk, 0.5);
        break;
    case 2:
        msgpack_pack_nil(pk);
        break;
    case 3:
        msgpack_pack_bin_with_body(pk, "0123456789abcdef", any(17));
        break;
    case 4:
    case 5:
        put_text(pk);
        break;
    case 6:
        msgpack_pack_array(pk, count);
        for (uint32_t i = 0; i < count; i++) {
            put_any(pk, depth + 1);
        }
        break;
    default:
        msgpack_pack_map(pk, count);
        for (uint32_t i = 0; i < count; i++) {
            if (any(4) == 0) {
                put_any(pk, depth + 1);
            } else {
                put_text(pk);
            }
            put_any(pk, depth + 1);
        }
        break;
    }
}

static const uint8_t *compare(const uint8_t *at, const uint8_t *end, const msgpack_object *object);

static void compare_kind(const struct peek *peek, const msgpack_object *object)
{
    ck_assert_int_eq(peek->kind, object->type == MSGPACK_OBJECT_STR     ? PEEK_STR
                                 : object->type == MSGPACK_OBJECT_ARRAY ? PEEK_ARRAY
                                 : object->type == MSGPACK_OBJECT_MAP   ? PEEK_MAP
                                                                        : PEEK_OTHER);
    if (peek->kind == PEEK_STR) {
        ck_assert_uint_eq(peek->count, object->via.str.size);
        ck_assert(peek->count == 0 || memcmp(peek->body, object->via.str.ptr, peek->count) == 0);
    }
}

static const uint8_t *compare_map(const struct peek *map, const msgpack_object *object)
{
    const uint8_t *at = map->body;
    for (uint32_t i = 0; i < map->count; i++) {
        const msgpack_object_kv *pair = &object->via.map.ptr[i];
        if (pair->key.type == MSGPACK_OBJECT_STR) {
            uint32_t len = pair->key.via.str.size; /* 0: there is no text */
            char *name = strndup(len > 0 ? pair->key.via.str.ptr : "", len);
            const char *keys[] = {"neither", name};
            struct peek values[2];
            peek_find(map, keys, 2, values);
            ck_assert_int_eq(values[0].kind, PEEK_NONE);
            compare_kind(&values[1], whorl_map_get(object, name));
            free(name);
        }
        at = compare(at, map->end, &pair->key);
        at = compare(at, map->end, &pair->val);
    }
    return at;
}

/* Returns what follows. */
static const uint8_t *compare(const uint8_t *at, const uint8_t *end, const msgpack_object *object)
{
    struct peek peek = peek_read(at, end);
    const uint8_t *next = peek_skip(at, end);
    compare_kind(&peek, object);
    ck_assert_ptr_nonnull(next);
    if (peek.kind == PEEK_STR) {
        ck_assert_ptr_eq(peek.body + peek.count, next);
    } else if (peek.kind == PEEK_ARRAY) {
        at = peek.body;
        ck_assert_uint_eq(peek.count, object->via.array.size);
        for (uint32_t i = 0; i < peek.count; i++) {
            at = compare(at, end, &object->via.array.ptr[i]);
        }
        ck_assert_ptr_eq(at, next);
    } else if (peek.kind == PEEK_MAP) {
        ck_assert_uint_eq(peek.count, object->via.map.size);
        ck_assert_ptr_eq(compare_map(&peek, object), next);
    }
    return next;
}

START_TEST(what_is_seen_is_what_the_tree_says)
{
    for (seed = 1; seed < 200;) {
        uint32_t round = seed;
        msgpack_sbuffer packed;
        msgpack_packer pk;
        struct whorl_msg msg;
        msgpack_sbuffer_init(&packed);
        msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
        put_any(&pk, 0);
        const uint8_t *bytes = (const uint8_t *)packed.data, *end = bytes + packed.size;
        if (whorl_msg_parse(bytes, packed.size, &msg, NULL)) {
            ck_assert_ptr_eq(compare(bytes, end, &msg.root), end);
            whorl_msg_release(&msg);
        }
        msgpack_sbuffer_destroy(&packed);
        seed = round + 1;
    }
}
END_TEST

START_TEST(what_is_cut_short_is_never_read_past_its_end)
{
    for (seed = 1; seed < 200;) {
        uint32_t round = seed;
        msgpack_sbuffer packed;
        msgpack_packer pk;
        msgpack_sbuffer_init(&packed);
        msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
        msgpack_pack_map(&pk, 2);
        msgpack_pack_str_with_body(&pk, "first", 5);
        put_any(&pk, 2);
        msgpack_pack_str_with_body(&pk, "last", 4);
        msgpack_pack_true(&pk);
        size_t step = packed.size / 64 + 1;
        for (size_t len = 0; len < packed.size; len += step) {
            uint8_t *bytes = malloc(len); /* whose end a sanitizer guards */
            static const char *const last[] = {"last"};
            struct peek value;
            memcpy(bytes, packed.data, len);
            struct peek map = peek_read(bytes, bytes + len);
            peek_find(&map, last, 1, &value);
            ck_assert_int_eq(value.kind, PEEK_NONE);
            ck_assert_ptr_null(peek_skip(bytes, bytes + len));
            free(bytes);
        }
        msgpack_sbuffer_destroy(&packed);
        seed = round + 1;
    }
}
END_TEST

START_TEST(a_key_is_found_in_maps_alone_and_whole)
{
    static const uint8_t map[] = {0x82, 0xa2, 'a', 'b', 0x01, 0xa1, 'a', 0xa1, 'x'};
    static const char *const keys[] = {"b", "ab", "a"};
    struct peek values[3];
    struct peek whole = peek_read(map, map + sizeof map);
    peek_find(&whole, keys, 3, values);
    ck_assert_int_eq(values[0].kind, PEEK_NONE);
    ck_assert_int_eq(values[1].kind, PEEK_OTHER);
    ck_assert(peek_is(&values[2], "x"));
    ck_assert(!peek_is(&values[2], "xx"));
    ck_assert(!peek_is(&values[2], ""));
    ck_assert(!peek_is(&values[1], ""));
    struct peek text = peek_read(map + 1, map + sizeof map);
    peek_find(&text, keys, 3, values);
    ck_assert_int_eq(values[2].kind, PEEK_NONE);
    ck_assert_int_eq(peek_read(map, map).kind, PEEK_NONE);
    static const uint8_t never[] = {0xc1};
    ck_assert_int_eq(peek_read(never, never + 1).kind, PEEK_NONE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("peek");
    TCase *cases = tcase_create("peek");
    tcase_add_test(cases, what_is_seen_is_what_the_tree_says);
    tcase_add_test(cases, what_is_cut_short_is_never_read_past_its_end);
    tcase_add_test(cases, a_key_is_found_in_maps_alone_and_whole);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
