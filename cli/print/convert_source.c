#include "cli/print/convert_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "afis/an2k.h"
#include "cli/print/file.h"
#include "cli/print/fingerprint.h"
#include "whorl/msg.h"

struct source {
    const char *file;
    const struct convert_hints *hints;
    bool (*visit)(void *ctx, const struct convert_finger *finger, struct whorl_fault *fault);
    void (*skipped)(void *ctx, const char *file, const char *text);
    void *ctx;
    struct whorl_fault *fault;
    bool ok;
    unsigned found;
    const struct afis_an2k *an2k;
};

static bool fail(struct source *s, enum afis_status status)
{
    return whorl_fail(s->fault, s->file, "%s", afis_status_text(status));
}

static bool each_image(struct source *s, const struct whorl_secret *bytes)
{
    const struct convert_hints *h = s->hints;
    struct afis_image image = {0};
    enum afis_status status;
    if (file_is_wsq(bytes)) {
        status = afis_image_from_wsq(bytes->bytes, bytes->len, h->dpi, &fingerprint_memory, &image);
    } else if (h->width > 0 && bytes->len == (size_t)h->width * h->height) {
        status = afis_image_from_raw(bytes->bytes, bytes->len, h->width, h->height, h->dpi,
                                     &fingerprint_memory, &image);
    } else {
        status = afis_image_from_png(bytes->bytes, bytes->len, h->dpi, &fingerprint_memory, &image);
    }
    if (status != AFIS_OK) {
        return fail(s, status);
    }
    const struct convert_finger finger = {
        .file = s->file, .position = h->position, .image = &image};
    bool ok = s->visit(s->ctx, &finger, s->fault);
    afis_image_release(&image, &fingerprint_memory);
    return ok;
}

static bool each_view(struct source *s, const struct whorl_secret *bytes)
{
    unsigned views = afis_template_views(bytes->bytes, bytes->len);
    bool ok = true;
    for (unsigned view = 0; view < (views ? views : 1) && ok; view++) {
        struct afis_template tmpl;
        enum afis_status status = afis_template_from_iso(bytes->bytes, bytes->len, view, &tmpl);
        if (status != AFIS_OK) {
            return fail(s, status);
        }
        const struct convert_finger finger = {.file = s->file,
                                              .number = views > 1 ? view + 1 : 0,
                                              .position = tmpl.position,
                                              .tmpl = &tmpl};
        ok = s->visit(s->ctx, &finger, s->fault);
        explicit_bzero(&tmpl, sizeof tmpl);
    }
    return ok;
}

static bool take_finger(void *ctx, const struct afis_an2k_finger *found)
{
    struct source *s = ctx;
    s->found++;
    if (found->status != AFIS_OK) {
        char text[256];
        snprintf(text, sizeof text, "record %u (Type-%u): %s", found->record,
                 s->an2k->records[found->record].type, found->what);
        s->skipped(s->ctx, s->file, text);
        return true;
    }
    const struct convert_finger finger = {.file = s->file,
                                          .number = s->found,
                                          .position = found->position,
                                          .impression = found->impression,
                                          .image = found->image,
                                          .tmpl = found->tmpl,
                                          .segmented = found->segmented};
    s->ok = s->visit(s->ctx, &finger, s->fault);
    return s->ok;
}

static bool each_record(struct source *s, const struct whorl_secret *bytes)
{
    struct afis_an2k *an2k = malloc(sizeof *an2k);
    struct afis_an2k_fault fault;
    if (!an2k) {
        return fail(s, AFIS_NO_MEMORY);
    }
    s->an2k = an2k;
    enum afis_status status = afis_an2k_read(bytes->bytes, bytes->len, an2k, &fault);
    if (status != AFIS_OK) {
        s->ok = whorl_fail(s->fault, s->file, "record %u, at byte %zu: %s", fault.record, fault.at,
                           fault.what);
    } else if (afis_an2k_each_finger(an2k, &fingerprint_memory, take_finger, s) != AFIS_OK) {
        s->ok = fail(s, AFIS_NO_MEMORY);
    } else if (s->found == 0) {
        s->ok = whorl_fail(s->fault, s->file, "the transaction holds no finger");
    }
    free(an2k);
    return s->ok;
}

bool convert_each(const char *file, const struct convert_hints *hints,
                  bool (*visit)(void *ctx, const struct convert_finger *finger,
                                struct whorl_fault *fault),
                  void (*skipped)(void *ctx, const char *file, const char *text), void *ctx,
                  struct whorl_fault *fault)
{
    struct source s = {.file = file,
                       .hints = hints,
                       .visit = visit,
                       .skipped = skipped,
                       .ctx = ctx,
                       .fault = fault,
                       .ok = true};
    struct whorl_secret bytes = {0};
    bool ok = file_read(file, &bytes, fault);
    if (ok && file_is_minutiae_record(&bytes)) {
        ok = each_view(&s, &bytes);
    } else if (ok && file_is_an2k(&bytes)) {
        ok = each_record(&s, &bytes);
    } else if (ok) {
        ok = each_image(&s, &bytes);
    }
    whorl_secret_release(&bytes);
    return ok;
}
