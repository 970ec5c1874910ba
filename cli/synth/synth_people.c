#include "cli/synth/synth_people.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ENROLLED 1767225600 /* 2026-01-01 */
#define EXPIRES 4102444800  /* 2100-01-01 */

/* Index fingers first: they are what is searched most. */
static const uint8_t positions[SYNTH_FINGERS] = {2, 7, 1, 6, 3, 8, 4, 9, 5, 10};

static uint64_t finger_seed(const struct synth_population *population, uint32_t number,
                            unsigned position)
{
    return afis_synth_seed(population->seed, number, position);
}

static enum afis_synth_sensor sensor_of(const struct synth_population *population, uint32_t number)
{
    return population->mixed ? afis_synth_draw_sensor(afis_synth_seed(population->seed, number, 11))
                             : population->sensor;
}

void synth_person_capture(const struct synth_population *population, uint32_t number,
                          unsigned position, uint32_t impression, struct afis_template *out)
{
    afis_synth_template(finger_seed(population, number, position), position,
                        sensor_of(population, number), impression, out);
}

static unsigned fingers_of(const struct synth_population *population, uint32_t number)
{
    const unsigned span = population->fingers_most - population->fingers_least + 1;
    return population->fingers_least +
           (unsigned)(afis_synth_seed(population->seed, number, 12) % span);
}

static void make_print(const struct synth_population *population, uint32_t number, unsigned k,
                       struct synth_person *out)
{
    struct afis_template tmpl;
    struct gallery_print *print = &out->prints[k];
    size_t len = 0;
    synth_person_capture(population, number, positions[k], 0, &tmpl);
    /* The model's templates are valid and the largest packed form fits: it cannot fail. */
    (void)afis_template_pack(&tmpl, out->packed[k], sizeof out->packed[k], &len);
    *print = (struct gallery_print){
        .position = positions[k], .len = (uint16_t)len, .packed = out->packed[k]};
    const uint64_t source[2] = {finger_seed(population, number, positions[k]),
                                sensor_of(population, number)};
    _Static_assert(sizeof source == GALLERY_DIGEST, "a digest says what the print was made from");
    memcpy(print->digest, source, sizeof source);
}

void synth_person_make(const struct synth_population *population, uint32_t number,
                       struct synth_person *out)
{
    snprintf(out->id, sizeof out->id, "syn%09" PRIu32, number);
    snprintf(out->given, sizeof out->given, "No %" PRIu32, number);
    out->name = (struct gallery_name){.family = "Synthetic", .given = out->given};
    const unsigned fingers = fingers_of(population, number);
    for (unsigned k = 0; k < fingers; k++) {
        make_print(population, number, k, out);
    }
    out->person = (struct gallery_person){.id = out->id,
                                          .names = &out->name,
                                          .name_count = 1,
                                          .born = "",
                                          .sex = "",
                                          .source = "synthetic: nobody's prints",
                                          .enrolled = ENROLLED,
                                          .expires = EXPIRES,
                                          .prints = out->prints,
                                          .print_count = fingers};
}

bool synth_sensor_named(const char *name, struct synth_population *population)
{
    static const char *const names[AFIS_SYNTH_SENSORS] = {"optical", "optical-tall", "capacitive",
                                                          "rendered"};
    population->mixed = strcmp(name, "mixed") == 0;
    for (unsigned k = 0; k < AFIS_SYNTH_SENSORS; k++) {
        if (strcmp(name, names[k]) == 0) {
            population->sensor = (enum afis_synth_sensor)k;
            return true;
        }
    }
    return population->mixed;
}
