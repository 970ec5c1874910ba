/* Keeping a backend's gallery ready to be searched: at the start of the server all of it, later
 * what other processes change, so that no search has to wait for much. */
#include <stdio.h>

#include "finger_request.h"

#define PERIOD_MS 1000u

static void job(void *arg)
{
    struct finger_instance *instance = arg;
    const struct whorl_host *host = instance->host;
    struct whorl_fault fault = {{0}, {0}};
    uint64_t people, of;
    enum gallery_ready ready = gallery_prepare_step(instance->gallery, &people, &of, &fault);
    if (ready == GALLERY_PREPARING && host->submit(host, job, instance)) {
        return;
    }
    if (ready == GALLERY_PREPARE_FAILED) {
        char text[300];
        (void)snprintf(text, sizeof text, "the gallery cannot be made ready: %s", fault.text);
        host->log(host, WHORL_LOG_ERROR, text);
    }
    atomic_store(&instance->preparing, false);
}

void finger_prepare(struct finger_instance *instance)
{
    const struct whorl_host *host = instance->host;
    if (!atomic_exchange(&instance->preparing, true) && !host->submit(host, job, instance)) {
        atomic_store(&instance->preparing, false);
    }
}

static void expired(void *arg)
{
    struct finger_instance *instance = arg;
    finger_prepare(instance);
    /* Without memory for a timer, searches that find too much changed still ask for it. */
    (void)instance->host->timer_start(instance->host, PERIOD_MS, expired, instance);
}

void finger_prepare_start(struct finger_instance *instance)
{
    expired(instance);
}
