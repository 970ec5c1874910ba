/* A simulated month: invented transactions of the forces, policies and backends of a configuration.
 * Everything follows from the seed. */
#ifndef CLI_SYNTH_MONTH_H
#define CLI_SYNTH_MONTH_H

#include "core/conf/conf.h"
#include "report/period.h"
#include "whorl/msg.h"

/* An officer's invented life: a team's shifts, a place in the pool of devices, habits. */
struct synth_officer {
    char id[33];
    uint32_t force;    /* index in conf->forces */
    uint32_t base;     /* a station; its devices are pooled */
    uint32_t rota;     /* where in the shifts' cycle the team is */
    uint32_t activity; /* how busy: cumulated over the officers before */
    bool entitled;     /* to look-ups */
};

/* One transaction, from which its records can be written any number of times. */
struct synth_use {
    int64_t time_ms;
    uint64_t seed; /* of all that is drawn for it */
    uint32_t officer;
    uint32_t rule;     /* index in the force's policy */
    int32_t continues; /* index of the transaction that it scans again for; -1 = none */
    uint32_t person;   /* who is scanned */
};

enum synth_kind { SYNTH_IDENTIFY, SYNTH_OUTCOME, SYNTH_REFUSED };

/* What stands in the log at a time. */
struct synth_event {
    int64_t time_ms;
    uint32_t use; /* index */
    enum synth_kind kind;
};

struct synth_month {
    const struct conf *conf;
    struct period period;
    uint64_t seed;
    struct synth_officer *officers;
    struct synth_use *uses;
    struct synth_event *events; /* by time */
    uint32_t officer_count, use_count, event_count;
};

/* Draws the month. false with *fault (no force with a policy that allows anything; memory). */
bool synth_month_make(const struct conf *conf, const struct period *period, uint32_t transactions,
                      uint64_t seed, struct synth_month *month, struct whorl_fault *fault);
void synth_month_release(struct synth_month *month);

#define SYNTH_RECORDS_MAX 9u /* of one event */

/* Packs an event's records, in the form of docs/plugins.md; buffers are cleared first. Returns how
 * many there are. */
size_t synth_month_records(const struct synth_month *month, const struct synth_event *event,
                           msgpack_sbuffer records[SYNTH_RECORDS_MAX]);

#endif
