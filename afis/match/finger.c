/* From a template to what is compared, and its packed form. */
#include <string.h>

#include "packed.h"

/* Coordinates beyond 1024 pixels are stored at half the precision. */
static unsigned coord_shift(unsigned width, unsigned height)
{
    return width * AFIS_SUBPIXEL > PACKED_COORD_LIMIT ||
           height * AFIS_SUBPIXEL > PACKED_COORD_LIMIT;
}

/* Marks the FINGER_MINUTIAE minutiae to keep: the best by quality; among equals those nearest to
 * the middle of all, because another impression shares them most likely. */
static void select_minutiae(const struct afis_template *tmpl, bool keep[AFIS_MINUTIAE_MAX])
{
    int64_t sum_x = 0, sum_y = 0;
    for (unsigned i = 0; i < tmpl->count; i++) {
        sum_x += tmpl->minutiae[i].x;
        sum_y += tmpl->minutiae[i].y;
    }
    int64_t rank[AFIS_MINUTIAE_MAX]; /* lower is better; ends in the index, so that none tie */
    for (unsigned i = 0; i < tmpl->count; i++) {
        const struct afis_minutia *m = &tmpl->minutiae[i];
        int64_t dx = m->x - sum_x / tmpl->count, dy = m->y - sum_y / tmpl->count;
        rank[i] = ((int64_t)(100 - m->quality) << 48) | ((dx * dx + dy * dy) << 8) | i;
    }
    for (unsigned i = 0; i < tmpl->count; i++) {
        unsigned better = 0;
        for (unsigned j = 0; j < tmpl->count; j++) {
            better += rank[j] < rank[i];
        }
        keep[i] = better < FINGER_MINUTIAE;
    }
    explicit_bzero(rank, sizeof rank);
}

/* All of a prepared finger but its descriptors. */
static void reduce(const struct afis_template *tmpl, struct afis_finger *out)
{
    bool keep[AFIS_MINUTIAE_MAX];
    select_minutiae(tmpl, keep);
    memset(out, 0, sizeof *out);
    out->width = tmpl->width;
    out->height = tmpl->height;
    out->position = tmpl->position;
    out->quality_all = tmpl->quality;
    out->reasons = tmpl->reasons;
    const unsigned shift = coord_shift(tmpl->width, tmpl->height);
    for (unsigned i = 0; i < tmpl->count; i++) {
        if (keep[i]) {
            const struct afis_minutia *m = &tmpl->minutiae[i];
            unsigned k = out->count++;
            out->x[k] = (int16_t)(m->x >> shift << shift);
            out->y[k] = (int16_t)(m->y >> shift << shift);
            unsigned angle = m->angle + (1u << (PACKED_ANGLE_SHIFT - 1));
            out->angle[k] = (uint16_t)(angle >> PACKED_ANGLE_SHIFT << PACKED_ANGLE_SHIFT);
            out->type[k] = m->type;
            out->quality[k] = m->quality;
        }
    }
}

size_t afis_finger_size(void)
{
    return sizeof(struct afis_finger);
}

enum afis_status afis_finger_prepare(const struct afis_template *tmpl, struct afis_finger *out)
{
    if (!afis_template_valid(tmpl)) {
        return AFIS_BAD_FORMAT;
    }
    reduce(tmpl, out);
    afis_describe(out);
    afis_match_ops_best()->place(out);
    afis_match_ops_best()->cover(out);
    return AFIS_OK;
}

static void store(uint8_t *p, unsigned bytes, uint64_t v)
{
    for (unsigned i = 0; i < bytes; i++) {
        p[i] = (uint8_t)(v >> (8 * i));
    }
}

enum afis_status afis_template_pack(const struct afis_template *tmpl, uint8_t *bytes, size_t cap,
                                    size_t *len)
{
    struct afis_finger f;
    if (!afis_template_valid(tmpl)) {
        return AFIS_BAD_FORMAT;
    }
    reduce(tmpl, &f);
    afis_describe(&f);
    size_t need = PACKED_HEADER + (size_t)f.count * (PACKED_DESCRIPTOR + PACKED_MINUTIA);
    if (need > cap) {
        explicit_bzero(&f, sizeof f);
        return AFIS_TOO_LARGE;
    }
    const unsigned shift = coord_shift(f.width, f.height);
    bytes[0] = 'W';
    bytes[1] = 'T';
    bytes[2] = PACKED_VERSION;
    bytes[3] = (uint8_t)shift;
    store(bytes + 4, 2, f.width);
    store(bytes + 6, 2, f.height);
    bytes[8] = f.position;
    bytes[9] = f.quality_all;
    bytes[10] = f.reasons;
    bytes[11] = f.count;
    uint8_t *p = bytes + PACKED_HEADER;
    for (unsigned i = 0; i < f.count; i++, p += PACKED_DESCRIPTOR) {
        store(p, PACKED_DESCRIPTOR, f.descriptor[i]);
    }
    for (unsigned i = 0; i < f.count; i++, p += PACKED_MINUTIA) {
        uint64_t v = (uint64_t)(f.x[i] >> shift) | (uint64_t)(f.y[i] >> shift) << 14 |
                     (uint64_t)(f.angle[i] >> PACKED_ANGLE_SHIFT) << 28 |
                     (uint64_t)f.type[i] << 38 | (uint64_t)f.quality[i] << 40;
        store(p, PACKED_MINUTIA, v);
    }
    store(bytes + 12, 4, checksum_end(checksum_begin(bytes), bytes, PACKED_HEADER, need));
    *len = need;
    explicit_bzero(&f, sizeof f);
    return AFIS_OK;
}

/* The header checked against the length, before anything else is read. */
static enum afis_status check_header(const uint8_t *bytes, size_t len)
{
    if (len < PACKED_HEADER || memcmp(bytes, "WT", 2) != 0) {
        return AFIS_BAD_FORMAT;
    }
    if (bytes[2] != PACKED_VERSION) {
        return AFIS_UNSUPPORTED;
    }
    if (bytes[11] > FINGER_MINUTIAE || bytes[8] > 10 || bytes[9] > 100 ||
        len != PACKED_HEADER + (size_t)bytes[11] * (PACKED_DESCRIPTOR + PACKED_MINUTIA) ||
        bytes[3] !=
            coord_shift((unsigned)load_bytes(bytes + 4, 2), (unsigned)load_bytes(bytes + 6, 2))) {
        return AFIS_BAD_FORMAT;
    }
    return AFIS_OK;
}

enum afis_status afis_finger_read_packed(const uint8_t *bytes, size_t len, struct afis_finger *out)
{
    enum afis_status status = check_header(bytes, len);
    if (status != AFIS_OK) {
        return status;
    }
    memset(out, 0, offsetof(struct afis_finger, px)); /* the rest is match_ops.place's */
    out->width = (uint16_t)load_bytes(bytes + 4, 2);
    out->height = (uint16_t)load_bytes(bytes + 6, 2);
    out->position = bytes[8];
    out->quality_all = bytes[9];
    out->reasons = bytes[10];
    out->count = bytes[11];
    const bool sound = afis_match_ops_best()->unpack(out, bytes, len);
    return sound && out->width != 0 && out->height != 0 ? AFIS_OK : AFIS_BAD_FORMAT;
}

enum afis_status afis_finger_prepare_packed(const uint8_t *bytes, size_t len,
                                            struct afis_finger *out)
{
    enum afis_status status = afis_finger_read_packed(bytes, len, out);
    if (status == AFIS_OK) {
        afis_match_ops_best()->place(out);
    }
    return status;
}

enum afis_status afis_template_unpack(const uint8_t *bytes, size_t len, struct afis_template *out)
{
    struct afis_finger f;
    enum afis_status status = afis_finger_read_packed(bytes, len, &f);
    if (status != AFIS_OK) {
        explicit_bzero(&f, sizeof f);
        return status;
    }
    memset(out, 0, sizeof *out);
    out->width = f.width;
    out->height = f.height;
    out->position = f.position;
    out->quality = f.quality_all;
    out->reasons = f.reasons;
    out->count = f.count;
    for (unsigned i = 0; i < f.count; i++) {
        out->minutiae[i] =
            (struct afis_minutia){f.x[i], f.y[i], f.angle[i], f.type[i], f.quality[i]};
    }
    explicit_bzero(&f, sizeof f);
    return AFIS_OK;
}
