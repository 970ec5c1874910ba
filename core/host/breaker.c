#include "core/host/breaker.h"

/* A wait between half of its nominal length and the whole. */
static uint64_t next_wait(const struct breaker *breaker, const struct breaker_limits *limits,
                          uint32_t random)
{
    uint64_t wait = limits->wait_ms;
    for (unsigned i = 0; i < breaker->doublings && wait < limits->max_wait_ms; i++) {
        wait *= 2;
    }
    if (wait > limits->max_wait_ms) {
        wait = limits->max_wait_ms;
    }
    return wait / 2 + random % (wait - wait / 2 + 1);
}

bool breaker_admit(struct breaker *breaker, const struct breaker_limits *limits, uint64_t now,
                   bool *probe)
{
    *probe = false;
    if (breaker->state == BREAKER_CLOSED || limits->failures == 0) {
        return true;
    }
    if (breaker->state == BREAKER_HALF_OPEN || now < breaker->until) {
        return false;
    }
    breaker->state = BREAKER_HALF_OPEN;
    *probe = true;
    return true;
}

bool breaker_succeeded(struct breaker *breaker, bool probe)
{
    if (probe) {
        breaker->state = BREAKER_CLOSED;
        breaker->failures = 0;
        breaker->doublings = 0;
        return true;
    }
    if (breaker->state == BREAKER_CLOSED) {
        breaker->failures = 0;
    }
    return false;
}

static void open_until(struct breaker *breaker, const struct breaker_limits *limits, uint64_t now,
                       uint32_t random)
{
    breaker->state = BREAKER_OPEN;
    breaker->until = now + next_wait(breaker, limits, random);
}

bool breaker_failed(struct breaker *breaker, const struct breaker_limits *limits, bool probe,
                    uint64_t now, uint32_t random)
{
    if (probe) {
        breaker->doublings += breaker->doublings < 32 ? 1 : 0;
        open_until(breaker, limits, now, random);
        return true;
    }
    if (breaker->state != BREAKER_CLOSED || limits->failures == 0 ||
        ++breaker->failures < limits->failures) {
        return false;
    }
    breaker->opened++;
    open_until(breaker, limits, now, random);
    return true;
}

bool breaker_undecided(struct breaker *breaker, bool probe)
{
    if (probe) {
        breaker->state = BREAKER_OPEN; /* its wait is over: the next call is a probe again */
    }
    return probe;
}

uint64_t breaker_wait(const struct breaker *breaker, uint64_t now)
{
    return breaker->state == BREAKER_CLOSED || now >= breaker->until ? 0 : breaker->until - now;
}

const char *breaker_state_name(enum breaker_state state)
{
    static const char *const names[] = {"closed", "open", "half_open"};
    return names[state];
}
