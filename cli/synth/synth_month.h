/* A simulated month: invented transactions of the forces, policies and backends of a configuration.
 * Everything follows from the seed. */
#ifndef CLI_SYNTH_MONTH_H
#define CLI_SYNTH_MONTH_H

#include "cli/synth/synth_draw.h"
#include "core/conf/conf.h"
#include "report/period.h"
#include "whorl/msg.h"

#define SYNTH_OPS_MAX 64u
#define SYNTH_POOL 13u                /* devices of a base */
#define SYNTH_OFFICER_PERSON 9500000u /* officers themselves as people: this + their index */

/* An officer's invented life: a team's shifts, a place in the pool of devices, habits. */
struct synth_officer {
    char id[33];
    uint32_t force;    /* index in conf->forces */
    uint32_t base;     /* a station; its devices are pooled */
    uint32_t rota;     /* where in the shifts' cycle the team is */
    uint32_t activity; /* how busy: cumulated over the officers before */
    bool entitled;     /* to look-ups */
    bool on_record;    /* a search finds the officer: a person of the first database */
    bool misuses;      /* something is seeded; nothing else is */
    uint16_t hits;     /* of 1000 people met, how many a database knows */
    uint16_t forgets;  /* of 1000 uses, how many get no outcome */
    uint16_t habit;    /* of 1000 uses, how many get the favourite reason */
    uint8_t favourite; /* a reason's number */
};

/* A special operation: an evening at one place with officers of a whole force. */
struct synth_op {
    uint32_t force, base, day;
};

/* What an officer works from a day on. */
struct synth_duty {
    int64_t start, end; /* worked */
    int64_t listed_end; /* as rostered: overtime is not always entered */
    bool listed;        /* stands in the roster at all */
    int op;             /* index in ops; -1: an ordinary shift */
    unsigned turn;      /* which shift */
    uint32_t base;      /* where the device is from */
};

/* One transaction, from which its records can be written any number of times. */
struct synth_use {
    int64_t time_ms;
    uint64_t seed; /* of all that is drawn for it */
    uint32_t officer;
    uint32_t rule;     /* index in the force's policy */
    int32_t continues; /* index of the transaction that it scans again for; -1 = none */
    uint32_t person;   /* who is scanned */
    uint32_t base;     /* whose device */
    uint8_t reason;
    bool silent; /* nobody records an outcome */
};

enum synth_kind { SYNTH_IDENTIFY, SYNTH_OUTCOME, SYNTH_REFUSED };

/* What stands in the log at a time. */
struct synth_event {
    int64_t time_ms;
    uint32_t use; /* index */
    enum synth_kind kind;
};

enum synth_misuse {
    MISUSE_HOURS,
    MISUSE_VOLUME,
    MISUSE_REPEAT,
    MISUSE_SELF,
    MISUSE_COLLEAGUE,
    MISUSE_OUTCOME,
    MISUSE_TRAVEL,
    MISUSE_HITS,
    MISUSE_REASON,
    MISUSES
};

/* Their names, as `whorl report unusual` has them. */
extern const char *const synth_misuse_names[MISUSES];

struct synth_label {
    enum synth_misuse kind;
    uint32_t officer, use; /* indexes */
};

struct synth_month {
    const struct conf *conf;
    struct period period;
    uint64_t seed;
    struct synth_officer *officers;
    struct synth_use *uses;
    struct synth_event *events; /* by time */
    struct synth_label *labels;
    struct synth_op ops[SYNTH_OPS_MAX];
    uint32_t officer_count, use_count, event_count, label_count, label_cap, op_count, days;
    uint32_t use_cap;
};

/* Draws the month: so many transactions, and for each kind of misuse so many officers who do it,
 * in transactions of their own or in those they have. false with *fault (no force with a policy
 * that allows anything; memory). */
bool synth_month_make(const struct conf *conf, const struct period *period, uint32_t transactions,
                      const uint32_t misuse[MISUSES], uint64_t seed, struct synth_month *month,
                      struct whorl_fault *fault);
void synth_month_release(struct synth_month *month);

/* What a force's other systems would say of the month, for `whorl report unusual`: roster.csv,
 * identities.csv and positions.csv, and what was seeded: labels.csv. Into the directory, which is
 * made. */
bool synth_month_files(const struct synth_month *month, const char *dir, struct whorl_fault *fault);

/* ------------------------------------------------------------------ parts */

/* Draws the special operations. */
void synth_make_ops(struct synth_month *month);
/* What the officer works from that day on; false: nothing. Pure function. */
bool synth_duty(const struct synth_month *month, uint32_t officer, uint32_t day,
                struct synth_duty *duty);
bool synth_posted(const struct synth_month *month, uint32_t officer, uint32_t op);
/* A base's place, degrees. */
void synth_place(const struct synth_month *month, uint32_t force, uint32_t base, double *latitude,
                 double *longitude);
/* Whether a database knows the person: the first, or another. */
bool synth_known(const struct synth_month *month, uint32_t person, unsigned which);
/* Adds an ordinary use; NULL: there is no room. */
struct synth_use *synth_add_use(struct synth_month *month, struct draw *draw, uint32_t officer,
                                int64_t time_ms, uint32_t base);
/* A moment of an ordinary duty, and its base; false: the officer has none. */
bool synth_pick_time(const struct synth_month *month, uint32_t officer, struct draw *draw,
                     int64_t *time_ms, uint32_t *base);
/* Somebody whom a database knows, or nobody does. */
uint32_t synth_stranger(const struct synth_month *month, struct draw *draw, bool known);
/* Seeds misuse. */
bool synth_make_misuse(struct synth_month *month, const uint32_t misuse[MISUSES]);
/* The device's and the transaction's names. */
void synth_name_device(const struct synth_month *month, const struct synth_use *use,
                       char device[65]);
void synth_name_transaction(const struct synth_use *use, char text[40]);
/* The reference that a backend gives for a person. */
void synth_reference(const char *backend, uint32_t person, char text[24]);
/* Whether the first search answers match. Pure function. */
bool synth_matches(const struct synth_month *month, uint32_t use);
/* How many reasons there are to choose from. */
uint8_t synth_reason_count(void);

#define SYNTH_RECORDS_MAX 9u /* of one event */

/* Packs an event's records, in the form of docs/plugins.md; buffers are cleared first. Returns how
 * many there are. */
size_t synth_month_records(const struct synth_month *month, const struct synth_event *event,
                           msgpack_sbuffer records[SYNTH_RECORDS_MAX]);

#endif
