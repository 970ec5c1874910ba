/* What every reader and writer of templates agrees on: which values are valid, and what the
 * officer is told about a poor print. */
#include "afis/template.h"

#include "match/internal.h"

bool afis_template_valid(const struct afis_template *tmpl)
{
    if (tmpl->count > AFIS_MINUTIAE_MAX || tmpl->width == 0 || tmpl->height == 0 ||
        tmpl->position > 10 || tmpl->quality > 100 || tmpl->reserved != 0) {
        return false;
    }
    for (unsigned i = 0; i < tmpl->count; i++) {
        const struct afis_minutia *m = &tmpl->minutiae[i];
        if (m->x < 0 || m->y < 0 || m->x >= tmpl->width * AFIS_SUBPIXEL ||
            m->y >= tmpl->height * AFIS_SUBPIXEL || m->type > AFIS_MINUTIA_BIFURCATION ||
            m->quality > 100) {
            return false;
        }
    }
    return true;
}

const char *afis_quality_advice(uint8_t reasons)
{
    static const struct {
        uint8_t bit;
        const char *text;
    } advice[] = {
        {AFIS_REASON_TOO_LITTLE_FINGER, "too little finger: lay the whole fingertip flat"},
        {AFIS_REASON_TOO_DRY, "too dry: moisten the finger or press a little harder"},
        {AFIS_REASON_TOO_WET, "too wet or smudged: wipe the finger and the sensor"},
        {AFIS_REASON_MOVED, "moved: hold the finger still"},
        {AFIS_REASON_NOT_A_FINGER, "not a finger: check what lies on the sensor"},
    };
    for (size_t i = 0; i < sizeof advice / sizeof advice[0]; i++) {
        if (reasons & advice[i].bit) {
            return advice[i].text;
        }
    }
    return "";
}
