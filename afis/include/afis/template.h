/* Minutiae templates: the form in memory, the packed form that galleries store, and the
 * interchange records of ISO/IEC 19794-2:2005 (and ANSI INCITS 378-2004). */
#ifndef AFIS_TEMPLATE_H
#define AFIS_TEMPLATE_H

#include <stddef.h>
#include <stdint.h>

#include "afis/status.h"

#define AFIS_MINUTIAE_MAX 255u /* what an ISO/IEC 19794-2 view can hold */
#define AFIS_PACKED_MAX 1024u  /* bytes of the largest packed template */
#define AFIS_RECORD_MAX 1562u  /* bytes of the largest interchange record written */

/* Terms of ISO/IEC 19794-2:2005, 6.2. */
enum afis_minutia_type {
    AFIS_MINUTIA_OTHER = 0,
    AFIS_MINUTIA_ENDING = 1,
    AFIS_MINUTIA_BIFURCATION = 2
};

struct afis_minutia {
    int16_t x, y;    /* 1/16 pixel at 500 dpi; origin top left, x right, y down */
    uint16_t angle;  /* binary angle, 65536 = 360 degrees, counter-clockwise from +x (y up), in the
                        direction of ISO/IEC 19794-2: from a ridge ending back along its ridge */
    uint8_t type;    /* enum afis_minutia_type */
    uint8_t quality; /* 1..100, higher is more reliable; 0 = not reported */
};

/* Why a print is of low quality: what an officer can act on. Bits, so that several can hold. */
enum afis_quality_reason {
    AFIS_REASON_TOO_LITTLE_FINGER = 1u << 0,
    AFIS_REASON_TOO_DRY = 1u << 1,
    AFIS_REASON_TOO_WET = 1u << 2, /* too wet or smudged */
    AFIS_REASON_MOVED = 1u << 3,
    AFIS_REASON_NOT_A_FINGER = 1u << 4
};

/* One impression of one finger. Plain data, no pointers: may be copied and wiped as bytes. */
struct afis_template {
    uint16_t width, height; /* of the impression, pixels at 500 dpi */
    uint8_t position;       /* ISO finger position 1..10; 0 = unknown */
    uint8_t quality;        /* 0..100, higher is better (NFIQ 2 scale) */
    uint8_t reasons;        /* enum afis_quality_reason bits */
    uint8_t reserved;       /* 0 */
    uint16_t count;         /* minutiae that follow, best first is not required */
    struct afis_minutia minutiae[AFIS_MINUTIAE_MAX];
};

/* Officer-readable advice for the lowest set bit of reasons, e.g. "too dry: press a little harder";
 * "" when none is set. Static storage. */
const char *afis_quality_advice(uint8_t reasons);

/* Reads view number `view` (0 = first) of an ISO/IEC 19794-2:2005 ("FMR\0 20\0") or ANSI INCITS
 * 378-2004 record. Coordinates are scaled to 500 dpi by the record's own resolution. Bytes cut
 * anywhere, counts that do not fit and out-of-range fields give AFIS_BAD_FORMAT. */
enum afis_status afis_template_from_iso(const uint8_t *bytes, size_t len, unsigned view,
                                        struct afis_template *out);

/* Writes a one-view ISO/IEC 19794-2:2005 record of at most cap bytes; *len is its size.
 * AFIS_TOO_LARGE when cap does not suffice. */
enum afis_status afis_template_to_iso(const struct afis_template *tmpl, uint8_t *bytes, size_t cap,
                                      size_t *len);

/* The same as an ANSI INCITS 378-2004 record: angles in units of 2 degrees. What either function
 * wrote is read back to the same positions, angles, types and qualities, and written again to the
 * same bytes; reasons are not part of the standards. */
enum afis_status afis_template_to_ansi378(const struct afis_template *tmpl, uint8_t *bytes,
                                          size_t cap, size_t *len);

/* How many views a record of either standard holds, from 0; 0 if its header cannot be read. */
unsigned afis_template_views(const uint8_t *bytes, size_t len);

/* The packed, versioned form that galleries store: <= 600 bytes at 40 minutiae, never more than
 * AFIS_PACKED_MAX (the most reliable minutiae are kept). Little-endian, no alignment needed. */
enum afis_status afis_template_pack(const struct afis_template *tmpl, uint8_t *bytes, size_t cap,
                                    size_t *len);

/* Reads what afis_template_pack wrote; every byte is checked, because databases are input too. */
enum afis_status afis_template_unpack(const uint8_t *bytes, size_t len, struct afis_template *out);

#endif
