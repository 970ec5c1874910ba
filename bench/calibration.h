/* Does a score mean what it says? The observed false-match rate against the predicted one. */
#ifndef BENCH_CALIBRATION_H
#define BENCH_CALIBRATION_H

#include "det.h"

/* The impostor scores of one set, or of all of them. */
struct calibration_curve {
    const char *name;
    const struct scores *impostor; /* dB */
};

/* To standard output: how many impostors reach each of some scores, and the observed rate as a
 * multiple of the predicted one. */
void calibration_table(const struct calibration_curve *curves, size_t count);

/* Writes FOLDER/calibration.svg, both axes logarithmic, one line a curve (the last in black);
 * creates the folder. False with errno set. */
bool calibration_write(const char *folder, const struct calibration_curve *curves, size_t count);

#endif
