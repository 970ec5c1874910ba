/* Records of missing persons: a CSV file (RFC 4180), read whole, checked line by line, and indexed
 * by PNCID and by name with date of birth. */
#ifndef RECORDS_H
#define RECORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "whorl/plugin.h"

enum { RECORDS_FILE_MAX = 16 << 20, RECORDS_MAX = 200000, RECORD_TEXT_MAX = 250 };

/* One row. Texts are never NULL, and clean UTF-8; those that may be missing are "". */
struct record {
    const char *reference; /* of the force that looks for the person; unique */
    const char *family, *given;
    const char *born;  /* YYYY-MM-DD or "" */
    const char *pncid; /* or "" */
    const char *since; /* YYYY-MM-DD */
    const char *force;
    const char *risk;     /* high, medium, low */
    const char *if_found; /* what an officer is to do, or "" */
};

struct records;

/* Reads the file. NULL with *fault, whose text names file and line. Blocks. */
struct records *records_read(const char *path, struct whorl_fault *fault);
void records_free(struct records *records);

/* Calls found for each record of that PNCID, or of that name and day of birth: the same family name
 * and first given name but for the case of A to Z. Any thread. */
void records_by_pncid(const struct records *records, const char *pncid,
                      void (*found)(void *arg, const struct record *record), void *arg);
void records_by_name(const struct records *records, const char *family, const char *given,
                     const char *born, void (*found)(void *arg, const struct record *record),
                     void *arg);

#endif
