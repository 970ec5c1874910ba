/* whorl extract: images in, templates (and pictures for people) out. */
#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/print/file.h"
#include "cli/print/fingerprint.h"
#include "cli/print/overlay.h"
#include "whorl/msg.h"

enum { OPT_OVERLAY = 0x100 };

static const struct argp_option options_list[] = {
    {"output", 'o', "DIR", 0, "Where to write NAME.iso for each NAME.png; made when missing", 0},
    FINGERPRINT_DPI_OPTION,
    {"overlay", OPT_OVERLAY, 0, 0,
     "Also write NAME.overlay.png: minutiae, ridges and quality map "
     "drawn on the print",
     0},
    {0},
};

struct extract {
    const char *dir;
    uint32_t dpi;
    bool overlay;
    char **files;
    int file_count;
    struct file_kept kept;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct extract *e = state->input;
    switch (key) {
    case 'o':
        e->dir = arg;
        return 0;
    case FINGERPRINT_DPI:
        e->dpi = fingerprint_parse_dpi(state, arg);
        return 0;
    case OPT_OVERLAY:
        e->overlay = true;
        return 0;
    case ARGP_KEY_ARGS:
        e->files = state->argv + state->next;
        e->file_count = state->argc - state->next;
        return 0;
    case ARGP_KEY_END:
        if (e->file_count == 0 || !e->dir) {
            argp_error(state, e->dir ? "no image is given" : "-o DIR is missing");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* DIR/NAME of the image without its ending, plus a new one. */
static bool output_path(char *path, size_t cap, const char *dir, const char *image,
                        const char *ending)
{
    const char *base = strrchr(image, '/');
    base = base ? base + 1 : image;
    const char *dot = strrchr(base, '.');
    int stem = dot && dot != base ? (int)(dot - base) : (int)strlen(base);
    return (size_t)snprintf(path, cap, "%s/%.*s%s", dir, stem, base, ending) < cap;
}

static bool write_template(struct extract *e, const char *image, const struct afis_template *tmpl,
                           struct whorl_fault *fault)
{
    uint8_t record[32 + 6 * AFIS_MINUTIAE_MAX];
    size_t len;
    char path[4096];
    if (!output_path(path, sizeof path, e->dir, image, ".iso")) {
        return whorl_fail(fault, image, "the output path would be too long");
    }
    enum afis_status status = afis_template_to_iso(tmpl, record, sizeof record, &len);
    if (status != AFIS_OK) {
        return whorl_fail(fault, image, "%s", afis_status_text(status));
    }
    return file_write_once(&e->kept, path, record, len, fault);
}

static bool write_overlay(struct extract *e, const char *file, const struct afis_image *image,
                          const struct afis_overlay *overlay, const struct afis_template *tmpl,
                          struct whorl_fault *fault)
{
    char path[4096];
    return (output_path(path, sizeof path, e->dir, file, ".overlay.png") ||
            whorl_fail(fault, file, "the output path would be too long")) &&
           file_is_free(&e->kept, path, fault) &&
           overlay_write(path, image, overlay, tmpl, fault) && file_keep(&e->kept, path, fault);
}

static bool extract_one(struct extract *e, const char *file, struct whorl_fault *fault)
{
    struct afis_template tmpl;
    struct afis_image image = {0};
    struct afis_overlay overlay = {0};
    bool ok =
        fingerprint_load(file, e->dpi, &tmpl, &image, e->overlay ? &overlay : NULL, fault) &&
        write_template(e, file, &tmpl, fault) &&
        (!image.pixels || !e->overlay || write_overlay(e, file, &image, &overlay, &tmpl, fault));
    afis_image_release(&image, &fingerprint_memory);
    afis_overlay_release(&overlay, &fingerprint_memory);
    if (ok) {
        const char *advice = afis_quality_advice(tmpl.reasons);
        printf("%s: %u minutiae, quality %u%s%s\n", file, tmpl.count, tmpl.quality,
               *advice ? ", " : "", advice);
    }
    return ok;
}

static int run(struct extract *e)
{
    struct whorl_fault fault = {0};
    int exit_code = EXIT_DONE;
    if (!file_keep_all(&e->kept, e->files, e->file_count, &fault)) {
        return print_fault(&fault);
    }
    for (int i = 0; i < e->file_count; i++) {
        if (!extract_one(e, e->files[i], &fault)) {
            exit_code = print_fault(&fault);
        }
    }
    return exit_code;
}

int cmd_extract(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options_list,
        .parser = parse,
        .args_doc = "IMAGE…",
        .doc = "Extracts the minutiae of fingerprint images (PNG) into ISO/IEC 19794-2:2005 "
               "records and prints how many there are and how good the print is (0 to 100). No two "
               "images are written to one file.\v"
               "Exit status: 0 all images done, 2 wrong usage, 3 some are not done.",
    };
    struct extract e = {.dpi = 500};
    argp_parse(&argp, argc, argv, 0, NULL, &e);
    if (mkdir(e.dir, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "whorl: %s: %s\n", e.dir, strerror(errno));
        return 3;
    }
    int exit_code = run(&e);
    file_kept_release(&e.kept);
    return exit_code;
}
