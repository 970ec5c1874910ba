/* Cases: what became of unusual activity. A case is nothing but its records in the audit log, so
 * whatever is done to one is audited by being done, and ends with the records' own retention. Its
 * number is the position of the record that opened it.
 *
 * Record kind `case` (docs/plugins.md): event opened, assigned, viewed or closed. Nothing
 * biometric. */
#ifndef CLI_CASE_H
#define CLI_CASE_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/audit/audit_writer.h"
#include "report/document.h"
#include "report/scan.h"

#define CASE_TRANSACTIONS_MAX 5000u
#define CASE_WHY_MAX 600u
#define CASE_NOTE_MAX 1000u
#define CASE_ASSIGNEE_MAX 64u

/* A case as its records leave it. */
struct case_state {
    uint64_t number;
    char opened[32], closed[32]; /* times; closed "" while it is open */
    char force[33], officer[33], flag[33];
    char assignee[CASE_ASSIGNEE_MAX + 1], finding[33];
};

struct cases {
    struct case_state *cases; /* by number */
    size_t count, cap;
    uint64_t malformed; /* records of the kind without its form */
    bool failed;        /* out of memory */
};

/* What may be found. */
struct case_finding {
    const char *code, *meaning;
};
extern const struct case_finding case_findings[]; /* ends with NULL */

/* Reads the records of all cases in the log in directory dir. Release in any case. */
bool cases_read(const char *dir, struct cases *cases, struct scan *scan, struct whorl_fault *fault);
void cases_release(struct cases *cases);
const struct case_state *cases_find(const struct cases *cases, uint64_t number);

/* What opens a case. */
struct case_opening {
    const char *force, *officer, *flag, *why;
    char (*transactions)[40];
    uint64_t *records; /* set by case_locate */
    size_t count;
};

/* Finds the records of the transactions in the log; all must be there, and the officer's. */
bool case_locate(const char *dir, struct case_opening *opening, struct whorl_fault *fault);

/* Each writes its record; *number is the new case's. */
bool case_open(struct audit_writer *writer, const struct case_opening *opening, uint64_t *number,
               struct whorl_fault *fault);
bool case_assign(struct audit_writer *writer, const struct case_state *state, const char *assignee,
                 struct whorl_fault *fault);
bool case_view(struct audit_writer *writer, const struct case_state *state,
               struct whorl_fault *fault);
bool case_close(struct audit_writer *writer, const struct case_state *state, const char *finding,
                const char *note, struct whorl_fault *fault);

/* Tables: all cases, without saying whom they are about; one case, whole, read from the log in
 * directory dir once more. */
void cases_list(const struct cases *cases, struct document *doc);
bool case_show(const char *dir, const struct case_state *state, struct document *doc,
               struct whorl_fault *fault);

#endif
