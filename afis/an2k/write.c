/* Writing a transaction (ANSI/NIST-ITL 1-2011, 8.1, 8.2, 8.9 and 8.14). */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "an2k/internal.h"
#include "image_bounds.h"

#define VERSION "0500" /* 1.002 of ANSI/NIST-ITL 1-2011 */
enum {
    HEAD_MAX = 24, /* "14.001:" and the length's digits */
    RECORD_TEXT_MAX = 1024,
    MINUTIA_TEXT_MAX = 40,
    IMPRESSION_MAX = 29,
    RECORD_HEADER = 26, /* of an INCITS 378 record */
    VIEW_HEADER = 4,
    MINUTIA_BYTES = 6
};

/* The buffer has an upper bound of the final size from the start. */
struct writer {
    uint8_t *bytes;
    size_t len, cap;
    bool full;
};

static void put(struct writer *w, const void *bytes, size_t len)
{
    if (len > w->cap - w->len) {
        w->full = true;
        return;
    }
    memcpy(w->bytes + w->len, bytes, len);
    w->len += len;
}

static void put_text(struct writer *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void put_text(struct writer *w, const char *format, ...)
{
    char text[160];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof text) {
        w->full = true;
        return;
    }
    put(w, text, (size_t)len);
    explicit_bzero(text, sizeof text);
}

/* Leaves room for the first field, whose length is known at the end alone. */
static size_t begin_record(struct writer *w)
{
    static const uint8_t blank[HEAD_MAX];
    size_t at = w->len;
    put(w, blank, sizeof blank);
    return at;
}

/* The length counts its own digits. */
static void end_record(struct writer *w, size_t at, unsigned type)
{
    static const uint8_t separator = AN2K_FS;
    put(w, &separator, 1);
    if (w->full) {
        return;
    }
    char head[HEAD_MAX + 1];
    size_t body = w->len - at - HEAD_MAX;
    int len = 0;
    for (int again = 0; again < 3; again++) {
        len = snprintf(head, sizeof head, "%u.001:%zu%c", type, body + (size_t)len, AN2K_GS);
    }
    memmove(w->bytes + at + len, w->bytes + at + HEAD_MAX, body);
    memcpy(w->bytes + at, head, (size_t)len);
    w->len = at + (size_t)len + body;
}

static void write_type1(struct writer *w, const struct afis_an2k_header *h,
                        const struct afis_an2k_sample *samples, size_t count)
{
    size_t at = begin_record(w);
    unsigned records = 1; /* Type-2 */
    for (size_t i = 0; i < count; i++) {
        records += samples[i].tmpl != NULL ? 1 : 0;
        records += samples[i].image != NULL ? 1 : 0;
    }
    put_text(w,
             "1.002:" VERSION "\x1d"
             "1.003:1\x1f%u\x1e"
             "2\x1f"
             "00",
             records);
    for (unsigned i = 0; i < count; i++) {
        if (samples[i].tmpl != NULL) {
            put_text(w,
                     "\x1e"
                     "9\x1f%02u",
                     i + 1);
        }
        if (samples[i].image != NULL) {
            put_text(w,
                     "\x1e"
                     "14\x1f%02u",
                     i + 1);
        }
    }
    put_text(w,
             "\x1d"
             "1.004:%s\x1d"
             "1.005:%s\x1d",
             h->tot, h->date);
    put_text(w,
             "1.007:%s\x1d"
             "1.008:%s\x1d",
             h->destination, h->origin);
    /* 1.011 and 1.012 are for Types 3 to 6 alone, and zero without any. */
    put_text(w,
             "1.009:%s\x1d"
             "1.011:00.00\x1d"
             "1.012:00.00",
             h->control);
    end_record(w, at, 1);
}

static void write_type2(struct writer *w, const struct afis_an2k_header *h)
{
    size_t at = begin_record(w);
    put_text(w, "2.002:00");
    if (h->text != NULL) {
        put_text(w,
                 "\x1d"
                 "2.003:%s",
                 h->text);
    }
    end_record(w, at, 2);
}

/* The M1 block, 9.126 to 9.139, is an INCITS 378 record in words: the numbers come from one. */
static enum afis_status write_type9(struct writer *w, const struct afis_an2k_sample *sample,
                                    unsigned idc)
{
    uint8_t record[AFIS_RECORD_MAX];
    size_t len;
    enum afis_status status = afis_template_to_ansi378(sample->tmpl, record, sizeof record, &len);
    if (status != AFIS_OK) {
        return status;
    }
    const struct afis_template *t = sample->tmpl;
    size_t at = begin_record(w);
    put_text(w,
             "9.002:%02u\x1d"
             "9.003:%u\x1d"
             "9.004:U\x1d",
             idc, sample->impression);
    put_text(w,
             "9.126:0\x1f"
             "0\x1f"
             "unspecified\x1d"
             "9.127:NONE\x1f"
             "0\x1d"
             "9.128:%u\x1d"
             "9.129:%u\x1d",
             t->width, t->height);
    put_text(w,
             "9.130:2\x1d"
             "9.131:197\x1d"
             "9.132:197\x1d"
             "9.133:0\x1d"
             "9.134:%u\x1d",
             t->position);
    put_text(w,
             "9.135:%u\x1f"
             "0\x1f"
             "0\x1d"
             "9.136:%u",
             t->quality, t->count);
    const uint8_t *p = record + RECORD_HEADER + VIEW_HEADER;
    for (unsigned i = 0; i < t->count; i++, p += MINUTIA_BYTES) {
        unsigned x = ((unsigned)p[0] << 8 | p[1]) & 0x3fff, y = (unsigned)p[2] << 8 | p[3];
        put_text(w, "%s%u\x1f%u\x1f%u\x1f%u\x1f%u\x1f%u",
                 i == 0 ? "\x1d"
                          "9.137:"
                        : "\x1e",
                 i + 1, x, y, p[4], p[0] >> 6, p[5]);
    }
    end_record(w, at, 9);
    explicit_bzero(record, sizeof record);
    return AFIS_OK;
}

static enum afis_status write_type14(struct writer *w, const struct afis_an2k_header *h,
                                     const struct afis_an2k_sample *sample, unsigned idc,
                                     const struct afis_memory *memory)
{
    const struct afis_image *image = sample->image;
    uint8_t *png = NULL;
    const uint8_t *data = image->pixels;
    size_t len = (size_t)image->width * image->height;
    if (sample->coding == AFIS_AN2K_PNG) {
        enum afis_status status = afis_image_to_png(image, memory, &png, &len);
        if (status != AFIS_OK || png == NULL) {
            return status;
        }
        data = png;
    }
    size_t at = begin_record(w);
    put_text(w,
             "14.002:%02u\x1d"
             "14.003:%u\x1d"
             "14.004:%s\x1d",
             idc, sample->impression, h->origin);
    put_text(w,
             "14.005:%s\x1d"
             "14.006:%u\x1d"
             "14.007:%u\x1d",
             h->date, image->width, image->height);
    put_text(w,
             "14.008:1\x1d"
             "14.009:%u\x1d"
             "14.010:%u\x1d",
             image->dpi, image->dpi);
    put_text(w,
             "14.011:%s\x1d"
             "14.012:8\x1d"
             "14.013:%u\x1d"
             "14.999:",
             png != NULL ? "PNG" : "NONE", sample->position);
    put(w, data, len);
    end_record(w, at, 14);
    if (png != NULL) {
        memory->release(memory->ctx, png, len);
    }
    return AFIS_OK;
}

static bool text_valid(const char *text, size_t min, size_t max)
{
    size_t len = text != NULL ? strlen(text) : 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < 0x20 || text[i] > 0x7e) {
            return false;
        }
    }
    return len >= min && len <= max;
}

static bool header_valid(const struct afis_an2k_header *h)
{
    return text_valid(h->tot, 3, 16) && text_valid(h->date, 8, 8) &&
           strspn(h->date, "0123456789") == 8 && text_valid(h->destination, 1, 32) &&
           text_valid(h->origin, 1, 32) && text_valid(h->control, 1, 32) &&
           (h->text == NULL || text_valid(h->text, 1, 32));
}

/* What one sample may need at most, or its fault. */
static enum afis_status sample_room(const struct afis_an2k_sample *s, size_t *room)
{
    if ((s->image == NULL && s->tmpl == NULL) || s->position > AFIS_SLAP_THUMBS ||
        s->impression > IMPRESSION_MAX || (s->tmpl != NULL && s->tmpl->position != s->position)) {
        return AFIS_BAD_FORMAT;
    }
    if (s->image != NULL && s->coding != AFIS_AN2K_RAW && s->coding != AFIS_AN2K_PNG) {
        return AFIS_UNSUPPORTED;
    }
    if (s->image != NULL) {
        enum afis_status bounds =
            afis_image_bounds(s->image->width, s->image->height, s->image->dpi);
        if (bounds != AFIS_OK) {
            return bounds;
        }
    }
    *room += (size_t)2 * RECORD_TEXT_MAX;
    *room += s->tmpl != NULL ? (size_t)s->tmpl->count * MINUTIA_TEXT_MAX : 0;
    if (s->image != NULL) { /* a PNG of noise is a little larger than its pixels */
        size_t raw = ((size_t)s->image->width + 1) * s->image->height;
        *room += raw + raw / 8 + 4096;
    }
    return AFIS_OK;
}

static enum afis_status write_all(struct writer *w, const struct afis_an2k_header *header,
                                  const struct afis_an2k_sample *samples, size_t count,
                                  const struct afis_memory *memory)
{
    enum afis_status status = AFIS_OK;
    write_type1(w, header, samples, count);
    write_type2(w, header);
    for (unsigned i = 0; i < count && status == AFIS_OK; i++) {
        if (samples[i].tmpl != NULL) {
            status = write_type9(w, &samples[i], i + 1);
        }
        if (samples[i].image != NULL && status == AFIS_OK) {
            status = write_type14(w, header, &samples[i], i + 1, memory);
        }
    }
    return status == AFIS_OK && w->full ? AFIS_TOO_LARGE : status;
}

enum afis_status afis_an2k_write(const struct afis_an2k_header *header,
                                 const struct afis_an2k_sample *samples, size_t count,
                                 const struct afis_memory *memory, uint8_t **bytes, size_t *len)
{
    struct writer w = {.cap = (size_t)2 * RECORD_TEXT_MAX};
    enum afis_status status =
        !header_valid(header) || count > AFIS_AN2K_SAMPLES_MAX ? AFIS_BAD_FORMAT : AFIS_OK;
    for (size_t i = 0; i < count && status == AFIS_OK; i++) {
        status = sample_room(&samples[i], &w.cap);
    }
    if (status != AFIS_OK) {
        return status;
    }
    w.bytes = memory->alloc(memory->ctx, w.cap);
    if (w.bytes == NULL) {
        return AFIS_NO_MEMORY;
    }
    status = write_all(&w, header, samples, count, memory);
    uint8_t *exact = status == AFIS_OK ? memory->alloc(memory->ctx, w.len) : NULL;
    if (exact != NULL) { /* the caller releases by size */
        memcpy(exact, w.bytes, w.len);
        *bytes = exact;
        *len = w.len;
    }
    memory->release(memory->ctx, w.bytes, w.cap);
    return status == AFIS_OK && exact == NULL ? AFIS_NO_MEMORY : status;
}
