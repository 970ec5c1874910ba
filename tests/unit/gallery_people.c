#include "gallery_people.h"

#include <check.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* SplitMix64. */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(uint64_t *state)
{
    return (double)(next(state) >> 11) / 9007199254740992.0;
}

/* Turns by `turn` radians about the middle, shifts, jitters. */
static void move(struct afis_minutia *m, double turn, double dx, double dy, uint64_t *state)
{
    double x = m->x / 16.0 - 150, y = m->y / 16.0 - 150;
    double jitter_x = 3 * (uniform(state) - 0.5), jitter_y = 3 * (uniform(state) - 0.5);
    m->x = (int16_t)lround(16 * (150 + x * cos(turn) + y * sin(turn) + dx + jitter_x));
    m->y = (int16_t)lround(16 * (150 - x * sin(turn) + y * cos(turn) + dy + jitter_y));
    m->angle = (uint16_t)(m->angle + lround((turn + 0.1 * (uniform(state) - 0.5)) * 32768 / M_PI));
}

void people_finger(uint64_t seed, unsigned impression, uint8_t position, struct afis_template *out)
{
    uint64_t state = seed * 2654435761u + 1;
    memset(out, 0, sizeof *out);
    out->width = out->height = 400;
    out->position = position;
    out->quality = 80;
    unsigned count = 36 + (unsigned)(next(&state) % 10);
    for (unsigned i = 0; i < count; i++) {
        struct afis_minutia m = {.type = (uint8_t)(1 + next(&state) % 2), .quality = 80};
        m.x = (int16_t)(16 * (60 + uniform(&state) * 220));
        m.y = (int16_t)(16 * (60 + uniform(&state) * 220));
        m.angle = (uint16_t)next(&state);
        out->minutiae[out->count++] = m;
    }
    if (impression == 0) {
        return;
    }
    state ^= impression * 7919u;
    double turn = 0.5 * (uniform(&state) - 0.5);
    double dx = 40 * uniform(&state), dy = 40 * uniform(&state);
    unsigned kept = 0;
    for (unsigned i = 0; i < out->count; i++) {
        struct afis_minutia m = out->minutiae[i];
        move(&m, turn, dx, dy, &state);
        if (uniform(&state) > 0.1) {
            out->minutiae[kept++] = m;
        }
    }
    out->count = (uint16_t)kept;
}

uint64_t people_seed(unsigned n, unsigned position)
{
    return (uint64_t)n * 16 + position;
}

static size_t pack(unsigned n, unsigned finger, uint8_t position, uint8_t *packed)
{
    struct afis_template tmpl;
    size_t len;
    people_finger(people_seed(n, finger), 0, position, &tmpl);
    if (afis_template_pack(&tmpl, packed, AFIS_PACKED_MAX, &len) != AFIS_OK) {
        abort(); /* Check's own assertions need a running test */
    }
    return len;
}

/* Packing is slow: templates made before Check forks serve all tests. Only read after that. */
static struct {
    size_t len;
    uint8_t packed[AFIS_PACKED_MAX];
} warm[300][11];

void people_warm(unsigned people, unsigned fingers)
{
    for (unsigned n = 0; n < people && n < sizeof warm / sizeof *warm; n++) {
        for (unsigned p = 1; p <= 10; p++) {
            if (fingers & 1u << p) {
                warm[n][p].len = pack(n, p, (uint8_t)p, warm[n][p].packed);
            }
        }
    }
}

static void add_print(struct test_person *out, unsigned n, unsigned finger, uint8_t position)
{
    size_t i = out->person.print_count++, len;
    if (n < sizeof warm / sizeof *warm && finger == position && warm[n][finger].len > 0) {
        len = warm[n][finger].len;
        memcpy(out->packed[i], warm[n][finger].packed, len);
    } else {
        len = pack(n, finger, position, out->packed[i]);
    }
    out->prints[i] = (struct gallery_print){
        .position = position, .impression = 1, .len = (uint16_t)len, .packed = out->packed[i]};
    memset(out->prints[i].digest, (int)(n + finger), GALLERY_DIGEST);
}

void people_make(struct test_person *out, unsigned n, unsigned fingers)
{
    memset(out, 0, sizeof *out);
    snprintf(out->id, sizeof out->id, "P%06u", n);
    snprintf(out->pncid, sizeof out->pncid, "20%02u/%07uX", n % 100, n % 10000000);
    snprintf(out->born, sizeof out->born, "19%02u-0%u-1%u", n % 100, 1 + n % 9, n % 10);
    out->identifiers[0] = (struct gallery_pair){"pncid", out->pncid};
    out->identifiers[1] = (struct gallery_pair){"reference", out->id};
    out->names[0] = (struct gallery_name){"DOE", "Jean-Aimé"};
    out->names[1] = (struct gallery_name){"ROE", ""};
    out->details[0] = (struct gallery_detail){"marks", "tattoo", "info"};
    out->person = (struct gallery_person){.id = out->id,
                                          .identifiers = out->identifiers,
                                          .identifier_count = 2,
                                          .names = out->names,
                                          .name_count = 2,
                                          .born = out->born,
                                          .sex = "unknown",
                                          .details = out->details,
                                          .detail_count = 1,
                                          .source = "test",
                                          .enrolled = 1700000000,
                                          .prints = out->prints};
    for (unsigned p = 1; p <= 10; p++) {
        if (fingers & 1u << p) {
            add_print(out, n, p, (uint8_t)p);
        }
    }
    if (fingers & 1u) {
        add_print(out, n, 2, 0);
    }
}

void people_mkdir(char dir[64])
{
    const char *tmp = getenv("TMPDIR");
    ck_assert_int_lt(
        snprintf(dir, 64, "%s/whorl-test-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp"), 64);
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void people_rmdir(const char *dir)
{
    ck_assert_int_eq(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

void people_open(struct gallery **gallery, const char *dir)
{
    struct whorl_fault fault = {0};
    gallery_close(*gallery);
    *gallery = gallery_open(dir, WHORL_STORE_WRITE, &fault);
    ck_assert_msg(*gallery != NULL, "%s", fault.text);
}

void people_assert_same(const struct gallery_person *a, const struct gallery_person *b)
{
    ck_assert_str_eq(a->id, b->id);
    ck_assert_str_eq(a->born, b->born);
    ck_assert_str_eq(a->sex, b->sex);
    ck_assert_str_eq(a->source, b->source);
    ck_assert_int_eq(a->enrolled, b->enrolled);
    ck_assert_int_eq(a->expires, b->expires);
    ck_assert_uint_eq(a->identifier_count, b->identifier_count);
    for (size_t i = 0; i < a->identifier_count; i++) {
        ck_assert_str_eq(a->identifiers[i].key, b->identifiers[i].key);
        ck_assert_str_eq(a->identifiers[i].value, b->identifiers[i].value);
    }
    ck_assert_uint_eq(a->name_count, b->name_count);
    for (size_t i = 0; i < a->name_count; i++) {
        ck_assert_str_eq(a->names[i].family, b->names[i].family);
        ck_assert_str_eq(a->names[i].given, b->names[i].given);
    }
    ck_assert_uint_eq(a->detail_count, b->detail_count);
    for (size_t i = 0; i < a->detail_count; i++) {
        ck_assert_str_eq(a->details[i].label, b->details[i].label);
        ck_assert_str_eq(a->details[i].value, b->details[i].value);
        ck_assert_str_eq(a->details[i].level, b->details[i].level);
    }
    ck_assert_uint_eq(a->print_count, b->print_count);
    for (size_t i = 0; i < a->print_count; i++) {
        ck_assert_uint_eq(a->prints[i].position, b->prints[i].position);
        ck_assert_uint_eq(a->prints[i].impression, b->prints[i].impression);
        ck_assert_mem_eq(a->prints[i].digest, b->prints[i].digest, GALLERY_DIGEST);
    }
}
