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
#define UNREADABLE_MS 1000u /* who only looks at such a segment lets go of it at once */

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

/* Opens what has this name, for this process alone. -1 with errno: ENOENT, there is none; EBUSY,
 * somebody has it mapped, or writes it. *twice: it has a second name, and is not locked. */
static int open_alone(const char *path, unsigned patience_ms, bool *twice)
{
    for (;;) {
        struct stat ours, named;
        int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0) {
            return -1;
        }
        *twice = fstat(fd, &ours) == 0 && ours.st_nlink > 1;
        if (!*twice && !lock_alone(fd, patience_ms)) {
            close(fd);
            errno = EBUSY;
            return -1;
        }
        /* A writer whom we waited for has made the file the segment of this moment, or has put
         * another in its place. */
        if (lstat(path, &named) == 0 && named.st_ino == ours.st_ino &&
            named.st_dev == ours.st_dev) {
            return fd;
        }
        close(fd);
    }
}

bool segment_clear(int fd, uint64_t *bytes)
{
    size_t len;
    uint8_t *map = map_whole(fd, &len);
    if (map == NULL) {
        return false;
    }
    *bytes += count_and_clear(map, len);
    bool ok = msync(map, len, MS_SYNC) == 0;
    munmap(map, len != 0 ? len : 1);
    return ok && fsync(fd) == 0;
}

/* Who wipes: whoever holds the lock of DIR/segment.new is the only writer. */
enum wiper { WRITER, BYSTANDER };

/* Overwrites a whole file and deletes it. */
static bool wipe_file(const char *dir, const char *name, enum wiper wiper, unsigned patience_ms,
                      uint64_t *bytes, struct whorl_fault *fault)
{
    char path[PATH_MAX];
    bool twice;
    if (!segment_path(dir, name, path, fault)) {
        return false;
    }
    int fd = open_alone(path, patience_ms, &twice);
    if (fd < 0) {
        return errno == ENOENT ||
               cannot(fault, name, errno == EBUSY ? "it is being used" : strerror(errno));
    }
    if (twice && wiper == BYSTANDER) {
        /* A writer may take the other name away at this moment: this one is for him to wipe. */
        close(fd);
        return cannot(fault, name, "it is being replaced");
    }
    /* A writer who ended between two names left one for the newest segment: that one stays. */
    bool ok = (twice || segment_clear(fd, bytes)) && unlink(path) == 0;
    close(fd);
    return (ok && segment_sync_dir(dir)) || cannot(fault, name, strerror(errno));
}

bool segment_dispose(const char *dir, unsigned patience_ms, struct whorl_fault *fault)
{
    uint64_t bytes = 0;
    return wipe_file(dir, SEGMENT_OLD, WRITER, patience_ms, &bytes, fault);
}

bool segment_dispose_beside(const char *dir, unsigned patience_ms, struct whorl_fault *fault)
{
    uint64_t bytes = 0;
    return wipe_file(dir, SEGMENT_OLD, BYSTANDER, patience_ms, &bytes, fault);
}

/* Voids the chunks that are not current. false with *why: of a chunk that cannot be opened nobody
 * knows where the next one begins. */
static bool void_chunks(uint8_t *map, size_t len,
                        bool (*current)(void *ctx, const struct chunk *chunk), void *ctx,
                        uint64_t *bytes, const char **why)
{
    size_t at = SEGMENT_HEADER;
    while (at < len) {
        struct chunk chunk;
        if (!chunk_open(map + at, len - at, false, &chunk, why)) {
            return false;
        }
        if (chunk.stamp != CHUNK_VOID && !current(ctx, &chunk)) {
            chunk_void_begin(map + at);
            *bytes += count_and_clear(map + at + CHUNK_HEADER, chunk.size - CHUNK_HEADER);
            chunk_void_end(map + at);
        }
        at += chunk.size;
    }
    return true;
}

/* Overwrites and deletes a segment that cannot be read to its end, if nobody uses it: a server of
 * another version may, or one that has verified it before it was damaged. */
static bool wipe_unreadable(const char *dir, const char *why, uint64_t *bytes,
                            struct whorl_fault *fault)
{
    if (wipe_file(dir, SEGMENT_NAME, WRITER, UNREADABLE_MS, bytes, fault)) {
        return true;
    }
    struct whorl_fault inner = *fault;
    return whorl_fail(fault, SEGMENT_NAME,
                      "%.150s, and a chunk of it %s; restart the servers that use this gallery",
                      inner.text, why);
}

static bool void_file(const char *dir, bool (*current)(void *ctx, const struct chunk *chunk),
                      void *ctx, uint64_t *bytes, struct whorl_fault *fault)
{
    char path[PATH_MAX];
    const char *why = NULL;
    size_t len;
    if (!segment_path(dir, SEGMENT_NAME, path, fault)) {
        return false;
    }
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return errno == ENOENT || cannot(fault, SEGMENT_NAME, strerror(errno));
    }
    uint8_t *map = map_whole(fd, &len);
    bool ok = map != NULL, readable = true;
    if (ok) {
        readable = void_chunks(map, len, current, ctx, bytes, &why);
        ok = msync(map, len, MS_SYNC) == 0;
        munmap(map, len != 0 ? len : 1);
    }
    ok = ok && fsync(fd) == 0;
    close(fd);
    if (!ok) {
        return cannot(fault, SEGMENT_NAME, strerror(errno));
    }
    return readable || wipe_unreadable(dir, why, bytes, fault);
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
    if (!wipe_file(dir, SEGMENT_NEW, WRITER, ERASE_MS, bytes, fault)) {
        return false;
    }
    int fd = segment_open_new(path);
    if (fd < 0) {
        return cannot(fault, SEGMENT_NEW, strerror(errno));
    }
    /* First the name that may be a second one of the segment's. */
    const bool old = wipe_file(dir, SEGMENT_OLD, WRITER, ERASE_MS, bytes, fault);
    const bool ok = void_file(dir, current, ctx, bytes, fault) && old;
    (void)unlink(path);
    close(fd);
    return ok;
}
