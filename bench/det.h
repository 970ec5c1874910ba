/* Score lists, error rates and DET curves. */
#ifndef BENCH_DET_H
#define BENCH_DET_H

#include <stdbool.h>
#include <stddef.h>

struct scores {
    float *values;
    size_t count, room;
};

/* Fractions, 0..1. A comparison is a match when its score is at least the threshold. */
struct rates {
    double eer;      /* by the FVC2000 report's definition for finite score lists */
    double fmr100;   /* lowest FNMR with FMR <= 1 % */
    double fmr1000;  /* ... <= 0.1 % */
    double zero_fmr; /* ... = 0 */
};

/* Abort with a message when memory runs out: these are benchmarks. */
void scores_add(struct scores *scores, float value);
void scores_append(struct scores *to, const struct scores *from);
void scores_release(struct scores *scores);

struct rates rates_of(const struct scores *genuine, const struct scores *impostor);

/* Writes FOLDER/NAME.svg, both axes logarithmic; creates the folder. False with errno set. */
bool det_write(const char *folder, const char *name, const struct scores *genuine,
               const struct scores *impostor);

#endif
