#include "cli/enrol/enrol_print.h"

#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "afis/an2k.h"
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

/* What recognises a print: SHA-256, shortened, over how it was described and the file, and for a
 * finger of a transaction which one it is, from 1. */
static bool digest_of(const struct manifest_print *source, const uint8_t *bytes, size_t len,
                      uint32_t finger, uint8_t out[GALLERY_DIGEST])
{
    uint32_t described[] = {htole32(source->dpi), htole32(source->width), htole32(source->height),
                            htole32(finger)};
    size_t described_len = sizeof described - (finger == 0 ? sizeof described[0] : 0);
    uint8_t md[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(ctx, described, described_len) == 1 &&
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

/* A new, empty entry at the end; NULL when memory ran out. */
static struct enrol_print *append(struct enrol_prints *prints, size_t source, uint8_t position,
                                  uint8_t impression)
{
    if (prints->count == prints->cap) {
        size_t cap = prints->cap ? 2 * prints->cap : 4;
        struct enrol_print *list = reallocarray(prints->list, cap, sizeof *list);
        if (!list) {
            return NULL;
        }
        prints->list = list;
        prints->cap = cap;
    }
    struct enrol_print *print = &prints->list[prints->count++];
    *print = (struct enrol_print){
        .state = ENROL_PRINT_BAD, .source = source, .position = position, .impression = impression};
    return print;
}

static bool is_known(const struct gallery_person *known, const struct enrol_print *print)
{
    const struct gallery_print *old = print_at(known, print->position, print->impression);
    return old && memcmp(old->digest, print->digest, GALLERY_DIGEST) == 0;
}

static bool pack(struct afis_template *tmpl, bool image, struct enrol_print *out)
{
    size_t packed;
    if (!decode_usable(tmpl, image, 0, &out->fault)) {
        return false;
    }
    tmpl->position = out->position;
    enum afis_status status = afis_template_pack(tmpl, out->bytes, sizeof out->bytes, &packed);
    if (status != AFIS_OK) {
        return whorl_fail(&out->fault, "", "%s", afis_status_text(status));
    }
    out->len = (uint16_t)packed;
    return true;
}

static bool make_template(const struct manifest_print *source, const uint8_t *bytes, size_t len,
                          struct enrol_print *out)
{
    struct afis_template tmpl;
    struct decode_sample sample = {.format = format_of(source, bytes, len),
                                   .bytes = bytes,
                                   .len = len,
                                   .dpi = source->dpi,
                                   .width = source->width,
                                   .height = source->height};
    if (!sample.format) {
        return whorl_fail(&out->fault, "",
                          "is neither a PNG or WSQ image nor an ISO/IEC 19794-2 record nor an "
                          "ANSI/NIST-ITL transaction; a raw image needs width and height");
    }
    return decode_finger(&sample, &afis_memory_heap, &tmpl, &out->fault) == AFIS_OK &&
           pack(&tmpl, decode_is_image(sample.format), out);
}

/* A file of one finger. */
static bool make_one(const struct manifest_person *person, size_t source,
                     const struct gallery_person *known, const uint8_t *bytes, size_t len,
                     struct enrol_prints *out)
{
    const struct manifest_print *from = &person->prints[source];
    struct enrol_print *print = append(out, source, from->position, from->impression);
    if (!print) {
        return false;
    }
    if (!digest_of(from, bytes, len, 0, print->digest)) {
        whorl_fail(&print->fault, "", "its digest cannot be computed");
    } else if (is_known(known, print)) {
        print->state = ENROL_PRINT_KNOWN;
    } else if (make_template(from, bytes, len, print)) {
        print->state = ENROL_PRINT_NEW;
    }
    return true;
}

/* ------------------------------------------------------------------ transactions */

struct transaction {
    const struct manifest_person *person;
    size_t source;
    const struct gallery_person *known;
    const uint8_t *bytes;
    size_t len;
    struct enrol_prints *out;
    uint32_t number; /* of the finger in the transaction */
    bool no_memory;
};

/* The first impression from the stated one on that no other print of the position has. */
static unsigned free_impression(const struct transaction *t, uint8_t position)
{
    unsigned impression = t->person->prints[t->source].impression;
    for (size_t i = 0; i < t->out->count; i++) {
        const struct enrol_print *print = &t->out->list[i];
        if (print->state != ENROL_PRINT_BAD && print->position == position &&
            print->impression == impression) {
            impression++;
            i = (size_t)-1; /* look through all again */
        }
    }
    return impression;
}

static enum enrol_print_state make_finger(const struct transaction *t,
                                          const struct afis_an2k_finger *finger,
                                          struct enrol_print *out)
{
    struct afis_template tmpl;
    if (!digest_of(&t->person->prints[t->source], t->bytes, t->len, t->number, out->digest)) {
        whorl_fail(&out->fault, "", "its digest cannot be computed");
        return ENROL_PRINT_BAD;
    }
    if (is_known(t->known, out)) {
        return ENROL_PRINT_KNOWN;
    }
    enum afis_status status = afis_an2k_minutiae(finger, &afis_memory_heap, &tmpl);
    if (status != AFIS_OK) {
        whorl_fail(&out->fault, "", "%s", afis_status_text(status));
        return ENROL_PRINT_BAD;
    }
    return pack(&tmpl, !finger->tmpl, out) ? ENROL_PRINT_NEW : ENROL_PRINT_BAD;
}

static bool take_finger(void *ctx, const struct afis_an2k_finger *finger)
{
    struct transaction *t = ctx;
    const struct manifest_print *from = &t->person->prints[t->source];
    t->number++;
    if (from->position != 0 && finger->position != from->position) {
        return true;
    }
    unsigned impression = free_impression(t, finger->position);
    struct enrol_print *print = append(t->out, t->source, finger->position, (uint8_t)impression);
    if (!print) {
        t->no_memory = true;
        return false;
    }
    if (finger->status != AFIS_OK) {
        whorl_fail(&print->fault, "", "%s", finger->what);
    } else if (impression > UINT8_MAX) {
        whorl_fail(&print->fault, "", "too many impressions of one finger");
    } else {
        print->state = make_finger(t, finger, print);
    }
    if (print->state == ENROL_PRINT_BAD) {
        struct whorl_fault why = print->fault;
        whorl_fail(&print->fault, "", "record %u, %s: %s", finger->record,
                   decode_position_name(finger->position), why.text);
    }
    return true;
}

static bool make_each(struct transaction *t)
{
    size_t before = t->out->count;
    struct afis_an2k *an2k = malloc(sizeof *an2k);
    struct afis_an2k_fault fault;
    if (!an2k) {
        return false;
    }
    enum afis_status status = afis_an2k_read(t->bytes, t->len, an2k, &fault);
    bool read = status == AFIS_OK;
    if (read) {
        status = afis_an2k_each_finger(an2k, &afis_memory_heap, take_finger, t);
    }
    free(an2k);
    if (t->no_memory || status == AFIS_NO_MEMORY) {
        return false;
    }
    if (t->out->count > before) {
        return true;
    }
    const struct manifest_print *from = &t->person->prints[t->source];
    struct enrol_print *print = append(t->out, t->source, from->position, from->impression);
    if (print && !read) {
        whorl_fail(&print->fault, "", "ANSI/NIST-ITL: record %u, at byte %zu: %s", fault.record,
                   fault.at, fault.what);
    } else if (print) {
        whorl_fail(&print->fault, "", "the transaction holds no %s",
                   from->position == 0 ? "finger" : decode_position_name(from->position));
    }
    return print != NULL;
}

bool enrol_print_make(const char *dir, const struct manifest_person *person, size_t source,
                      const struct gallery_person *known, struct enrol_prints *out)
{
    const struct manifest_print *from = &person->prints[source];
    struct whorl_fault fault = {{0}, {0}};
    char *path = NULL;
    size_t len = 0;
    bool ok;
    if (asprintf(&path, "%s%s", from->file[0] == '/' ? "" : dir, from->file) < 0) {
        return false;
    }
    uint8_t *bytes = read_file(path, &len, &fault);
    if (!bytes) {
        struct enrol_print *print = append(out, source, from->position, from->impression);
        if (print) {
            print->fault = fault;
        }
        ok = print != NULL;
    } else if (afis_an2k_probable(bytes, len)) {
        ok = make_each(&(struct transaction){.person = person,
                                             .source = source,
                                             .known = known,
                                             .bytes = bytes,
                                             .len = len,
                                             .out = out});
    } else {
        ok = make_one(person, source, known, bytes, len, out);
    }
    free(bytes);
    free(path);
    return ok;
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
static void keep_details(struct gallery_person *person, const struct gallery_person *old,
                         bool never)
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
    if (person->expires == 0 && !never) {
        person->expires = old->expires;
    }
    person->enrolled = old->enrolled;
}

/* Puts a new print in the place of the old one, or behind all. */
static bool put_print(struct enrol_person *out, const struct enrol_print *print,
                      struct whorl_fault *fault)
{
    size_t i = 0;
    while (i < out->person.print_count && (out->prints[i].position != print->position ||
                                           out->prints[i].impression != print->impression)) {
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
    out->prints[i] = (struct gallery_print){.position = print->position,
                                            .impression = print->impression,
                                            .len = print->len,
                                            .packed = print->bytes};
    memcpy(out->prints[i].digest, print->digest, GALLERY_DIGEST);
    return true;
}

bool enrol_person_merge(const struct manifest_person *source, const struct enrol_prints *prints,
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
        keep_details(&out->person, old, source->never);
    }
    for (size_t i = 0; i < prints->count; i++) {
        if (prints->list[i].state == ENROL_PRINT_NEW && !put_print(out, &prints->list[i], fault)) {
            return false;
        }
    }
    if (out->person.print_count == 0) {
        return whorl_fail(fault, "", "has no print that could be used");
    }
    if (!out->person.source[0]) {
        return whorl_fail(fault, "",
                          "states no lawful source of the prints: the column source, or "
                          "--source for all");
    }
    if (out->person.expires == 0 && !source->never && !old) {
        return whorl_fail(fault, "",
                          "states no end: the column expires, a date or never, or "
                          "--expires for all");
    }
    out->changed = !old || out->added > 0 || out->replaced > 0 || !same_details(&out->person, old);
    return true;
}
