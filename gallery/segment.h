/* The segment: chunks of a whole gallery in one file beside its store, mapped into memory, so that
 * a server has its index at once instead of making it again.
 *
 *     header   magic, version, chunks, length, checksum                               64 bytes
 *     chunks   one behind the other (gallery/chunk.h), by number of their block
 *
 * The store is the record of truth. A chunk counts only while its block's version is the one that
 * the store names: a segment that is old, or of an older state of the store, costs time, never an
 * answer. It is written under another name, made durable, and then takes the place of the one
 * before, which stays what it was for who has it mapped. */
#ifndef GALLERY_SEGMENT_H
#define GALLERY_SEGMENT_H

#include <stdatomic.h>
#include <sys/types.h>

#include "chunk.h"
#include "whorl/plugin.h"

#define SEGMENT_NAME "segment"
#define SEGMENT_HEADER 64u

/* A segment that is mapped for reading. */
struct segment {
    atomic_uint refs;
    const uint8_t *bytes;
    size_t len, at; /* at: of the chunk to be verified next */
    uint32_t count; /* chunks */
    size_t *offset; /* of each chunk that was verified */
    uint32_t verified;
    ino_t inode; /* tells it from the next one */
    dev_t device;
};

/* Maps DIR/segment. NULL with *missing true: there is none; NULL with *fault: it cannot be read or
 * is damaged. */
struct segment *segment_open(const char *dir, bool *missing, struct whorl_fault *fault);

/* Verifies up to `chunks` more chunks. false with *fault, which names the chunk that is damaged.
 * All are verified when segment->verified == segment->count. */
bool segment_verify(struct segment *segment, uint32_t chunks, struct whorl_fault *fault);

struct segment *segment_ref(struct segment *segment);
void segment_unref(struct segment *segment); /* NULL is allowed */

/* Whether DIR/segment is another one by now. */
bool segment_replaced(const struct segment *segment, const char *dir);

/* Writing: begin, add chunks in order of number, end. NULL or false with *fault; every path calls
 * segment_end or segment_abandon exactly once. */
struct segment_writer;
struct segment_writer *segment_begin(const char *dir, struct whorl_fault *fault);
bool segment_add(struct segment_writer *writer, const uint8_t *chunk, uint32_t size,
                 struct whorl_fault *fault);
bool segment_end(struct segment_writer *writer, struct whorl_fault *fault);
void segment_abandon(struct segment_writer *writer);

#endif
