/* Calls for which there is no locked memory wait until others end, whose memory they then have. One
 * that is alone has nobody to wait for: then the limit is too low for it. */
#include "finger_request.h"

void finger_wait_enter(struct finger_request *request)
{
    struct finger_instance *instance = request->instance;
    pthread_mutex_lock(&instance->mutex);
    instance->active++;
    request->returned = instance->returned;
    pthread_mutex_unlock(&instance->mutex);
}

enum finger_wait finger_wait_park(struct finger_request *request)
{
    struct finger_instance *instance = request->instance;
    pthread_mutex_lock(&instance->mutex);
    bool others = instance->active > 1, missed = request->returned != instance->returned;
    request->returned = instance->returned;
    if (others) {
        struct finger_request **at = &instance->parked;
        while (!request->waited && *at) { /* who has waited is first again */
            at = &(*at)->next;
        }
        request->waited = true;
        request->next = *at;
        *at = request;
        instance->active--;
        instance->returned++;
    }
    request->waited = request->waited || missed;
    pthread_mutex_unlock(&instance->mutex);
    return others ? FINGER_WAIT_PARKED : missed ? FINGER_WAIT_AGAIN : FINGER_WAIT_ALONE;
}

struct finger_request *finger_wait_next(struct finger_instance *instance, bool leave)
{
    struct finger_request *woken = NULL;
    const struct whorl_host *host = instance->host;
    pthread_mutex_lock(&instance->mutex);
    instance->active -= leave;
    instance->returned += leave;
    bool taken = false;
    for (struct finger_request **at = &instance->parked; *at;) {
        struct finger_request *request = *at;
        if (taken && !host->cancelled(host, request->call)) {
            at = &request->next;
            continue;
        }
        taken = taken || !host->cancelled(host, request->call);
        *at = request->next;
        request->next = woken;
        request->returned = instance->returned;
        woken = request;
        instance->active++;
    }
    pthread_mutex_unlock(&instance->mutex);
    return woken;
}
