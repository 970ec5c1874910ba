/* Little-endian integers in stored bytes, wherever they lie. */
#ifndef GALLERY_BYTES_H
#define GALLERY_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t get16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return le16toh(v);
}

static inline uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

static inline uint64_t get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static inline void put16(uint8_t *p, uint16_t v)
{
    v = htole16(v);
    memcpy(p, &v, sizeof v);
}

static inline void put32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof v);
}

static inline void put64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof v);
}

/* Has memory fetched that will be read soon. Always inlined, as must be what only fetches: a
 * function without any effect but this is taken for one that can be left out. */
#define BYTES_FETCHING static inline __attribute__((always_inline))
BYTES_FETCHING void fetch_bytes(const void *from, size_t len)
{
    for (size_t at = 0; at < len; at += 64) {
        __builtin_prefetch((const char *)from + at);
    }
}

#endif
