/* Who calls: the device by its certificate, the officer by the register. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/identify/internal.h"

bool refuse(struct refusal *refusal, const char *code, const char *where, const char *format, ...)
{
    refusal->code = code;
    snprintf(refusal->where, sizeof refusal->where, "%s", where);
    va_list args;
    va_start(args, format);
    vsnprintf(refusal->message, sizeof refusal->message, format, args);
    va_end(args);
    return false;
}

static bool registry_broken(struct identify *identify, const struct whorl_fault *fault,
                            struct refusal *refusal)
{
    log_line(identify->log, WHORL_LOG_ERROR, "the registry cannot be read", "why", fault->text,
             NULL);
    return refuse(refusal, "internal", "", "the registry cannot be read");
}

bool access_device(struct identify *identify, const struct identify_caller *caller,
                   struct identity *who, struct refusal *refusal)
{
    struct whorl_fault fault = {0};
    enum registry_found found = REGISTRY_ABSENT;
    if (caller->certificate != NULL) {
        found = registry_device_of(identify->registry, caller->certificate, &who->device, &fault);
    } else if (caller->device != NULL) {
        found = registry_device(identify->registry, caller->device, &who->device, &fault);
    }
    if (found == REGISTRY_FAILED) {
        return registry_broken(identify, &fault, refusal);
    }
    if (found == REGISTRY_ABSENT) {
        return refuse(refusal, "device_unknown", "", "this device is not registered");
    }
    if (who->device.state != REGISTRY_ACTIVE) {
        return refuse(refusal, "device_revoked", "", "device %s is %s", who->device.id,
                      registry_state_name(who->device.state));
    }
    return true;
}

static bool officer_active(const struct registry_officer *officer, struct refusal *refusal)
{
    int64_t now = stamp_now() / 1000;
    if (officer->state != REGISTRY_ACTIVE) {
        return refuse(refusal, "officer_revoked", "officer", "officer %s is %s", officer->id,
                      registry_state_name(officer->state));
    }
    if (now < officer->valid_from || (officer->valid_until != 0 && now >= officer->valid_until)) {
        return refuse(refusal, "officer_revoked", "officer", "officer %s is not valid %s",
                      officer->id, now < officer->valid_from ? "yet" : "any more");
    }
    return true;
}

static struct bucket_limits officer_limits(const struct identify *identify)
{
    const struct conf_core *core = &identify->setup->conf->core;
    return (struct bucket_limits){core->officer_rate, core->officer_burst};
}

static bool route_ends_with(const struct decoded_identify *request, const char *gateway)
{
    return request->route_count > 0 &&
           strcmp(request->route[request->route_count - 1], gateway) == 0;
}

/* Whether a gateway was passed twice, or this one already. */
static const char *looping(const struct decoded_identify *request, const char *own)
{
    for (size_t i = 0; i < request->route_count; i++) {
        if (strcmp(request->route[i], own) == 0) {
            return own;
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(request->route[i], request->route[j]) == 0) {
                return request->route[i];
            }
        }
    }
    return NULL;
}

bool access_route(struct identify *identify, const struct identity *who,
                  const struct decoded_identify *request, struct refusal *refusal)
{
    if (!who->device.gateway) {
        const char *field = request->route_count > 0    ? "route"
                            : request->people.count > 0 ? "people"
                                                        : NULL;
        return field == NULL || refuse(refusal, "invalid", field, "only a gateway may send it");
    }
    const char *again = looping(request, identify->setup->conf->core.gateway);
    if (again != NULL) {
        return refuse(refusal, "loop", "route", "gateway %s has passed this request on already",
                      again);
    }
    return route_ends_with(request, who->device.id) ||
           refuse(refusal, "invalid", "route",
                  "must name the gateways that the request has passed, the last one being %s",
                  who->device.id);
}

/* The id is a registered one, so that nobody can fill the table with names. */
static bool officer_in_rate(struct identify *identify, const char *id, struct refusal *refusal)
{
    struct bucket_limits limits = officer_limits(identify);
    struct quota *quota = quotas_get(&identify->officers, id, strlen(id));
    if (quota == NULL) {
        return refuse(refusal, "busy", "", "out of memory");
    }
    return bucket_take(&quota->calls, &limits, flow_now(), &refusal->retry_ms) ||
           refuse(refusal, "busy", "officer", "this officer calls more often than they may");
}

void access_forget(struct identify *identify)
{
    struct bucket_limits limits = officer_limits(identify);
    quotas_sweep(&identify->officers, &limits, flow_now());
}

bool access_officer(struct identify *identify, const char *officer, struct identity *who,
                    struct refusal *refusal)
{
    struct whorl_fault fault = {0};
    enum registry_found found =
        registry_officer(identify->registry, officer, &who->officer, &fault);
    if (found == REGISTRY_FAILED) {
        return registry_broken(identify, &fault, refusal);
    }
    if (found == REGISTRY_ABSENT) {
        return refuse(refusal, "officer_unknown", "officer", "this officer is not registered");
    }
    if (!officer_active(&who->officer, refusal)) {
        return false;
    }
    const struct conf *conf = identify->setup->conf;
    who->force = conf_find_force(conf, who->officer.force);
    if (who->force == NULL) {
        return refuse(refusal, "officer_not_of_force", "officer",
                      "force %s is not configured on this server", who->officer.force);
    }
    const struct conf_force *owner = conf_find_force(conf, who->device.force);
    if (strcmp(who->device.force, who->officer.force) != 0 &&
        (owner == NULL || !conf_list_has(owner->lends_to, who->officer.force))) {
        return refuse(refusal, "officer_not_of_force", "officer",
                      "the device belongs to force %s, which does not lend it to force %s",
                      who->device.force, who->officer.force);
    }
    for (size_t i = 0; i < who->officer.entitlement_count; i++) {
        who->entitlements[i] = who->officer.entitlements[i];
    }
    return officer_in_rate(identify, who->officer.id, refusal);
}
