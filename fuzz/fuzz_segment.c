/* The search index's file: the first byte says whether one chunk or a whole segment follows. Magic
 * numbers and checksums are put right, so that what lies behind them is reached. */
#include <fcntl.h>
#include <libdeflate.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "fuzz.h"
#include "segment.h"

#define INPUT_MAX ((size_t)1 << 18)
#define CHUNK_MAGIC 0x43474857u
#define SEGMENT_MAGIC 0x53474857u

/* Makes a chunk's header agree with what cannot be guessed. */
static void mend(uint8_t *bytes, size_t room)
{
    if (room < CHUNK_HEADER) {
        return;
    }
    uint32_t size = chunk_size(get32(bytes + 16) & 0xff, get32(bytes + 20) & 0xff);
    put32(bytes, CHUNK_MAGIC);
    put32(bytes + 16, get32(bytes + 16) & 0xff);
    put32(bytes + 20, get32(bytes + 20) & 0xff);
    put32(bytes + 24, size);
    put16(bytes + 36, AFIS_SIEVE_VERSION);
    if (size <= room) {
        uint32_t sum = libdeflate_crc32(0, bytes, 32);
        put32(bytes + 32, libdeflate_crc32(sum, bytes + 36, size - 36));
    }
}

static void walk(const uint8_t *bytes, size_t room)
{
    struct chunk chunk;
    const char *why;
    uint64_t sum = 0;
    if (!chunk_open(bytes, room, true, &chunk, &why)) {
        FUZZ_CHECK(why != NULL);
        return;
    }
    FUZZ_CHECK(why == NULL && chunk.size <= room);
    FUZZ_CHECK((const uint8_t *)(chunk.words + (size_t)chunk.prints * AFIS_SIEVE_WORDS) <=
               bytes + room);
    for (uint32_t i = 0; i < chunk.prints; i++) {
        FUZZ_CHECK(chunk.stamp == CHUNK_VOID || chunk_print_person(&chunk, i) < chunk.people);
        sum += chunk_print_place(&chunk, i) + chunk.words[i * AFIS_SIEVE_WORDS];
    }
    for (uint32_t i = 0; i < chunk.people; i++) {
        sum += (uint64_t)chunk_expires(&chunk, i) + chunk_entry(&chunk, i);
    }
    FUZZ_CHECK(sum != 1 || chunk.size > 0); /* so that all of it is read */
}

static void open_file(const char *dir, uint8_t *bytes, size_t len)
{
    char path[64];
    struct whorl_fault fault = {{0}, {0}};
    enum segment_lack lack;
    (void)snprintf(path, sizeof path, "%s/%s", dir, SEGMENT_NAME);
    if (len >= SEGMENT_HEADER) {
        put32(bytes, SEGMENT_MAGIC);
        put32(bytes + 4, 1);
        put64(bytes + 8, len);
        put32(bytes + 60, libdeflate_crc32(0, bytes, 60));
        for (size_t at = SEGMENT_HEADER; len - at >= CHUNK_HEADER;) {
            mend(bytes + at, len - at);
            uint32_t size = get32(bytes + at + 24);
            at += size <= len - at ? size : len - at;
        }
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    FUZZ_CHECK(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    close(fd);
    struct segment *segment = segment_open(dir, &lack, &fault);
    FUZZ_CHECK(segment || fault.text[0]);
    bool sound = segment && segment_verify(segment, UINT32_MAX, &fault);
    FUZZ_CHECK(!segment || sound || fault.text[0]);
    for (uint32_t i = 0; sound && i < segment->count; i++) {
        walk(segment->bytes + segment->offset[i], segment->len - segment->offset[i]);
    }
    segment_unref(segment);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char dir[] = "/dev/shm/whorl-fuzz-XXXXXX";
    if (len < 2 || len > INPUT_MAX) {
        return 0;
    }
    uint8_t *copy = aligned_alloc(64, (len + 63) / 64 * 64);
    if (!copy) {
        abort();
    }
    memcpy(copy, bytes + 1, len - 1);
    if (bytes[0] & 1) {
        mend(copy, len - 1);
        walk(copy, len - 1);
    } else if (mkdtemp(dir)) {
        open_file(dir, copy, len - 1);
        rmdir(dir);
    }
    free(copy);
    return 0;
}
