/* Shared by the two forms of a manifest. */
#ifndef CLI_MANIFEST_INTERNAL_H
#define CLI_MANIFEST_INTERNAL_H

#include "cli/csv.h"
#include "cli/enrol/manifest.h"

struct manifest {
    FILE *file;
    char *path, *dir;
    char *made; /* the line that stands for a transaction instead of a manifest */
    bool csv;
    uint64_t read, size;
    unsigned long line;
    char *buffer; /* getline's */
    size_t cap;
    char *header;                    /* CSV: the header line, cut up, */
    char *columns[CSV_FIELDS_MAX];   /* its fields, */
    size_t column_count;             /* how many, */
    struct manifest_person *pending; /* and the person whose rows are being read */
};

/* Begins to read an open file, which it takes over; path must be set. */
bool manifest_begin(struct manifest *manifest, FILE *file, struct whorl_fault *fault);

/* Reads the next line; false at the end, or with *failed and *fault. */
bool manifest_line(struct manifest *manifest, size_t *len, bool *failed, struct whorl_fault *fault);

struct manifest_person *manifest_person_new(unsigned long line);

/* Checks and takes over: identifiers in canonical form, the date of expiry, a print. */
bool manifest_set_id(struct manifest_person *person, const char *id, struct whorl_fault *fault);
bool manifest_add_identifier(struct manifest_person *person, const char *key, const char *value,
                             struct whorl_fault *fault);
bool manifest_set_expires(struct manifest_person *person, const char *date,
                          struct whorl_fault *fault);
bool manifest_add_print(struct manifest_person *person, const struct manifest_print *print,
                        struct whorl_fault *fault);
/* The person as a whole, prints apart. */
bool manifest_check(struct manifest_person *person, struct whorl_fault *fault);

bool manifest_csv_header(struct manifest *manifest, struct whorl_fault *fault);
/* Reads one row: into the pending person, or *new_one when it begins another. */
bool manifest_csv_row(struct manifest *manifest, size_t len, struct manifest_person **new_one,
                      struct whorl_fault *fault);
struct manifest_person *manifest_json_line(struct manifest *manifest, size_t len,
                                           struct whorl_fault *fault);

#endif
