/* Random templates for the tests of templates and matching. */
#ifndef TEST_MINUTIAE_H
#define TEST_MINUTIAE_H

#include "afis/template.h"

/* A number in 0..bound-1; the state is the caller's. */
static inline unsigned minutiae_random(uint64_t *state, unsigned bound)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((*state >> 33) % bound);
}

/* `count` minutiae on a print of 300 x 400 pixels, directions flowing with the place. */
static inline struct afis_template minutiae_template(uint64_t seed, unsigned count)
{
    uint64_t state = seed * 2654435761u + 12345;
    struct afis_template t = {.width = 300, .height = 400, .position = 2, .quality = 70};
    const unsigned flow = minutiae_random(&state, 65536);
    for (unsigned i = 0; i < count; i++) {
        struct afis_minutia *m = &t.minutiae[t.count++];
        m->x = (int16_t)(320 + minutiae_random(&state, 4160));
        m->y = (int16_t)(320 + minutiae_random(&state, 5760));
        unsigned turn = flow + (unsigned)m->x * 4 + (unsigned)m->y * 2;
        turn += minutiae_random(&state, 8000) + (minutiae_random(&state, 2) ? 32768u : 0);
        m->angle = (uint16_t)turn;
        m->type = (uint8_t)(1 + minutiae_random(&state, 2));
        m->quality = (uint8_t)(20 + minutiae_random(&state, 80));
    }
    return t;
}

#endif
