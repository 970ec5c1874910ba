/* What a force's other systems say, as CSV files: the first byte says whether a roster, identities
 * or positions follow. The file stands in memory. */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "report/others.h"
#include "report/period.h"

#define HOUR INT64_C(3600000)

static void check_duties(const struct others *others, uint32_t officers)
{
    for (uint32_t i = 0; i < others->duty_count; i++) {
        const struct duty *duty = &others->duties[i];
        int64_t away = -1;
        uint32_t first = others_duties_of(others, duty->officer);
        FUZZ_CHECK(duty->officer < officers && duty->label < others->labels.count);
        FUZZ_CHECK(duty->from < duty->until && duty->until - duty->from <= 48 * HOUR);
        FUZZ_CHECK(first <= i && others->duties[first].officer == duty->officer);
        FUZZ_CHECK(others_nearest(others, first, i + 1, duty->from, &away) != NULL && away == 0);
    }
}

static void check_identities(const struct others *others, uint32_t references)
{
    for (uint32_t i = 0; i < others->identity_count; i++) {
        FUZZ_CHECK(others->identities[i].reference < references);
        FUZZ_CHECK(others->identities[i].owner < others->staff.count);
    }
}

static void check_positions(const struct others *others, uint32_t devices)
{
    for (uint32_t i = 0; i < others->position_count; i++) {
        const struct position *position = &others->positions[i];
        const struct position *here = others_where(others, position->device, position->from);
        FUZZ_CHECK(position->device < devices);
        FUZZ_CHECK(position->latitude >= -90 && position->latitude <= 90);
        FUZZ_CHECK(position->longitude >= -180 && position->longitude <= 180);
        FUZZ_CHECK(here != NULL && here->device == position->device &&
                   here->from == position->from);
        double km = others_km(position, &others->positions[0]);
        FUZZ_CHECK(km >= 0 && km < 20038); /* half the way round */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static bool (*const readers[])(struct others *, const char *, const struct names *,
                                   struct whorl_fault *) = {others_roster, others_identities,
                                                            others_positions};
    struct names known = {.most = 4};
    struct others others = {0};
    struct whorl_fault fault = {{0}, {0}};
    char path[64];
    if (len < 1) {
        return 0;
    }
    period_use_uk_time();
    names_add(&known, "A1", 2);
    names_add(&known, "phone-1", 7);
    names_add(&known, "ident1/K7", 9);
    int fd = memfd_create("others.csv", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes + 1, len - 1) != (ssize_t)(len - 1)) {
        abort();
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bool ok = readers[bytes[0] % 3](&others, path, &known, &fault);
    FUZZ_CHECK(ok || (fault.where[0] != '\0' && fault.text[0] != '\0'));
    if (ok) {
        check_duties(&others, known.count);
        check_identities(&others, known.count);
        check_positions(&others, known.count);
    }
    close(fd);
    others_release(&others);
    names_release(&known);
    return 0;
}
