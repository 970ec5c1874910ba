/* Collections, alterations and erasures in the audit log (Data Protection Act 2018, section 62):
 * written by the command that does them, also beside a running server. What is about to be done is
 * recorded first, and is done only if that record is durable; another says that it was done. */
#ifndef CLI_CHANGE_H
#define CLI_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/audit/audit_writer.h"
#include "cli/audit/change_people.h"
#include "whorl/plugin.h"

#define CHANGE_IDS_MAX 1000u /* in one record */

enum change_kind { CHANGE_COLLECTION, CHANGE_ALTERATION, CHANGE_ERASURE };

struct change {
    enum change_kind kind;
    const char *event;      /* docs/plugins.md lists them: "enrolling", "purged", ... */
    const char *store;      /* the plugin whose data it is, or a part of the registry */
    const char *const *ids; /* whom it concerns; NULL: it names nobody */
    size_t id_count;
    int64_t count;                /* how many people, records or entries */
    const char *before;           /* erasure: the day that records have to be older than, or NULL */
    const char *source;           /* else: the lawful source, or NULL */
    const msgpack_sbuffer *entry; /* else: one packed map, what the entry becomes, or NULL */
};

/* Writes one record per CHANGE_IDS_MAX ids of a change (one if there are none), all changes in one
 * transaction, with the account that runs this. They are durable when it returns true. */
bool change_record(struct audit_writer *writer, const struct change *changes, size_t count,
                   struct whorl_fault *fault);

/* The same of people who are about to be put into a store: collections and alterations, one change
 * for each lawful source. */
bool change_record_people(struct audit_writer *writer, const char *event, const char *store,
                          const struct changed_person *people, size_t count,
                          struct whorl_fault *fault);

/* And that so many were put there; what is 0 has no record. */
bool change_record_done(struct audit_writer *writer, const char *event, const char *store,
                        uint64_t collected, uint64_t altered, struct whorl_fault *fault);

#endif
