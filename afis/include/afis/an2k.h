/* Transactions of ANSI/NIST-ITL 1-2011 in the traditional encoding ("AN2", EFTS, NIST files):
 * ten-print cards, slaps, minutiae; read and written.
 *
 * Reading keeps no copy: struct afis_an2k points into the caller's bytes, which must outlive it.
 * Every byte is hostile: nothing is read outside the record that it belongs to. A record that
 * cannot be used says so in its own status and leaves the others usable. Clauses and field numbers
 * are those of ANSI/NIST-ITL 1-2011 (NIST SP 500-290). */
#ifndef AFIS_AN2K_H
#define AFIS_AN2K_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "afis/image.h"
#include "afis/memory.h"
#include "afis/slap.h"
#include "afis/status.h"
#include "afis/template.h"

#define AFIS_AN2K_RECORDS_MAX 256u /* of one transaction, its Type-1 counted */
#define AFIS_AN2K_SAMPLES_MAX 20u  /* that afis_an2k_write takes */

/* Compression algorithms, as numbered in Type-4 (table 15); Type-14 names them. */
enum afis_an2k_coding {
    AFIS_AN2K_RAW = 0,
    AFIS_AN2K_WSQ20 = 1,
    AFIS_AN2K_JPEGB = 2,
    AFIS_AN2K_JPEGL = 3,
    AFIS_AN2K_JP2 = 4,
    AFIS_AN2K_JP2L = 5,
    AFIS_AN2K_PNG = 6
};

/* What a Type-4 or Type-14 record says of its picture. */
struct afis_an2k_picture {
    uint8_t position;   /* FGP (table 8): 0 unknown, 1..10, 11 and 12 plain thumbs, 13..15 slaps */
    uint8_t impression; /* IMP (table 7) */
    enum afis_an2k_coding coding;
    uint32_t width, height, dpi;
    size_t at, len;   /* of the compressed bytes in the transaction */
    uint16_t missing; /* 14.018: bit n is set when finger n is amputated or bandaged */
    struct afis_slap_finger segments[AFIS_SLAP_MAX]; /* 14.021, where the sender cut the slap */
    unsigned segment_count;
};

struct afis_an2k_record {
    uint8_t type;                     /* 1..99 */
    uint8_t idc;                      /* information designation character, 0 for Type-1 */
    size_t at, len;                   /* the whole record in the transaction */
    enum afis_status status;          /* whether the record's own fields could be read */
    const char *what;                 /* "" or why not, e.g. "14.012 (BPX): expected 8"; static */
    struct afis_an2k_picture picture; /* Types 4 and 14 with status AFIS_OK */
};

struct afis_an2k {
    const uint8_t *bytes;
    size_t len;
    unsigned count; /* records, the first is Type-1 */
    struct afis_an2k_record records[AFIS_AN2K_RECORDS_MAX];
};

/* Where a transaction as a whole is wrong. */
struct afis_an2k_fault {
    unsigned record;  /* number in the transaction, 0 = Type-1 */
    size_t at;        /* its first byte */
    const char *what; /* without a full stop; static */
};

/* Locates every record of a transaction, by its own length and by Type-1's list of contents, and
 * reads the fields of Types 4 and 14. AFIS_BAD_FORMAT, AFIS_TOO_LARGE with *fault (may be NULL)
 * when the records cannot be told apart. */
enum afis_status afis_an2k_read(const uint8_t *bytes, size_t len, struct afis_an2k *out,
                                struct afis_an2k_fault *fault);

/* Whether bytes begin like a transaction ("1.001:" or "1.01:"). */
bool afis_an2k_probable(const uint8_t *bytes, size_t len);

/* The first field with that number of a record with tagged fields (all but Types 3 to 8), with its
 * separators; NULL when there is none. *len is 0 for an empty field. */
const uint8_t *afis_an2k_field(const struct afis_an2k *an2k, unsigned record, unsigned field,
                               size_t *len);

/* Decodes the picture of a Type-4 or Type-14 record: uncompressed, WSQ20 or PNG; any other coding
 * is AFIS_UNSUPPORTED. Release with afis_image_release. */
enum afis_status afis_an2k_image(const struct afis_an2k *an2k, unsigned record,
                                 const struct afis_memory *memory, struct afis_image *out);

/* Reads the minutiae of a Type-9 record: the M1 block (INCITS 378, 9.126 to 9.150) if it has one,
 * else the IAFIS fields (9.013 to 9.023), else the standard ones (9.005 to 9.012). The latter two
 * know no image size: that of the picture with the same IDC is taken, or else the smallest that
 * holds all minutiae. */
enum afis_status afis_an2k_template(const struct afis_an2k *an2k, unsigned record,
                                    struct afis_template *out);

/* A finger found in a transaction, or a record in which none was. */
struct afis_an2k_finger {
    unsigned record;
    enum afis_status status;          /* AFIS_OK: image or tmpl is there */
    const char *what;                 /* otherwise: why; static, never NULL */
    uint8_t position;                 /* 1..10, 0 = unknown */
    uint8_t impression;               /* IMP */
    bool segmented;                   /* cut out of a slap */
    const struct afis_image *image;   /* until the callback returns */
    const struct afis_template *tmpl; /* of a Type-9 without a picture */
};

/* Calls visit for each finger of a transaction in order: single fingers, the fingers that a slap
 * is cut into (afis/slap.h), and Type-9 minutiae whose finger has no picture here. Records of other
 * types are passed over; finger records that cannot be used are visited with their status. Stops
 * when visit returns false. Returns AFIS_NO_MEMORY, or AFIS_OK otherwise. Blocking: some 15 ms for
 * a rolled finger, 40 ms for a slap. */
enum afis_status
afis_an2k_each_finger(const struct afis_an2k *an2k, const struct afis_memory *memory,
                      bool (*visit)(void *ctx, const struct afis_an2k_finger *finger), void *ctx);

/* The minutiae of a finger that was found: those it came with, or those extracted from its picture.
 * A picture taken from paper (IMP 2 and 3) is freed of what else the paper shows first
 * (afis_slap_isolate); the minutiae lie in the picture as it is. */
enum afis_status afis_an2k_minutiae(const struct afis_an2k_finger *finger,
                                    const struct afis_memory *memory, struct afis_template *out);

/* One finger to write: a picture (Type-14), minutiae (Type-9 with an M1 block), or both under one
 * IDC. */
struct afis_an2k_sample {
    const struct afis_image *image;   /* may be NULL */
    const struct afis_template *tmpl; /* may be NULL; its position must be `position` */
    uint8_t position;                 /* 0..15; of minutiae 0..10 */
    uint8_t impression;               /* IMP: 0 live-scan plain */
    enum afis_an2k_coding coding;     /* of the picture: AFIS_AN2K_RAW or AFIS_AN2K_PNG */
};

/* What Type-1 says. Every text is printable ASCII, 1 to 32 characters. */
struct afis_an2k_header {
    const char *tot;         /* 1.004, type of transaction, 3 to 16 characters */
    const char *date;        /* 1.005, YYYYMMDD; also of the captures */
    const char *destination; /* 1.007 */
    const char *origin;      /* 1.008; also the source agency of the records */
    const char *control;     /* 1.009, transaction control number */
    const char *text;        /* 2.003, for people; NULL = no such field */
};

/* Writes a transaction: Type-1, Type-2, then the samples. AFIS_BAD_FORMAT for a header or sample
 * that the standard has no room for, AFIS_UNSUPPORTED for a coding that is not written. *bytes is
 * from memory, *len its size. */
enum afis_status afis_an2k_write(const struct afis_an2k_header *header,
                                 const struct afis_an2k_sample *samples, size_t count,
                                 const struct afis_memory *memory, uint8_t **bytes, size_t *len);

#endif
