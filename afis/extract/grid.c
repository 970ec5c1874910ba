/* Which grid suits a print. All that comes after the filters counts in pixels: cells, windows, how
 * far a line is followed, how far an end lies from another. Ridges narrower or wider than most
 * adults' (children's: half of them; Gottschlich et al., "Modeling the growth of fingerprints
 * improves matching for adolescents", IEEE TIFS 2011) are brought to the period for which those
 * lengths were chosen. */
#include <math.h>

#include "stages.h"

#define NARROW 7.8f /* pixels: mean periods that are worked on as they are */
#define BROAD 11.5f
#define SUITED 9.2f     /* what the others are brought to, nearly most prints' on GRID */
#define SATURATION 1.6f /* narrow periods are read as wider, by so much of what they lack */

int afis_grid_suited(const struct work *work)
{
    struct print first;
    afis_measure_cells(work, &first);
    float period = first.period * work->finer;
    if ((period >= NARROW && period <= BROAD) || !afis_promising(&first)) {
        return work->grid;
    }
    if (period < NARROW) {
        period = NARROW - SATURATION * (NARROW - period);
    }
    float grid = (float)work->grid * SUITED / period;
    return (int)fminf(GRID_MAX, fmaxf(GRID_MIN, grid));
}
