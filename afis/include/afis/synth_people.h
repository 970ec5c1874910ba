/* Made-up people as minutiae templates, by the million: what a large gallery is measured with.
 *
 * Growing skin (afis/synth.h) takes 0.1 s a finger; here only the minutiae are drawn, from a
 * statistical model fitted to real prints, in some 10 us. What is modelled, and after whom:
 *  - minutiae point along a class-dependent orientation field (that of afis/synth.h, Sherlock and
 *    Monro, 1993), and to the side where its lines spread apart: lines that diverge must begin
 *    somewhere (Larkin and Fletcher, "A coherent framework for fingerprint analysis: are
 *    fingerprints holograms?", Optics Express 15, 2007);
 *  - they are no Poisson process: true ones keep a ridge's distance from each other and false ones
 *    come in pairs, as Chen and Moon, "Is the number of minutiae modelled by a Poisson
 *    distribution?" (2007), and Zhu, Dass and Jain, "Statistical models for assessing the
 *    individuality of fingerprints" (IEEE TIFS 2, 2007), find; density differs between fingers;
 *  - an impression shows what its contact area and its sensor's window show of the finger, turned,
 *    shifted and distorted, with minutiae missed, displaced and added.
 *
 * Constants are fitted to the public FVC2002 B sets, one set of them for each sensor; docs/scale.md
 * shows how well. Everything follows from seeds, as in afis/synth.h. */
#ifndef AFIS_SYNTH_PEOPLE_H
#define AFIS_SYNTH_PEOPLE_H

#include <stdint.h>

#include "afis/synth.h"
#include "afis/template.h"

/* Whose captures a print resembles, by the set of FVC2002 that it was fitted to. */
enum afis_synth_sensor {
    AFIS_SYNTH_OPTICAL,      /* DB1: 388 x 374 pixels at 500 dpi */
    AFIS_SYNTH_OPTICAL_TALL, /* DB2: 296 x 560 at 569 dpi */
    AFIS_SYNTH_CAPACITIVE,   /* DB3: 300 x 300 at 500 dpi, many false minutiae */
    AFIS_SYNTH_RENDERED      /* DB4: made by SFinGe, 288 x 384 */
};
#define AFIS_SYNTH_SENSORS 4u

/* Draws the sensor that a person was enrolled with: each as often as the others. */
enum afis_synth_sensor afis_synth_draw_sensor(uint64_t seed);

/* The template of impression `impression` (0 = as enrolled) of the finger that follows from `seed`.
 * position: ISO/IEC 19794-2's, 1..10, which decides how probable each class is; 0 = unknown. */
void afis_synth_template(uint64_t seed, unsigned position, enum afis_synth_sensor sensor,
                         uint32_t impression, struct afis_template *out);

#endif
