/* One person on the way through an enrolment. */
#ifndef CLI_ENROL_PRINT_H
#define CLI_ENROL_PRINT_H

#include "afis/template.h"
#include "cli/enrol/enrol.h"

enum enrol_print_state {
    ENROL_PRINT_NEW,   /* bytes hold its template */
    ENROL_PRINT_KNOWN, /* the gallery has it */
    ENROL_PRINT_BAD    /* fault says why */
};

struct enrol_print {
    enum enrol_print_state state;
    size_t source;                /* number of the manifest's print that names the file */
    uint8_t position, impression; /* as stated there, or of a finger in a transaction */
    uint8_t digest[GALLERY_DIGEST];
    uint16_t len;
    uint8_t bytes[AFIS_PACKED_MAX];
    struct whorl_fault fault;
};

/* The prints of one person; list is from malloc. */
struct enrol_prints {
    struct enrol_print *list;
    size_t count, cap;
};

/* Reads the file of print number `source`, and makes a template of it unless `known` (may be NULL)
 * has a print of the same place and content. An ANSI/NIST-ITL transaction gives a print for each of
 * its fingers, or for those of the position stated; those of one position get the impression
 * stated and the free ones after it. Appends to *out; false when memory ran out. Any thread. */
bool enrol_print_make(const char *dir, const struct manifest_person *person, size_t source,
                      const struct gallery_person *known, struct enrol_prints *out);

/* A person of the gallery as it will be: what the manifest states, and for the rest what was there.
 * The pointers go into both and into the work. */
struct enrol_person {
    struct gallery_person person;
    struct gallery_print prints[GALLERY_PRINTS_MAX];
    size_t added, replaced; /* prints */
    bool changed;           /* anything at all */
};

/* old may be NULL. false with *fault: it would have too many prints, or none. */
bool enrol_person_merge(const struct manifest_person *source, const struct enrol_prints *prints,
                        const struct gallery_person *old, struct enrol_person *out,
                        struct whorl_fault *fault);

#endif
