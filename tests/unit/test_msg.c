/* The walker believes no count, the parser gives what msgpack-c would, the fields name themselves.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run_suite.h"
#include "whorl/msg.h"

#define LARGE (8u << 20)

/* --- Random messages ------------------------------------------------------------------------ */

static uint64_t state;

static uint32_t roll(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

struct bytes {
    uint8_t at[65536];
    size_t len;
};

static void put(struct bytes *to, uint8_t first, size_t width, uint64_t number)
{
    to->at[to->len++] = first;
    while (width-- > 0) {
        to->at[to->len++] = (uint8_t)(number >> 8 * width);
    }
}

static void put_random(struct bytes *to, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        to->at[to->len++] = (uint8_t)roll(256);
    }
}

/* A str, bin or ext; lengths are also written wider than they need be. */
static void put_blob(struct bytes *to)
{
    static const uint8_t firsts[3][3] = {
        {0xd9, 0xda, 0xdb}, {0xc4, 0xc5, 0xc6}, {0xc7, 0xc8, 0xc9}};
    static const size_t widths[3] = {1, 2, 4};
    uint32_t kind = roll(3), width = roll(3), len = roll(roll(4) == 0 ? 256 : 8);
    if (kind == 0 && roll(2) == 0) {
        len %= 32;
        put(to, (uint8_t)(0xa0 | len), 0, 0);
    } else {
        put(to, firsts[kind][width], widths[width], len);
    }
    if (kind == 2) {
        put_random(to, 1);
    }
    put_random(to, len);
}

static void put_scalar(struct bytes *to)
{
    static const uint8_t one[] = {0xc0, 0xc2, 0xc3};
    static const uint8_t wide[] = {0xca, 4, 0xcb, 8, 0xcc, 1, 0xcd, 2, 0xce, 4,
                                   0xcf, 8, 0xd0, 1, 0xd1, 2, 0xd2, 4, 0xd3, 8,
                                   0xd4, 2, 0xd5, 3, 0xd6, 5, 0xd7, 9, 0xd8, 17};
    uint32_t pick = roll(4);
    if (pick == 0) {
        put(to, one[roll(3)], 0, 0);
    } else if (pick == 1) {
        put(to, (uint8_t)(roll(2) == 0 ? roll(128) : 224 + roll(32)), 0, 0);
    } else {
        uint32_t i = roll(sizeof wide / 2);
        put(to, wide[2 * i], 0, 0);
        put_random(to, wide[2 * i + 1]);
    }
}

static void put_object(struct bytes *to, unsigned depth);

static void put_container(struct bytes *to, unsigned depth)
{
    bool map = roll(2) == 0;
    uint32_t n = roll(6), width = roll(3);
    if (width == 0) {
        put(to, (uint8_t)((map ? 0x80 : 0x90) | n), 0, 0);
    } else {
        put(to, (uint8_t)((map ? 0xde : 0xdc) + width - 1), width == 1 ? 2 : 4, n);
    }
    for (uint32_t i = 0; i < n * (map ? 2 : 1); i++) {
        put_object(to, depth + 1);
    }
}

static void put_object(struct bytes *to, unsigned depth)
{
    uint32_t pick = roll(3);
    if (pick == 0 && depth < WHORL_MSG_MAX_DEPTH && to->len < 8192) {
        put_container(to, depth);
    } else if (pick == 1 && to->len < 8192) {
        put_blob(to);
    } else {
        put_scalar(to);
    }
}

static struct bytes random_message(void)
{
    static struct bytes message;
    message.len = 0;
    if (roll(2) == 0) {
        put_container(&message, 0);
    } else {
        put_object(&message, 0);
    }
    return message;
}

/* --- The walk ------------------------------------------------------------------------------- */

/* Whether every str, bin and ext of the tree lies within the bytes. */
static bool points_into(const msgpack_object *object, const uint8_t *bytes, size_t len)
{
    const char *from = (const char *)bytes, *ptr = from;
    bool inside = true;
    switch (object->type) {
    case MSGPACK_OBJECT_STR:
        ptr = object->via.str.size == 0 ? from : object->via.str.ptr;
        break;
    case MSGPACK_OBJECT_BIN:
        ptr = object->via.bin.ptr;
        break;
    case MSGPACK_OBJECT_EXT:
        ptr = object->via.ext.ptr;
        break;
    case MSGPACK_OBJECT_ARRAY:
        for (uint32_t i = 0; i < object->via.array.size; i++) {
            inside = inside && points_into(&object->via.array.ptr[i], bytes, len);
        }
        break;
    case MSGPACK_OBJECT_MAP:
        for (uint32_t i = 0; i < object->via.map.size; i++) {
            inside = inside && points_into(&object->via.map.ptr[i].key, bytes, len) &&
                     points_into(&object->via.map.ptr[i].val, bytes, len);
        }
        break;
    default:
        break;
    }
    return inside && ptr >= from && ptr <= from + len;
}

/* msgpack_object_equal, but a NaN equals itself: bytes are compared. */
static bool same_tree(msgpack_object a, msgpack_object b)
{
    msgpack_sbuffer one, other;
    msgpack_packer pk;
    msgpack_sbuffer_init(&one);
    msgpack_sbuffer_init(&other);
    msgpack_packer_init(&pk, &one, msgpack_sbuffer_write);
    msgpack_pack_object(&pk, a);
    msgpack_packer_init(&pk, &other, msgpack_sbuffer_write);
    msgpack_pack_object(&pk, b);
    bool same = one.size == other.size && memcmp(one.data, other.data, one.size) == 0;
    msgpack_sbuffer_destroy(&one);
    msgpack_sbuffer_destroy(&other);
    return same;
}

static void check_prefixes(const struct bytes *message)
{
    struct whorl_msg_walker walker = {0};
    size_t used = 0, hint = 0;
    for (size_t len = 0; len < message->len; len++) {
        /* A fresh copy of the exact length, so that a sanitizer sees a byte read too many. */
        uint8_t *copy = malloc(len + 1);
        memcpy(copy, message->at, len);
        ck_assert_int_eq(whorl_msg_walk(copy, len, LARGE, &used, NULL), WHORL_MSG_MORE);
        ck_assert_uint_gt(used, len);
        ck_assert_uint_le(used, message->len);
        ck_assert_uint_ge(used, hint);
        hint = used;
        ck_assert_int_eq(whorl_msg_walk_on(&walker, copy, len, LARGE, &used, NULL), WHORL_MSG_MORE);
        ck_assert_uint_eq(used, hint);
        free(copy);
    }
    ck_assert_int_eq(whorl_msg_walk_on(&walker, message->at, message->len, LARGE, &used, NULL),
                     WHORL_MSG_WHOLE);
    ck_assert_uint_eq(used, message->len);
}

START_TEST(every_valid_message_is_whole_at_its_length_and_wants_more_before)
{
    state = 0x9e3779b97f4a7c15u + (uint64_t)_i;
    for (int round = 0; round < 40; round++) {
        struct bytes message = random_message();
        struct whorl_fault fault = {0};
        size_t used = 0;
        ck_assert_msg(whorl_msg_walk(message.at, message.len, LARGE, &used, &fault) ==
                          WHORL_MSG_WHOLE,
                      "%s", fault.text);
        ck_assert_uint_eq(used, message.len);
        put_random(&message, 3); /* what follows does not matter */
        ck_assert_int_eq(whorl_msg_walk(message.at, message.len, LARGE, &used, NULL),
                         WHORL_MSG_WHOLE);
        message.len -= 3;
        ck_assert_uint_eq(used, message.len);
        ck_assert_int_eq(whorl_msg_walk(message.at, message.len, message.len - 1, &used, NULL),
                         WHORL_MSG_BAD);
        if (message.len < 600) {
            check_prefixes(&message);
        }
    }
}
END_TEST

START_TEST(a_parsed_message_is_what_msgpack_c_reads_and_copies_nothing)
{
    state = 0xd1b54a32d192ed03u + (uint64_t)_i;
    for (int round = 0; round < 100; round++) {
        struct bytes message = random_message();
        struct whorl_msg msg;
        struct whorl_fault fault = {0};
        ck_assert_msg(whorl_msg_parse(message.at, message.len, &msg, &fault), "%s", fault.text);
        ck_assert(points_into(&msg.root, message.at, message.len));
        msgpack_unpacked theirs;
        msgpack_unpacked_init(&theirs);
        size_t off = 0;
        ck_assert_int_eq(msgpack_unpack_next(&theirs, (const char *)message.at, message.len, &off),
                         MSGPACK_UNPACK_SUCCESS);
        ck_assert_uint_eq(off, message.len);
        ck_assert(same_tree(msg.root, theirs.data));
        msgpack_unpacked_destroy(&theirs);
        whorl_msg_release(&msg);
    }
}
END_TEST

START_TEST(mutated_messages_never_crash_and_what_is_whole_parses)
{
    state = 0x2545f4914f6cdd1du + (uint64_t)_i;
    unsigned whole = 0, bad = 0;
    for (int round = 0; round < 400; round++) {
        struct bytes message = random_message();
        for (uint32_t i = roll(8) + 1; i > 0; i--) {
            message.at[roll((uint32_t)message.len)] = (uint8_t)roll(256);
        }
        uint8_t *copy = malloc(message.len);
        memcpy(copy, message.at, message.len);
        size_t used = 0;
        struct whorl_fault fault = {0};
        struct whorl_msg msg;
        switch (whorl_msg_walk(copy, message.len, LARGE, &used, &fault)) {
        case WHORL_MSG_WHOLE:
            whole++;
            ck_assert_uint_le(used, message.len);
            ck_assert(whorl_msg_parse(copy, used, &msg, &fault));
            ck_assert(points_into(&msg.root, copy, used));
            whorl_msg_release(&msg);
            break;
        case WHORL_MSG_MORE:
            ck_assert_uint_gt(used, message.len);
            break;
        case WHORL_MSG_BAD:
            bad++;
            ck_assert_uint_gt(strlen(fault.text), 0);
            break;
        }
        if (used != message.len) {
            ck_assert(!whorl_msg_parse(copy, message.len, &msg, &fault));
            ck_assert_ptr_null(msg.zone);
        }
        free(copy);
    }
    ck_assert_uint_gt(whole, 0);
    ck_assert_uint_gt(bad, 0);
}
END_TEST

static enum whorl_msg_walk walk(const char *bytes, size_t len, size_t max, size_t *used,
                                struct whorl_fault *fault)
{
    return whorl_msg_walk((const uint8_t *)bytes, len, max, used, fault);
}

START_TEST(counts_that_cannot_be_met_are_bad_at_once)
{
    static const struct {
        const char *bytes;
        size_t len;
    } hostile[] = {
        {"\xdd\x07\xff\xff\xff", 5},
        {"\xdf\x7f\xff\xff\xff", 5},
        {"\xdd\xff\xff\xff\xff", 5},
        {"\xdf\xff\xff\xff\xff", 5},
        {"\xdb\xff\xff\xff\xff", 5},
        {"\xc6\xff\xff\xff\xff", 5},
        {"\xc9\xff\xff\xff\xff", 5},
        {"\x92\x01\xdd\x00\x80\x00\x00", 7},
        {"\xdc\xff\xff\xdc\xff\xff", 6},
        {"\xde\x80\x00", 3},
        {"\x91\xc1", 2},
        {"\xc1", 1},
        {"\xc6\x00\x80\x00\x00", 5},
    };
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        size_t used = 0;
        struct whorl_fault fault = {0};
        ck_assert_msg(walk(hostile[i].bytes, hostile[i].len, LARGE, &used, &fault) == WHORL_MSG_BAD,
                      "case %zu", i);
        ck_assert_ptr_nonnull(strstr(fault.text, "byte "));
        ck_assert_int_eq(walk(hostile[i].bytes, hostile[i].len, LARGE, &used, NULL), WHORL_MSG_BAD);
    }
}
END_TEST

START_TEST(the_hint_counts_what_is_announced)
{
    size_t used = 0;
    ck_assert_int_eq(walk("", 0, LARGE, &used, NULL), WHORL_MSG_MORE);
    ck_assert_uint_eq(used, 1);
    ck_assert_int_eq(walk("\x93", 1, LARGE, &used, NULL), WHORL_MSG_MORE);
    ck_assert_uint_eq(used, 4);
    ck_assert_int_eq(walk("\xc5\x10", 2, LARGE, &used, NULL), WHORL_MSG_MORE);
    ck_assert_uint_eq(used, 3);
    ck_assert_int_eq(walk("\x92\xc5\x10\x00", 4, LARGE, &used, NULL), WHORL_MSG_MORE);
    ck_assert_uint_eq(used, 1 + 3 + 4096 + 1);
    ck_assert_int_eq(walk("\x82\xde\x00\x03", 4, LARGE, &used, NULL), WHORL_MSG_MORE);
    ck_assert_uint_eq(used, 4 + 6 + 3);
}
END_TEST

START_TEST(depth_is_bounded)
{
    uint8_t nest[WHORL_MSG_MAX_DEPTH + 2];
    size_t used = 0;
    struct whorl_fault fault;
    struct whorl_msg msg;
    memset(nest, 0x91, sizeof nest);
    nest[WHORL_MSG_MAX_DEPTH] = 0xc0;
    ck_assert_int_eq(whorl_msg_walk(nest, WHORL_MSG_MAX_DEPTH + 1, LARGE, &used, &fault),
                     WHORL_MSG_WHOLE);
    ck_assert(whorl_msg_parse(nest, WHORL_MSG_MAX_DEPTH + 1, &msg, &fault));
    whorl_msg_release(&msg);
    nest[WHORL_MSG_MAX_DEPTH] = 0x90;
    ck_assert_int_eq(whorl_msg_walk(nest, WHORL_MSG_MAX_DEPTH + 1, LARGE, &used, &fault),
                     WHORL_MSG_BAD);
    ck_assert_ptr_nonnull(strstr(fault.text, "deeper than 32"));
    /* Depth is not breadth: what is closed counts no longer. */
    uint8_t wide[200];
    memset(wide, 0x90, sizeof wide);
    memcpy(wide, "\xdc\x00\xc5", 3);
    ck_assert_int_eq(whorl_msg_walk(wide, sizeof wide, LARGE, &used, &fault), WHORL_MSG_WHOLE);
    ck_assert_uint_eq(used, sizeof wide);
}
END_TEST

START_TEST(objects_are_bounded)
{
    size_t len = 3 + 65535;
    uint8_t *many = malloc(len);
    size_t used = 0;
    struct whorl_fault fault;
    memset(many, 0xc0, len);
    memcpy(many, "\xdc\xff\xff", 3);
    ck_assert_int_eq(whorl_msg_walk(many, len, LARGE, &used, &fault), WHORL_MSG_WHOLE);
    many[3] = 0x91; /* one more */
    ck_assert_int_eq(whorl_msg_walk(many, len, LARGE, &used, &fault), WHORL_MSG_BAD);
    ck_assert_ptr_nonnull(strstr(fault.text, "more than 65536 objects"));
    free(many);
}
END_TEST

START_TEST(a_message_of_the_largest_size_passes_and_one_byte_more_does_not)
{
    size_t used = 0;
    ck_assert_int_eq(walk("\xc5\x00\x05wxyz!", 8, 8, &used, NULL), WHORL_MSG_WHOLE);
    ck_assert_int_eq(walk("\xc5\x00\x05wxyz!", 8, 7, &used, NULL), WHORL_MSG_BAD);
    ck_assert_int_eq(walk("\xc5\x00\x05", 3, 7, &used, NULL), WHORL_MSG_BAD);
    ck_assert_int_eq(walk("", 0, 0, &used, NULL), WHORL_MSG_BAD);
}
END_TEST

START_TEST(bytes_left_over_are_an_error)
{
    struct whorl_msg msg;
    struct whorl_fault fault;
    ck_assert(!whorl_msg_parse((const uint8_t *)"\xc0\xc0", 2, &msg, &fault));
    ck_assert_str_eq(fault.text, "byte 1: bytes are left over after the message");
    ck_assert(!whorl_msg_parse((const uint8_t *)"", 0, &msg, &fault));
    ck_assert(!whorl_msg_parse((const uint8_t *)"\x92\xc0", 2, &msg, &fault));
}
END_TEST

/* --- Fields --------------------------------------------------------------------------------- */

static msgpack_sbuffer packed;
static struct whorl_msg parsed;

static void pack_pair(const char *key, void (*value)(msgpack_packer *pk))
{
    msgpack_packer pk;
    msgpack_sbuffer_clear(&packed);
    msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 1);
    whorl_put_key(&pk, key);
    value(&pk);
    whorl_msg_release(&parsed);
    ck_assert(whorl_msg_parse((const uint8_t *)packed.data, packed.size, &parsed, NULL));
}

static void setup(void)
{
    msgpack_sbuffer_init(&packed);
}

static void teardown(void)
{
    whorl_msg_release(&parsed);
    msgpack_sbuffer_destroy(&packed);
}

static void a_str(msgpack_packer *pk)
{
    msgpack_pack_str_with_body(pk, "hello", 5);
}
static void a_bin(msgpack_packer *pk)
{
    msgpack_pack_bin_with_body(pk, "hello", 5);
}
static void a_seven(msgpack_packer *pk)
{
    msgpack_pack_int(pk, 7);
}
static void a_minus(msgpack_packer *pk)
{
    msgpack_pack_int(pk, -7);
}
static void a_huge(msgpack_packer *pk)
{
    msgpack_pack_uint64(pk, UINT64_MAX);
}
static void a_half(msgpack_packer *pk)
{
    msgpack_pack_double(pk, 0.5);
}
static void a_nan(msgpack_packer *pk)
{
    msgpack_pack_double(pk, NAN);
}
static void a_true(msgpack_packer *pk)
{
    msgpack_pack_true(pk);
}
static void a_map(msgpack_packer *pk)
{
    msgpack_pack_map(pk, 1);
    msgpack_pack_int(pk, 1);
    msgpack_pack_int(pk, 1);
}
static void an_array(msgpack_packer *pk)
{
    msgpack_pack_array(pk, 1);
    msgpack_pack_int(pk, 1);
}
static void a_nil(msgpack_packer *pk)
{
    msgpack_pack_nil(pk);
}

/* A value of each kind against a field of each type: which of them pass. */
START_TEST(a_field_takes_its_own_type_alone)
{
    static void (*const values[])(msgpack_packer *) = {a_str,  a_bin, a_seven,  a_half,
                                                       a_true, a_map, an_array, a_nan};
    static const char *const passing[] = {
        [WHORL_FIELD_STR] = "10000000",  [WHORL_FIELD_BIN] = "11000000",
        [WHORL_FIELD_INT] = "00100000",  [WHORL_FIELD_REAL] = "00110000",
        [WHORL_FIELD_BOOL] = "00001000", [WHORL_FIELD_MAP] = "00000100",
        [WHORL_FIELD_ARRAY] = "00000010"};
    for (int type = WHORL_FIELD_STR; type <= WHORL_FIELD_ARRAY; type++) {
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            struct whorl_field field = {"x", (enum whorl_field_type)type, true, 0, 100, NULL};
            struct whorl_fault fault = {0};
            pack_pair("x", values[v]);
            bool passes = whorl_fields_read(&parsed.root, "", &field, 1, &fault);
            ck_assert_msg(passes == (passing[type][v] == '1'), "type %d value %zu", type, v);
            if (!passes) {
                ck_assert_str_eq(fault.where, "x");
                ck_assert_ptr_nonnull(strstr(fault.text, "must be"));
            }
        }
    }
}
END_TEST

START_TEST(bounds_are_inclusive_and_named)
{
    static const struct {
        void (*value)(msgpack_packer *);
        enum whorl_field_type type;
        double min, max;
        bool passes;
    } cases[] = {
        {a_str, WHORL_FIELD_STR, 5, 5, true},       {a_str, WHORL_FIELD_STR, 6, 9, false},
        {a_str, WHORL_FIELD_STR, 1, 4, false},      {a_bin, WHORL_FIELD_BIN, 0, 5, true},
        {a_bin, WHORL_FIELD_BIN, 0, 4, false},      {a_seven, WHORL_FIELD_INT, 7, 7, true},
        {a_seven, WHORL_FIELD_INT, 8, 9, false},    {a_minus, WHORL_FIELD_INT, -7, 0, true},
        {a_minus, WHORL_FIELD_INT, 0, 9, false},    {a_huge, WHORL_FIELD_INT, 0, 1e18, false},
        {a_half, WHORL_FIELD_REAL, 0, 1, true},     {a_half, WHORL_FIELD_REAL, 1, 2, false},
        {a_map, WHORL_FIELD_MAP, 1, 1, true},       {a_map, WHORL_FIELD_MAP, 0, 0, false},
        {an_array, WHORL_FIELD_ARRAY, 2, 3, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct whorl_field field = {"x", cases[i].type, true, cases[i].min, cases[i].max, NULL};
        struct whorl_fault fault = {0};
        pack_pair("x", cases[i].value);
        ck_assert_msg(whorl_fields_read(&parsed.root, "a[1]", &field, 1, &fault) == cases[i].passes,
                      "case %zu: %s", i, fault.text);
        ck_assert_str_eq(fault.where, cases[i].passes ? "" : "a[1].x");
    }
}
END_TEST

START_TEST(unknown_repeated_missing_and_nil_fields)
{
    struct whorl_field fields[] = {{"need", WHORL_FIELD_INT, true, 0, 9, NULL},
                                   {"may", WHORL_FIELD_INT, false, 0, 9, NULL}};
    struct whorl_fault fault = {0};
    pack_pair("need", a_nil);
    ck_assert(!whorl_fields_read(&parsed.root, "", fields, 2, &fault));
    ck_assert_str_eq(fault.where, "need");
    ck_assert_str_eq(fault.text, "is missing");
    pack_pair("need", a_seven);
    ck_assert(whorl_fields_read(&parsed.root, "", fields, 2, &fault));
    ck_assert_int_eq(fields[0].value->via.i64, 7);
    ck_assert_ptr_null(fields[1].value);
    pack_pair("n\x01\xc3\xa9 d", a_seven);
    ck_assert(!whorl_fields_read(&parsed.root, "p", fields, 2, &fault));
    ck_assert_str_eq(fault.where, "p.n??? d");
    ck_assert(!whorl_fields_read_lenient(&parsed.root, "p", fields, 2, &fault));
    ck_assert_str_eq(fault.where, "p.need");
    whorl_msg_release(&parsed);
    ck_assert(whorl_msg_parse((const uint8_t *)"\x82\xa3may\xc0\xa3may\x01", 11, &parsed, NULL));
    ck_assert(!whorl_fields_read(&parsed.root, "", fields, 2, &fault));
    ck_assert_str_eq(fault.text, "is there twice");
    pack_pair("m", a_map);
    const msgpack_object *inner = whorl_map_get(&parsed.root, "m");
    ck_assert(!whorl_fields_read(inner, "m", fields, 2, &fault));
    ck_assert_str_eq(fault.where, "m");
    ck_assert(whorl_fields_read_lenient(inner, "m", fields + 1, 1, &fault));
    ck_assert(!whorl_fields_read(NULL, "m", fields, 2, &fault));
    struct whorl_field many[WHORL_FIELDS_MAX + 1];
    for (size_t i = 0; i <= WHORL_FIELDS_MAX; i++) {
        many[i] = fields[1];
    }
    ck_assert(!whorl_fields_read(inner, "m", many, WHORL_FIELDS_MAX + 1, &fault));
}
END_TEST

START_TEST(a_name_too_long_for_the_fault_is_cut)
{
    char key[500];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    struct whorl_fault fault = {0};
    pack_pair(key, a_seven);
    ck_assert(!whorl_fields_read(&parsed.root, "path", NULL, 0, &fault));
    ck_assert_uint_eq(strlen(fault.where), sizeof fault.where - 1);
    ck_assert(!whorl_fields_read(&parsed.root, key, NULL, 0, &fault));
    ck_assert_uint_eq(strlen(fault.where), sizeof fault.where - 1);
}
END_TEST

START_TEST(text_is_utf8_without_control_characters)
{
    static const struct {
        const char *text;
        bool clean;
    } cases[] = {
        {"", true},
        {"Åsa Ñandú 王", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xed\x9f\xbf\xee\x80\x80", true},
        {"\xc2\xa0", true},
        {"\xe0\xa0\x80", true},
        {"\xf0\x90\x80\x80", true},
        {"a\tb", false},
        {"a\nb", false},
        {"\x7f", false},
        {"\xc2\x80", false}, /* C1 control */
        {"\xc2\x9f", false},
        {"\xc0\x80", false}, /* overlong */
        {"\xc1\xbf", false},
        {"\xe0\x9f\xbf", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xed\xa0\x80", false},     /* surrogate */
        {"\xf4\x90\x80\x80", false}, /* past U+10FFFF */
        {"\xf5\x80\x80\x80", false},
        {"\x80", false},
        {"\xc3", false},
        {"\xe2\x82", false},
        {"\xe2\x28\xa1", false},
        {"\xe2\x82\x28", false},
        {"\xff", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_msg(whorl_text_is_clean(cases[i].text, strlen(cases[i].text)) == cases[i].clean,
                      "case %zu", i);
    }
    ck_assert(!whorl_text_is_clean("a\0b", 3));
}
END_TEST

START_TEST(strings_are_compared_and_copied_whole)
{
    char text[6];
    pack_pair("x", a_str);
    const msgpack_object *x = whorl_map_get(&parsed.root, "x");
    ck_assert(whorl_str_is(x, "hello"));
    ck_assert(!whorl_str_is(x, "hell"));
    ck_assert(!whorl_str_is(x, "hello!"));
    ck_assert(!whorl_str_is(NULL, "hello"));
    ck_assert(!whorl_str_is(&parsed.root, ""));
    const msgpack_object empty = {.type = MSGPACK_OBJECT_STR, .via.str = {0, NULL}};
    ck_assert(whorl_str_is(&empty, ""));
    ck_assert(!whorl_str_is(&empty, "x"));
    ck_assert(whorl_str_copy(&empty, text, 1));
    ck_assert(whorl_str_copy(x, text, 6));
    ck_assert_str_eq(text, "hello");
    ck_assert(!whorl_str_copy(x, text, 5));
    ck_assert_str_eq(text, "");
    ck_assert(!whorl_str_copy(x, text, 0));
    ck_assert(!whorl_str_copy(NULL, text, 6));
    ck_assert_ptr_null(whorl_map_get(&parsed.root, "y"));
    ck_assert_ptr_null(whorl_map_get(x, "y"));
    ck_assert_ptr_null(whorl_map_get(NULL, "y"));
}
END_TEST

START_TEST(a_fault_cut_short_stays_utf8)
{
    struct whorl_fault fault;
    char long_text[400];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(long_text, 'a', shift);
        for (size_t i = shift; i + 3 < sizeof long_text; i += 3) {
            memcpy(long_text + i, "\xe7\x8e\x8b", 4);
        }
        ck_assert(!whorl_fail(&fault, long_text, "%s", long_text));
        ck_assert(whorl_text_is_clean(fault.text, strlen(fault.text)));
        ck_assert(whorl_text_is_clean(fault.where, strlen(fault.where)));
        ck_assert_uint_ge(strlen(fault.text), sizeof fault.text - 4);
    }
    ck_assert(!whorl_fail(NULL, "x", "y"));
    ck_assert(!whorl_fail(&fault, "x", "%s", "é"));
    ck_assert_str_eq(fault.text, "é");
}
END_TEST

START_TEST(a_fault_that_is_no_text_stays_in_its_bounds)
{
    struct whorl_fault fault;
    whorl_fail(&fault, "", "%s", "\x80");
    ck_assert_str_eq(fault.text, "\x80"); /* nothing to cut it off from */
    whorl_fail(&fault, "", "%s", "ab\xf0\x9f\x98");
    ck_assert_str_eq(fault.text, "ab");
    whorl_fail(&fault, "", "%s", "ab\xf0\x9f\x98\x80");
    ck_assert_str_eq(fault.text, "ab\xf0\x9f\x98\x80");
    whorl_fail(&fault, "", "%s", "\x80\x80\x80\x80\x80");
    ck_assert_str_eq(fault.text, "\x80\x80\x80\x80\x80");
    ck_assert(!whorl_fail(NULL, "", "to nobody"));
}
END_TEST

/* Whoever builds without having walked is told, too. */
START_TEST(bytes_that_are_not_one_message_are_not_built)
{
    static const uint8_t two[] = {0xc0, 0xc0}, none[] = {0xc1}, half[] = {0x92, 0xc0};
    struct whorl_fault fault;
    msgpack_object root;
    msgpack_zone *zone = msgpack_zone_new(2048);
    ck_assert(!whorl_msg_build(two, sizeof two, zone, &root, &fault));
    ck_assert_str_eq(fault.text, "the message of 2 bytes can't be parsed");
    ck_assert(!whorl_msg_build(none, sizeof none, zone, &root, &fault));
    ck_assert(!whorl_msg_build(half, sizeof half, zone, &root, &fault));
    msgpack_zone_free(zone);
}
END_TEST

START_TEST(a_table_that_asks_for_no_known_type_is_told_so)
{
    static const uint8_t map[] = {0x81, 0xa1, 'a', 0xc0 + 3};
    struct whorl_field fields[] = {{.name = "a", .type = (enum whorl_field_type)99}};
    struct whorl_fault fault;
    struct whorl_msg msg;
    ck_assert(whorl_msg_parse(map, sizeof map, &msg, &fault));
    ck_assert(!whorl_fields_read(&msg.root, "", fields, 1, &fault));
    ck_assert_str_eq(fault.text, "has no known type");
    whorl_msg_release(&msg);
}
END_TEST

/* Of maps that others write, only what is known is looked at; names are told without what a
 * terminal would act upon. */
START_TEST(a_field_whose_name_is_no_string_is_passed_over_or_refused)
{
    static const uint8_t map[] = {0x82, 0x05, 0xc0, 0xa2, 0x1b, 0xff, 0xc0};
    struct whorl_field fields[] = {{.name = "a", .type = WHORL_FIELD_BOOL}};
    struct whorl_fault fault;
    struct whorl_msg msg;
    ck_assert(whorl_msg_parse(map, sizeof map, &msg, &fault));
    ck_assert(whorl_fields_read_lenient(&msg.root, "", fields, 1, &fault));
    ck_assert(!whorl_fields_read(&msg.root, "", fields, 1, &fault));
    ck_assert_str_eq(fault.text, "has a field whose name is no string");
    whorl_msg_release(&msg);
    static const uint8_t odd[] = {0x81, 0xa3, 0x1b, 0xff, 0x7f, 0xc0};
    ck_assert(whorl_msg_parse(odd, sizeof odd, &msg, &fault));
    ck_assert(!whorl_fields_read(&msg.root, "", fields, 1, &fault));
    ck_assert_str_eq(fault.where, "???");
    whorl_msg_release(&msg);
}
END_TEST

START_TEST(numbers_come_in_either_precision_and_truths_are_no_numbers)
{
    static const uint8_t single[] = {0x81, 0xa1, 'a', 0xca, 0x3f, 0x00, 0, 0};
    static const uint8_t no[] = {0x81, 0xa1, 'a', 0xc2}, one[] = {0x81, 0xa1, 'a', 0x01};
    struct whorl_field real[] = {{.name = "a", .type = WHORL_FIELD_REAL, .min = 0, .max = 1}};
    struct whorl_field truth[] = {{.name = "a", .type = WHORL_FIELD_BOOL}};
    struct whorl_fault fault;
    struct whorl_msg msg;
    ck_assert(whorl_msg_parse(single, sizeof single, &msg, &fault));
    ck_assert_msg(whorl_fields_read(&msg.root, "", real, 1, &fault), "%s", fault.text);
    ck_assert_double_eq(real[0].value->via.f64, 0.5);
    ck_assert(!whorl_fields_read(&msg.root, "", truth, 1, &fault));
    whorl_msg_release(&msg);
    ck_assert(whorl_msg_parse(no, sizeof no, &msg, &fault));
    ck_assert(whorl_fields_read(&msg.root, "", truth, 1, &fault));
    ck_assert(!truth[0].value->via.boolean);
    ck_assert(!whorl_fields_read(&msg.root, "", real, 1, &fault));
    whorl_msg_release(&msg);
    ck_assert(whorl_msg_parse(one, sizeof one, &msg, &fault));
    ck_assert(!whorl_fields_read(&msg.root, "", truth, 1, &fault));
    whorl_msg_release(&msg);
}
END_TEST

START_TEST(writers_write_what_readers_read)
{
    msgpack_packer pk;
    struct whorl_field fields[] = {
        {"s", WHORL_FIELD_STR, true, 0, 9, NULL},  {"i", WHORL_FIELD_INT, true, -9, 9, NULL},
        {"r", WHORL_FIELD_REAL, true, 0, 9, NULL}, {"b", WHORL_FIELD_BOOL, true, 0, 0, NULL},
        {"d", WHORL_FIELD_BIN, true, 0, 9, NULL},  {"n", WHORL_FIELD_STR, false, 0, 9, NULL},
        {"o", WHORL_FIELD_BIN, true, 0, 9, NULL},
    };
    msgpack_object copy = {.type = MSGPACK_OBJECT_BIN, .via.bin = {2, "xy"}};
    msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 8);
    whorl_put_str(&pk, "s", "str");
    whorl_put_int(&pk, "i", -3);
    whorl_put_real(&pk, "r", 2.5);
    whorl_put_bool(&pk, "b", true);
    whorl_put_bin(&pk, "d", "\0\1", 2);
    whorl_put_str(&pk, "n", NULL);
    whorl_put_object(&pk, "o", &copy);
    whorl_put_bool(&pk, "later", false);
    ck_assert(whorl_msg_parse((const uint8_t *)packed.data, packed.size, &parsed, NULL));
    ck_assert(whorl_fields_read_lenient(&parsed.root, "", fields, 7, NULL));
    ck_assert(whorl_str_is(fields[0].value, "str"));
    ck_assert_int_eq(fields[1].value->via.i64, -3);
    ck_assert(fields[2].value->via.f64 == 2.5);
    ck_assert(fields[3].value->via.boolean);
    ck_assert_mem_eq(fields[4].value->via.bin.ptr, "\0\1", 2);
    ck_assert_ptr_null(fields[5].value);
    ck_assert_mem_eq(fields[6].value->via.bin.ptr, "xy", 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("msg");
    TCase *walking = tcase_create("walk");
    tcase_set_timeout(walking, 60);
    tcase_add_loop_test(walking, every_valid_message_is_whole_at_its_length_and_wants_more_before,
                        0, 20);
    tcase_add_loop_test(walking, a_parsed_message_is_what_msgpack_c_reads_and_copies_nothing, 0,
                        20);
    tcase_add_loop_test(walking, mutated_messages_never_crash_and_what_is_whole_parses, 0, 20);
    tcase_add_test(walking, counts_that_cannot_be_met_are_bad_at_once);
    tcase_add_test(walking, the_hint_counts_what_is_announced);
    tcase_add_test(walking, depth_is_bounded);
    tcase_add_test(walking, objects_are_bounded);
    tcase_add_test(walking, a_message_of_the_largest_size_passes_and_one_byte_more_does_not);
    tcase_add_test(walking, bytes_left_over_are_an_error);
    suite_add_tcase(suite, walking);
    TCase *fields = tcase_create("fields");
    tcase_add_checked_fixture(fields, setup, teardown);
    tcase_add_test(fields, a_field_takes_its_own_type_alone);
    tcase_add_test(fields, bounds_are_inclusive_and_named);
    tcase_add_test(fields, unknown_repeated_missing_and_nil_fields);
    tcase_add_test(fields, a_name_too_long_for_the_fault_is_cut);
    tcase_add_test(fields, text_is_utf8_without_control_characters);
    tcase_add_test(fields, strings_are_compared_and_copied_whole);
    tcase_add_test(fields, a_fault_cut_short_stays_utf8);
    tcase_add_test(fields, a_fault_that_is_no_text_stays_in_its_bounds);
    tcase_add_test(fields, bytes_that_are_not_one_message_are_not_built);
    tcase_add_test(fields, a_table_that_asks_for_no_known_type_is_told_so);
    tcase_add_test(fields, a_field_whose_name_is_no_string_is_passed_over_or_refused);
    tcase_add_test(fields, numbers_come_in_either_precision_and_truths_are_no_numbers);
    tcase_add_test(fields, writers_write_what_readers_read);
    suite_add_tcase(suite, fields);
    return run_suite(suite);
}
