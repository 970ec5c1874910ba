/* Manifests of enrolment: the first byte says whether CSV or JSON lines follow. */
#include <string.h>

#include "cli/enrol/manifest_internal.h"
#include "fuzz.h"

static void check_person(const struct manifest_person *person)
{
    FUZZ_CHECK(person->person.id[0] != '\0');
    FUZZ_CHECK(person->print_count > 0 && person->print_count <= GALLERY_PRINTS_MAX);
    struct gallery_print prints[GALLERY_PRINTS_MAX] = {0};
    struct gallery_person whole = person->person;
    whole.prints = prints;
    whole.print_count = person->print_count;
    for (size_t i = 0; i < person->print_count; i++) {
        prints[i].position = person->prints[i].position;
        prints[i].impression = person->prints[i].impression;
        FUZZ_CHECK(person->prints[i].file[0] != '\0');
    }
    FUZZ_CHECK(gallery_person_valid(&whole, NULL));
}

static void read_all(struct manifest *manifest)
{
    for (;;) {
        struct manifest_person *person;
        struct whorl_fault fault = {{0}, {0}};
        unsigned long line;
        switch (manifest_next(manifest, &person, &line, &fault)) {
        case MANIFEST_PERSON:
            check_person(person);
            manifest_person_free(person);
            break;
        case MANIFEST_BAD:
            FUZZ_CHECK(fault.text[0] != '\0');
            break;
        case MANIFEST_FAILED:
        case MANIFEST_END:
            return;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct whorl_fault fault;
    if (len < 2) {
        return 0;
    }
    FILE *file = fmemopen((void *)(uintptr_t)(bytes + 1), len - 1, "r");
    struct manifest *manifest = calloc(1, sizeof *manifest);
    if (!file || !manifest) {
        abort();
    }
    manifest->path = strdup(bytes[0] & 1 ? "manifest.csv" : "manifest.jsonl");
    if (manifest_begin(manifest, file, &fault)) {
        read_all(manifest);
    }
    manifest_close(manifest);
    return 0;
}
