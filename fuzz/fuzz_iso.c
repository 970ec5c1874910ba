/* Minutiae records of ISO/IEC 19794-2 and ANSI INCITS 378: what was written once is read back and
 * written again to the same bytes, in either standard. */
#include <string.h>

#include "afis/template.h"
#include "fuzz.h"

static void check(const struct afis_template *tmpl,
                  enum afis_status (*write)(const struct afis_template *, uint8_t *, size_t,
                                            size_t *))
{
    uint8_t once[AFIS_RECORD_MAX], twice[AFIS_RECORD_MAX];
    size_t len, again;
    struct afis_template read;
    FUZZ_CHECK(write(tmpl, once, sizeof once, &len) == AFIS_OK);
    FUZZ_CHECK(afis_template_from_iso(once, len, 0, &read) == AFIS_OK);
    FUZZ_CHECK(write(&read, twice, sizeof twice, &again) == AFIS_OK);
    FUZZ_CHECK(len == again && memcmp(once, twice, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct afis_template tmpl;
    unsigned views = afis_template_views(bytes, len);
    for (unsigned view = 0; view < views; view++) {
        if (afis_template_from_iso(bytes, len, view, &tmpl) != AFIS_OK) {
            return 0;
        }
        check(&tmpl, afis_template_to_iso);
        check(&tmpl, afis_template_to_ansi378);
    }
    return 0;
}
