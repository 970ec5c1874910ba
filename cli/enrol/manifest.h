/* Manifests: lists of people and the files of their prints, as CSV or JSON lines.
 *
 * CSV has a header line. Columns: person, position, file (these three are required), impression,
 * dpi, width, height, family, given, aliases (FAMILY/GIVEN;FAMILY/GIVEN), born, sex, source,
 * expires, pncid, cro, reference, and detail:LABEL. One row a print; the rows of a person stand
 * together, and what they say of the person must not differ (empty fields say nothing).
 *
 * JSON lines: an object per person with person, identifiers {}, names [{family, given}], born,
 * sex, details [{label, value, level}], source, expires, and fingers [{position, impression, file,
 * dpi, width, height}].
 *
 * A file may be an ANSI/NIST-ITL transaction: position 0 then means all its fingers, any other
 * position the fingers of that position. The transaction itself may stand in a manifest's place:
 * one person, whose id is the file's name without its ending.
 *
 * expires is a date, YYYY-MM-DD, or "never". Everything is checked here; a line that is wrong is
 * reported and passed over. */
#ifndef CLI_MANIFEST_H
#define CLI_MANIFEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gallery/gallery.h"
#include "whorl/plugin.h"

struct manifest_print {
    unsigned long line;
    char *file; /* relative to the manifest's folder unless it begins with a slash */
    uint8_t position, impression;
    uint32_t dpi, width, height; /* 0 = not stated */
};

/* A person as a manifest states him; person.prints is left empty. */
struct manifest_person {
    unsigned long line;
    struct gallery_person person; /* the pointers go to what follows and into `text` or `json` */
    char id[GALLERY_ID_MAX + 1];
    struct gallery_pair identifiers[16];
    char canonical[16][16]; /* room for PNCID and CRO numbers in canonical form */
    struct gallery_name names[32];
    struct gallery_detail details[32];
    struct manifest_print prints[GALLERY_PRINTS_MAX];
    size_t print_count;
    bool never;   /* the manifest says that the enrolment does not expire */
    char *text;   /* the CSV row that introduced the person, cut up */
    char *source; /* and as it was, to compare others with */
    json_t *json;
};

struct manifest;

/* Opens a manifest, or manifest.csv or manifest.jsonl in a directory. NULL with *fault. */
struct manifest *manifest_open(const char *path, struct whorl_fault *fault);
void manifest_close(struct manifest *manifest);

const char *manifest_path(const struct manifest *manifest);
/* The folder that relative file names count from. */
const char *manifest_dir(const struct manifest *manifest);
/* Bytes read, and in all. */
void manifest_progress(const struct manifest *manifest, uint64_t *read, uint64_t *of);

enum manifest_got {
    MANIFEST_PERSON, /* *person is the caller's: manifest_person_free */
    MANIFEST_BAD,    /* a line was passed over: *line and *fault (where: the field) say why */
    MANIFEST_END,
    MANIFEST_FAILED /* *fault: nothing more can be read */
};
enum manifest_got manifest_next(struct manifest *manifest, struct manifest_person **person,
                                unsigned long *line, struct whorl_fault *fault);
void manifest_person_free(struct manifest_person *person);

#endif
