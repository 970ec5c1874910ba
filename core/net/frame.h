/* msgpack-RPC messages out of bytes, and bytes for the answers. Knows no sockets and no loop. */
#ifndef CORE_FRAME_H
#define CORE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/msg.h"
#include "whorl/secret.h"

#define FRAME_METHOD_MAX 100u /* bytes */
#define FRAME_ID_MAX 9u       /* bytes of a packed integer */

enum frame_type { FRAME_REQUEST = 0, FRAME_RESPONSE = 1, FRAME_NOTIFICATION = 2 };

/* One message taken apart; the pointers are into its bytes. */
struct frame {
    enum frame_type type;
    const uint8_t *id; /* packed as it came, to be sent back the same; NULL in a notification */
    size_t id_len;
    const char *method; /* not NUL-terminated, clean text; NULL in a response */
    size_t method_len;
    const uint8_t *params; /* a packed array; NULL in a response */
    size_t params_len;
};

/* Takes apart a message that whorl_msg_walk has found WHOLE. false with *fault when it is no
 * msgpack-RPC message. Pure function. */
bool frame_read(const uint8_t *bytes, size_t len, struct frame *frame, struct whorl_fault *fault);

/* Cuts a stream of bytes into messages. Only a message that arrives in several pieces is kept (in
 * locked memory); others are read where they lie. All zero is a valid reader. */
struct frame_reader {
    struct whorl_secret rest; /* the beginning of a message, never more than one */
    struct whorl_msg_walker walker;
};

enum frame_end {
    FRAME_FED,      /* all bytes are taken */
    FRAME_STOPPED,  /* take said so */
    FRAME_BAD,      /* *fault says why; nothing after it can be trusted */
    FRAME_NO_MEMORY /* for a message in pieces */
};

/* Feeds bytes; calls take for each whole message, whose bytes live until it returns, and which may
 * return false to hear no more. max: largest message, in bytes. */
enum frame_end frame_feed(struct frame_reader *reader, const uint8_t *bytes, size_t len, size_t max,
                          bool (*take)(void *ctx, const struct frame *frame), void *ctx,
                          struct whorl_fault *fault);

/* Whether the beginning of a message waits for its end. */
bool frame_reader_waits(const struct frame_reader *reader);
/* Gives back memory that no message needs at present. */
void frame_reader_trim(struct frame_reader *reader);
void frame_reader_release(struct frame_reader *reader);

/* Writing: the head of [1, id, nil, …], of [1, id, …] and of [2, method, [ … ]] into `to`, which
 * has room for it; returns its length, which is 3 + id_len for the first. The caller appends the
 * rest. id_len <= FRAME_ID_MAX, method_len <= FRAME_METHOD_MAX. */
#define FRAME_REPLY_HEAD (3u + FRAME_ID_MAX)
#define FRAME_NOTIFICATION_HEAD (5u + FRAME_METHOD_MAX)
size_t frame_result_head(uint8_t *to, const uint8_t *id, size_t id_len);
size_t frame_error_head(uint8_t *to, const uint8_t *id, size_t id_len);
size_t frame_notification_head(uint8_t to[FRAME_NOTIFICATION_HEAD], const char *method,
                               size_t method_len);

#endif
