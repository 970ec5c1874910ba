/* Messages for tests, written as JSON with single quotes for double ones. Under the key "data" a
 * text becomes a bin. */
#ifndef TESTS_PACKED_H
#define TESTS_PACKED_H

#include "whorl/msg.h"

struct packed {
    msgpack_sbuffer bytes;
    struct whorl_msg msg; /* parsed again, from exactly these bytes */
};

/* Fails the test if the text is no JSON. */
void packed_make(struct packed *packed, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void packed_free(struct packed *packed);

#endif
