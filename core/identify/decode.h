/* What a device asks, out of its bytes: strict, every bound of docs/protocol.md, and a fault names
 * the field. Pure functions; any thread. */
#ifndef CORE_DECODE_H
#define CORE_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/conf/conf.h"
#include "core/identify/people.h"
#include "core/identify/stamp.h"
#include "core/registry/registry.h"
#include "whorl/msg.h"

#define DECODE_SAMPLES_MAX 20
#define DECODE_CHECKS_MAX 16
#define DECODE_ROUTE_MAX 8    /* gateways that a request may pass */
#define DECODE_REQUEST_MAX 64 /* bytes of a request id */
#define DECODE_ABSENT (-1)    /* an integer that was left out */

/* A sample's bytes stay where the request's are: gone when the request is. */
struct decoded_sample {
    char modality[33], format[33];
    int64_t position, dpi, width, height; /* DECODE_ABSENT if left out */
    const char *data;
    uint32_t len;
};

/* Texts are "" when left out. */
struct decoded_subject {
    char condition[16], family[101], given[101], born[11], gender[8], age_band[8];
    char ethnicity_officer[4], ethnicity_self[4];
};

struct decoded_identify {
    char request_id[DECODE_REQUEST_MAX + 1];
    char officer[REGISTRY_OFFICER_MAX + 1];
    char basis[65], stop_power[65], reason[251], consent[20];
    int64_t reason_code;                 /* DECODE_ABSENT if left out */
    bool consent_given, condition_given; /* said by the device, not by default */
    struct decoded_subject subject;
    struct decoded_sample samples[DECODE_SAMPLES_MAX];
    size_t sample_count;
    char check_names[DECODE_CHECKS_MAX][33];
    const char *checks[DECODE_CHECKS_MAX + 1]; /* a conf_list of them */
    size_t check_count;                        /* 0: left out */
    char continues[STAMP_UUID_LEN + 1];
    int64_t deadline_ms; /* DECODE_ABSENT if left out */
    /* From gateways only. */
    char route[DECODE_ROUTE_MAX][CONF_GATEWAY_MAX + 1];
    size_t route_count;
    struct people people; /* whom look-ups are to ask about */
};

struct decoded_outcome {
    char officer[REGISTRY_OFFICER_MAX + 1];
    char transaction[STAMP_UUID_LEN + 1];
    char outcome[32];
    int contacted_control; /* 0, 1 or DECODE_ABSENT */
    char note[251];
};

/* Each takes the method's argument map. false with *fault; then request_id and officer are set if
 * they were good, for the audit record of the refusal. *out must not be moved: checks points into
 * it. End a decoded_identify, good or not, with decode_release. */
bool decode_identify(const msgpack_object *argument, struct decoded_identify *out,
                     struct whorl_fault *fault);
void decode_release(struct decoded_identify *request);
bool decode_outcome(const msgpack_object *argument, struct decoded_outcome *out,
                    struct whorl_fault *fault);
bool decode_capabilities(const msgpack_object *argument, char officer[REGISTRY_OFFICER_MAX + 1],
                         struct whorl_fault *fault);
bool decode_cancel(const msgpack_object *argument, char request_id[DECODE_REQUEST_MAX + 1],
                   struct whorl_fault *fault);

/* Whether the request holds a field of that name ("reason", "subject.family", "samples"); for
 * policy_missing. */
bool decode_present(const void *request, const char *field);

/* SHA-256 over key and the request's content in a fixed order, so that neither the order of fields
 * nor their encoding matters. Keyed, because samples are part of it: without the key, which lives
 * in memory only, the digest tells nothing of a sample. false: out of memory. */
bool decode_digest(const struct decoded_identify *request, const uint8_t key[32],
                   uint8_t digest[32]);

/* YYYY-MM-DD, a day of the calendar between 1850 and 2199. */
bool decode_date_valid(const char *text);

#endif
