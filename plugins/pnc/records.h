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

/* What of a record is looked after, and so ages, apart from the rest. Each class but the first is
 * the field of the same name; the first is all other fields. */
enum pnc_class {
    PNC_DETAILS,
    PNC_CIRCULATIONS,
    PNC_BAIL,
    PNC_DISQUALIFIED,
    PNC_WARNINGS,
    PNC_MARKERS,
    PNC_CLASSES
};
#define PNC_ALL_CLASSES ((1u << PNC_CLASSES) - 1u)

/* "details", "circulations", … */
const char *pnc_class_name(enum pnc_class part);

/* A record as it comes from elsewhere: a text of JSON for each class. */
struct pnc_row {
    const char *pncid, *cro;       /* any form that pnc_pncid_read takes; cro may be NULL */
    const char *json[PNC_CLASSES]; /* NULL: it has nothing of that class */
};

/* Makes a record of those classes of row that are in the set `classes` (bit 1 << class), and of all
 * others of base, which is of the same PNCID (NULL if there are no others). It is validated like
 * any record; failures as pnc_record_from_json. Pure function. */
bool pnc_record_from_row(const struct pnc_row *row, unsigned classes, const struct pnc_record *base,
                         int this_year, struct pnc_record *out, struct whorl_fault *fault);

enum pnc_key { PNC_BY_PNCID, PNC_BY_CRO, PNC_BY_NAME };

/* Calls each(arg, by, key) for everything that the record is found by, names perhaps more than
 * once, until it returns other than 0, and returns that. Pure function. */
int pnc_record_keys(const struct pnc_record *record,
                    int (*each)(void *arg, enum pnc_key by, const char *key), void *arg);

/* Whether the record is found by this key. Pure function. */
bool pnc_record_has_key(const struct pnc_record *record, enum pnc_key by, const char *key);

/* Whether text is a date YYYY-MM-DD of the years 1850 to 2199. Pure function. */
bool pnc_date_valid(const char *text);

/* What a person is found by with name and birth date: family name and first given name without
 * case, accents (Latin letters), spaces and marks, and the date. "" if a name has no letters. Pure
 * function. family and given: valid UTF-8 of at most 100 bytes. */
void pnc_name_key(const char *family, const char *given, const char *born, char key[PNC_KEY_CAP]);

#endif
