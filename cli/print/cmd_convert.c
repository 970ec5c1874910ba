/* whorl convert: fingers from any format that is read into any that is written. */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "afis/an2k.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/print/convert_source.h"
#include "cli/print/file.h"
#include "cli/print/fingerprint.h"
#include "whorl/msg.h"

enum { OPT_TO = 0x100, OPT_DPI, OPT_SIZE, OPT_POSITION };

enum format { TO_NOTHING, TO_PNG, TO_RAW, TO_ISO, TO_ANSI378, TO_AN2K };

static const struct {
    const char *name, *ending;
} formats[] = {
    [TO_PNG] = {"png", ".png"},   [TO_RAW] = {"raw", ".raw"},
    [TO_ISO] = {"iso", ".iso"},   [TO_ANSI378] = {"ansi378", ".ansi378"},
    [TO_AN2K] = {"an2k", ".an2"},
};
#define FORMATS (sizeof formats / sizeof *formats)

/* What a transaction will hold, copied: the sources are gone by then. */
struct sample {
    struct afis_image image;
    struct afis_template tmpl;
    bool has_tmpl;
    uint8_t position, impression;
};

struct convert {
    enum format to;
    const char *out;
    bool folder;
    struct convert_hints hints;
    char **files;
    int file_count;
    struct file_kept kept;

    /* The one finger of a file, or a transaction's, until all sources are read. */
    uint8_t *bytes;
    size_t len;
    char about[64]; /* what bytes are, for people */
    unsigned fingers, skipped;
    struct sample samples[AFIS_AN2K_SAMPLES_MAX];
    unsigned sample_count;
};

static uint32_t number(const char *arg, const char *name, uint32_t min, uint32_t max,
                       struct argp_state *state)
{
    char *end;
    unsigned long n = strtoul(arg, &end, 10);
    if (*end || end == arg || n < min || n > max) {
        argp_error(state, "--%s: expected %u to %u, found \"%s\"", name, min, max, arg);
    }
    return (uint32_t)n;
}

static enum format format_named(const char *arg, struct argp_state *state)
{
    for (size_t i = 1; i < FORMATS; i++) {
        if (strcmp(arg, formats[i].name) == 0) {
            return (enum format)i;
        }
    }
    argp_error(state, "--to: expected png, raw, iso, ansi378 or an2k, found \"%s\"", arg);
    return TO_NOTHING;
}

static void parse_size(struct convert_hints *hints, const char *arg, struct argp_state *state)
{
    char *x, *end;
    unsigned long width = strtoul(arg, &x, 10);
    unsigned long height = strtoul(*x == 'x' ? x + 1 : "", &end, 10);
    if (width == 0 || height == 0 || *end || width > AFIS_IMAGE_MAX_SIDE ||
        height > AFIS_IMAGE_MAX_SIDE) {
        argp_error(state, "--size: expected WIDTHxHEIGHT in pixels, found \"%s\"", arg);
    }
    hints->width = (uint32_t)width;
    hints->height = (uint32_t)height;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct convert *c = state->input;
    switch (key) {
    case 'o':
        c->out = arg;
        return 0;
    case OPT_TO:
        c->to = format_named(arg, state);
        return 0;
    case OPT_DPI:
        c->hints.dpi = number(arg, "dpi", AFIS_DPI_MIN, AFIS_DPI_MAX, state);
        return 0;
    case OPT_SIZE:
        parse_size(&c->hints, arg, state);
        return 0;
    case OPT_POSITION:
        c->hints.position = (uint8_t)number(arg, "position", 0, 10, state);
        return 0;
    case ARGP_KEY_ARGS:
        c->files = state->argv + state->next;
        c->file_count = state->argc - state->next;
        return 0;
    case ARGP_KEY_END:
        if (c->file_count == 0 || !c->out || c->to == TO_NOTHING) {
            argp_error(state, c->file_count == 0 ? "no file is given"
                              : !c->out          ? "-o OUT is missing"
                                                 : "--to FORMAT is missing");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ------------------------------------------------------------------ one finger */

static bool fail(struct whorl_fault *fault, const char *file, enum afis_status status)
{
    return whorl_fail(fault, file, "%s", afis_status_text(status));
}

static bool encode_image(enum format to, const struct convert_finger *finger, uint8_t **bytes,
                         size_t *len, struct whorl_fault *fault)
{
    const struct afis_image *image = finger->image;
    enum afis_status status = AFIS_OK;
    if (!image) {
        return whorl_fail(fault, finger->file, "holds minutiae, no picture");
    }
    if (to == TO_PNG) {
        status = afis_image_to_png(image, &fingerprint_memory, bytes, len);
    } else {
        *len = (size_t)image->width * image->height;
        *bytes = fingerprint_memory.alloc(fingerprint_memory.ctx, *len);
        if (*bytes) {
            memcpy(*bytes, image->pixels, *len);
        }
        status = *bytes ? AFIS_OK : AFIS_NO_MEMORY;
    }
    return status == AFIS_OK || fail(fault, finger->file, status);
}

/* The minutiae as they are, or those found in the picture. */
static enum afis_status template_of(const struct convert_finger *finger, struct afis_template *tmpl)
{
    const struct afis_an2k_finger found = {.position = finger->position,
                                           .impression = finger->impression,
                                           .segmented = finger->segmented,
                                           .image = finger->image,
                                           .tmpl = finger->tmpl};
    return afis_an2k_minutiae(&found, &fingerprint_memory, tmpl);
}

static bool encode_record(enum format to, const struct convert_finger *finger, uint8_t **bytes,
                          size_t *len, struct whorl_fault *fault)
{
    struct afis_template tmpl;
    uint8_t record[AFIS_RECORD_MAX];
    enum afis_status status = template_of(finger, &tmpl);
    if (status == AFIS_OK) {
        status = (to == TO_ISO ? afis_template_to_iso
                               : afis_template_to_ansi378)(&tmpl, record, sizeof record, len);
    }
    if (status == AFIS_OK) {
        *bytes = fingerprint_memory.alloc(fingerprint_memory.ctx, *len);
        status = *bytes ? AFIS_OK : AFIS_NO_MEMORY;
    }
    if (status == AFIS_OK) {
        memcpy(*bytes, record, *len);
    }
    explicit_bzero(&tmpl, sizeof tmpl);
    explicit_bzero(record, sizeof record);
    return status == AFIS_OK || fail(fault, finger->file, status);
}

/* OUT/STEM.ending, or OUT/STEM_NUMBER_POSITION.ending where the file holds several. */
static bool path_in_folder(const struct convert *c, const struct convert_finger *finger, char *path,
                           size_t cap)
{
    const char *base = strrchr(finger->file, '/');
    base = base ? base + 1 : finger->file;
    const char *dot = strrchr(base, '.');
    int stem = dot && dot != base ? (int)(dot - base) : (int)strlen(base);
    char which[16] = "";
    if (finger->number > 0) {
        snprintf(which, sizeof which, "_%02u_%02u", finger->number, finger->position);
    }
    const char *slash = c->out[strlen(c->out) - 1] == '/' ? "" : "/";
    return (size_t)snprintf(path, cap, "%s%s%.*s%s%s", c->out, slash, stem, base, which,
                            formats[c->to].ending) < cap;
}

static void describe(const struct convert *c, const struct convert_finger *finger, char *text,
                     size_t cap)
{
    const struct afis_image *image = finger->image;
    if (c->to == TO_RAW || c->to == TO_PNG) {
        snprintf(text, cap, "position %u, %ux%u, %u dpi", finger->position, image->width,
                 image->height, image->dpi);
    } else {
        snprintf(text, cap, "position %u", finger->position);
    }
}

/* A file takes one finger: it is written when it is known that there is no other. */
static bool deliver(struct convert *c, const struct convert_finger *finger, uint8_t *bytes,
                    size_t len, struct whorl_fault *fault)
{
    char path[4096];
    bool ok;
    if (!c->folder && c->bytes) {
        ok = whorl_fail(fault, finger->file, "there is more than one finger: -o must be a folder");
    } else if (!c->folder) {
        describe(c, finger, c->about, sizeof c->about);
        c->bytes = bytes;
        c->len = len;
        return true;
    } else {
        ok = path_in_folder(c, finger, path, sizeof path)
                 ? file_write_once(&c->kept, path, bytes, len, fault)
                 : whorl_fail(fault, finger->file, "the output path would be too long");
        if (ok) {
            char about[64];
            describe(c, finger, about, sizeof about);
            printf("%s: %s\n", path, about);
        }
    }
    fingerprint_memory.release(fingerprint_memory.ctx, bytes, len);
    return ok;
}

/* ------------------------------------------------------------------ a transaction */

/* Keeps a copy. A picture goes out with its minutiae, as a search request does, if it has any. */
static bool collect(struct convert *c, const struct convert_finger *finger,
                    struct whorl_fault *fault)
{
    if (c->sample_count == AFIS_AN2K_SAMPLES_MAX) {
        return whorl_fail(fault, finger->file, "more than %u fingers for one transaction",
                          AFIS_AN2K_SAMPLES_MAX);
    }
    struct sample *s = &c->samples[c->sample_count];
    s->position = finger->position;
    s->impression = finger->impression;
    enum afis_status status = template_of(finger, &s->tmpl);
    s->has_tmpl = status == AFIS_OK;
    if (finger->image) {
        status = afis_image_crop(finger->image, 0, 0, finger->image->width, finger->image->height,
                                 &fingerprint_memory, &s->image);
    }
    if (status != AFIS_OK) {
        return fail(fault, finger->file, status);
    }
    c->sample_count++;
    return true;
}

static bool write_transaction(struct convert *c, struct whorl_fault *fault)
{
    char date[16], control[32];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(date, sizeof date, "%Y%m%d", &tm);
    strftime(control, sizeof control, "WHORL%Y%m%d%H%M%S", &tm);
    const struct afis_an2k_header header = {.tot = "SRCH",
                                            .date = date,
                                            .destination = "UNKNOWN",
                                            .origin = "WHORL",
                                            .control = control};
    struct afis_an2k_sample samples[AFIS_AN2K_SAMPLES_MAX];
    for (unsigned i = 0; i < c->sample_count; i++) {
        struct sample *s = &c->samples[i];
        samples[i] = (struct afis_an2k_sample){.image = s->image.pixels ? &s->image : NULL,
                                               .tmpl = s->has_tmpl ? &s->tmpl : NULL,
                                               .position = s->position,
                                               .impression = s->impression,
                                               .coding = AFIS_AN2K_PNG};
    }
    enum afis_status status =
        afis_an2k_write(&header, samples, c->sample_count, &fingerprint_memory, &c->bytes, &c->len);
    snprintf(c->about, sizeof c->about, "%u fingers", c->sample_count);
    return status == AFIS_OK || fail(fault, c->out, status);
}

/* ------------------------------------------------------------------ all of them */

static bool take(void *ctx, const struct convert_finger *finger, struct whorl_fault *fault)
{
    struct convert *c = ctx;
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (c->to == TO_AN2K) {
        return collect(c, finger, fault);
    }
    bool ok = (c->to == TO_PNG || c->to == TO_RAW ? encode_image : encode_record)(
        c->to, finger, &bytes, &len, fault);
    return ok && deliver(c, finger, bytes, len, fault);
}

static void skip(void *ctx, const char *file, const char *text)
{
    struct convert *c = ctx;
    c->skipped++;
    fprintf(stderr, "whorl: %s: %s\n", file, text);
}

static bool is_folder(const char *path)
{
    struct stat st;
    size_t len = strlen(path);
    if (stat(path, &st) == 0) {
        return S_ISDIR(st.st_mode);
    }
    return len > 0 && path[len - 1] == '/' && mkdir(path, 0777) == 0;
}

static int run(struct convert *c)
{
    int exit_code = EXIT_DONE;
    struct whorl_fault fault = {0};
    c->folder = c->to != TO_AN2K && is_folder(c->out);
    if (!file_keep_all(&c->kept, c->files, c->file_count, &fault)) {
        return print_fault(&fault);
    }
    for (int i = 0; i < c->file_count; i++) {
        fault = (struct whorl_fault){0};
        if (!convert_each(c->files[i], &c->hints, take, skip, c, &fault)) {
            exit_code = print_fault(&fault);
        }
    }
    if (c->to == TO_AN2K && exit_code == EXIT_DONE && !write_transaction(c, &fault)) {
        exit_code = print_fault(&fault);
    }
    if (exit_code == EXIT_DONE && c->bytes) {
        if (!file_write_once(&c->kept, c->out, c->bytes, c->len, &fault)) {
            return print_fault(&fault);
        }
        printf("%s: %s\n", c->out, c->about);
    }
    return exit_code == EXIT_DONE && c->skipped > 0 ? EXIT_FAILED : exit_code;
}

int cmd_convert(int argc, char **argv)
{
    static const struct argp_option options_list[] = {
        {"output", 'o', "OUT", 0,
         "The file to write; or a folder (one that exists, or a name ending in /) for a file per "
         "finger, STEM.png or STEM_NUMBER_POSITION.png",
         0},
        {"to", OPT_TO, "FORMAT", 0,
         "png, raw (8-bit pixels), iso (ISO/IEC 19794-2:2005), ansi378 (ANSI INCITS 378-2004) or "
         "an2k (ANSI/NIST-ITL 1-2011, all fingers in one file)",
         0},
        {"dpi", OPT_DPI, "N", 0, "Resolution of PNG, WSQ and raw images (default 500)", 0},
        {"size", OPT_SIZE, "WxH", 0, "Pixels of raw images", 0},
        {"position", OPT_POSITION, "N", 0, "Finger in PNG, WSQ and raw images (default 0, unknown)",
         0},
        {0},
    };
    static const struct argp argp = {
        .options = options_list,
        .parser = parse,
        .args_doc = "FILE…",
        .doc = "Converts fingerprints. A FILE is a PNG, WSQ or raw image, an ISO/IEC 19794-2 or "
               "ANSI INCITS 378 record, or an ANSI/NIST-ITL transaction, whose slaps are cut into "
               "fingers. From images to minutiae it extracts. No FILE is written over, nor what "
               "another was made into.\v"
               "Exit status: 0 everything is converted, 2 wrong usage, 3 something is not.",
    };
    struct convert *c = calloc(1, sizeof *c);
    if (!c) {
        fprintf(stderr, "whorl: out of memory\n");
        return EXIT_FAILED;
    }
    c->hints.dpi = 500;
    argp_parse(&argp, argc, argv, 0, NULL, c);
    int exit_code = run(c);
    for (unsigned i = 0; i < c->sample_count; i++) {
        afis_image_release(&c->samples[i].image, &fingerprint_memory);
    }
    if (c->bytes) {
        fingerprint_memory.release(fingerprint_memory.ctx, c->bytes, c->len);
    }
    file_kept_release(&c->kept);
    explicit_bzero(c, sizeof *c);
    free(c);
    return exit_code;
}
