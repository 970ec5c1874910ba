#include "cli/print/fingerprint.h"

#include <stdlib.h>

#include "cli/print/file.h"
#include "whorl/msg.h"
#include "whorl/secret.h"

static void *take(void *ctx, size_t size)
{
    (void)ctx;
    return whorl_secret_alloc(size);
}

static void give_back(void *ctx, void *p, size_t size)
{
    (void)ctx;
    whorl_secret_free(p, size);
}

const struct afis_memory fingerprint_memory = {.alloc = take, .release = give_back};

uint32_t fingerprint_parse_dpi(struct argp_state *state, const char *arg)
{
    char *end;
    unsigned long n = strtoul(arg, &end, 10);
    if (*end || end == arg || n < AFIS_DPI_MIN || n > AFIS_DPI_MAX) {
        argp_error(state, "--dpi: expected %u to %u, found \"%s\"", AFIS_DPI_MIN, AFIS_DPI_MAX,
                   arg);
    }
    return (uint32_t)n;
}

static enum afis_status decode(const struct whorl_secret *bytes, uint32_t dpi,
                               struct afis_template *tmpl, struct afis_image *image,
                               struct afis_overlay *overlay)
{
    if (file_is_minutiae_record(bytes)) {
        return afis_template_from_iso(bytes->bytes, bytes->len, 0, tmpl);
    }
    struct afis_image decoded = {0};
    enum afis_status status = (file_is_wsq(bytes) ? afis_image_from_wsq : afis_image_from_png)(
        bytes->bytes, bytes->len, dpi, &fingerprint_memory, &decoded);
    if (status == AFIS_OK) {
        status = afis_extract(&decoded, &fingerprint_memory, tmpl, overlay);
    }
    if (image && status == AFIS_OK) {
        *image = decoded;
    } else {
        afis_image_release(&decoded, &fingerprint_memory);
    }
    return status;
}

bool fingerprint_load(const char *path, uint32_t dpi, struct afis_template *tmpl,
                      struct afis_image *image, struct afis_overlay *overlay,
                      struct whorl_fault *fault)
{
    struct whorl_secret bytes = {0};
    bool ok = file_read(path, &bytes, fault);
    if (ok) {
        enum afis_status status = decode(&bytes, dpi, tmpl, image, overlay);
        ok = status == AFIS_OK || whorl_fail(fault, path, "%s", afis_status_text(status));
    }
    whorl_secret_release(&bytes);
    return ok;
}
