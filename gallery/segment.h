/* The segment: chunks of a whole gallery in one file beside its store, mapped into memory, so that
 * a server has its index at once instead of making it again.
 *
 *     header   magic, version, chunks, length, checksum                               64 bytes
 *     chunks   one behind the other (gallery/chunk.h), by number of their block
 *
 * The store is the record of truth. A chunk counts only while its block's version is the one that
 * the store names: a segment that is old, or of an older state of the store, costs time, never an
 * answer. It is written under another name, made durable, and then takes the place of the one
 * before, which gets a third name, is overwritten when nobody has it mapped any more, and deleted:
 * whoever has a segment mapped holds a shared lock on it (flock). */
#ifndef GALLERY_SEGMENT_H
#define GALLERY_SEGMENT_H

#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>

#include "chunk.h"
#include "whorl/plugin.h"

#define SEGMENT_NAME "segment"
#define SEGMENT_HEADER 64u

/* A segment that is mapped for reading. */
struct segment {
    atomic_uint refs;
    void *map;
    const uint8_t *bytes; /* the same */
    size_t len, at;       /* at: of the chunk to be verified next */
    uint32_t count;       /* chunks */
    size_t *offset;       /* of each chunk that was verified */
    uint32_t verified;
    int fd; /* holds the lock */
};

/* Why there is no segment to be had. */
enum segment_lack {
    SEGMENT_MISSING,
    SEGMENT_BARRED, /* the system or another process did not let us, which may pass */
    SEGMENT_DAMAGED
};

/* Maps DIR/segment. NULL with *lack, and with *fault unless it is missing. */
struct segment *segment_open(const char *dir, enum segment_lack *lack, struct whorl_fault *fault);

/* Verifies up to `chunks` more chunks. false with *fault, which names the chunk that is damaged.
 * All are verified when segment->verified == segment->count. */
bool segment_verify(struct segment *segment, uint32_t chunks, struct whorl_fault *fault);

struct segment *segment_ref(struct segment *segment);
void segment_unref(struct segment *segment); /* NULL is allowed */

/* Which file is DIR/segment now; all zero: there is none. */
struct segment_identity {
    dev_t device;
    ino_t inode;
    struct timespec changed;
};
struct segment_identity segment_identify(const char *dir);
bool segment_same(const struct segment_identity *a, const struct segment_identity *b);

/* Writing: begin, add chunks in order of number, end. NULL or false with *fault; every path calls
 * segment_end or segment_abandon exactly once. */
struct segment_writer;
struct segment_writer *segment_begin(const char *dir, struct whorl_fault *fault);
bool segment_add(struct segment_writer *writer, const uint8_t *chunk, struct whorl_fault *fault);
bool segment_end(struct segment_writer *writer, struct whorl_fault *fault);
void segment_abandon(struct segment_writer *writer);

/* Overwrites the segment before the newest and deletes it. true also when there is none; false
 * with *fault when somebody has had it mapped for `patience_ms`. For who is writing a segment. */
bool segment_dispose(const char *dir, unsigned patience_ms, struct whorl_fault *fault);
/* The same for who is not: false with *fault also while somebody else puts a new segment in the
 * place of this one, who disposes of it or leaves it for the next. */
bool segment_dispose_beside(const char *dir, unsigned patience_ms, struct whorl_fault *fault);

/* Overwrites all chunks of DIR/segment that are not `current`, durably, and disposes of what other
 * segments there are. No search uses such chunks any more: they are of versions of blocks that the
 * store no longer has. A segment with a chunk that cannot be opened is overwritten as a whole and
 * deleted; false with *fault if somebody has it mapped. Adds the bytes that were not zero to
 * *bytes. */
bool segment_erase(const char *dir, bool (*current)(void *ctx, const struct chunk *chunk),
                   void *ctx, uint64_t *bytes, struct whorl_fault *fault);

#endif
