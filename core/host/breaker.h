/* A circuit breaker: cuts a backend off that fails one call after another, and lets it back in when
 * a single call, the probe, succeeds. A pure state machine: the clock and the randomness come from
 * outside. After M. Nygard, Release It! (2007), section 5.2. */
#ifndef CORE_HOST_BREAKER_H
#define CORE_HOST_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker_limits {
    unsigned failures; /* in a row that open it; 0: it never opens */
    uint64_t wait_ms;  /* until the first probe; doubled by each probe that fails */
    uint64_t max_wait_ms;
};

enum breaker_state {
    BREAKER_CLOSED,    /* calls pass */
    BREAKER_OPEN,      /* none does, until its wait is over */
    BREAKER_HALF_OPEN, /* one is under way, and decides */
};

/* All zero is a closed breaker. */
struct breaker {
    enum breaker_state state;
    unsigned failures; /* in a row */
    unsigned doublings;
    uint64_t until;  /* when it is open: end of the wait */
    uint64_t opened; /* how often it has opened from closed */
};

/* May a call pass at `now` (ms, of a clock that never jumps)? *probe: it is the one that decides,
 * and its end must be told with probe = true. */
bool breaker_admit(struct breaker *breaker, const struct breaker_limits *limits, uint64_t now,
                   bool *probe);

/* How a call that was admitted ended. Each returns whether the state has changed. What calls from
 * before it opened have to say counts no more, except that a success closes nothing. */
bool breaker_succeeded(struct breaker *breaker, bool probe);
/* random: any 32 bits; half of each wait is left to chance, so that many servers do not probe one
 * backend in step. */
bool breaker_failed(struct breaker *breaker, const struct breaker_limits *limits, bool probe,
                    uint64_t now, uint32_t random);
/* It ended for a reason that says nothing about the backend; after a probe the next call is one. */
bool breaker_undecided(struct breaker *breaker, bool probe);

/* Milliseconds until a call may be tried again; 0: now. */
uint64_t breaker_wait(const struct breaker *breaker, uint64_t now);

/* "closed", "open", "half_open" */
const char *breaker_state_name(enum breaker_state state);

#endif
