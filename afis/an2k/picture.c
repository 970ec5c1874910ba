/* Finger pictures: Type-4 (ANSI/NIST-ITL 1-2011, 8.4) and Type-14 (8.14). */
#include <string.h>

#include "an2k/internal.h"
#include "image_bounds.h"

enum { POSITION_MAX = 81, DPI_500 = 500, SIDE_MAX = 65535 };

static void unusable(struct afis_an2k_record *record, enum afis_status status, const char *what)
{
    record->status = status;
    record->what = what;
}

/* The binary header: LEN 4, IDC 1, IMP 1, FGP 6, ISR 1, HLL 2, VLL 2, GCA 1. */
static void read_type4(const struct afis_an2k *an2k, uint32_t native_dpi,
                       struct afis_an2k_record *record)
{
    const uint8_t *p = an2k->bytes + record->at;
    if (record->len <= AN2K_BINARY_HEADER) {
        unusable(record, AFIS_BAD_FORMAT, "the record ends within its header");
        return;
    }
    record->picture = (struct afis_an2k_picture){
        .impression = p[5],
        .position = p[6],
        .dpi = p[12] == 0 ? DPI_500 : native_dpi,
        .width = (uint32_t)p[13] << 8 | p[14],
        .height = (uint32_t)p[15] << 8 | p[16],
        .coding = (enum afis_an2k_coding)p[17],
        .at = record->at + AN2K_BINARY_HEADER,
        .len = record->len - AN2K_BINARY_HEADER,
    };
    if (p[12] > 1) {
        unusable(record, AFIS_BAD_FORMAT, "Type-4 ISR: expected 0 or 1");
    } else if (record->picture.position > 15) {
        unusable(record, AFIS_UNSUPPORTED, "Type-4 FGP: expected 0 to 15");
    } else if (p[17] > AFIS_AN2K_PNG) {
        unusable(record, AFIS_BAD_FORMAT, "Type-4 GCA: expected 0 to 6");
    }
}

/* 14.011 (table 15's labels). */
static bool read_coding(struct an2k_text value, enum afis_an2k_coding *out)
{
    static const char *const names[] = {
        [AFIS_AN2K_RAW] = "NONE",    [AFIS_AN2K_WSQ20] = "WSQ20", [AFIS_AN2K_JPEGB] = "JPEGB",
        [AFIS_AN2K_JPEGL] = "JPEGL", [AFIS_AN2K_JP2] = "JP2",     [AFIS_AN2K_JP2L] = "JP2L",
        [AFIS_AN2K_PNG] = "PNG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (an2k_is(value, names[i])) {
            *out = (enum afis_an2k_coding)i;
            return true;
        }
    }
    return false;
}

/* 14.018 (AMP): "finger US XX|UP" for each that is amputated or bandaged. */
static bool read_missing(struct an2k_text value, uint16_t *missing)
{
    struct an2k_text subfield;
    uint32_t finger;
    while (an2k_next_part(&value, AN2K_RS, &subfield)) {
        if (!an2k_item(subfield, 0, 10, &finger) || finger == 0) {
            return false;
        }
        *missing = (uint16_t)(*missing | 1u << finger);
    }
    return true;
}

/* 14.021 (SEG): "finger US left US right US top US bottom" for each; both sides are inclusive. */
static bool read_segments(struct an2k_text value, struct afis_an2k_picture *picture)
{
    struct an2k_text subfield;
    while (an2k_next_part(&value, AN2K_RS, &subfield)) {
        uint32_t v[5];
        for (unsigned i = 0; i < 5; i++) {
            if (!an2k_item(subfield, i, SIDE_MAX, &v[i])) {
                return false;
            }
        }
        if (v[0] < 1 || v[0] > 10 || v[1] >= v[2] || v[3] >= v[4] || v[2] >= picture->width ||
            v[4] >= picture->height || picture->segment_count == AFIS_SLAP_MAX) {
            return false;
        }
        picture->segments[picture->segment_count++] =
            (struct afis_slap_finger){(uint8_t)v[0], v[1], v[3], v[2] + 1, v[4] + 1};
    }
    return true;
}

/* 14.008 to 14.010: the scale unit and the pixels in it along both axes. */
static bool read_resolution(const struct afis_an2k *an2k, unsigned number, uint32_t *dpi)
{
    uint32_t unit, across, down;
    if (!an2k_field_number(an2k, number, 8, 2, &unit) || unit == 0 ||
        !an2k_field_number(an2k, number, 9, SIDE_MAX, &across) ||
        !an2k_field_number(an2k, number, 10, SIDE_MAX, &down) || across != down) {
        return false;
    }
    *dpi = unit == 1 ? across : an2k_dpi(across);
    return true;
}

static const char *read_optional(const struct afis_an2k *an2k, unsigned number,
                                 struct afis_an2k_picture *picture)
{
    struct an2k_text value;
    value.at = afis_an2k_field(an2k, number, 18, &value.len);
    if (value.at != NULL && !read_missing(value, &picture->missing)) {
        return "14.018 (AMP): expected fingers 1 to 10";
    }
    value.at = afis_an2k_field(an2k, number, 21, &value.len);
    if (value.at != NULL && !read_segments(value, picture)) {
        return "14.021 (SEG): expected up to four fingers within the picture";
    }
    return "";
}

/* The first fault among the mandatory fields, "" if there is none. */
static const char *read_mandatory(const struct afis_an2k *an2k, unsigned number,
                                  struct afis_an2k_picture *picture)
{
    struct an2k_text value, position;
    uint32_t impression, finger, bits;
    if (!an2k_field_number(an2k, number, 3, 99, &impression)) {
        return "14.003 (IMP): expected 0 to 99";
    }
    if (!an2k_field_number(an2k, number, 6, SIDE_MAX, &picture->width) ||
        !an2k_field_number(an2k, number, 7, SIDE_MAX, &picture->height)) {
        return "14.006 (HLL) or 14.007 (VLL): expected a number of pixels";
    }
    if (!read_resolution(an2k, number, &picture->dpi)) {
        return "14.008 (SLC) to 14.010: expected one resolution for both axes";
    }
    value.at = afis_an2k_field(an2k, number, 11, &value.len);
    if (value.at == NULL || !read_coding(value, &picture->coding)) {
        return "14.011 (CGA): no compression algorithm of table 15";
    }
    if (!an2k_field_number(an2k, number, 12, 99, &bits) || bits != 8) {
        return "14.012 (BPX): expected 8";
    }
    value.at = afis_an2k_field(an2k, number, 13, &value.len);
    if (value.at == NULL || !an2k_next_part(&value, AN2K_RS, &position) ||
        !an2k_number(position, POSITION_MAX, &finger)) {
        return "14.013 (FGP): expected a finger position";
    }
    value.at = afis_an2k_field(an2k, number, AN2K_IMAGE_FIELD, &value.len);
    if (value.at == NULL) {
        return "14.999 (DATA) is missing";
    }
    picture->impression = (uint8_t)impression;
    picture->position = (uint8_t)finger;
    picture->at = (size_t)(value.at - an2k->bytes);
    picture->len = value.len;
    return read_optional(an2k, number, picture);
}

static void read_type14(const struct afis_an2k *an2k, unsigned number,
                        struct afis_an2k_record *record)
{
    struct afis_an2k_picture picture = {0};
    const char *what = read_mandatory(an2k, number, &picture);
    record->picture = picture;
    if (what[0] != '\0') {
        unusable(record, AFIS_BAD_FORMAT, what);
    } else if (picture.position > 15) {
        unusable(record, AFIS_UNSUPPORTED, "14.013 (FGP): expected 0 to 15");
    }
}

void an2k_read_picture(const struct afis_an2k *an2k, unsigned number, uint32_t native_dpi,
                       struct afis_an2k_record *record)
{
    if (record->type == 4) {
        read_type4(an2k, native_dpi, record);
    } else {
        read_type14(an2k, number, record);
    }
    const struct afis_an2k_picture *p = &record->picture;
    enum afis_status bounds = afis_image_bounds(p->width, p->height, p->dpi);
    if (record->status == AFIS_OK && bounds != AFIS_OK) {
        unusable(record, bounds, "the picture's size or resolution is out of bounds");
    }
}

bool an2k_decodes(enum afis_an2k_coding coding)
{
    return coding == AFIS_AN2K_RAW || coding == AFIS_AN2K_WSQ20 || coding == AFIS_AN2K_PNG;
}

enum afis_status afis_an2k_image(const struct afis_an2k *an2k, unsigned record,
                                 const struct afis_memory *memory, struct afis_image *out)
{
    if (record >= an2k->count ||
        (an2k->records[record].type != 4 && an2k->records[record].type != 14)) {
        return AFIS_UNSUPPORTED;
    }
    const struct afis_an2k_record *r = &an2k->records[record];
    const struct afis_an2k_picture *p = &r->picture;
    const uint8_t *bytes = an2k->bytes + p->at;
    if (r->status != AFIS_OK) {
        return r->status;
    }
    struct afis_image image = {0};
    enum afis_status status = AFIS_UNSUPPORTED;
    if (p->coding == AFIS_AN2K_RAW) {
        return afis_image_from_raw(bytes, p->len, p->width, p->height, p->dpi, memory, out);
    }
    if (p->coding == AFIS_AN2K_WSQ20) {
        status = afis_image_from_wsq(bytes, p->len, p->dpi, memory, &image);
    } else if (p->coding == AFIS_AN2K_PNG) {
        status = afis_image_from_png(bytes, p->len, p->dpi, memory, &image);
    }
    if (status == AFIS_OK && (image.width != p->width || image.height != p->height)) {
        afis_image_release(&image, memory); /* positions in it would mean nothing */
        status = AFIS_BAD_FORMAT;
    }
    if (status == AFIS_OK) {
        *out = image;
    }
    return status;
}
