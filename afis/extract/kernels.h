/* The kernels of contextual filtering, for each step of ridge period and direction: made at build
 * time by make_kernels.c. */
#ifndef AFIS_EXTRACT_KERNELS_H
#define AFIS_EXTRACT_KERNELS_H

#include <stdint.h>

#define ORIENTATIONS 32
#define PERIODS 14
#define PERIOD_MIN 5.5f /* pixels */
#define PERIOD_MAX 14.5f
#define RADIUS_MAX 10 /* pixels that a kernel reaches */

struct kernels {
    uint8_t radius[PERIODS];
    uint32_t at[PERIODS][ORIENTATIONS]; /* where in afis_kernel_taps each begins */
};

/* Of the passes, and of the second opinion: those reach half as far again along the ridges. */
extern const struct kernels afis_kernels_short, afis_kernels_long;

/* Of each kernel the tap in the middle; then for its column, and for each one to the right, how far
 * below the middle its taps begin, how many pairs of them there are, and the pairs, the lower tap
 * in the upper half. The left half is the right one turned by 180 degrees, and so is what is above
 * the middle in its own column. */
extern const int32_t afis_kernel_taps[];

#endif
