/* Where each record of a transaction lies (ANSI/NIST-ITL 1-2011, 7.1 and 8.1). */
#include <string.h>

#include "an2k/internal.h"

struct walk {
    struct afis_an2k *an2k;
    struct afis_an2k_fault *fault;
    struct an2k_text contents; /* what is left of 1.003 */
};

static enum afis_status wrong(struct walk *walk, size_t at, const char *what)
{
    if (walk->fault != NULL) {
        *walk->fault = (struct afis_an2k_fault){walk->an2k->count, at, what};
    }
    return AFIS_BAD_FORMAT;
}

/* A record of tagged fields begins with its length, "TYPE.001:LEN", and ends with FS. */
static enum afis_status locate_tagged(struct walk *walk, size_t at, unsigned type, size_t *len)
{
    const struct afis_an2k *an2k = walk->an2k;
    struct an2k_text rest = {an2k->bytes + at, an2k->len - at};
    struct an2k_field field;
    uint32_t stated;
    bool bad = false;
    /* Only the head: the first field must end within it, whatever follows. */
    rest.len = rest.len < 32 ? rest.len : 32;
    if (!an2k_next_field(&rest, &field, &bad) || field.number != 1 || field.type != type) {
        return wrong(walk, at, "expected the record's type and length, as 1.003 announces it");
    }
    if (rest.at == NULL || !an2k_number(field.value, UINT32_MAX, &stated)) {
        return wrong(walk, at, "the record's length is not a number");
    }
    size_t head = (size_t)(rest.at - (an2k->bytes + at));
    if (stated > an2k->len - at || stated <= head) {
        return wrong(walk, at, "the record's length reaches beyond the file or not past itself");
    }
    if (an2k->bytes[at + stated - 1] != AN2K_FS) {
        return wrong(walk, at,
                     "the record does not end with a file separator where its length says");
    }
    *len = stated;
    return AFIS_OK;
}

/* Types 3 to 8 begin with four bytes of length and one of IDC. */
static enum afis_status locate_binary(struct walk *walk, size_t at, size_t *len)
{
    const struct afis_an2k *an2k = walk->an2k;
    if (an2k->len - at < 5) {
        return wrong(walk, at, "the file ends within a binary record's header");
    }
    const uint8_t *p = an2k->bytes + at;
    size_t stated = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    if (stated > an2k->len - at || stated < 5) {
        return wrong(walk, at, "the record's length reaches beyond the file or not past itself");
    }
    *len = stated;
    return AFIS_OK;
}

static bool is_binary(unsigned type)
{
    return type >= 3 && type <= 8;
}

/* The IDC that the record itself states must be the one in the list of contents: Type-9 minutiae
 * and pictures belong together by it. */
static bool idc_agrees(const struct afis_an2k *an2k, unsigned number)
{
    const struct afis_an2k_record *record = &an2k->records[number];
    uint32_t idc;
    if (is_binary(record->type)) {
        idc = an2k->bytes[record->at + 4];
    } else if (!an2k_field_number(an2k, number, 2, 99, &idc)) {
        return false;
    }
    return idc == record->idc;
}

static enum afis_status locate(struct walk *walk, size_t at, unsigned type, unsigned idc)
{
    struct afis_an2k *an2k = walk->an2k;
    if (an2k->count == AFIS_AN2K_RECORDS_MAX) {
        wrong(walk, at, "more than 256 records");
        return AFIS_TOO_LARGE;
    }
    struct afis_an2k_record *record = &an2k->records[an2k->count];
    *record =
        (struct afis_an2k_record){.type = (uint8_t)type, .idc = (uint8_t)idc, .at = at, .what = ""};
    enum afis_status status = is_binary(type) ? locate_binary(walk, at, &record->len)
                                              : locate_tagged(walk, at, type, &record->len);
    if (status != AFIS_OK) {
        return status;
    }
    an2k->count++;
    if (type != 1 && !idc_agrees(an2k, an2k->count - 1)) {
        an2k->count--;
        return wrong(walk, at, "the record's IDC is not the one that 1.003 announces");
    }
    return AFIS_OK;
}

/* 1.003: "1 US number of the others RS type US IDC RS ...". */
static enum afis_status read_contents(struct walk *walk, uint32_t *others)
{
    struct an2k_text subfield;
    uint32_t first;
    walk->contents.at = afis_an2k_field(walk->an2k, 0, 3, &walk->contents.len);
    walk->an2k->count = 0; /* what is wrong is wrong with Type-1 */
    if (walk->contents.at == NULL || !an2k_next_part(&walk->contents, AN2K_RS, &subfield) ||
        !an2k_item(subfield, 0, 1, &first) || first != 1 || !an2k_item(subfield, 1, 999, others)) {
        return wrong(walk, 0, "1.003 (CNT): expected 1 and the number of records");
    }
    walk->an2k->count = 1;
    return AFIS_OK;
}

static enum afis_status locate_others(struct walk *walk)
{
    struct afis_an2k *an2k = walk->an2k;
    size_t at = an2k->records[0].len;
    uint32_t others, found = 0, type, idc;
    enum afis_status status = read_contents(walk, &others);
    for (struct an2k_text subfield;
         status == AFIS_OK && an2k_next_part(&walk->contents, AN2K_RS, &subfield); found++) {
        if (!an2k_item(subfield, 0, 99, &type) || type < 2 || !an2k_item(subfield, 1, 99, &idc)) {
            return wrong(walk, 0, "1.003 (CNT): expected a record type and an IDC");
        }
        status = locate(walk, at, type, idc);
        if (status == AFIS_OK) {
            at += an2k->records[an2k->count - 1].len;
        }
    }
    if (status != AFIS_OK) {
        return status;
    }
    if (found != others) {
        return wrong(walk, 0, "1.003 (CNT): it lists more or fewer records than it counts");
    }
    return at == an2k->len ? AFIS_OK : wrong(walk, at, "bytes after the last record");
}

/* 1.011, native scanning resolution in pixels per millimetre, "NN.NN"; 0 when there is none. */
static uint32_t native_dpi(const struct afis_an2k *an2k)
{
    size_t len;
    const uint8_t *p = afis_an2k_field(an2k, 0, 11, &len);
    uint32_t whole, part;
    if (p == NULL || len != 5 || p[2] != '.' ||
        !an2k_number((struct an2k_text){p, 2}, 99, &whole) ||
        !an2k_number((struct an2k_text){p + 3, 2}, 99, &part)) {
        return 0;
    }
    return ((whole * 100 + part) * 254 + 500) / 1000;
}

bool afis_an2k_probable(const uint8_t *bytes, size_t len)
{
    return (len > 6 && memcmp(bytes, "1.001:", 6) == 0) ||
           (len > 5 && memcmp(bytes, "1.01:", 5) == 0);
}

enum afis_status afis_an2k_read(const uint8_t *bytes, size_t len, struct afis_an2k *out,
                                struct afis_an2k_fault *fault)
{
    struct walk walk = {.an2k = out, .fault = fault};
    out->bytes = bytes;
    out->len = len;
    out->count = 0;
    enum afis_status status = locate(&walk, 0, 1, 0);
    if (status == AFIS_OK) {
        status = locate_others(&walk);
    }
    if (status != AFIS_OK) {
        out->count = 0;
        return status;
    }
    uint32_t dpi = native_dpi(out);
    for (unsigned i = 1; i < out->count; i++) {
        if (out->records[i].type == 4 || out->records[i].type == 14) {
            an2k_read_picture(out, i, dpi, &out->records[i]);
        }
    }
    return AFIS_OK;
}
