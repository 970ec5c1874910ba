/* The walker, the parser and the reader of fields, on any bytes.
 *
 * Beyond not crashing: a walk in steps ends as a walk at once does, what is WHOLE parses, and what
 * wants MORE asks for more than there is. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "whorl/msg.h"

#define MAX (1u << 20)

static void read_all_fields(const msgpack_object *object, unsigned depth)
{
    struct whorl_field fields[] = {
        {"officer", WHORL_FIELD_STR, true, 1, 32, NULL},
        {"born", WHORL_FIELD_STR, false, 10, 10, NULL},
        {"position", WHORL_FIELD_INT, false, 0, 255, NULL},
        {"score", WHORL_FIELD_REAL, false, -1e3, 1e3, NULL},
        {"data", WHORL_FIELD_BIN, false, 1, 1e6, NULL},
        {"ok", WHORL_FIELD_BOOL, false, 0, 0, NULL},
        {"subject", WHORL_FIELD_MAP, false, 0, 100, NULL},
        {"samples", WHORL_FIELD_ARRAY, false, 0, 20, NULL},
    };
    struct whorl_fault fault = {0};
    size_t count = sizeof fields / sizeof fields[0];
    char text[33];
    if (!whorl_fields_read(object, "a[1]", fields, count, &fault)) {
        FUZZ_CHECK(fault.text[0] != '\0');
        FUZZ_CHECK(whorl_text_is_clean(fault.where, strlen(fault.where)));
    } else {
        FUZZ_CHECK(whorl_str_copy(fields[0].value, text, sizeof text));
    }
    whorl_fields_read_lenient(object, "", fields, count, &fault);
    if (object->type == MSGPACK_OBJECT_ARRAY && depth < WHORL_MSG_MAX_DEPTH) {
        for (uint32_t i = 0; i < object->via.array.size; i++) {
            read_all_fields(&object->via.array.ptr[i], depth + 1);
        }
    }
}

static void walk_in_steps(const uint8_t *bytes, size_t len, enum whorl_msg_walk expected,
                          size_t expected_used)
{
    struct whorl_msg_walker walker = {0};
    enum whorl_msg_walk got = WHORL_MSG_MORE;
    size_t used = 0;
    for (size_t step = 0; got == WHORL_MSG_MORE && step <= len; step++) {
        got = whorl_msg_walk_on(&walker, bytes, step, MAX, &used, NULL);
    }
    FUZZ_CHECK(got == expected);
    FUZZ_CHECK(got == WHORL_MSG_BAD || used == expected_used);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct whorl_fault fault = {0};
    struct whorl_msg msg;
    size_t used = 0;
    enum whorl_msg_walk got = whorl_msg_walk(bytes, len, MAX, &used, &fault);
    if (len < 4096) {
        walk_in_steps(bytes, len, got, used);
    }
    if (got == WHORL_MSG_MORE) {
        FUZZ_CHECK(used > len);
    }
    if (got != WHORL_MSG_WHOLE) {
        FUZZ_CHECK(got == WHORL_MSG_MORE || fault.text[0] != '\0');
        FUZZ_CHECK(!whorl_msg_parse(bytes, len, &msg, &fault));
        return 0;
    }
    FUZZ_CHECK(used <= len);
    FUZZ_CHECK(whorl_msg_parse(bytes, used, &msg, &fault));
    read_all_fields(&msg.root, 0);
    whorl_msg_release(&msg);
    return 0;
}
