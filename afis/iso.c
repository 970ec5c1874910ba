/* Minutiae interchange records: ISO/IEC 19794-2:2005 (clause 7, record format) and the closely
 * related ANSI INCITS 378-2004. Both start with "FMR\0 20\0"; they differ in the record header
 * (length field, CBEFF product identifier) and in the unit of angles. */
#include <math.h>
#include <string.h>

#include "afis/template.h"
#include "match/internal.h"

enum {
    ISO_HEADER = 24,
    ANSI_HEADER = 26,
    VIEW_HEADER = 4,
    MINUTIA_BYTES = 6,
    EXTENDED_LENGTH = 2,
    EXTENDED_SLACK = 2,         /* see skip_extended */
    PIXELS_PER_CM_500DPI = 197, /* 196.85 as the standard's whole number */
    PIXELS_PER_CM_MIN = 98,     /* 250 dpi */
    PIXELS_PER_CM_MAX = 394,    /* 1000 dpi */
    ANSI_ANGLES = 180           /* units of 2 degrees */
};

struct reader {
    const uint8_t *bytes;
    size_t len, at;
};

/* The part of the record header that both standards share, and how to read angles. */
struct record {
    uint16_t width, height, x_resolution, y_resolution;
    uint8_t views;
    bool ansi;
};

static unsigned be16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)be16(p) << 16 | be16(p + 2);
}

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* The next n bytes, or NULL when the record ends before. */
static const uint8_t *take(struct reader *r, size_t n)
{
    if (r->len - r->at < n) {
        return NULL;
    }
    const uint8_t *p = r->bytes + r->at;
    r->at += n;
    return p;
}

/* Which standard a record follows shows in its length field alone: ISO has four bytes; ANSI has
 * two, or six of which the first two are zero. */
static enum afis_status read_record_header(struct reader *r, struct record *rec)
{
    const uint8_t *p = take(r, 8);
    if (p == NULL || memcmp(p, "FMR", 4) != 0) {
        return AFIS_BAD_FORMAT;
    }
    if (memcmp(p + 4, " 20", 4) != 0) {
        bool later = p[4] == '0' && p[5] >= '2' && p[5] <= '9' && p[6] == '0' && p[7] == 0;
        return later ? AFIS_UNSUPPORTED : AFIS_BAD_FORMAT;
    }
    p = take(r, 6);
    if (p == NULL) {
        return AFIS_BAD_FORMAT;
    }
    size_t skip; /* from here to the image size: CBEFF product identifier and equipment */
    if (be32(p) == r->len) {
        skip = 0; /* the two bytes after the length were the equipment */
    } else if (be16(p) == r->len) {
        skip = 2;
        rec->ansi = true;
    } else if (be16(p) == 0 && be32(p + 2) == r->len) {
        skip = 6;
        rec->ansi = true;
    } else {
        return AFIS_BAD_FORMAT;
    }
    if (take(r, skip) == NULL || (p = take(r, 10)) == NULL) {
        return AFIS_BAD_FORMAT;
    }
    rec->width = (uint16_t)be16(p);
    rec->height = (uint16_t)be16(p + 2);
    rec->x_resolution = (uint16_t)be16(p + 4);
    rec->y_resolution = (uint16_t)be16(p + 6);
    rec->views = p[8];
    return rec->width != 0 && rec->height != 0 ? AFIS_OK : AFIS_BAD_FORMAT;
}

/* The factor to 500 dpi; 0 when the resolution is out of range. */
static double scale_of(unsigned pixels_per_cm)
{
    if (pixels_per_cm == PIXELS_PER_CM_500DPI) {
        return 1.0; /* so that records at 500 dpi keep their exact coordinates */
    }
    if (pixels_per_cm < PIXELS_PER_CM_MIN || pixels_per_cm > PIXELS_PER_CM_MAX) {
        return 0;
    }
    return 500.0 / (2.54 * pixels_per_cm);
}

static uint16_t read_angle(uint8_t unit, bool ansi, double sx, double sy)
{
    double turns = unit / (ansi ? (double)ANSI_ANGLES : 256.0);
    if (sx != sy) { /* unequal resolutions shear directions too */
        double rad = turns * 2 * M_PI;
        turns = atan2(sin(rad) * sy, cos(rad) * sx) / (2 * M_PI);
    }
    return (uint16_t)lrint(turns * 65536);
}

static enum afis_status read_minutiae(struct reader *r, const struct record *rec, unsigned count,
                                      struct afis_template *out)
{
    const double sx = scale_of(rec->x_resolution), sy = scale_of(rec->y_resolution);
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *p = take(r, MINUTIA_BYTES);
        if (p == NULL) {
            return AFIS_BAD_FORMAT;
        }
        unsigned type = p[0] >> 6, x = be16(p) & 0x3fff, y = be16(p + 2) & 0x3fff;
        if (type > AFIS_MINUTIA_BIFURCATION || x >= rec->width || y >= rec->height || p[5] > 100 ||
            (rec->ansi && p[4] >= ANSI_ANGLES)) {
            return AFIS_BAD_FORMAT;
        }
        double fx = floor(x * sx * AFIS_SUBPIXEL + 0.5), fy = floor(y * sy * AFIS_SUBPIXEL + 0.5);
        if (fx > INT16_MAX || fy > INT16_MAX) {
            return AFIS_BAD_FORMAT;
        }
        out->minutiae[i] = (struct afis_minutia){.x = (int16_t)fx,
                                                 .y = (int16_t)fy,
                                                 .angle = read_angle(p[4], rec->ansi, sx, sy),
                                                 .type = (uint8_t)type,
                                                 .quality = p[5]};
    }
    out->count = (uint16_t)count;
    return AFIS_OK;
}

/* Extended data has no meaning here and is only stepped over. Records are in use, NIST's samples of
 * both standards among them, whose last block is a byte or two longer or shorter than it says; the
 * record's own length, verified before, then tells where it ends. */
static bool skip_extended(struct reader *r, size_t stated, bool last)
{
    size_t left = r->len - r->at;
    if (last && stated != 0 && stated + EXTENDED_SLACK >= left && left + EXTENDED_SLACK >= stated) {
        r->at = r->len;
        return true;
    }
    return take(r, stated) != NULL;
}

static enum afis_status read_view(struct reader *r, const struct record *rec, bool last,
                                  struct afis_template *out)
{
    const uint8_t *p = take(r, VIEW_HEADER);
    if (p == NULL || p[0] > 10 || p[2] > 100) {
        return AFIS_BAD_FORMAT;
    }
    out->position = p[0];
    out->quality = p[2];
    enum afis_status status = read_minutiae(r, rec, p[3], out);
    if (status != AFIS_OK) {
        return status;
    }
    p = take(r, EXTENDED_LENGTH);
    if (p == NULL) {
        return AFIS_BAD_FORMAT;
    }
    return skip_extended(r, be16(p), last) ? AFIS_OK : AFIS_BAD_FORMAT;
}

static uint16_t scaled_size(unsigned size, double scale)
{
    return (uint16_t)fmin(ceil(size * scale), UINT16_MAX);
}

/* Reads all views, of which one is wanted. Nothing of the others stays on the stack. */
static enum afis_status read_views(struct reader *r, const struct record *rec, unsigned view,
                                   struct afis_template *wanted)
{
    struct afis_template tmpl;
    enum afis_status status = AFIS_OK;
    for (unsigned v = 0; v < rec->views && status == AFIS_OK; v++) {
        tmpl =
            (struct afis_template){.width = scaled_size(rec->width, scale_of(rec->x_resolution)),
                                   .height = scaled_size(rec->height, scale_of(rec->y_resolution))};
        status = read_view(r, rec, v + 1u == rec->views, &tmpl);
        if (status == AFIS_OK && v == view) {
            *wanted = tmpl;
        }
    }
    explicit_bzero(&tmpl, sizeof tmpl);
    return status;
}

enum afis_status afis_template_from_iso(const uint8_t *bytes, size_t len, unsigned view,
                                        struct afis_template *out)
{
    struct reader r = {bytes, len, 0};
    struct record rec = {0};
    enum afis_status status = read_record_header(&r, &rec);
    if (status != AFIS_OK) {
        return status;
    }
    if (scale_of(rec.x_resolution) == 0 || scale_of(rec.y_resolution) == 0) {
        return AFIS_BAD_DPI;
    }
    if (view >= rec.views) {
        return AFIS_BAD_FORMAT;
    }
    struct afis_template wanted = {0};
    status = read_views(&r, &rec, view, &wanted);
    if (status == AFIS_OK && (r.at != len || !afis_template_valid(&wanted))) {
        status = AFIS_BAD_FORMAT;
    }
    if (status == AFIS_OK) {
        *out = wanted;
    }
    explicit_bzero(&wanted, sizeof wanted);
    return status;
}

unsigned afis_template_views(const uint8_t *bytes, size_t len)
{
    struct reader r = {bytes, len, 0};
    struct record rec = {0};
    return read_record_header(&r, &rec) == AFIS_OK ? rec.views : 0;
}

static unsigned whole_pixel(int subpixels, unsigned size)
{
    unsigned v = ((unsigned)subpixels + AFIS_SUBPIXEL / 2) / AFIS_SUBPIXEL;
    return v < size ? v : size - 1;
}

/* An angle in the standard's units, the nearest one. */
static uint8_t write_angle(uint16_t angle, bool ansi)
{
    return ansi ? (uint8_t)((angle * (uint32_t)ANSI_ANGLES + 32768) / 65536 % ANSI_ANGLES)
                : (uint8_t)((angle + 128u) >> 8);
}

/* ISO/IEC 19794-2:2005, 7.3 and ANSI INCITS 378-2004, 6.4: the headers differ in the length field
 * and in the CBEFF product identifier, which is 0 here: none is registered. Returns its size. */
static size_t write_record_header(const struct afis_template *tmpl, bool ansi, size_t len,
                                  uint8_t *bytes)
{
    memcpy(bytes, "FMR\0 20", 8);
    if (ansi) {
        put16(bytes + 8, (unsigned)len);
    } else {
        put16(bytes + 8, (unsigned)(len >> 16));
        put16(bytes + 10, (unsigned)len);
    }
    size_t header = ansi ? ANSI_HEADER : ISO_HEADER;
    uint8_t *p = bytes + header - 10;
    put16(p, tmpl->width);
    put16(p + 2, tmpl->height);
    put16(p + 4, PIXELS_PER_CM_500DPI);
    put16(p + 6, PIXELS_PER_CM_500DPI);
    p[8] = 1; /* views */
    return header;
}

static enum afis_status write_record(const struct afis_template *tmpl, bool ansi, uint8_t *bytes,
                                     size_t cap, size_t *len)
{
    if (!afis_template_valid(tmpl)) {
        return AFIS_BAD_FORMAT;
    }
    size_t need = (size_t)(ansi ? ANSI_HEADER : ISO_HEADER) + VIEW_HEADER +
                  (size_t)tmpl->count * MINUTIA_BYTES + EXTENDED_LENGTH;
    if (need > cap) {
        return AFIS_TOO_LARGE;
    }
    memset(bytes, 0, need);
    uint8_t *p = bytes + write_record_header(tmpl, ansi, need, bytes);
    p[0] = tmpl->position;
    p[2] = tmpl->quality;
    p[3] = (uint8_t)tmpl->count;
    p += VIEW_HEADER;
    for (unsigned i = 0; i < tmpl->count; i++, p += MINUTIA_BYTES) {
        const struct afis_minutia *m = &tmpl->minutiae[i];
        put16(p, (unsigned)m->type << 14 | whole_pixel(m->x, tmpl->width));
        put16(p + 2, whole_pixel(m->y, tmpl->height));
        p[4] = write_angle(m->angle, ansi);
        p[5] = m->quality;
    }
    *len = need;
    return AFIS_OK;
}

enum afis_status afis_template_to_iso(const struct afis_template *tmpl, uint8_t *bytes, size_t cap,
                                      size_t *len)
{
    return write_record(tmpl, false, bytes, cap, len);
}

enum afis_status afis_template_to_ansi378(const struct afis_template *tmpl, uint8_t *bytes,
                                          size_t cap, size_t *len)
{
    return write_record(tmpl, true, bytes, cap, len);
}
