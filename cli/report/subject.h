/* What is recorded of one person (right of access, Data Protection Act 2018 section 45).
 *
 * Whose records they are can't be proved from the log, which holds nothing biometric: whoever asks
 * says by what the person is known. Other people are kept out: officers and devices are not named,
 * and of the candidates of an answer only those that are the person's own. A reference tells whose
 * a transaction is only where it is the sole match, of a search or of what a search found; of all
 * others in which it was a candidate it is said that it was one, and nothing else. */
#ifndef CLI_REPORT_SUBJECT_H
#define CLI_REPORT_SUBJECT_H

#include "report/document.h"
#include "report/names.h"
#include "report/record.h"

/* By what the person is known; NULL: by nothing of that kind. One of transaction, family and ref is
 * there. */
struct subject_query {
    const char *transaction;           /* and those that it continues or that continue it */
    const char *family, *given, *born; /* as claimed: each that is there must be the same; names
                                          without regard to ASCII case */
    const char *ref;                   /* a database's id of the person */
    const char *backend;               /* with ref: which database's; NULL: whichever has it */
};

struct subject;

/* NULL without memory. */
struct subject *subject_new(const struct subject_query *query);
void subject_free(struct subject *subject);

/* First, all records in order; again until subject_grew is false: a later record may tell that an
 * earlier one is theirs, or is not. false: too many transactions, or out of memory. */
bool subject_find(struct subject *subject, const struct record *record);
bool subject_grew(struct subject *subject);

/* Whether the reference stands in several databases, and nothing tells that it is one person's
 * there. Then their names are in text. */
bool subject_is_ambiguous(const struct subject *subject, char *text, size_t cap);

/* Then all of them once more, for the report. */
void subject_begin(struct subject *subject, struct document *doc);
void subject_add(struct subject *subject, const struct record *record, struct document *doc);

/* The transactions that are theirs, and the one that was asked for. As long as the subject. */
const struct names *subject_transactions(const struct subject *subject);

#endif
