/* The checksum of blocks, chunks and records: CRC-32 as in ISO 3309 (the one of zip, PNG, zlib). */
#ifndef GALLERY_CHECKSUM_H
#define GALLERY_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Of what follows bytes whose checksum is `before`; 0: of nothing. The value is that of zlib's
 * crc32, several times as fast where the processor multiplies without carry. Any thread. */
uint32_t checksum_after(uint32_t before, const void *bytes, size_t len);

#endif
