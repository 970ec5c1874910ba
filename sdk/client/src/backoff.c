#include "backoff.h"

#include <errno.h>
#include <time.h>

uint64_t backoff_wait(uint32_t failures, uint32_t base, uint32_t max, uint32_t random)
{
    uint64_t wait = base;
    for (uint32_t i = 1; i < failures && wait < max; i++) {
        wait *= 2;
    }
    wait = wait < max ? wait : max;
    uint64_t half = wait / 2;
    return wait - half + (half * random >> 32);
}

uint64_t backoff_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t backoff_left(uint64_t until)
{
    uint64_t now = backoff_now();
    return until > now ? until - now : 0;
}

void backoff_sleep(uint64_t ms)
{
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}
