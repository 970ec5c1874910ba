/* Filling a gallery with made-up people, many at a time. */
#ifndef CLI_SYNTH_FILL_H
#define CLI_SYNTH_FILL_H

#include "cli/audit/change_people.h"
#include "cli/synth/synth_people.h"

struct synth_fill {
    struct synth_population population;
    uint32_t people;  /* the gallery is to hold 1..people */
    unsigned threads; /* that make people; one more writes */
    /* Told after each transaction, on the calling thread; may be NULL. */
    void (*progress)(void *ctx, uint32_t people);
    void *ctx;
    change_people *record; /* asked before each transaction, likewise; NULL: nothing is recorded */
    void *record_ctx;
};

/* Adds people up to `people` to a gallery that holds nobody else: those who are there already must
 * be the first of the same population and are kept, so that a run that was broken off goes on.
 * *added: how many were new. Blocks. false with *fault. */
bool synth_fill(struct gallery *gallery, const struct synth_fill *fill, uint32_t *added,
                struct whorl_fault *fault);

#endif
