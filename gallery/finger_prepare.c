/* Keeping a backend's gallery ready to be searched: at the start of the server all of it, later
 * what other processes change, so that no search has to wait for much. */
#include <stdio.h>

#include "finger_request.h"

#define PERIOD_MS 1000u

static void report(const struct whorl_host *host, enum whorl_log_level level, const char *what,
                   const struct whorl_fault *fault)
{
    char text[400];
    (void)snprintf(text, sizeof text, "%s: %s", what, fault->text);
    host->log(host, level, text);
}

static void job(void *arg)
{
    struct finger_instance *instance = arg;
    const struct whorl_host *host = instance->host;
    struct whorl_fault fault;
    uint64_t people, of;
    enum gallery_ready ready = gallery_prepare_step(instance->gallery, &people, &of, &fault);
    if (ready == GALLERY_PREPARE_FAILED) {
        report(host, WHORL_LOG_ERROR, "the gallery cannot be made ready", &fault);
    } else if (fault.text[0]) {
        report(host, WHORL_LOG_WARNING, "the search index is made anew", &fault);
    }
    if (ready == GALLERY_PREPARING && host->submit(host, job, instance)) {
        return;
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
