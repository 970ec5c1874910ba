/* A population of made-up people as a gallery holds them: `whorl synth templates` fills galleries
 * with it, benchmarks draw their probes from it. A person follows from the population and his
 * number alone. */
#ifndef CLI_SYNTH_PEOPLE_H
#define CLI_SYNTH_PEOPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "afis/synth_people.h"
#include "afis/template.h"
#include "gallery/gallery.h"

#define SYNTH_FINGERS 10u
#define SYNTH_PEOPLE_MAX 100000000u

struct synth_population {
    uint64_t seed;
    unsigned fingers_least, fingers_most; /* of a person, 1..SYNTH_FINGERS: index fingers first */
    bool mixed;                           /* each person's prints are of one of all sensors, or */
    enum afis_synth_sensor sensor;        /* ... all of this one */
};

/* A person with all that the record points to; not to be copied. */
struct synth_person {
    struct gallery_person person;
    char id[16], given[16];
    struct gallery_name name;
    struct gallery_print prints[SYNTH_FINGERS];
    uint8_t packed[SYNTH_FINGERS][AFIS_PACKED_MAX];
};

/* Person `number`, from 1. Some 0.1 ms a finger. */
void synth_person_make(const struct synth_population *population, uint32_t number,
                       struct synth_person *out);

/* Impression `impression` of that person's finger at `position`; 0 is the enrolled one. */
void synth_person_capture(const struct synth_population *population, uint32_t number,
                          unsigned position, uint32_t impression, struct afis_template *out);

/* The sensor called `name` ("optical", ...) or "mixed". false: there is none. */
bool synth_sensor_named(const char *name, struct synth_population *population);

#endif
