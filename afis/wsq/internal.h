/* What the parts of the WSQ decoder share.
 *
 * "WSQ" below is the FBI's WSQ Gray-scale Fingerprint Image Compression Specification,
 * IAFIS-IC-0110 (version 3.1). */
#ifndef AFIS_WSQ_INTERNAL_H
#define AFIS_WSQ_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "afis/status.h"

#define WSQ_BANDS 64u       /* subbands that a quantization table names */
#define WSQ_CODED_BANDS 60u /* the last four are never coded (WSQ, figure 3) */
#define WSQ_FILTER_MAX 31u  /* taps; the certified encoders use 9 and 7 */
#define WSQ_HUFFMAN_TABLES 8u
#define WSQ_LANES 16u /* lines that the wavelet joins at once */

enum wsq_marker {
    WSQ_SOI = 0xffa0, /* start of image */
    WSQ_EOI = 0xffa1, /* end of image */
    WSQ_SOF = 0xffa2, /* frame header */
    WSQ_SOB = 0xffa3, /* block header */
    WSQ_DTT = 0xffa4, /* transform table */
    WSQ_DQT = 0xffa5, /* quantization table */
    WSQ_DHT = 0xffa6, /* Huffman tables */
    WSQ_DRI = 0xffa7, /* restart interval */
    WSQ_COM = 0xffa8  /* comment */
};

/* Hostile bytes, read in order. Past the end everything is 0 and `short_of` is set. */
struct wsq_reader {
    const uint8_t *at, *end;
    bool short_of;
};

uint8_t wsq_u8(struct wsq_reader *r);
uint16_t wsq_u16(struct wsq_reader *r);
uint32_t wsq_u32(struct wsq_reader *r);

/* A whole-sample symmetric filter: tap[k] is the one k samples from its centre, either side. */
struct wsq_filter {
    unsigned reach; /* taps either side of the centre */
    float tap[WSQ_FILTER_MAX / 2 + 1];
};

struct wsq_huffman {
    bool defined;
    uint16_t count[17];  /* codes of each length, 1 to 16 */
    uint8_t symbol[256]; /* in order of their codes */
};

/* Everything that the tables of a file say. */
struct wsq_tables {
    uint32_t width, height;
    float shift, scale; /* M and R: what the encoder took from the pixels and divided them by */
    bool transform, quantization;
    struct wsq_filter low, high; /* of the synthesis */
    float bin_center;
    float bin[WSQ_BANDS], zero_bin[WSQ_BANDS]; /* Q and Z; bin 0: the band was not coded */
    struct wsq_huffman huffman[WSQ_HUFFMAN_TABLES];
};

/* Reads the table segment that follows `marker`. A marker that is no table's: AFIS_BAD_FORMAT. */
enum afis_status wsq_read_table(struct wsq_reader *r, unsigned marker, struct wsq_tables *tables);

/* Decodes the entropy-coded bytes of one block, which end at a marker (left unread), appending to
 * coefficients: *done of them are there, cap is how many the image has. */
enum afis_status wsq_read_block(struct wsq_reader *r, const struct wsq_huffman *table,
                                int16_t *coefficients, size_t cap, size_t *done);

/* How many coefficients the coded bands have in all; 0 if a band would be empty. */
size_t wsq_coefficient_count(const struct wsq_tables *tables);

/* Turns coefficients into pixels: dequantizes each band into its place in `plane` (width * height,
 * zeroed), then joins the bands. scratch: WSQ_LANES times max(width, height) + WSQ_FILTER_MAX,
 * zeroed. */
void wsq_reconstruct(const struct wsq_tables *tables, const int16_t *coefficients, float *plane,
                     float *scratch);

#endif
