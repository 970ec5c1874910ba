/* Type-9 minutiae (ANSI/NIST-ITL 1-2011, 8.9) in their three common forms. */
#include <string.h>

#include "an2k/internal.h"
#include "match/internal.h"

enum {
    PPCM_500DPI = 197,
    RECORD_HEADER = 26, /* of an INCITS 378 record */
    VIEW_HEADER = 4,
    MINUTIA_BYTES = 6,
    XYT_DIGITS = 11, /* XXXXYYYYTTT */
    HUNDREDTHS_MM_MAX = 9999
};

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static bool field(const struct afis_an2k *an2k, unsigned record, unsigned number,
                  struct an2k_text *out)
{
    out->at = afis_an2k_field(an2k, record, number, &out->len);
    return out->at != NULL;
}

/* --- the M1 block: fields that are those of an INCITS 378 record, and become one again --- */

/* 9.135 (FQD): quality, owner and algorithm; 254 and 255 say that there is none. */
static uint8_t m1_quality(const struct afis_an2k *an2k, unsigned record)
{
    struct an2k_text value, first;
    uint32_t quality;
    bool stated = field(an2k, record, 135, &value) && an2k_next_part(&value, AN2K_RS, &first) &&
                  an2k_item(first, 0, 100, &quality);
    return stated ? (uint8_t)quality : 0;
}

static bool m1_header(const struct afis_an2k *an2k, unsigned record, uint8_t *bytes)
{
    uint32_t v[4], unit, finger;
    for (unsigned i = 0; i < 4; i++) { /* 9.128, 129, 131, 132 */
        if (!an2k_field_number(an2k, record, 128 + i + i / 2, 16383, &v[i])) {
            return false;
        }
    }
    if (!an2k_field_number(an2k, record, 130, 2, &unit) || unit == 0 ||
        !an2k_field_number(an2k, record, 134, 10, &finger)) {
        return false;
    }
    memcpy(bytes, "FMR\0 20", 8);
    put16(bytes + 16, v[0]);
    put16(bytes + 18, v[1]);
    put16(bytes + 20, unit == 2 ? v[2] : (v[2] * 100 + 127) / 254);
    put16(bytes + 22, unit == 2 ? v[3] : (v[3] * 100 + 127) / 254);
    bytes[24] = 1;
    bytes[RECORD_HEADER] = (uint8_t)finger;
    bytes[RECORD_HEADER + 2] = m1_quality(an2k, record);
    return true;
}

/* 9.137 (FMD): index, x, y, angle in units of 2 degrees, type, quality. */
static bool m1_minutia(struct an2k_text subfield, uint8_t *bytes)
{
    uint32_t x, y, angle, type, quality;
    if (!an2k_item(subfield, 1, 16383, &x) || !an2k_item(subfield, 2, 16383, &y) ||
        !an2k_item(subfield, 3, 179, &angle) || !an2k_item(subfield, 4, 2, &type) ||
        !an2k_item(subfield, 5, 100, &quality)) {
        return false;
    }
    put16(bytes, type << 14 | x);
    put16(bytes + 2, y);
    bytes[4] = (uint8_t)angle;
    bytes[5] = (uint8_t)quality;
    return true;
}

static enum afis_status read_m1(const struct afis_an2k *an2k, unsigned record,
                                struct afis_template *out)
{
    uint8_t bytes[AFIS_RECORD_MAX] = {0};
    struct an2k_text minutiae = {0}, subfield;
    uint32_t stated, count = 0;
    if (!m1_header(an2k, record, bytes) ||
        !an2k_field_number(an2k, record, 136, AFIS_MINUTIAE_MAX, &stated)) {
        return AFIS_BAD_FORMAT;
    }
    uint8_t *p = bytes + RECORD_HEADER + VIEW_HEADER;
    if (stated > 0 && !field(an2k, record, 137, &minutiae)) {
        return AFIS_BAD_FORMAT;
    }
    while (an2k_next_part(&minutiae, AN2K_RS, &subfield)) {
        if (count == stated || !m1_minutia(subfield, p)) {
            return AFIS_BAD_FORMAT;
        }
        count++;
        p += MINUTIA_BYTES;
    }
    if (count != stated) {
        return AFIS_BAD_FORMAT;
    }
    bytes[RECORD_HEADER + 3] = (uint8_t)count;
    size_t len = (size_t)(p - bytes) + 2; /* no extended data */
    put16(bytes + 8, (uint32_t)len);
    enum afis_status status = afis_template_from_iso(bytes, len, 0, out);
    explicit_bzero(bytes, sizeof bytes);
    return status;
}

/* --- the standard and the IAFIS form: hundredths of a millimetre --- */

struct form {
    unsigned position, count, minutiae; /* fields */
    bool from_top; /* y: IAFIS counts from the top, the standard form from the bottom */
};

static int16_t subpixels(uint32_t hundredths_mm)
{
    return (int16_t)((hundredths_mm * 8000 + 1270) / 2540); /* 500 per inch, 16 in each */
}

/* Quality 0: placed by a person; 1: no method to tell; 2 to 63: ever worse (8.9.7.12). */
static uint8_t quality_of(uint32_t stated)
{
    return stated == 0 ? 100 : stated == 1 ? 0 : (uint8_t)(100 - (stated - 2) * 99 / 61);
}

/* "index US XXXXYYYYTTT US quality US type US neighbours...". y_of[] keeps y as it was stated. */
static bool read_minutia(struct an2k_text subfield, struct afis_minutia *out, uint32_t *y,
                         bool from_top)
{
    struct an2k_text item[4];
    uint32_t x, degrees, quality;
    for (unsigned i = 0; i < 4; i++) {
        if (!an2k_next_part(&subfield, AN2K_US, &item[i])) {
            return false;
        }
    }
    const uint8_t *p = item[1].at;
    if (item[1].len != XYT_DIGITS ||
        !an2k_number((struct an2k_text){p, 4}, HUNDREDTHS_MM_MAX, &x) ||
        !an2k_number((struct an2k_text){p + 4, 4}, HUNDREDTHS_MM_MAX, y) ||
        !an2k_number((struct an2k_text){p + 8, 3}, 360, &degrees) ||
        !an2k_number(item[2], 63, &quality) || item[3].len != 1) {
        return false;
    }
    /* The standard form's angle points the other way from ISO's and IAFIS's: out of the ridge. */
    degrees = (degrees + (from_top ? 0 : 180)) % 360;
    *out = (struct afis_minutia){
        .x = subpixels(x),
        .angle = (uint16_t)((degrees * 65536 + 180) / 360),
        .type = item[3].at[0] == 'A'   ? AFIS_MINUTIA_ENDING
                : item[3].at[0] == 'B' ? AFIS_MINUTIA_BIFURCATION
                                       : AFIS_MINUTIA_OTHER,
        .quality = quality_of(quality),
    };
    return true;
}

const struct afis_an2k_picture *an2k_picture_of(const struct afis_an2k *an2k, unsigned record)
{
    for (unsigned i = 1; i < an2k->count; i++) {
        const struct afis_an2k_record *r = &an2k->records[i];
        if ((r->type == 4 || r->type == 14) && r->idc == an2k->records[record].idc &&
            r->status == AFIS_OK) {
            return &r->picture;
        }
    }
    return NULL;
}

/* Turns y round if it counts from the bottom, and states the size. */
static enum afis_status place(const struct afis_an2k_picture *picture, const uint32_t *y,
                              bool from_top, struct afis_template *out)
{
    uint32_t height = 1; /* hundredths of a millimetre */
    int right = 0, bottom = 0;
    for (unsigned i = 0; i < out->count; i++) {
        height = y[i] > height ? y[i] : height;
    }
    if (picture != NULL) {
        height = (picture->height * 2540 + picture->dpi / 2) / picture->dpi;
    }
    for (unsigned i = 0; i < out->count; i++) {
        struct afis_minutia *m = &out->minutiae[i];
        if (y[i] > height) {
            return AFIS_BAD_FORMAT;
        }
        m->y = subpixels(from_top ? y[i] : height - y[i]);
        right = m->x > right ? m->x : right;
        bottom = m->y > bottom ? m->y : bottom;
    }
    out->width = (uint16_t)(right / AFIS_SUBPIXEL + 1);
    out->height = (uint16_t)(bottom / AFIS_SUBPIXEL + 1);
    if (picture != NULL) {
        uint32_t dpi = picture->dpi, width = (picture->width * 500 + dpi - 1) / dpi;
        uint32_t tall = (picture->height * 500 + dpi - 1) / dpi;
        /* Rounding to hundredths of a millimetre may step over the edge by a pixel. */
        if (out->width > width + 1 || out->height > tall + 1) {
            return AFIS_BAD_FORMAT;
        }
        out->width = out->width > width ? out->width : (uint16_t)width;
        out->height = out->height > tall ? out->height : (uint16_t)tall;
    }
    return AFIS_OK;
}

/* The finger in the standard form may be several, of which the first is the likeliest. */
static bool read_position(const struct afis_an2k *an2k, unsigned record, unsigned number,
                          uint8_t *position)
{
    struct an2k_text value, first;
    uint32_t finger;
    if (!field(an2k, record, number, &value) || !an2k_next_part(&value, AN2K_RS, &first) ||
        !an2k_number(first, 12, &finger)) {
        return false;
    }
    *position = (uint8_t)(finger == 11 ? 1 : finger == 12 ? 6 : finger);
    return true;
}

static enum afis_status read_form(const struct afis_an2k *an2k, unsigned record,
                                  const struct form *form, struct afis_template *out)
{
    struct an2k_text minutiae = {0}, subfield;
    uint32_t stated, y[AFIS_MINUTIAE_MAX];
    if (!read_position(an2k, record, form->position, &out->position) ||
        !an2k_field_number(an2k, record, form->count, AFIS_MINUTIAE_MAX, &stated)) {
        return AFIS_BAD_FORMAT;
    }
    if (stated > 0 && !field(an2k, record, form->minutiae, &minutiae)) {
        return AFIS_BAD_FORMAT;
    }
    while (an2k_next_part(&minutiae, AN2K_RS, &subfield)) {
        if (out->count == stated ||
            !read_minutia(subfield, &out->minutiae[out->count], &y[out->count], form->from_top)) {
            return AFIS_BAD_FORMAT;
        }
        out->count++;
    }
    if (out->count != stated) {
        return AFIS_BAD_FORMAT;
    }
    return place(an2k_picture_of(an2k, record), y, form->from_top, out);
}

enum afis_status afis_an2k_template(const struct afis_an2k *an2k, unsigned record,
                                    struct afis_template *out)
{
    static const struct form iafis = {14, 15, 23, true}, standard = {6, 10, 12, false};
    struct afis_template tmpl = {0};
    struct an2k_text value;
    enum afis_status status = AFIS_UNSUPPORTED; /* a vendor's own block, or extended features */
    if (record >= an2k->count || an2k->records[record].type != 9) {
        return AFIS_UNSUPPORTED;
    }
    if (field(an2k, record, 136, &value)) {
        status = read_m1(an2k, record, &tmpl);
    } else if (field(an2k, record, iafis.count, &value)) {
        status = read_form(an2k, record, &iafis, &tmpl);
    } else if (field(an2k, record, standard.count, &value)) {
        status = read_form(an2k, record, &standard, &tmpl);
    }
    if (status == AFIS_OK && !afis_template_valid(&tmpl)) {
        status = AFIS_BAD_FORMAT;
    }
    if (status == AFIS_OK) {
        *out = tmpl;
    }
    explicit_bzero(&tmpl, sizeof tmpl);
    return status;
}
