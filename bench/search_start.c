/* Starting with nothing of the gallery in the page cache, as after the machine's own start. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "search_table.h"

#define LOOK_SECONDS 0.05 /* how often a search is tried meanwhile */

double thread_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* How many of a file's bytes the page cache holds. */
static uint64_t resident(int fd, size_t len)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (len + page - 1) / page;
    uint8_t *states = must_alloc(pages + 1);
    void *map = len > 0 ? mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    uint64_t there = 0;
    if (map != MAP_FAILED && mincore(map, len, states) == 0) {
        for (size_t i = 0; i < pages; i++) {
            there += states[i] & 1;
        }
    }
    if (map != MAP_FAILED) {
        munmap(map, len);
    }
    free(states);
    return there * page;
}

/* Drops the gallery's files from the page cache; the share that stays, because somebody else has
 * them mapped. */
static double drop_from_cache(const char *dir)
{
    uint64_t all = 0, stayed = 0;
    DIR *list = opendir(dir);
    for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;) {
        struct stat info;
        int fd = openat(dirfd(list), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
            (void)fsync(fd);
            (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
            all += (uint64_t)info.st_size;
            stayed += resident(fd, (size_t)info.st_size);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    if (list != NULL) {
        closedir(list);
    }
    return all > 0 ? (double)stayed / (double)all : 0;
}

/* What a search is told while the gallery gets ready: whether it is refused, as it should be. */
static void try_search(struct bench *b, const struct probe_pair *pair)
{
    const struct gallery_search_params params = {.probes = pair->probes,
                                                 .probe_count = 2,
                                                 .match_fpir = b->engine.match_fpir,
                                                 .possible_fpir = b->engine.possible_fpir,
                                                 .max_candidates = 1,
                                                 .now = 1};
    struct whorl_fault fault;
    struct gallery_search *search = gallery_search_begin(b->engine.gallery, &params, &fault);
    if (search != NULL) {
        b->cold.begun++; /* little is left, which the search does itself */
    } else if (strstr(fault.text, "not ready to be searched") != NULL) {
        b->cold.refused++;
    } else {
        die_fault("a search before the gallery was ready", &fault);
    }
    gallery_search_free(search);
}

/* The progress that is stated, at eighths of the time. */
static void keep_progress(struct cold *cold, const struct numbers *shares)
{
    for (unsigned i = 0; i < COLD_LOOKS && shares->count > 0; i++) {
        cold->progress[i] = shares->values[shares->count * (i + 1) / (COLD_LOOKS + 1)];
    }
}

void bench_cold(struct bench *b)
{
    struct whorl_fault fault;
    struct probe_pair pair = {0};
    struct outcome out;
    struct numbers shares = {0};
    enum gallery_ready ready;
    uint64_t people, of;
    pair_capture(&pair, &b->population, b->people / 2 + 1, 1);
    b->cold = (struct cold){.stayed = drop_from_cache(b->dir)};
    const double start = wall_seconds();
    double looked = start;
    b->engine.gallery = gallery_open(b->dir, WHORL_STORE_WRITE, &fault);
    if (b->engine.gallery == NULL) {
        die_fault("opening the gallery", &fault);
    }
    while ((ready = gallery_prepare_step(b->engine.gallery, &people, &of, &fault)) ==
           GALLERY_PREPARING) {
        numbers_add(&shares, of > 0 ? (double)people / (double)of : 0);
        if (wall_seconds() - looked > LOOK_SECONDS) {
            try_search(b, &pair);
            looked = wall_seconds();
        }
    }
    if (ready != GALLERY_READY) {
        die_fault("preparing the gallery", &fault);
    }
    b->cold.ready = wall_seconds() - start;
    engine_search(&b->engine, pair.probes, 2, &out);
    b->cold.first_answer = wall_seconds() - start;
    gallery_result_release(&out.result);
    keep_progress(&b->cold, &shares);
    numbers_free(&shares);
    free(pair.finger[0]);
    free(pair.finger[1]);
    gallery_close(b->engine.gallery);
}
