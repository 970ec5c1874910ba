/* One person on the way through an enrolment. */
#ifndef CLI_ENROL_PRINT_H
#define CLI_ENROL_PRINT_H

#include "afis/template.h"
#include "enrol.h"

enum enrol_print_state {
    ENROL_PRINT_NEW,   /* bytes hold its template */
    ENROL_PRINT_KNOWN, /* the gallery has it */
    ENROL_PRINT_BAD    /* fault says why */
};

struct enrol_print {
    enum enrol_print_state state;
    uint8_t digest[GALLERY_DIGEST];
    uint16_t len;
    uint8_t bytes[AFIS_PACKED_MAX];
    struct whorl_fault fault;
};

/* Reads the file, and makes a template of it unless `known` (may be NULL) has a print of the same
 * place and content. Any thread. */
void enrol_print_make(const char *dir, const struct manifest_print *source,
                      const struct gallery_person *known, struct enrol_print *out);

/* A person of the gallery as it will be: what the manifest states, and for the rest what was there.
 * The pointers go into both and into the work. */
struct enrol_person {
    struct gallery_person person;
    struct gallery_print prints[GALLERY_PRINTS_MAX];
    size_t added, replaced; /* prints */
    bool changed;           /* anything at all */
};

/* old may be NULL. false with *fault: it would have too many prints, or none. */
bool enrol_person_merge(const struct manifest_person *source, const struct enrol_print *prints,
                        const struct gallery_person *old, struct enrol_person *out,
                        struct whorl_fault *fault);

#endif
