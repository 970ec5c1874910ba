/* The PNC records in LMDB (kind "whorl-pnc"): "people" (PNCID -> record), and the indexes "cro"
 * (CRO number -> PNCIDs) and "names" (pnc_name_key -> PNCIDs) over filed names and aliases. */
#ifndef PLUGINS_PNC_PEOPLE_H
#define PLUGINS_PNC_PEOPLE_H

#include "plugins/pnc/records.h"
#include "whorl/store.h"

struct pnc_people;

/* Opens the records in dir; NULL with *fault. Any thread. */
struct pnc_people *pnc_people_open(const char *dir, enum whorl_store_mode mode,
                                   struct whorl_fault *fault);
void pnc_people_close(struct pnc_people *people);

enum pnc_put { PNC_ADDED, PNC_REPLACED, PNC_UNCHANGED };

/* Stores records in one durable transaction, replacing those of the same PNCID; done[i] says what
 * became of record i. false with *fault: none is stored. Blocks for the disk. */
bool pnc_people_put(struct pnc_people *people, const struct pnc_record *records, size_t count,
                    enum pnc_put *done, struct whorl_fault *fault);

/* What pnc_people_put would do with each of them, as the store is now. false with *fault. */
bool pnc_people_compare(struct pnc_people *people, const struct pnc_record *records, size_t count,
                        enum pnc_put *done, struct whorl_fault *fault);

/* A consistent view. NULL with *fault. End it soon with pnc_people_done. Any thread. */
MDB_txn *pnc_people_read(struct pnc_people *people, struct whorl_fault *fault);
void pnc_people_done(struct pnc_people *people, MDB_txn *txn);

/* How many records there are. */
bool pnc_people_count(struct pnc_people *people, MDB_txn *txn, uint64_t *count,
                      struct whorl_fault *fault);

/* The PNCIDs of the people that have key (canonical): up to max of them, in order. *count may be
 * 0; false with *fault when the store could not be searched. */
bool pnc_people_find(struct pnc_people *people, MDB_txn *txn, enum pnc_key by, const char *key,
                     char (*found)[PNC_ID_CAP], size_t max, size_t *count,
                     struct whorl_fault *fault);

/* A person's record, validated anew; release it. false with *fault, also when there is none. */
bool pnc_people_get(struct pnc_people *people, MDB_txn *txn, const char *pncid,
                    struct pnc_record *record, struct whorl_fault *fault);

#endif
