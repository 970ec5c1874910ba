/* Minutiae interchange records: whatever is read is valid, and written and read again it is the
 * same to the writer's precision. */
#include <string.h>

#include "afis/template.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    for (unsigned view = 0; view < 3; view++) {
        struct afis_template t, u;
        uint8_t record[2048], again[2048];
        size_t record_len, again_len;
        if (afis_template_from_iso(bytes, len, view, &t) != AFIS_OK) {
            continue;
        }
        FUZZ_CHECK(afis_template_to_iso(&t, record, sizeof record, &record_len) == AFIS_OK);
        FUZZ_CHECK(afis_template_from_iso(record, record_len, 0, &u) == AFIS_OK);
        FUZZ_CHECK(u.count == t.count && u.position == t.position && u.quality == t.quality);
        FUZZ_CHECK(afis_template_to_iso(&u, again, sizeof again, &again_len) == AFIS_OK);
        FUZZ_CHECK(again_len == record_len && memcmp(again, record, record_len) == 0);
    }
    return 0;
}
