/* What is left behind: in memory, in files, of threads and descriptors. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

enum { RUN = 32, STEP = 64, FILE_BYTES_MAX = 256 << 20 };

static size_t entries(const char *path)
{
    size_t count = 0;
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        count += entry->d_name[0] != '.';
    }
    if (dir) {
        (void)closedir(dir);
    }
    return count;
}

void kit_holding_now(struct kit_holding *now, const char *data_dir)
{
    struct mallinfo2 heap = mallinfo2();
    now->threads = entries("/proc/self/task");
    now->descriptors = entries("/proc/self/fd");
    now->files = entries(data_dir);
    now->heap = heap.uordblks + heap.hblkhd;
}

/* The pieces that are looked for: every STEP bytes, RUN of them, masked so that the list itself is
 * no find. */
struct pieces {
    uint8_t *masked;
    size_t count;
};

static uint8_t mask(size_t i)
{
    return (uint8_t)(0xa5 ^ (i * 7));
}

static bool dull(const uint8_t *piece)
{
    size_t same = 0;
    for (size_t i = 1; i < RUN; i++) {
        same += piece[i] == piece[i - 1];
    }
    return same > RUN / 2;
}

static bool read_pieces(const struct kit_subject *subject, struct pieces *pieces)
{
    struct whorl_secret sample = {0};
    *pieces = (struct pieces){0};
    if (!kit_sample(subject, &sample)) {
        return false;
    }
    pieces->masked = malloc(sample.len / STEP * RUN + RUN);
    for (size_t at = 0; pieces->masked && at + RUN <= sample.len; at += STEP) {
        const uint8_t *piece = sample.bytes + at;
        for (size_t i = 0; i < RUN && !dull(piece); i++) {
            pieces->masked[pieces->count * RUN + i] = piece[i] ^ mask(i);
        }
        pieces->count += !dull(piece);
    }
    whorl_secret_release(&sample);
    return pieces->masked != NULL;
}

/* Whether a piece is in the bytes. Its first byte selects where to look closer. */
static bool holds(const struct pieces *pieces, const uint8_t *bytes, size_t len)
{
    for (size_t p = 0; p < pieces->count; p++) {
        const uint8_t *piece = pieces->masked + p * RUN;
        const uint8_t *at = bytes;
        const uint8_t *end = bytes + (len < RUN ? 0 : len - RUN + 1);
        while (at < end && (at = memchr(at, piece[0] ^ mask(0), (size_t)(end - at))) != NULL) {
            size_t i = 1;
            while (i < RUN && at[i] == (uint8_t)(piece[i] ^ mask(i))) {
                i++;
            }
            if (i == RUN) {
                return true;
            }
            at++;
        }
    }
    return false;
}

static void search_file(const struct pieces *pieces, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size < FILE_BYTES_MAX) {
        struct whorl_secret bytes = {0};
        size_t size = (size_t)st.st_size;
        if (whorl_secret_reserve(&bytes, size) && read(fd, bytes.bytes, size) == (ssize_t)size &&
            holds(pieces, bytes.bytes, size)) {
            kit_found("wrote part of a sample into a file (%s)", strrchr(path, '/') + 1);
        }
        whorl_secret_release(&bytes);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void search_files(const struct pieces *pieces, const char *dir)
{
    DIR *list = opendir(dir);
    const struct dirent *entry;
    while (list && (entry = readdir(list)) != NULL) {
        char path[PATH_MAX];
        if (entry->d_name[0] != '.' &&
            snprintf(path, sizeof path, "%s/%s", dir, entry->d_name) < (int)sizeof path) {
            search_file(pieces, path);
        }
    }
    if (list) {
        (void)closedir(list);
    }
}

/* One line of /proc/self/maps. Searched through /proc/self/mem, which reads what can be read and
 * refuses the rest, where a pointer would crash. */
static void search_region(const struct pieces *pieces, int mem, const char *line)
{
    uint64_t from, to;
    char mode[8], name[64] = "";
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %*s %63s", &from, &to, mode, name) < 3 ||
        mode[0] != 'r' || mode[1] != 'w' || to - from > FILE_BYTES_MAX) {
        return;
    }
    struct whorl_secret bytes = {0};
    if (whorl_secret_reserve(&bytes, to - from) &&
        pread(mem, bytes.bytes, to - from, (off_t)from) == (ssize_t)(to - from) &&
        holds(pieces, bytes.bytes, to - from)) {
        kit_found("left part of a sample in memory (%s) after its call was completed: copy it into "
                  "host->secret_alloc's memory only",
                  name[0] != '\0' ? name : "a mapping");
    }
    whorl_secret_release(&bytes);
}

/* The list is read whole before anything is searched: searching maps and unmaps memory. */
static void search_memory(const struct pieces *pieces)
{
    char *line = NULL;
    size_t cap = 0, count = 0;
    char(*lines)[256] = calloc(4096, sizeof *lines);
    FILE *maps = fopen("/proc/self/maps", "re");
    int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    while (lines && maps && count < 4096 && getline(&line, &cap, maps) > 0) {
        snprintf(lines[count++], sizeof *lines, "%s", line);
    }
    for (size_t i = 0; i < count && mem >= 0; i++) {
        search_region(pieces, mem, lines[i]);
    }
    if (maps) {
        (void)fclose(maps);
    }
    if (mem >= 0) {
        (void)close(mem);
    }
    free(line);
    free(lines);
}

void kit_traces_of_sample(const struct kit_subject *subject, const struct kit_host *host,
                          const char *dir)
{
    struct pieces pieces;
    if (!read_pieces(subject, &pieces) || pieces.count == 0) {
        kit_found("the kit could not read the sample again, or there is nothing particular in it");
        free(pieces.masked);
        return;
    }
    if (host->said.len > 0 && holds(&pieces, host->said.bytes, host->said.len)) {
        kit_found("put part of a sample into a log line or an answer");
    }
    search_files(&pieces, dir);
    search_memory(&pieces);
    free(pieces.masked);
}
