/* People with made-up fingers for the tests of the gallery: minutiae scattered by a seeded
 * generator, and impressions of them with every minutia a little off. */
#ifndef TEST_GALLERY_PEOPLE_H
#define TEST_GALLERY_PEOPLE_H

#include <stdint.h>

#include "afis/template.h"
#include "gallery/gallery.h"

/* The finger that `seed` stands for; impression 0 is as it is, others are jittered, turned and
 * shifted, and lack a few minutiae. */
void people_finger(uint64_t seed, unsigned impression, uint8_t position, struct afis_template *out);

/* A person with up to ten fingers in memory of its own. */
struct test_person {
    struct gallery_person person;
    char id[32], born[16];
    struct gallery_pair identifiers[2];
    struct gallery_name names[2];
    struct gallery_detail details[1];
    char pncid[16];
    struct gallery_print prints[20];
    uint8_t packed[20][AFIS_PACKED_MAX];
};

/* Person number n with the fingers 1..10 of the bit mask `fingers` (bit 0: a print of finger 2
 * under unknown position). */
void people_make(struct test_person *out, unsigned n, unsigned fingers);

/* Makes the templates of the first people beforehand, for main() to call. */
void people_warm(unsigned people, unsigned fingers);

/* Asserts that two people are the same but for their templates. */
void people_assert_same(const struct gallery_person *a, const struct gallery_person *b);

/* The seed of person n's finger. */
uint64_t people_seed(unsigned n, unsigned position);

/* A fresh directory under TMPDIR, removed by people_rmdir with what it holds. */
void people_mkdir(char dir[64]);
void people_rmdir(const char *dir);

/* Opens the gallery there for writing; what was open before (NULL: nothing) is closed first. */
void people_open(struct gallery **gallery, const char *dir);

#endif
