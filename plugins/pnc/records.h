/* One PNC record: its form, as a line of JSON and as stored msgpack. README.md lists the fields. */
#ifndef PLUGINS_PNC_RECORDS_H
#define PLUGINS_PNC_RECORDS_H

#include "plugins/pnc/identifiers.h"
#include "whorl/msg.h"

#define PNC_LINE_MAX ((size_t)64 << 10) /* bytes of a line of JSON, and of a stored record */
#define PNC_KEY_CAP 384                 /* a name key */

/* A valid record. Release with pnc_record_release. */
struct pnc_record {
    uint8_t *bytes; /* msgpack, as stored: identifiers in canonical form */
    size_t len;
    struct whorl_msg msg; /* bytes, parsed */
    char pncid[PNC_ID_CAP];
    char cro[PNC_ID_CAP]; /* "" when it has none */
};

/* Reads and validates a line of JSON. this_year: see pnc_pncid_read. false with *fault, whose where
 * is the field ("circulations[0].date"); no value is repeated in it. *out needs no release then.
 * Pure function. */
bool pnc_record_from_json(const char *line, size_t len, int this_year, struct pnc_record *out,
                          struct whorl_fault *fault);

/* The same for stored bytes, which are copied. */
bool pnc_record_from_bytes(const uint8_t *bytes, size_t len, struct pnc_record *out,
                           struct whorl_fault *fault);

void pnc_record_release(struct pnc_record *record);

/* Whether text is a date YYYY-MM-DD of the years 1850 to 2199. Pure function. */
bool pnc_date_valid(const char *text);

/* What a person is found by with name and birth date: family name and first given name without
 * case, accents (Latin letters), spaces and marks, and the date. "" if a name has no letters. Pure
 * function. family and given: valid UTF-8 of at most 100 bytes. */
void pnc_name_key(const char *family, const char *given, const char *born, char key[PNC_KEY_CAP]);

#endif
