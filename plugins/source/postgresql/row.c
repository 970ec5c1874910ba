#include "plugins/source/postgresql/row.h"

#include <endian.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "afis/template.h"
#include "gallery/decode.h"
#include "whorl/msg.h"

#define BLOCK_SIZE (256u << 10)
#define LIST_MAX 64u /* of names, identifiers, details; fewer are valid */

/* ------------------------------------------------------------------ memory */

struct pg_arena_block {
    struct pg_arena_block *next;
    size_t used, size;
    max_align_t bytes[];
};

void *pg_arena_alloc(struct pg_arena *arena, size_t size)
{
    struct pg_arena_block *block = arena->first;
    size = (size + 7) & ~(size_t)7;
    if (!block || block->size - block->used < size) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        block = malloc(sizeof *block + room);
        if (!block) {
            return NULL;
        }
        *block = (struct pg_arena_block){.next = arena->first, .size = room};
        arena->first = block;
    }
    void *p = (uint8_t *)block->bytes + block->used;
    block->used += size;
    return p;
}

void pg_arena_release(struct pg_arena *arena)
{
    while (arena->first) {
        struct pg_arena_block *next = arena->first->next;
        free(arena->first);
        arena->first = next;
    }
}

/* What one row's reading needs. */
struct reader {
    const struct pg_row *row;
    struct pg_arena *arena;
    struct gallery_person *person;
    struct whorl_fault *fault;
    bool no_memory;
};

static void *take(struct reader *r, size_t size)
{
    void *p = pg_arena_alloc(r->arena, size);
    r->no_memory = r->no_memory || !p;
    return p;
}

/* The bytes as a C string. One that holds a NUL is none, and is left too short for its column. */
static const char *text_of(struct reader *r, const char *bytes, size_t len)
{
    char *text = take(r, len + 1);
    if (text) {
        memcpy(text, bytes, len);
        text[len] = '\0';
    }
    return text;
}

static size_t column_len(const struct reader *r, enum pg_column column)
{
    return r->row->len[column] > 0 ? (size_t)r->row->len[column] : 0;
}

/* A column of text, NULL counting as "". */
static bool read_text(struct reader *r, enum pg_column column, const char *name, const char **out)
{
    size_t len = column_len(r, column);
    *out = len == 0 ? "" : text_of(r, r->row->value[column], len);
    if (!*out) {
        return false;
    }
    return strlen(*out) == len || whorl_fail(r->fault, name, "holds a NUL");
}

/* ------------------------------------------------------------------ times */

/* Reads exactly `len` digits. */
static bool digits(const char **at, size_t len, int *out)
{
    for (*out = 0; len > 0; len--, (*at)++) {
        if (**at < '0' || **at > '9') {
            return false;
        }
        *out = 10 * *out + (**at - '0');
    }
    return true;
}

static bool literal(const char **at, char c)
{
    return *(*at)++ == c;
}

/* "2026-11-22", or "2026-11-22 03:04:05", with or without a fraction and "+00": dates and times as
 * PostgreSQL writes them with DateStyle ISO and TimeZone UTC. */
static bool parse_time(const char *text, int64_t *seconds)
{
    struct tm tm = {0};
    const char *at = text;
    if (!digits(&at, 4, &tm.tm_year) || !literal(&at, '-') || !digits(&at, 2, &tm.tm_mon) ||
        !literal(&at, '-') || !digits(&at, 2, &tm.tm_mday)) {
        return false;
    }
    if (*at == ' ') {
        at++;
        if (!digits(&at, 2, &tm.tm_hour) || !literal(&at, ':') || !digits(&at, 2, &tm.tm_min) ||
            !literal(&at, ':') || !digits(&at, 2, &tm.tm_sec)) {
            return false;
        }
        at += *at == '.' ? 1 + strspn(at + 1, "0123456789") : 0;
        at += strncmp(at, "+00", 3) == 0 ? 3 : 0;
    }
    tm.tm_year -= 1900;
    tm.tm_mon--;
    struct tm given = tm;
    *seconds = timegm(&tm);
    return *at == '\0' && tm.tm_mon == given.tm_mon && tm.tm_mday == given.tm_mday;
}

static bool read_time(struct reader *r, enum pg_column column, const char *name, int64_t *out)
{
    const char *text;
    *out = 0;
    if (!read_text(r, column, name, &text)) {
        return false;
    }
    if (text[0] == '\0' || (column == PG_EXPIRES && strcmp(text, "infinity") == 0)) {
        return true;
    }
    if (!parse_time(text, out)) {
        return whorl_fail(r->fault, name, "is no date or time from 0001 to 9999");
    }
    *out += column == PG_EXPIRES && *out == 0; /* 1970-01-01 is long past; 0 would be never */
    return true;
}

/* A date, or the date of a time. What else it may be, gallery_person_valid says. */
static bool read_born(struct reader *r)
{
    const char *text;
    int64_t unused;
    if (!read_text(r, PG_BORN, "born", &text)) {
        return false;
    }
    bool time = strlen(text) > 10 && parse_time(text, &unused);
    r->person->born = time ? text_of(r, text, 10) : text;
    return r->person->born != NULL;
}

/* ------------------------------------------------------------------ lists */

/* A JSON text of the wanted type; *out NULL where the column is empty. */
static bool read_json(struct reader *r, enum pg_column column, const char *name, bool object,
                      json_t **out)
{
    size_t len = column_len(r, column);
    *out = NULL;
    if (len == 0 || (len == 2 && memcmp(r->row->value[column], object ? "{}" : "[]", 2) == 0)) {
        return true;
    }
    if (len > (size_t)4 * PG_JSON_MAX) {
        return whorl_fail(r->fault, name, "is too long");
    }
    json_error_t error;
    json_t *json = json_loadb(r->row->value[column], len, JSON_REJECT_DUPLICATES, &error);
    if (!json || (object ? !json_is_object(json) : !json_is_array(json))) {
        json_decref(json);
        return whorl_fail(r->fault, name, "is no JSON %s", object ? "object" : "array");
    }
    if ((object ? json_object_size(json) : json_array_size(json)) > LIST_MAX) {
        json_decref(json);
        return whorl_fail(r->fault, name, "holds too many");
    }
    *out = json;
    return true;
}

static const char *json_text(struct reader *r, const json_t *value, const char *name)
{
    if (!json_is_string(value)) {
        whorl_fail(r->fault, name, "holds something that is no text");
        return NULL;
    }
    return text_of(r, json_string_value(value), json_string_length(value));
}

static bool read_identifiers(struct reader *r)
{
    json_t *json, *value;
    const char *key;
    if (!read_json(r, PG_IDENTIFIERS, "identifiers", true, &json)) {
        return false;
    }
    size_t count = json_object_size(json);
    struct gallery_pair *list = count ? take(r, count * sizeof *list) : NULL;
    bool ok = count == 0 || list;
    r->person->identifiers = list;
    json_object_foreach(json, key, value)
    {
        if (list && ok) {
            struct gallery_pair *pair = &list[r->person->identifier_count++];
            pair->key = text_of(r, key, strlen(key));
            pair->value = json_text(r, value, "identifiers");
            ok = pair->key && pair->value;
        }
    }
    json_decref(json);
    return ok;
}

/* The texts of an object that has no other fields than these; absent: "". */
static bool read_object(struct reader *r, const json_t *object, const char *name,
                        const char *const *keys, const char **texts, size_t count)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(object, keys[i]);
        texts[i] = value ? json_text(r, value, name) : "";
        found += value != NULL;
        if (!texts[i]) {
            return false;
        }
    }
    return (json_is_object(object) && json_object_size(object) == found) ||
           whorl_fail(r->fault, name, "holds something that has no place there");
}

static bool read_names(struct reader *r)
{
    static const char *const keys[] = {"family", "given"};
    json_t *json;
    if (!read_json(r, PG_NAMES, "names", false, &json)) {
        return false;
    }
    size_t count = json_array_size(json);
    struct gallery_name *list = count ? take(r, count * sizeof *list) : NULL;
    bool ok = count == 0 || list;
    for (size_t i = 0; ok && i < count; i++) {
        const char *texts[2];
        ok = read_object(r, json_array_get(json, i), "names", keys, texts, 2);
        /* Whoever has no name at all has an empty one in many a database. */
        if (ok && (texts[0][0] || texts[1][0])) {
            list[r->person->name_count++] = (struct gallery_name){texts[0], texts[1]};
        }
    }
    r->person->names = list;
    json_decref(json);
    return ok;
}

static bool read_details(struct reader *r)
{
    static const char *const keys[] = {"label", "value", "level"};
    json_t *json;
    if (!read_json(r, PG_DETAILS, "details", false, &json)) {
        return false;
    }
    size_t count = json_array_size(json);
    struct gallery_detail *list = count ? take(r, count * sizeof *list) : NULL;
    bool ok = count == 0 || list;
    for (size_t i = 0; ok && i < count; i++) {
        const char *texts[3];
        ok = read_object(r, json_array_get(json, i), "details", keys, texts, 3);
        if (ok) {
            list[i] = (struct gallery_detail){texts[0], texts[1], texts[2]};
        }
    }
    r->person->details = list;
    r->person->detail_count = ok ? count : 0;
    json_decref(json);
    return ok;
}

/* ------------------------------------------------------------------ prints */

/* What is left of the column. */
struct bytes {
    const uint8_t *at;
    size_t left;
};

static bool next_part(struct bytes *from, const uint8_t **part, size_t *len)
{
    uint32_t size;
    if (from->left < sizeof size) {
        return false;
    }
    memcpy(&size, from->at, sizeof size);
    *len = be32toh(size);
    from->at += sizeof size;
    from->left -= sizeof size;
    if (*len > from->left) {
        return false;
    }
    *part = from->at;
    from->at += *len;
    from->left -= *len;
    return true;
}

/* "POSITION IMPRESSION FORMAT"; impression "-": the column is not there. */
struct head {
    unsigned position;
    int impression;
    char format[33];
};

static bool small(const char *text, unsigned max, unsigned *out)
{
    size_t len = strlen(text);
    if (len == 0 || len > 3 || strspn(text, "0123456789") != len) {
        return false;
    }
    *out = (unsigned)strtoul(text, NULL, 10);
    return *out <= max;
}

static bool read_head(const uint8_t *bytes, size_t len, struct head *head)
{
    char text[64], position[9], impression[9];
    unsigned number;
    if (len >= sizeof text) {
        return false;
    }
    memcpy(text, bytes, len);
    text[len] = '\0';
    if (sscanf(text, "%8s %8s %32s", position, impression, head->format) != 3 ||
        !small(position, 10, &head->position)) {
        return false;
    }
    head->impression = -1;
    if (strcmp(impression, "-") != 0) {
        if (!small(impression, UINT8_MAX, &number)) {
            return false;
        }
        head->impression = (int)number;
    }
    return true;
}

/* Where it fails, that is no fault of the row. */
static bool digest(struct reader *r, const uint8_t *bytes, size_t len, uint8_t out[GALLERY_DIGEST])
{
    uint8_t md[EVP_MAX_MD_SIZE];
    if (EVP_Digest(bytes, len, md, NULL, EVP_sha256(), NULL) != 1) {
        r->no_memory = true;
        return false;
    }
    memcpy(out, md, GALLERY_DIGEST);
    return true;
}

/* A template as the gallery keeps it: what is packed already and names its finger stays as it is.
 * How good a print is worth enrolling was decided where it was taken: a poor one does not take its
 * person out of searches. */
static bool read_template(struct reader *r, const struct head *head, const uint8_t *bytes,
                          size_t len, struct gallery_print *print)
{
    struct afis_template tmpl;
    bool packed = strcmp(head->format, "whorl") == 0;
    if (len == 0 || len > PG_TEMPLATE_MAX) {
        return whorl_fail(r->fault, "prints.template", "must have 1 to %u bytes", PG_TEMPLATE_MAX);
    }
    if (packed) {
        enum afis_status status = afis_template_unpack(bytes, len, &tmpl);
        if (status != AFIS_OK) {
            return whorl_fail(r->fault, "prints.template", "%s", afis_status_text(status));
        }
    } else if (strcmp(head->format, "iso19794-2") == 0) {
        struct whorl_fault inner;
        const struct decode_sample sample = {.format = head->format,
                                             .bytes = bytes,
                                             .len = len,
                                             .position = (uint8_t)head->position};
        enum afis_status status = decode_finger(&sample, &afis_memory_heap, &tmpl, &inner);
        if (status != AFIS_OK) {
            r->no_memory = r->no_memory || status == AFIS_NO_MEMORY;
            return whorl_fail(r->fault, "prints.template", "%.200s", inner.text);
        }
    } else {
        return whorl_fail(r->fault, "prints.format", "must be whorl or iso19794-2");
    }
    if (packed && tmpl.position == head->position) {
        print->packed = bytes;
        print->len = (uint16_t)len;
        return true;
    }
    uint8_t *own = take(r, AFIS_PACKED_MAX);
    size_t size = 0;
    tmpl.position = (uint8_t)head->position;
    if (!own || afis_template_pack(&tmpl, own, AFIS_PACKED_MAX, &size) != AFIS_OK) {
        return whorl_fail(r->fault, "prints.template", "cannot be packed");
    }
    print->packed = own;
    print->len = (uint16_t)size;
    return true;
}

/* The first impression of a position that no print before has. */
static uint8_t free_impression(const struct gallery_print *prints, size_t count, uint8_t position)
{
    uint8_t impression = 0;
    for (size_t i = 0; i < count; i++) {
        if (prints[i].position == position && prints[i].impression == impression) {
            impression++;
            i = (size_t)-1; /* look through all again */
        }
    }
    return impression;
}

static bool read_prints(struct reader *r)
{
    struct bytes from = {(const uint8_t *)r->row->value[PG_PRINTS], column_len(r, PG_PRINTS)};
    struct gallery_print *prints = take(r, GALLERY_PRINTS_MAX * sizeof *prints);
    size_t count = 0;
    while (prints && from.left > 0) {
        const uint8_t *head_bytes, *bytes;
        size_t head_len, len;
        struct head head;
        if (count == GALLERY_PRINTS_MAX) {
            return whorl_fail(r->fault, "prints", "must be 1 to %u", GALLERY_PRINTS_MAX);
        }
        if (!next_part(&from, &head_bytes, &head_len) || !next_part(&from, &bytes, &len)) {
            return whorl_fail(r->fault, "prints", "are cut");
        }
        if (!read_head(head_bytes, head_len, &head)) {
            return whorl_fail(r->fault, "prints",
                              "must have a position 0 to 10, an impression 0 to 255 and a format");
        }
        struct gallery_print *print = &prints[count];
        memset(print, 0, sizeof *print);
        print->position = (uint8_t)head.position;
        print->impression = head.impression >= 0 ? (uint8_t)head.impression
                                                 : free_impression(prints, count, print->position);
        if (!read_template(r, &head, bytes, len, print) || !digest(r, bytes, len, print->digest)) {
            return false;
        }
        count++;
    }
    r->person->prints = prints;
    r->person->print_count = count;
    return prints != NULL;
}

/* ------------------------------------------------------------------ a row */

static bool read_person(struct reader *r)
{
    struct gallery_person *person = r->person;
    return read_text(r, PG_ID, "id", &person->id) && read_identifiers(r) && read_names(r) &&
           read_born(r) && read_text(r, PG_SEX, "sex", &person->sex) && read_details(r) &&
           read_text(r, PG_SOURCE, "source", &person->source) &&
           read_time(r, PG_ENROLLED, "enrolled", &person->enrolled) &&
           read_time(r, PG_EXPIRES, "expires", &person->expires) && read_prints(r);
}

enum pg_row_kind pg_row_read(const struct pg_row *row, struct pg_arena *arena,
                             struct gallery_person *person, struct whorl_fault *fault)
{
    struct reader r = {.row = row, .arena = arena, .person = person, .fault = fault};
    *person = (struct gallery_person){.id = NULL};
    if (row->len[PG_PRINTS] <= 0 || (row->len[PG_GONE] == 1 && row->value[PG_GONE][0] == 't')) {
        return PG_ROW_GONE;
    }
    bool ok = read_person(&r);
    if (r.no_memory) {
        return PG_ROW_NO_MEMORY;
    }
    return ok && gallery_person_valid(person, fault) ? PG_ROW_PERSON : PG_ROW_BAD;
}

/* ------------------------------------------------------------------ comparing */

static bool same_texts(const struct gallery_person *a, const struct gallery_person *b)
{
    bool same = a->identifier_count == b->identifier_count && a->name_count == b->name_count &&
                a->detail_count == b->detail_count;
    for (size_t i = 0; same && i < a->identifier_count; i++) {
        same = strcmp(a->identifiers[i].key, b->identifiers[i].key) == 0 &&
               strcmp(a->identifiers[i].value, b->identifiers[i].value) == 0;
    }
    for (size_t i = 0; same && i < a->name_count; i++) {
        same = strcmp(a->names[i].family, b->names[i].family) == 0 &&
               strcmp(a->names[i].given, b->names[i].given) == 0;
    }
    for (size_t i = 0; same && i < a->detail_count; i++) {
        same = strcmp(a->details[i].label, b->details[i].label) == 0 &&
               strcmp(a->details[i].value, b->details[i].value) == 0 &&
               strcmp(a->details[i].level, b->details[i].level) == 0;
    }
    return same && strcmp(a->id, b->id) == 0 && strcmp(a->born, b->born) == 0 &&
           strcmp(a->sex, b->sex) == 0 && strcmp(a->source, b->source) == 0 &&
           a->enrolled == b->enrolled && a->expires == b->expires;
}

bool pg_person_same(const struct gallery_person *a, const struct gallery_person *b)
{
    bool same = same_texts(a, b) && a->print_count == b->print_count;
    for (size_t i = 0; same && i < a->print_count; i++) {
        const struct gallery_print *x = &a->prints[i], *y = &b->prints[i];
        same = x->position == y->position && x->impression == y->impression && x->len == y->len &&
               memcmp(x->digest, y->digest, GALLERY_DIGEST) == 0 &&
               memcmp(x->packed, y->packed, x->len) == 0;
    }
    return same;
}
