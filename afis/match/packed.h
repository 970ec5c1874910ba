/* The packed form of a template, and its checksum: what finger.c and kernel.c share. */
#ifndef AFIS_MATCH_PACKED_H
#define AFIS_MATCH_PACKED_H

#include <endian.h>
#include <string.h>

#include "internal.h"

/* Layout of the packed form, version 1, little-endian:
 *    0 magic "WT"  2 version  3 coordinate shift  4 width  6 height  8 position  9 quality
 *   10 reasons  11 count  12 checksum of all other bytes
 *   16 count descriptors of 8 bytes, then count minutiae of 6 bytes:
 *      x 14 bits, y 14 bits, angle 10 bits, type 2 bits, quality 7 bits, 1 bit 0 */
enum {
    PACKED_VERSION = 1,
    PACKED_HEADER = 16,
    PACKED_DESCRIPTOR = 8,
    PACKED_MINUTIA = 6,
    PACKED_COORD_BITS = 14,
    PACKED_COORD_LIMIT = 1 << PACKED_COORD_BITS,
    PACKED_ANGLE_SHIFT = 6 /* of 16 bits of angle, 10 are kept */
};

_Static_assert(PACKED_HEADER + FINGER_MINUTIAE * (PACKED_DESCRIPTOR + PACKED_MINUTIA) <=
                   AFIS_PACKED_MAX,
               "a full finger fits the packed form");
_Static_assert(PACKED_HEADER + 40 * (PACKED_DESCRIPTOR + PACKED_MINUTIA) <= 600,
               "40 minutiae take no more than 600 bytes");

static inline uint64_t load_bytes(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++) {
        v |= (uint64_t)p[i] << (8 * i);
    }
    return v;
}

/* load_bytes(p, 8), in one instruction where integers lie like this in memory. */
static inline uint64_t load_eight(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

/* The checksum of everything but its own place, a word at a time. Catches what a disk or a bug
 * does, not an attacker: an attacker's template is as good as any other. */
static inline uint64_t checksum_begin(const uint8_t *bytes)
{
    return (load_bytes(bytes, 8) ^ load_bytes(bytes + 8, 4)) * 0x9e3779b97f4a7c15u;
}

static inline uint64_t checksum_add(uint64_t h, uint64_t word)
{
    return ((h ^ (h >> 29)) + word) * 0xbf58476d1ce4e5b9u;
}

/* at: what has yet to be added; fewer than eight bytes end it. */
static inline uint32_t checksum_end(uint64_t h, const uint8_t *bytes, size_t at, size_t len)
{
    for (; len - at >= 8; at += 8) {
        h = checksum_add(h, load_eight(bytes + at));
    }
    h = checksum_add(h, load_bytes(bytes + at, (unsigned)(len - at)));
    return (uint32_t)((h ^ (h >> 32)) & UINT32_MAX);
}

#endif
