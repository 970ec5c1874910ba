#include "cli/enrol/enrol_duplicates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gallery/search.h"
#include "whorl/msg.h"

#define FPIR 0.001 /* how often a person without a duplicate may be reported */

static void *aligned(size_t size)
{
    void *p = aligned_alloc(64, (size + 63) & ~(size_t)63);
    if (p) {
        memset(p, 0, size);
    }
    return p;
}

static size_t stride(void)
{
    return (afis_finger_size() + 63) & ~(size_t)63;
}

/* Prepares the person's prints, as many as a search takes. */
static bool prepare(const struct gallery_person *person, struct gallery_probe *probes,
                    size_t *count, uint8_t *fingers, struct whorl_fault *fault)
{
    for (*count = 0; *count < person->print_count && *count < GALLERY_PROBES_MAX; (*count)++) {
        const struct gallery_print *print = &person->prints[*count];
        struct afis_finger *finger = (struct afis_finger *)(fingers + *count * stride());
        enum afis_status status = afis_finger_prepare_packed(print->packed, print->len, finger);
        if (status != AFIS_OK) {
            return whorl_fail(fault, person->id, "%s", afis_status_text(status));
        }
        probes[*count] = (struct gallery_probe){finger, print->position};
    }
    return true;
}

static bool run(struct gallery *gallery, const struct gallery_search_params *params, void *scratch,
                struct gallery_result *result, struct whorl_fault *fault)
{
    struct gallery_search *search = gallery_search_begin(gallery, params, fault);
    enum gallery_finish finish = GALLERY_FINISH_FAILED;
    if (!search) {
        return false;
    }
    do {
        while (gallery_search_step(search, scratch) == GALLERY_STEP_MORE) {
        }
        finish = gallery_search_finish(search, scratch, result, fault);
    } while (finish == GALLERY_FINISH_AGAIN);
    gallery_search_free(search);
    return finish == GALLERY_FINISH_DONE;
}

static void name_others(const struct gallery_person *person, const struct gallery_result *result,
                        char *text, size_t cap)
{
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < result->candidate_count && len < cap; i++) {
        const struct gallery_candidate *candidate = &result->candidates[i];
        if (strcmp(candidate->person->id, person->id) == 0 ||
            candidate->score < result->match_threshold) {
            continue;
        }
        len +=
            len == 0 ? (size_t)snprintf(text, cap, "person %s has the fingers of", person->id) : 0;
        if (len < cap) {
            len += (size_t)snprintf(text + len, cap - len, " %s (%.0f dB)", candidate->person->id,
                                    (double)candidate->score);
        }
    }
}

bool enrol_duplicates_of(struct gallery *gallery, const struct gallery_person *person, char *text,
                         size_t cap, struct whorl_fault *fault)
{
    struct gallery_probe probes[GALLERY_PROBES_MAX];
    struct gallery_search_params params = {.thorough = true,
                                           .probes = probes,
                                           .match_fpir = FPIR,
                                           .possible_fpir = FPIR,
                                           .max_candidates = GALLERY_CANDIDATES_MAX,
                                           .now = time(NULL)};
    struct gallery_result result = {.complete = false};
    uint8_t *fingers = aligned(GALLERY_PROBES_MAX * stride());
    void *scratch = aligned(gallery_search_scratch_size());
    bool ok = fingers && scratch ? prepare(person, probes, &params.probe_count, fingers, fault) &&
                                       gallery_prepare(gallery, fault) &&
                                       run(gallery, &params, scratch, &result, fault)
                                 : whorl_fail(fault, "", "out of memory");
    if (ok) {
        name_others(person, &result, text, cap);
        gallery_result_release(&result);
    }
    free(fingers);
    free(scratch);
    return ok;
}
