/* What reports count: one row per transaction of a period, taken from the audit log in one pass.
 *
 * The definitions, which every report prints and docs/reports.md explains:
 *
 *   transaction     an `identify` record: one request that was answered
 *   refusal         a transaction whose consent is `refused` and which has no sample
 *   use             any other transaction
 *   person          uses chained by `continues` are scans of one person and count once, where and
 *                   when their chain begins. Nothing links two chains: the same person met twice
 *                   counts twice
 *   identification  a use in which a search backend answered `match`
 *
 * A row takes some 100 bytes, so the memory that a report needs is bounded by the transactions of
 * its period, not by the log. */
#ifndef CLI_REPORT_FACTS_H
#define CLI_REPORT_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "report/names.h"
#include "report/period.h"
#include "report/record.h"

#define FACTS_BACKENDS_MAX 16u
#define FACTS_NOT_ASKED 15u /* the class of a backend that the transaction's answers don't name */

struct transaction {
    uint8_t id[16];
    int64_t time_ms;
    uint64_t classes; /* 4 bits for each backend: codes_class, or FACTS_NOT_ASKED */
    uint32_t chain;   /* the row of the transaction that its chain begins with */
    uint32_t next;    /* in the hash chain, + 1 */
    uint32_t officer, device, basis, stop_power; /* numbers of names; NAMES_NONE: not recorded */
    uint32_t elapsed_ms;
    uint8_t reason_code, consent, condition, gender, age_band, ethnicity_officer, ethnicity_self;
    uint8_t outcome; /* the last that was recorded; codes_outcome.count: none */
    uint8_t hour, weekday;
    bool refusal;
    bool continued;         /* it continues another, wherever that is */
    bool contacted_control; /* any of its outcomes says so */
    bool identified;        /* set by facts_finish */
    bool counted;           /* set by facts_finish: the chain that begins here has a person */
    bool person;            /* set by facts_finish: the first use of a chain that begins here */
};

/* So long after the first scan of an encounter another may belong to it. */
#define FACTS_AGAIN_MS (10 * INT64_C(60000))

struct facts {
    struct period period;
    const char *force; /* NULL: all */
    struct transaction *rows;
    uint32_t count, cap;
    uint32_t *buckets; /* hash table over ids: row + 1 */
    uint32_t bucket_count;
    struct names officers, devices, bases, stop_powers, backends, refused_codes;
    uint32_t refused[64];     /* by number of the code */
    uint16_t lookup_backends; /* bit set: it answers look-ups, so its match identifies nobody */
    char trouble[160];        /* why facts_add gave up */
};

/* Ready for the records of a log. force, which may be NULL for every force, must outlive it. */
void facts_begin(struct facts *facts, const struct period *period, const char *force);

/* Takes one record, in the order of the log. false: too much for a report, trouble says what. */
bool facts_add(struct facts *facts, const struct record *record);

/* After the last record. */
void facts_finish(struct facts *facts);
void facts_release(struct facts *facts);

/* Marks in open, one for each row, the uses without an outcome: neither has any that scans again in
 * the same encounter. false: out of memory. */
bool facts_open(const struct facts *facts, bool *open);

/* Whether a row belongs to the encounter that `first` began. `continues` alone doesn't tell: the
 * server takes any transaction of the force that it remembers, so that whoever is looked at could
 * name one and hide behind it. */
static inline bool facts_scans_again(const struct transaction *first, const struct transaction *row)
{
    return row->continued && row->chain == first->chain && row->officer == first->officer &&
           row->device == first->device && row->time_ms >= first->time_ms &&
           row->time_ms - first->time_ms <= FACTS_AGAIN_MS;
}

/* The class that a backend (its number) gave. */
static inline uint8_t facts_class(const struct transaction *row, uint32_t backend)
{
    return (uint8_t)(row->classes >> (4 * backend) & 15);
}

static inline bool facts_is_search(const struct facts *facts, uint32_t backend)
{
    return (facts->lookup_backends >> backend & 1) == 0;
}

#endif
