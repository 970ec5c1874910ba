/* What the parts of the ANSI/NIST-ITL reader share. */
#ifndef AFIS_AN2K_INTERNAL_H
#define AFIS_AN2K_INTERNAL_H

#include "afis/an2k.h"

/* Information separators (ANSI/NIST-ITL 1-2011, 7.1 and annex B). */
enum an2k_separator {
    AN2K_FS = 0x1c, /* ends a record */
    AN2K_GS = 0x1d, /* between fields */
    AN2K_RS = 0x1e, /* between subfields */
    AN2K_US = 0x1f  /* between items */
};

#define AN2K_IMAGE_FIELD 999u  /* takes all that is left of its record */
#define AN2K_BINARY_HEADER 18u /* bytes of a Type-4 record before its picture */

/* A stretch of bytes to read from its beginning. */
struct an2k_text {
    const uint8_t *at;
    size_t len;
};

/* A tagged field, "TYPE.NUMBER:value". */
struct an2k_field {
    unsigned type, number;
    struct an2k_text value;
};

/* --- fields.c --- */

/* Takes the next field of a record's text (without the closing FS). false at the end, and with
 * *bad set when what follows is no field. */
bool an2k_next_field(struct an2k_text *record, struct an2k_field *out, bool *bad);

/* Takes what stands before the next separator of that kind, or all that is left. false when nothing
 * is left: text->at is NULL then. */
bool an2k_next_part(struct an2k_text *text, uint8_t separator, struct an2k_text *out);

/* A whole decimal number of 1 to 9 digits, at most max. */
bool an2k_number(struct an2k_text text, uint32_t max, uint32_t *out);

/* Item number `index` (from 0) of the subfield as a number. */
bool an2k_item(struct an2k_text subfield, unsigned index, uint32_t max, uint32_t *out);

/* A text without any of the separators equals `word`. */
bool an2k_is(struct an2k_text text, const char *word);

/* A resolution in pixels per centimetre as dpi. */
uint32_t an2k_dpi(uint32_t pixels_per_cm);

/* The text of a record with tagged fields, without its FS. */
struct an2k_text an2k_record_text(const struct afis_an2k *an2k, unsigned record);

/* The number that field `field` consists of. */
bool an2k_field_number(const struct afis_an2k *an2k, unsigned record, unsigned field, uint32_t max,
                       uint32_t *out);

/* --- picture.c --- */

/* Reads what a Type-4 or Type-14 record says into record->picture, status and what.
 * native_dpi: of Type-1's 1.011, 0 when it states none. */
void an2k_read_picture(const struct afis_an2k *an2k, unsigned number, uint32_t native_dpi,
                       struct afis_an2k_record *record);

/* Whether pictures of that coding can be decoded. */
bool an2k_decodes(enum afis_an2k_coding coding);

/* --- minutiae.c --- */

/* The picture of the finger that a Type-9 record is of: the one with its IDC, NULL without one. */
const struct afis_an2k_picture *an2k_picture_of(const struct afis_an2k *an2k, unsigned record);

#endif
