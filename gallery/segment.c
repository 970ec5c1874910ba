#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <limits.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "segment_file.h"
#include "whorl/msg.h"

#define MAGIC 0x53474857u /* "WHGS" */
#define VERSION 1u
#define DISPOSE_MS 10000u

enum { AT_MAGIC = 0, AT_VERSION = 4, AT_LENGTH = 8, AT_CHUNKS = 16, AT_CHECKSUM = 60 };

static uint32_t checksum(const uint8_t header[SEGMENT_HEADER])
{
    return libdeflate_crc32(0, header, AT_CHECKSUM);
}

bool segment_path(const char *dir, const char *name, char path[PATH_MAX], struct whorl_fault *fault)
{
    int len = snprintf(path, PATH_MAX, "%s/%s", dir, name);
    return (len > 0 && len < PATH_MAX) || whorl_fail(fault, "", "the path is too long");
}

/* ------------------------------------------------------------------ reading */

static bool refuse(struct whorl_fault *fault, const char *why)
{
    return whorl_fail(fault, SEGMENT_NAME, "the gallery's segment %s; make it anew", why);
}

static bool barred(struct whorl_fault *fault)
{
    return whorl_fail(fault, SEGMENT_NAME, "the gallery's segment cannot be opened at present: %s",
                      strerror(errno));
}

/* The damage, where it fails, is in the file itself. */
static bool read_header(struct segment *segment, struct whorl_fault *fault)
{
    const uint8_t *bytes = segment->bytes;
    if (segment->len < SEGMENT_HEADER || get32(bytes + AT_MAGIC) != MAGIC) {
        return refuse(fault, "is no segment");
    }
    if (get32(bytes + AT_VERSION) != VERSION) {
        return refuse(fault, "is of another format version");
    }
    if (get32(bytes + AT_CHECKSUM) != checksum(bytes)) {
        return refuse(fault, "has a header that fails its checksum");
    }
    segment->count = get32(bytes + AT_CHUNKS);
    if (get64(bytes + AT_LENGTH) != segment->len || segment->count > segment->len / CHUNK_HEADER) {
        return refuse(fault, "is cut short");
    }
    segment->at = SEGMENT_HEADER;
    return true;
}

static bool map_file(struct segment *segment, int fd, enum segment_lack *lack,
                     struct whorl_fault *fault)
{
    struct stat st;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0 || fstat(fd, &st) != 0) {
        return barred(fault);
    }
    if (!S_ISREG(st.st_mode) || st.st_size <= 0) {
        *lack = SEGMENT_DAMAGED;
        return refuse(fault, "is empty, or no file");
    }
    segment->len = (size_t)st.st_size;
    void *bytes = mmap(NULL, segment->len, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED) {
        return barred(fault);
    }
    segment->map = bytes;
    segment->bytes = bytes;
    if (!read_header(segment, fault)) {
        *lack = SEGMENT_DAMAGED;
        return false;
    }
    segment->offset = malloc((segment->count + (size_t)1) * sizeof *segment->offset);
    return segment->offset != NULL || barred(fault);
}

struct segment *segment_open(const char *dir, enum segment_lack *lack, struct whorl_fault *fault)
{
    char path[PATH_MAX];
    *lack = SEGMENT_BARRED;
    if (!segment_path(dir, SEGMENT_NAME, path, fault)) {
        return NULL;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        if (errno == ENOENT) {
            *lack = SEGMENT_MISSING;
        } else {
            barred(fault);
        }
        return NULL;
    }
    struct segment *segment = calloc(1, sizeof *segment);
    if (!segment) {
        close(fd);
        errno = ENOMEM;
        barred(fault);
        return NULL;
    }
    atomic_init(&segment->refs, 1);
    segment->fd = fd;
    if (!map_file(segment, fd, lack, fault)) {
        segment_unref(segment);
        return NULL;
    }
    return segment;
}

bool segment_verify(struct segment *segment, uint32_t chunks, struct whorl_fault *fault)
{
    while (chunks-- > 0 && segment->verified < segment->count) {
        struct chunk chunk, before;
        const char *why;
        if (!chunk_open(segment->bytes + segment->at, segment->len - segment->at, true, &chunk,
                        &why)) {
            return whorl_fail(fault, SEGMENT_NAME,
                              "chunk %u of the gallery's segment %s; make it anew",
                              segment->verified, why);
        }
        if (segment->verified > 0 &&
            chunk_open(segment->bytes + segment->offset[segment->verified - 1],
                       segment->len - segment->offset[segment->verified - 1], false, &before,
                       &why) &&
            before.number >= chunk.number) {
            return refuse(fault, "has chunks out of order");
        }
        segment->offset[segment->verified++] = segment->at;
        segment->at += chunk.size;
    }
    if (segment->verified == segment->count && segment->at != segment->len) {
        return refuse(fault, "is longer than its chunks");
    }
    return true;
}

struct segment *segment_ref(struct segment *segment)
{
    atomic_fetch_add(&segment->refs, 1);
    return segment;
}

void segment_unref(struct segment *segment)
{
    if (!segment || atomic_fetch_sub(&segment->refs, 1) != 1) {
        return;
    }
    if (segment->map) {
        munmap(segment->map, segment->len);
    }
    close(segment->fd);
    free(segment->offset);
    free(segment);
}

struct segment_identity segment_identify(const char *dir)
{
    struct segment_identity identity = {0};
    char path[PATH_MAX];
    struct stat st;
    struct whorl_fault fault;
    if (segment_path(dir, SEGMENT_NAME, path, &fault) && lstat(path, &st) == 0) {
        identity.device = st.st_dev;
        identity.inode = st.st_ino;
        identity.changed = st.st_mtim;
    }
    return identity;
}

bool segment_same(const struct segment_identity *a, const struct segment_identity *b)
{
    return a->device == b->device && a->inode == b->inode &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* ------------------------------------------------------------------ writing */

struct segment_writer {
    FILE *file;
    uint64_t len;
    uint32_t chunks;
    char dir[PATH_MAX], path[PATH_MAX];
};

static bool write_failed(struct whorl_fault *fault)
{
    return whorl_fail(fault, SEGMENT_NAME, "the gallery's segment cannot be written: %s",
                      strerror(errno));
}

void segment_abandon(struct segment_writer *writer)
{
    uint64_t bytes = 0;
    if (writer->file) {
        __fpurge(writer->file); /* or closing it would write once more */
        (void)segment_clear(fileno(writer->file), &bytes);
        (void)unlink(writer->path);
        (void)fclose(writer->file);
    }
    free(writer);
}

int segment_open_new(const char *path)
{
    for (;;) {
        struct stat ours, named;
        uint64_t bytes = 0;
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
            return -1;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fstat(fd, &ours) != 0) {
            close(fd);
            errno = EBUSY;
            return -1;
        }
        /* Another writer may have ended in between and given the file its final name. */
        if (stat(path, &named) == 0 && named.st_ino == ours.st_ino) {
            if (ours.st_size == 0 || (segment_clear(fd, &bytes) && ftruncate(fd, 0) == 0)) {
                return fd;
            }
            close(fd);
            return -1;
        }
        close(fd);
    }
}

struct segment_writer *segment_begin(const char *dir, struct whorl_fault *fault)
{
    static const uint8_t room[SEGMENT_HEADER] = {0};
    struct segment_writer *writer = calloc(1, sizeof *writer);
    if (!writer) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    if (!segment_path(dir, SEGMENT_NEW, writer->path, fault)) {
        segment_abandon(writer);
        return NULL;
    }
    (void)snprintf(writer->dir, sizeof writer->dir, "%s", dir);
    int fd = segment_open_new(writer->path);
    writer->file = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (!writer->file || fwrite(room, 1, sizeof room, writer->file) != sizeof room) {
        write_failed(fault);
        if (fd >= 0 && !writer->file) {
            close(fd);
        }
        segment_abandon(writer);
        return NULL;
    }
    writer->len = SEGMENT_HEADER;
    return writer;
}

bool segment_add(struct segment_writer *writer, const uint8_t *chunk, struct whorl_fault *fault)
{
    uint8_t header[CHUNK_HEADER];
    const uint32_t size = chunk_bytes(chunk);
    chunk_stored_header(chunk, header);
    if (fwrite(header, 1, sizeof header, writer->file) != sizeof header ||
        fwrite(chunk + CHUNK_HEADER, 1, size - CHUNK_HEADER, writer->file) != size - CHUNK_HEADER) {
        return write_failed(fault);
    }
    writer->len += size;
    writer->chunks++;
    return true;
}

/* The name's change is made durable, too. */
bool segment_sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

bool segment_end(struct segment_writer *writer, struct whorl_fault *fault)
{
    uint8_t header[SEGMENT_HEADER] = {0};
    char path[PATH_MAX];
    put32(header + AT_MAGIC, MAGIC);
    put32(header + AT_VERSION, VERSION);
    put64(header + AT_LENGTH, writer->len);
    put32(header + AT_CHUNKS, writer->chunks);
    put32(header + AT_CHECKSUM, checksum(header));
    char old[PATH_MAX];
    bool ok = segment_path(writer->dir, SEGMENT_NAME, path, fault) &&
              segment_path(writer->dir, SEGMENT_OLD, old, fault) &&
              segment_dispose(writer->dir, DISPOSE_MS, fault);
    if (ok && (fseek(writer->file, 0, SEEK_SET) != 0 ||
               fwrite(header, 1, sizeof header, writer->file) != sizeof header ||
               fflush(writer->file) != 0 || fsync(fileno(writer->file)) != 0 ||
               (link(path, old) != 0 && errno != ENOENT) || rename(writer->path, path) != 0)) {
        ok = write_failed(fault);
    }
    if (!ok) {
        segment_abandon(writer);
        return false;
    }
    (void)fclose(writer->file);
    ok = segment_sync_dir(writer->dir) || write_failed(fault);
    free(writer);
    return ok;
}
