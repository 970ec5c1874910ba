/* How long to wait before another attempt, and until when. */
#ifndef CLIENT_BACKOFF_H
#define CLIENT_BACKOFF_H

#include <stdint.h>

/* The wait after `failures` attempts in a row have failed (>= 1): base doubled for each but the
 * first, at most max; half of it is left to chance. Milliseconds. random: any 32 random bits. Pure.
 */
uint64_t backoff_wait(uint32_t failures, uint32_t base, uint32_t max, uint32_t random);

/* CLOCK_MONOTONIC in milliseconds. */
uint64_t backoff_now(void);

/* Milliseconds from now until a time; 0 once it has passed. */
uint64_t backoff_left(uint64_t until);

/* Sleeps; signals don't cut it short. */
void backoff_sleep(uint64_t ms);

#endif
