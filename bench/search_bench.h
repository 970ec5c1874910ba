/* What the files of bench/search share. Failures end the program with a message: these are
 * benchmarks. */
#ifndef BENCH_SEARCH_BENCH_H
#define BENCH_SEARCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/synth/synth_people.h"
#include "gallery/gallery.h"
#include "gallery/search.h"

#define WAITING 16u /* searches at once when throughput is measured */

_Noreturn void die(const char *what, const char *name);
_Noreturn void die_fault(const char *what, const struct whorl_fault *fault);
void *must_alloc(size_t size);  /* zeroed, 64-byte aligned */
double wall_seconds(void);      /* monotonic */
double processor_seconds(void); /* of all threads of this process */
double thread_seconds(void);    /* processor, of this thread */

/* --- numbers: search_numbers.c --- */

struct numbers {
    double *values;
    size_t count, room;
    bool sorted;
};
void numbers_add(struct numbers *numbers, double value);
double numbers_at(struct numbers *numbers, double share); /* sorts; 0.5 = median; NaN: none */
void numbers_free(struct numbers *numbers);

struct timing {
    struct numbers wall, processor; /* seconds */
};

/* Lines in a log-log diagram. */
struct plot_line {
    const char *name;
    const double *x, *y;
    size_t count;
};
void plot_log(const char *path, const char *title, const char *x_name, const char *y_name,
              const struct plot_line *lines, size_t count);
/* Points and the diagonal that equal distributions would follow. */
void plot_equal(const char *path, const char *title, const char *x_name, const char *y_name,
                const struct plot_line *lines, size_t count);

/* --- prints: search_prints.c --- */

enum { SETS = 4, PEOPLE_A_SET = 5, IMPRESSIONS = 8, HIDDEN = SETS * PEOPLE_A_SET };

/* The real prints of the FVC2002 B sets. Two neighbouring fingers make a person, enrolled as right
 * and left index finger. */
struct real_print {
    struct afis_template tmpl;
    struct afis_finger *finger;
    uint8_t packed[AFIS_PACKED_MAX];
    size_t len;
};
extern const char *const set_names[SETS];

/* false: the folder is missing. */
bool prints_load(const char *folder);
const struct real_print *print_of(unsigned set, unsigned finger, unsigned impression); /* from 0 */

/* Enrols all 20 with that impression, in place of what they were enrolled with before. */
void hidden_enrol(struct gallery *gallery, unsigned impression);
void hidden_remove(struct gallery *gallery);
void hidden_id(unsigned person, char id[24]);

/* --- searching: search_run.c --- */

struct engine {
    struct gallery *gallery;
    unsigned threads;
    double match_fpir, possible_fpir;
    bool thorough;
};

struct outcome {
    double seconds, processor;
    struct gallery_result result; /* of one search */
};

/* One search on all threads. The result is to be released. */
void engine_search(const struct engine *engine, const struct gallery_probe *probes, size_t count,
                   struct outcome *out);
/* One search that is cancelled `after` seconds: how long until all threads are out of it and
 * nothing is left of it; negative: it ended before. */
double engine_cancel(const struct engine *engine, const struct gallery_probe *probes, size_t count,
                     double after);
/* `count` searches that wait at the same time; returns the seconds until the last is answered. */
double engine_flood(const struct engine *engine, const struct gallery_probe (*probes)[2],
                    size_t count);
/* Bytes/s of reading memory on all threads. */
double memory_bandwidth(unsigned threads);

/* A made-up person's index fingers in another impression than the one enrolled. */
struct probe_pair {
    struct afis_finger *finger[2];
    struct gallery_probe probes[2];
};
void pair_capture(struct probe_pair *pair, const struct synth_population *population,
                  uint32_t number, uint32_t impression);

/* --- the model against real prints: search_population.c --- */

void compare_population(const struct synth_population *population, uint32_t people,
                        const char *plots);

/* --- what the stages lose: search_loss.c --- */

/* records: the folder of other vendors' records of the same prints. */
void measure_losses(const char *records);

#endif
