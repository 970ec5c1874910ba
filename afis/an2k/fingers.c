/* Which fingers a transaction holds: pictures of one finger, slaps cut apart, minutiae alone. */
#include <string.h>

#include "afis/extract.h"
#include "an2k/internal.h"

enum { NONLIVE_PLAIN = 2, NONLIVE_ROLLED = 3 }; /* IMP, table 7 */

struct search {
    const struct afis_an2k *an2k;
    const struct afis_memory *memory;
    bool (*visit)(void *ctx, const struct afis_an2k_finger *finger);
    void *ctx;
    bool stopped;
};

static void show(struct search *s, const struct afis_an2k_finger *finger)
{
    s->stopped = s->stopped || !s->visit(s->ctx, finger);
}

static void show_unusable(struct search *s, unsigned record, enum afis_status status,
                          const char *what)
{
    const struct afis_an2k_picture *picture = &s->an2k->records[record].picture;
    show(s, &(struct afis_an2k_finger){
                .record = record,
                .status = status,
                .what = what[0] != '\0' ? what : afis_status_text(status),
                .position = picture->position <= 10 ? picture->position : 0,
                .impression = picture->impression,
            });
}

/* Table 8: 11 and 12 are the plain thumbs. */
static uint8_t one_finger(unsigned position)
{
    return (uint8_t)(position == 11 ? 1 : position == 12 ? 6 : position);
}

static void show_image(struct search *s, unsigned record, uint8_t position, bool segmented,
                       const struct afis_image *image)
{
    show(s, &(struct afis_an2k_finger){
                .record = record,
                .what = "",
                .position = position,
                .impression = s->an2k->records[record].picture.impression,
                .segmented = segmented,
                .image = image,
            });
}

/* The sender's own segments, 14.021, are better informed than ours. */
static enum afis_status show_stated(struct search *s, unsigned record,
                                    const struct afis_image *image)
{
    const struct afis_an2k_picture *picture = &s->an2k->records[record].picture;
    for (unsigned i = 0; i < picture->segment_count && !s->stopped; i++) {
        const struct afis_slap_finger *box = &picture->segments[i];
        struct afis_image finger;
        enum afis_status status = afis_image_crop(image, box->left, box->top, box->right,
                                                  box->bottom, s->memory, &finger);
        if (status != AFIS_OK) {
            return status;
        }
        show_image(s, record, box->position, true, &finger);
        afis_image_release(&finger, s->memory);
    }
    return AFIS_OK;
}

static enum afis_status show_slap(struct search *s, unsigned record, const struct afis_image *image)
{
    const struct afis_an2k_picture *picture = &s->an2k->records[record].picture;
    struct afis_slap *slap;
    if (picture->segment_count > 0) {
        return show_stated(s, record, image);
    }
    enum afis_status status =
        afis_slap_segment(image, picture->position, picture->missing, s->memory, &slap);
    if (status != AFIS_OK) {
        return status;
    }
    for (unsigned i = 0; i < afis_slap_count(slap) && status == AFIS_OK && !s->stopped; i++) {
        struct afis_image finger;
        status = afis_slap_cut(slap, i, image, s->memory, &finger);
        if (status == AFIS_OK) {
            show_image(s, record, afis_slap_finger(slap, i)->position, true, &finger);
            afis_image_release(&finger, s->memory);
        }
    }
    afis_slap_release(slap, s->memory);
    return status;
}

static enum afis_status show_picture(struct search *s, unsigned record)
{
    const struct afis_an2k_record *r = &s->an2k->records[record];
    struct afis_image image = {0};
    enum afis_status status = afis_an2k_image(s->an2k, record, s->memory, &image);
    if (status == AFIS_OK) {
        if (r->picture.position >= AFIS_SLAP_RIGHT_FOUR) {
            status = show_slap(s, record, &image);
        } else {
            show_image(s, record, one_finger(r->picture.position), false, &image);
        }
    }
    afis_image_release(&image, s->memory);
    if (status != AFIS_OK && status != AFIS_NO_MEMORY) {
        show_unusable(s, record, status, r->what);
    }
    return status == AFIS_NO_MEMORY ? status : AFIS_OK;
}

/* Whether a Type-9's finger is also there as a picture that the engine reads: its own minutiae go
 * further than somebody else's. */
static bool has_picture(const struct afis_an2k *an2k, unsigned record)
{
    const struct afis_an2k_picture *picture = an2k_picture_of(an2k, record);
    return picture != NULL && an2k_decodes(picture->coding);
}

static void show_minutiae(struct search *s, unsigned record)
{
    struct afis_template tmpl;
    uint32_t impression;
    enum afis_status status = afis_an2k_template(s->an2k, record, &tmpl);
    if (status != AFIS_OK) {
        show_unusable(s, record, status, "Type-9: no minutiae that can be read");
        return;
    }
    if (!an2k_field_number(s->an2k, record, 3, 99, &impression)) {
        impression = 0;
    }
    show(s, &(struct afis_an2k_finger){
                .record = record,
                .what = "",
                .position = tmpl.position,
                .impression = (uint8_t)impression,
                .tmpl = &tmpl,
            });
    explicit_bzero(&tmpl, sizeof tmpl);
}

enum afis_status
afis_an2k_each_finger(const struct afis_an2k *an2k, const struct afis_memory *memory,
                      bool (*visit)(void *ctx, const struct afis_an2k_finger *finger), void *ctx)
{
    struct search s = {.an2k = an2k, .memory = memory, .visit = visit, .ctx = ctx};
    enum afis_status status = AFIS_OK;
    for (unsigned i = 1; i < an2k->count && !s.stopped && status == AFIS_OK; i++) {
        unsigned type = an2k->records[i].type;
        if (type == 4 || type == 14) {
            status = show_picture(&s, i);
        } else if (type == 9 && !has_picture(an2k, i)) {
            show_minutiae(&s, i);
        }
    }
    return status;
}

enum afis_status afis_an2k_minutiae(const struct afis_an2k_finger *finger,
                                    const struct afis_memory *memory, struct afis_template *out)
{
    if (finger->status != AFIS_OK) {
        return finger->status;
    }
    if (finger->tmpl != NULL) {
        *out = *finger->tmpl;
        return AFIS_OK;
    }
    bool paper = finger->impression == NONLIVE_PLAIN || finger->impression == NONLIVE_ROLLED;
    struct afis_image alone = {0};
    enum afis_status status = AFIS_OK;
    if (paper && !finger->segmented) {
        status = afis_slap_isolate(finger->image, memory, &alone);
    }
    if (status == AFIS_OK) {
        status = afis_extract(alone.pixels != NULL ? &alone : finger->image, memory, out, NULL);
    }
    afis_image_release(&alone, memory);
    if (status == AFIS_OK) {
        out->position = finger->position;
    }
    return status;
}
