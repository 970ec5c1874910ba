/* Overwriting what segments hold of people who were removed. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "segment_file.h"
#include "whorl/msg.h"

#define POLL_MS 20u
#define ERASE_MS 10000u

static uint64_t count_and_clear(uint8_t *bytes, size_t len)
{
    uint64_t count = 0;
    for (size_t i = 0; i < len; i++) {
        count += bytes[i] != 0;
    }
    memset(bytes, 0, len);
    return count;
}

static bool cannot(struct whorl_fault *fault, const char *name, const char *why)
{
    return whorl_fail(fault, name, "the gallery's %s cannot be erased: %s", name, why);
}

/* Takes the lock that nobody has who maps the file. */
static bool lock_alone(int fd, unsigned patience_ms)
{
    const struct timespec pause = {0, POLL_MS * 1000000L};
    for (unsigned waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += POLL_MS) {
        if (errno != EWOULDBLOCK || waited >= patience_ms) {
            return false;
        }
        nanosleep(&pause, NULL);
    }
    return true;
}

/* Maps a whole file for writing; *len 0: it is empty. NULL with errno. */
static uint8_t *map_whole(int fd, size_t *len)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return NULL;
    }
    *len = (size_t)st.st_size;
    void *bytes = mmap(NULL, *len != 0 ? *len : 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return bytes == MAP_FAILED ? NULL : bytes;
}

/* Overwrites a whole file and deletes it. */
static bool wipe_file(const char *dir, const char *name, unsigned patience_ms, uint64_t *bytes,
                      struct whorl_fault *fault)
{
    char path[PATH_MAX];
    size_t len;
    if (!segment_path(dir, name, path, fault)) {
        return false;
    }
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return errno == ENOENT || cannot(fault, name, strerror(errno));
    }
    /* A writer who ended between two names left one for the newest segment: that one stays. */
    struct stat st;
    bool twice = fstat(fd, &st) == 0 && st.st_nlink > 1;
    if (!twice && !lock_alone(fd, patience_ms)) {
        close(fd);
        return cannot(fault, name, "it is being used");
    }
    uint8_t *map = map_whole(fd, &len);
    bool ok = map != NULL;
    if (ok && !twice) {
        *bytes += count_and_clear(map, len);
        ok = msync(map, len, MS_SYNC) == 0;
    }
    if (map != NULL) {
        munmap(map, len != 0 ? len : 1);
    }
    ok = ok && fsync(fd) == 0 && unlink(path) == 0;
    close(fd);
    return (ok && segment_sync_dir(dir)) || cannot(fault, name, strerror(errno));
}

bool segment_dispose(const char *dir, unsigned patience_ms, struct whorl_fault *fault)
{
    uint64_t bytes = 0;
    return wipe_file(dir, SEGMENT_OLD, patience_ms, &bytes, fault);
}

/* Voids the chunks that are not current. A damaged segment is voided from the damage on: it was no
 * use to anybody. */
static uint64_t void_chunks(uint8_t *map, size_t len,
                            bool (*current)(void *ctx, const struct chunk *chunk), void *ctx)
{
    uint64_t bytes = 0;
    size_t at = SEGMENT_HEADER;
    while (at < len) {
        struct chunk chunk;
        const char *why;
        if (!chunk_open(map + at, len - at, false, &chunk, &why)) {
            return bytes + count_and_clear(map + at, len - at);
        }
        if (chunk.stamp != CHUNK_VOID && !current(ctx, &chunk)) {
            bytes += count_and_clear(map + at + CHUNK_HEADER, chunk.size - CHUNK_HEADER);
            chunk_void(map + at);
        }
        at += chunk.size;
    }
    return bytes;
}

static bool void_file(const char *dir, bool (*current)(void *ctx, const struct chunk *chunk),
                      void *ctx, uint64_t *bytes, struct whorl_fault *fault)
{
    char path[PATH_MAX];
    size_t len;
    if (!segment_path(dir, SEGMENT_NAME, path, fault)) {
        return false;
    }
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return errno == ENOENT || cannot(fault, SEGMENT_NAME, strerror(errno));
    }
    uint8_t *map = map_whole(fd, &len);
    bool ok = map != NULL;
    if (ok) {
        *bytes += void_chunks(map, len, current, ctx);
        ok = msync(map, len, MS_SYNC) == 0;
        munmap(map, len != 0 ? len : 1);
    }
    ok = ok && fsync(fd) == 0;
    close(fd);
    return ok || cannot(fault, SEGMENT_NAME, strerror(errno));
}

bool segment_erase(const char *dir, bool (*current)(void *ctx, const struct chunk *chunk),
                   void *ctx, uint64_t *bytes, struct whorl_fault *fault)
{
    char path[PATH_MAX];
    if (!segment_path(dir, SEGMENT_NEW, path, fault)) {
        return false;
    }
    /* What a writer left who did not come to the end; one who is at it keeps his lock. While this
     * descriptor is open nobody else begins to write. */
    if (!wipe_file(dir, SEGMENT_NEW, ERASE_MS, bytes, fault)) {
        return false;
    }
    int fd = segment_open_new(path);
    if (fd < 0) {
        return cannot(fault, SEGMENT_NEW, strerror(errno));
    }
    bool ok = void_file(dir, current, ctx, bytes, fault) &&
              wipe_file(dir, SEGMENT_OLD, ERASE_MS, bytes, fault);
    (void)unlink(path);
    close(fd);
    return ok;
}
