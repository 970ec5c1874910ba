#include "enrol_print.h"

#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "afis/memory.h"
#include "gallery/decode.h"
#include "whorl/msg.h"

#define FILE_MAX (64u << 20)

/* ------------------------------------------------------------------ from file to template */

/* The files lie on disk for all to see: ordinary memory will do for them. */
static uint8_t *read_file(const char *path, size_t *len, struct whorl_fault *fault)
{
    struct stat st;
    uint8_t *bytes = NULL;
    FILE *file = fopen(path, "re");
    if (!file || fstat(fileno(file), &st) != 0) {
        whorl_fail(fault, "", "%s", strerror(errno));
    } else if (!S_ISREG(st.st_mode) || st.st_size < 1 || st.st_size > FILE_MAX) {
        whorl_fail(fault, "", "is no file of 1 byte to %u MiB", FILE_MAX >> 20);
    } else if (!(bytes = malloc((size_t)st.st_size))) {
        whorl_fail(fault, "", "out of memory");
    } else if ((*len = fread(bytes, 1, (size_t)st.st_size, file)) != (size_t)st.st_size) {
        whorl_fail(fault, "", "cannot be read to its end");
        free(bytes);
        bytes = NULL;
    }
    if (file) {
        fclose(file);
    }
    return bytes;
}

/* What recognises a print: SHA-256, shortened, over how it was described and the file. */
static bool digest_of(const struct manifest_print *source, const uint8_t *bytes, size_t len,
                      uint8_t out[GALLERY_DIGEST])
{
    uint32_t described[] = {htole32(source->dpi), htole32(source->width), htole32(source->height)};
    uint8_t md[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(ctx, described, sizeof described) == 1 &&
              EVP_DigestUpdate(ctx, bytes, len) == 1 && EVP_DigestFinal_ex(ctx, md, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    if (ok) {
        memcpy(out, md, GALLERY_DIGEST);
    }
    return ok;
}

static const char *format_of(const struct manifest_print *source, const uint8_t *bytes, size_t len)
{
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    if (len >= sizeof png && memcmp(bytes, png, sizeof png) == 0) {
        return "png";
    }
    if (len >= 4 && memcmp(bytes, "FMR", 4) == 0) {
        return "iso19794-2";
    }
    if (len >= 2 && bytes[0] == 0xff && bytes[1] == 0xa0) {
        return "wsq";
    }
    return source->width && source->height ? "raw" : NULL;
}

static const struct gallery_print *print_at(const struct gallery_person *person, uint8_t position,
                                            uint8_t impression)
{
    for (size_t i = 0; person && i < person->print_count; i++) {
        if (person->prints[i].position == position && person->prints[i].impression == impression) {
            return &person->prints[i];
        }
    }
    return NULL;
}

static bool make_template(const struct manifest_print *source, const uint8_t *bytes, size_t len,
                          struct enrol_print *out)
{
    struct afis_template tmpl;
    size_t packed;
    struct decode_sample sample = {.format = format_of(source, bytes, len),
                                   .bytes = bytes,
                                   .len = len,
                                   .dpi = source->dpi,
                                   .width = source->width,
                                   .height = source->height};
    if (!sample.format) {
        return whorl_fail(&out->fault, "",
                          "is neither a PNG image nor an ISO/IEC 19794-2 record; "
                          "a raw image needs width and height");
    }
    if (decode_finger(&sample, &afis_memory_heap, &tmpl, &out->fault) != AFIS_OK ||
        !decode_usable(&tmpl, decode_is_image(sample.format), 0, &out->fault)) {
        return false;
    }
    tmpl.position = source->position;
    enum afis_status status = afis_template_pack(&tmpl, out->bytes, sizeof out->bytes, &packed);
    if (status != AFIS_OK) {
        return whorl_fail(&out->fault, "", "%s", afis_status_text(status));
    }
    out->len = (uint16_t)packed;
    return true;
}

void enrol_print_make(const char *dir, const struct manifest_print *source,
                      const struct gallery_person *known, struct enrol_print *out)
{
    char *path = NULL;
    size_t len = 0;
    uint8_t *bytes = NULL;
    out->state = ENROL_PRINT_BAD;
    if (asprintf(&path, "%s%s", source->file[0] == '/' ? "" : dir, source->file) < 0) {
        path = NULL;
    }
    if (!path) {
        whorl_fail(&out->fault, "", "out of memory");
    } else {
        bytes = read_file(path, &len, &out->fault);
    }
    if (bytes && !digest_of(source, bytes, len, out->digest)) {
        whorl_fail(&out->fault, "", "its digest cannot be computed");
    } else if (bytes) {
        const struct gallery_print *print = print_at(known, source->position, source->impression);
        if (print && memcmp(print->digest, out->digest, GALLERY_DIGEST) == 0) {
            out->state = ENROL_PRINT_KNOWN;
        } else if (make_template(source, bytes, len, out)) {
            out->state = ENROL_PRINT_NEW;
        }
    }
    free(bytes);
    free(path);
}

/* ------------------------------------------------------------------ old and new */

static bool same_lists(const struct gallery_person *a, const struct gallery_person *b)
{
    if (a->identifier_count != b->identifier_count || a->name_count != b->name_count ||
        a->detail_count != b->detail_count) {
        return false;
    }
    for (size_t i = 0; i < a->identifier_count; i++) {
        if (strcmp(a->identifiers[i].key, b->identifiers[i].key) != 0 ||
            strcmp(a->identifiers[i].value, b->identifiers[i].value) != 0) {
            return false;
        }
    }
    for (size_t i = 0; i < a->name_count; i++) {
        if (strcmp(a->names[i].family, b->names[i].family) != 0 ||
            strcmp(a->names[i].given, b->names[i].given) != 0) {
            return false;
        }
    }
    for (size_t i = 0; i < a->detail_count; i++) {
        if (strcmp(a->details[i].label, b->details[i].label) != 0 ||
            strcmp(a->details[i].value, b->details[i].value) != 0 ||
            strcmp(a->details[i].level, b->details[i].level) != 0) {
            return false;
        }
    }
    return true;
}

static bool same_details(const struct gallery_person *a, const struct gallery_person *b)
{
    return strcmp(a->born, b->born) == 0 && strcmp(a->sex, b->sex) == 0 &&
           strcmp(a->source, b->source) == 0 && a->expires == b->expires && same_lists(a, b);
}

/* Fills in from the old person what the new one leaves open. */
static void keep_details(struct gallery_person *person, const struct gallery_person *old)
{
    if (person->identifier_count == 0) {
        person->identifiers = old->identifiers;
        person->identifier_count = old->identifier_count;
    }
    if (person->name_count == 0) {
        person->names = old->names;
        person->name_count = old->name_count;
    }
    if (person->detail_count == 0) {
        person->details = old->details;
        person->detail_count = old->detail_count;
    }
    if (!person->born[0]) {
        person->born = old->born;
    }
    if (!person->sex[0]) {
        person->sex = old->sex;
    }
    if (!person->source[0]) {
        person->source = old->source;
    }
    if (person->expires == 0) {
        person->expires = old->expires;
    }
    person->enrolled = old->enrolled;
}

/* Puts a new print in the place of the old one, or behind all. */
static bool put_print(struct enrol_person *out, const struct manifest_print *source,
                      const struct enrol_print *print, struct whorl_fault *fault)
{
    size_t i = 0;
    while (i < out->person.print_count && (out->prints[i].position != source->position ||
                                           out->prints[i].impression != source->impression)) {
        i++;
    }
    if (i == GALLERY_PRINTS_MAX) {
        return whorl_fail(fault, "", "would have more than %u prints", GALLERY_PRINTS_MAX);
    }
    if (i == out->person.print_count) {
        out->person.print_count++;
        out->added++;
    } else {
        out->replaced++;
    }
    out->prints[i] = (struct gallery_print){.position = source->position,
                                            .impression = source->impression,
                                            .len = print->len,
                                            .packed = print->bytes};
    memcpy(out->prints[i].digest, print->digest, GALLERY_DIGEST);
    return true;
}

bool enrol_person_merge(const struct manifest_person *source, const struct enrol_print *prints,
                        const struct gallery_person *old, struct enrol_person *out,
                        struct whorl_fault *fault)
{
    memset(out, 0, sizeof *out);
    out->person = source->person;
    out->person.enrolled = time(NULL);
    out->person.prints = out->prints;
    if (old) {
        memcpy(out->prints, old->prints, old->print_count * sizeof *old->prints);
        out->person.print_count = old->print_count;
        keep_details(&out->person, old);
    }
    for (size_t i = 0; i < source->print_count; i++) {
        if (prints[i].state == ENROL_PRINT_NEW &&
            !put_print(out, &source->prints[i], &prints[i], fault)) {
            return false;
        }
    }
    if (out->person.print_count == 0) {
        return whorl_fail(fault, "", "has no print that could be used");
    }
    out->changed = !old || out->added > 0 || out->replaced > 0 || !same_details(&out->person, old);
    return true;
}
