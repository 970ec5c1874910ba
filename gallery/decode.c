#include "gallery/decode.h"

#include <string.h>

#include "afis/extract.h"
#include "afis/image.h"
#include "whorl/msg.h"

#define MINUTIAE_MIN 6u /* fewer say nothing about whose finger it is */

const char *const decode_formats[] = {"png", "raw", "wsq", "iso19794-2", NULL};

bool decode_is_image(const char *format)
{
    return strcmp(format, "iso19794-2") != 0;
}

const char *decode_position_name(uint8_t position)
{
    static const char *const names[] = {"finger of unknown position",
                                        "right thumb",
                                        "right index finger",
                                        "right middle finger",
                                        "right ring finger",
                                        "right little finger",
                                        "left thumb",
                                        "left index finger",
                                        "left middle finger",
                                        "left ring finger",
                                        "left little finger"};
    return names[position <= 10 ? position : 0];
}

static enum afis_status decode_image(const struct decode_sample *sample,
                                     const struct afis_memory *memory, struct afis_image *image,
                                     const char **stage)
{
    uint32_t dpi = sample->dpi ? sample->dpi : DECODE_DPI;
    if (strcmp(sample->format, "png") == 0) {
        *stage = "PNG";
        return afis_image_from_png(sample->bytes, sample->len, dpi, memory, image);
    }
    if (strcmp(sample->format, "wsq") == 0) {
        *stage = "WSQ";
        return afis_image_from_wsq(sample->bytes, sample->len, dpi, memory, image);
    }
    *stage = "raw image";
    return afis_image_from_raw(sample->bytes, sample->len, sample->width, sample->height, dpi,
                               memory, image);
}

enum afis_status decode_finger(const struct decode_sample *sample, const struct afis_memory *memory,
                               struct afis_template *out, struct whorl_fault *fault)
{
    const char *stage;
    enum afis_status status;
    if (!decode_is_image(sample->format)) {
        stage = "ISO/IEC 19794-2 record";
        status = afis_template_from_iso(sample->bytes, sample->len, 0, out);
    } else {
        struct afis_image image = {0};
        status = decode_image(sample, memory, &image, &stage);
        if (status == AFIS_OK) {
            status = afis_extract(&image, memory, out, NULL);
        }
        afis_image_release(&image, memory);
    }
    if (status != AFIS_OK) {
        whorl_fail(fault, "", "%s: %s", stage, afis_status_text(status));
        return status;
    }
    if (sample->position != 0) {
        out->position = sample->position;
    }
    return AFIS_OK;
}

bool decode_usable(const struct afis_template *tmpl, bool image, unsigned min_quality,
                   struct whorl_fault *fault)
{
    bool judged = image || tmpl->quality != 0;
    const char *advice = afis_quality_advice(tmpl->reasons);
    const char *colon = advice[0] ? ": " : "";
    if (tmpl->reasons & AFIS_REASON_NOT_A_FINGER) {
        return whorl_fail(fault, "", "%s", afis_status_text(AFIS_NOT_A_FINGER));
    }
    if (judged && tmpl->quality < min_quality) {
        return whorl_fail(fault, "", "below the quality of %u that is needed%s%s", min_quality,
                          colon, advice);
    }
    if (tmpl->count < MINUTIAE_MIN) {
        return whorl_fail(fault, "", "only %u minutiae were found, at least %u are needed%s%s",
                          tmpl->count, MINUTIAE_MIN, colon, advice);
    }
    return true;
}
