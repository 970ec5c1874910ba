#include "search_table.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ------------------------------------------------------------------ the machine */

static void print_line_of(const char *path, const char *name)
{
    char line[256];
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            fputs(line, stdout);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

void bench_machine(struct bench *b)
{
    print_line_of("/proc/cpuinfo", "model name");
    print_line_of("/proc/meminfo", "MemTotal");
    b->bandwidth = memory_bandwidth(b->engine.threads);
    printf("%u threads read %.1f GB/s of memory\n", b->engine.threads, b->bandwidth * 1e-9);
    fflush(stdout);
}

/* The kB that /proc/self/status states. */
static uint64_t value_of(const char *path, const char *name)
{
    char line[256];
    uint64_t value = 0;
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            value = strtoull(line + strlen(name) + 1, NULL, 10) * 1024;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return value;
}

static uint64_t disk_of(const char *path)
{
    uint64_t bytes = 0;
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        struct stat info;
        if (fstatat(dirfd(dir), entry->d_name, &info, 0) == 0 && S_ISREG(info.st_mode)) {
            bytes += (uint64_t)info.st_blocks * 512;
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return bytes;
}

void bench_memory(struct bench *b)
{
    b->rss = value_of("/proc/self/status", "VmRSS");
    b->rss_anonymous = value_of("/proc/self/status", "RssAnon");
    b->rss_free = value_of("/proc/self/smaps_rollup", "LazyFree");
    b->disk = disk_of(b->dir);
}

/* ------------------------------------------------------------------ made-up probes */

static bool is_first(const struct gallery_result *result, const char *id)
{
    return result->candidate_count > 0 && strcmp(result->candidates[0].person->id, id) == 0;
}

void bench_start(struct bench *b)
{
    struct whorl_fault fault;
    struct probe_pair pair = {0};
    struct outcome out;
    const double start = wall_seconds();
    b->engine.gallery = gallery_open(b->dir, WHORL_STORE_WRITE, &fault);
    if (b->engine.gallery == NULL || !gallery_prepare(b->engine.gallery, &fault)) {
        die_fault("opening the gallery", &fault);
    }
    b->open_seconds = wall_seconds() - start;
    b->disk_before = disk_of(b->dir);
    pair_capture(&pair, &b->population, b->people / 2 + 1, 1);
    engine_search(&b->engine, pair.probes, 2, &out);
    b->first_answer = wall_seconds() - start;
    gallery_result_release(&out.result);
}

static void timed(struct timing *timing, const struct outcome *out)
{
    numbers_add(&timing->wall, out->seconds);
    numbers_add(&timing->processor, out->processor);
}

/* The k-th of the people that are looked for. */
static uint32_t person_at(const struct bench *b, uint32_t k)
{
    return 1 + (uint32_t)((uint64_t)k * b->people / b->probes);
}

void bench_searches(struct bench *b)
{
    struct probe_pair pair = {0};
    for (uint32_t k = 0; k < b->probes; k++) {
        struct outcome out;
        char id[16];
        snprintf(id, sizeof id, "syn%09" PRIu32, person_at(b, k));
        pair_capture(&pair, &b->population, person_at(b, k), 1);
        engine_search(&b->engine, pair.probes, 2, &out);
        timed(&b->mated, &out);
        b->mated_all++;
        b->mated_first += is_first(&out.result, id);
        gallery_result_release(&out.result);

        pair_capture(&pair, &b->population, b->people + 1 + k, 1);
        engine_search(&b->engine, pair.probes, 2, &out);
        timed(&b->non_mated, &out);
        b->wrong += out.result.above_match > 0;
        gallery_result_release(&out.result);
    }
    for (uint32_t k = 0; k < b->probes; k += 5) { /* of unknown position: a fifth of them */
        struct outcome out;
        pair_capture(&pair, &b->population, b->people + 1 + k, 1);
        pair.probes[0].position = pair.probes[1].position = 0;
        engine_search(&b->engine, pair.probes, 2, &out);
        timed(&b->unknown, &out);
        gallery_result_release(&out.result);
    }
}

/* ------------------------------------------------------------------ ten prints */

static void search_ten(struct bench *b, struct bench *ten, uint32_t number, bool known, bool there)
{
    struct probe_pair pair = {0};
    struct outcome out;
    char id[16];
    snprintf(id, sizeof id, "syn%09" PRIu32, number);
    pair_capture(&pair, &ten->population, number, 1);
    if (!known) {
        pair.probes[0].position = pair.probes[1].position = 0;
    }
    engine_search(&ten->engine, pair.probes, 2, &out);
    timed(known ? &b->ten_known[!there] : &b->ten_unknown[!there], &out);
    b->ten_all += there;
    b->ten_first += there && is_first(&out.result, id);
    gallery_result_release(&out.result);
    free(pair.finger[0]);
    free(pair.finger[1]);
}

void bench_ten(struct bench *b, struct bench *ten)
{
    for (uint32_t k = 0; k < b->probes; k++) {
        for (unsigned kind = 0; kind < 4; kind++) {
            const bool there = kind < 2;
            search_ten(b, ten, there ? person_at(ten, k) : ten->people + 1 + k, kind % 2 == 0,
                       there);
        }
    }
}

/* ------------------------------------------------------------------ real prints */

/* One search for a hidden person with `count` fingers from `first` on. */
static void look_for(struct bench *b, unsigned person, unsigned enrolled, unsigned impression,
                     unsigned first, unsigned count, struct loss_count *loss)
{
    struct afis_matcher *matcher = must_alloc(afis_matcher_size());
    struct gallery_probe probes[2];
    struct outcome out;
    float score[2];
    char id[24];
    const unsigned set = person / PEOPLE_A_SET;
    for (unsigned f = 0; f < count; f++) {
        const unsigned finger = person % PEOPLE_A_SET * 2 + first + f;
        const struct real_print *probe = print_of(set, finger, impression);
        score[f] = afis_compare(matcher, probe->finger, print_of(set, finger, enrolled)->finger);
        probes[f] = (struct gallery_probe){probe->finger, first + f == 0 ? 2 : 7};
    }
    const float mate = afis_fuse(score, count);
    hidden_id(person, id);
    engine_search(&b->engine, probes, count, &out);
    if (count == 2) {
        timed(&b->hidden, &out);
    }
    bool found = false;
    for (size_t i = 0; i < out.result.candidate_count; i++) {
        found = found || strcmp(out.result.candidates[i].person->id, id) == 0;
    }
    const bool best = out.result.candidate_count == 0 || mate > out.result.candidates[0].score;
    loss->searches++;
    loss->first += is_first(&out.result, id);
    /* The threshold is the score that the best of all others reaches in every second search. */
    loss->findable += mate >= out.result.possible_threshold;
    loss->lost += mate >= out.result.possible_threshold && !found && best;
    gallery_result_release(&out.result);
    free(matcher);
}

void bench_hidden(struct bench *b)
{
    for (unsigned enrolled = 0; b->real && enrolled < b->rounds; enrolled++) {
        hidden_enrol(b->engine.gallery, enrolled);
        for (unsigned person = 0; person < HIDDEN; person++) {
            for (unsigned i = 0; i < IMPRESSIONS; i++) {
                if (i == enrolled) {
                    continue;
                }
                look_for(b, person, enrolled, i, 0, 2, &b->two[person / PEOPLE_A_SET]);
                look_for(b, person, enrolled, i, i % 2, 1, &b->one[person / PEOPLE_A_SET]);
            }
        }
    }
    hidden_remove(b->engine.gallery);
}

/* ------------------------------------------------------------------ many at once */

static bool is_there(enum waiting_kind kind, uint32_t k)
{
    return kind == WAITING_ALL || (kind == WAITING_HALF && k % 2 == 0);
}

enum { TURNS = 4, ALONE_A_TURN = 2 * WAITING / TURNS };

/* Some searches alone and some together, in turn: the machine's speed changes by the minute. */
static void take_turn(const struct bench *b, const struct gallery_probe (*alone)[2],
                      const struct gallery_probe (*together)[2], struct waiting *w)
{
    const double start = wall_seconds(), processor = processor_seconds();
    for (uint32_t k = 0; k < ALONE_A_TURN; k++) {
        struct outcome out;
        engine_search(&b->engine, alone[k], 2, &out);
        gallery_result_release(&out.result);
    }
    const double one = (wall_seconds() - start) / ALONE_A_TURN, before = processor_seconds();
    const double of_all = engine_flood(&b->engine, together, WAITING) / WAITING;
    numbers_add(&w->times, one / of_all);
    w->alone += one / TURNS;
    w->alone_processor += (before - processor) / ALONE_A_TURN / TURNS;
    w->together += of_all / TURNS;
    w->together_processor += (processor_seconds() - before) / WAITING / TURNS;
}

/* Twice as many as wait at once, each once alone and twice together. */
void bench_waiting(struct bench *b, enum waiting_kind kind)
{
    struct gallery_probe probes[2 * WAITING][2];
    struct probe_pair pairs[2 * WAITING];
    memset(pairs, 0, sizeof pairs);
    for (uint32_t k = 0; k < 2 * WAITING; k++) {
        pair_capture(&pairs[k], &b->population, is_there(kind, k) ? 1 + k : b->people + 1 + k, 2);
        memcpy(probes[k], pairs[k].probes, sizeof probes[k]);
    }
    for (unsigned turn = 0; turn < TURNS; turn++) {
        const struct gallery_probe(*all)[2] = (const struct gallery_probe(*)[2])probes;
        take_turn(b, all + (size_t)turn * ALONE_A_TURN, all + turn % 2 * WAITING,
                  &b->waiting[kind]);
    }
    for (uint32_t k = 0; k < 2 * WAITING; k++) {
        free(pairs[k].finger[0]);
        free(pairs[k].finger[1]);
    }
}

/* Searches of people who are not there, cancelled at all times between their begin and end. */
void bench_cancel(struct bench *b)
{
    const double whole = numbers_at(&b->non_mated.wall, 0.5);
    struct probe_pair pair = {0};
    for (uint32_t k = 0; k < b->probes; k++) {
        pair_capture(&pair, &b->population, b->people + 1 + k, 1);
        const double seconds =
            engine_cancel(&b->engine, pair.probes, 2, whole * (k + 0.5) / b->probes);
        if (seconds >= 0) {
            numbers_add(&b->cancelled, seconds);
        }
    }
}

/* ------------------------------------------------------------------ false matches */

void bench_false_matches(struct bench *b)
{
    struct engine engine = b->engine;
    engine.possible_fpir = 0.05;
    struct probe_pair pair = {0};
    for (uint32_t k = 0; k < b->false_matches; k++) {
        struct outcome out;
        pair_capture(&pair, &b->population, b->people + 1000000 + k, 1);
        engine_search(&engine, pair.probes, 2, &out);
        b->false_searches++;
        b->false_match += out.result.above_match > 0;
        b->false_possible += out.result.above_possible > 0;
        gallery_result_release(&out.result);
    }
    b->false_expected[0] = engine.match_fpir * (double)b->false_searches;
    b->false_expected[1] = engine.possible_fpir * (double)b->false_searches;
}
