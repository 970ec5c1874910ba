/* whorl synth: writes made-up fingerprints as PNG files, all of them following from one seed. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "afis/image.h"
#include "afis/memory.h"
#include "afis/synth.h"
#include "cli/commands.h"

#define MAX_COUNT 10000000u
#define POSITIONS 10u

enum key {
    OPTION_FINGERS = 'f',
    OPTION_IMPRESSIONS = 'i',
    OPTION_SEED = 's',
    OPTION_OUTPUT = 'o',
    OPTION_PEOPLE = 'p',
    OPTION_CONDITION = 'c',
    OPTION_POSITIONS = 0x100,
    OPTION_WIDTH,
    OPTION_HEIGHT
};

static const struct argp_option options[] = {
    {"fingers", OPTION_FINGERS, "N", 0, "make N fingers, FINGER_IMPRESSION.png (default 1)", 0},
    {"impressions", OPTION_IMPRESSIONS, "M", 0, "impressions of each finger (default 1)", 0},
    {"people", OPTION_PEOPLE, "K", 0,
     "instead of --fingers: make K people, PERSON_POSITION_IMPRESSION.png, and manifest.csv", 0},
    {"positions", OPTION_POSITIONS, "LIST", 0,
     "fingers of each person, 1 right thumb .. 10 left little (default 2,7: index fingers)", 0},
    {"seed", OPTION_SEED, "S", 0, "whole number that everything follows from (default 1)", 0},
    {"condition", OPTION_CONDITION, "KIND", 0,
     "how impressions are taken: clean, typical (default), hard, dry, wet, smudged or partial", 0},
    {"width", OPTION_WIDTH, "PIXELS", 0, "of an image, 500 pixels an inch (default 300)", 0},
    {"height", OPTION_HEIGHT, "PIXELS", 0, "of an image (default 400)", 0},
    {"output", OPTION_OUTPUT, "DIR", 0, "where to write; made if it is missing", 0},
    {0}};

struct settings {
    const char *directory;
    uint64_t seed;
    uint32_t fingers, people, impressions;
    uint32_t width, height;
    enum afis_synth_kind kind;
    unsigned positions[POSITIONS]; /* in the order given */
    uint32_t position_count;
};

/* One finger of the collection. person is 0 where fingers are merely counted. */
struct subject {
    uint32_t person, number; /* number: what its seed follows from */
    unsigned position;
};

static uint64_t parse_number(struct argp_state *state, const char *name, const char *text,
                             uint64_t least, uint64_t most)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < least ||
        value > most) {
        argp_error(state, "--%s: %s is not a whole number from %" PRIu64 " to %" PRIu64, name, text,
                   least, most);
    }
    return value;
}

static void parse_positions(struct argp_state *state, const char *list, struct settings *settings)
{
    const char *text = list;
    settings->position_count = 0;
    while (1) {
        char *end;
        unsigned long position = strtoul(text, &end, 10);
        if (text[0] < '0' || text[0] > '9' || position < 1 || position > POSITIONS ||
            (*end != ',' && *end != '\0')) {
            argp_error(state, "--positions: %s is not a list of finger positions from 1 to 10",
                       list);
        }
        for (uint32_t i = 0; i < settings->position_count; i++) {
            if (settings->positions[i] == position) {
                argp_error(state, "--positions: %lu is listed twice", position);
            }
        }
        settings->positions[settings->position_count++] = (unsigned)position;
        if (*end == '\0') {
            return;
        }
        text = end + 1;
    }
}

static enum afis_synth_kind parse_kind(struct argp_state *state, const char *text)
{
    for (unsigned kind = 0; kind < AFIS_SYNTH_KINDS; kind++) {
        if (strcmp(text, afis_synth_kind_name((enum afis_synth_kind)kind)) == 0) {
            return (enum afis_synth_kind)kind;
        }
    }
    argp_error(state, "--condition: %s is no kind of impression", text);
    return AFIS_SYNTH_TYPICAL;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct settings *s = state->input;
    switch (key) {
    case OPTION_FINGERS:
        s->fingers = (uint32_t)parse_number(state, "fingers", value, 1, MAX_COUNT);
        return 0;
    case OPTION_PEOPLE:
        s->people = (uint32_t)parse_number(state, "people", value, 1, MAX_COUNT);
        return 0;
    case OPTION_IMPRESSIONS:
        s->impressions = (uint32_t)parse_number(state, "impressions", value, 1, MAX_COUNT);
        return 0;
    case OPTION_SEED:
        s->seed = parse_number(state, "seed", value, 0, UINT64_MAX);
        return 0;
    case OPTION_WIDTH:
        s->width =
            (uint32_t)parse_number(state, "width", value, AFIS_SYNTH_SIDE_MIN, AFIS_SYNTH_SIDE_MAX);
        return 0;
    case OPTION_HEIGHT:
        s->height = (uint32_t)parse_number(state, "height", value, AFIS_SYNTH_SIDE_MIN,
                                           AFIS_SYNTH_SIDE_MAX);
        return 0;
    case OPTION_POSITIONS:
        parse_positions(state, value, s);
        return 0;
    case OPTION_CONDITION:
        s->kind = parse_kind(state, value);
        return 0;
    case OPTION_OUTPUT:
        s->directory = value;
        return 0;
    case ARGP_KEY_END:
        if (s->directory == NULL || s->directory[0] == '\0') {
            argp_error(state, "--output is missing");
        }
        if (s->fingers != 0 && s->people != 0) {
            argp_error(state, "--fingers and --people exclude each other");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The one place that knows what an impression's file is called. */
static void file_name(const struct subject *subject, uint32_t impression, char *out, size_t cap)
{
    if (subject->person == 0) {
        snprintf(out, cap, "%" PRIu32 "_%" PRIu32 ".png", subject->number, impression);
    } else {
        snprintf(out, cap, "p%04" PRIu32 "_%02u_%" PRIu32 ".png", subject->person,
                 subject->position, impression);
    }
}

static int fail(const char *directory, const char *name, const char *why)
{
    fprintf(stderr, "whorl synth: %s/%s: %s\n", directory, name, why);
    return 3;
}

static FILE *open_in(const char *directory, const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", directory, name) < 0) {
        return NULL;
    }
    FILE *file = fopen(path, "wb");
    int why = errno;
    free(path);
    errno = why;
    return file;
}

static int write_image(const struct settings *s, const char *name, const struct afis_image *image)
{
    uint8_t *png;
    size_t len;
    enum afis_status status = afis_image_to_png(image, &afis_memory_heap, &png, &len);
    if (status != AFIS_OK) {
        return fail(s->directory, name, afis_status_text(status));
    }
    FILE *file = open_in(s->directory, name);
    size_t written = file == NULL ? 0 : fwrite(png, 1, len, file);
    int why = errno;
    if (file != NULL && fclose(file) != 0) {
        written = 0;
        why = errno;
    }
    afis_memory_heap.release(afis_memory_heap.ctx, png, len);
    return written == len ? 0 : fail(s->directory, name, strerror(why));
}

static int make_impression(const struct settings *s, const struct subject *subject,
                           const struct afis_synth_master *master, uint32_t impression)
{
    struct afis_synth_condition condition;
    struct afis_image image;
    char name[64];
    /* Two kinds of the same impression share nothing but the finger. */
    uint64_t seed =
        afis_synth_seed(afis_synth_seed(s->seed, subject->number, 0), s->kind, impression);
    file_name(subject, impression, name, sizeof name);
    afis_synth_draw_condition(seed, s->kind, &condition);
    condition.width = s->width;
    condition.height = s->height;
    enum afis_status status =
        afis_synth_impression(master, seed, &condition, &afis_memory_heap, &image);
    if (status != AFIS_OK) {
        return fail(s->directory, name, afis_status_text(status));
    }
    int result = write_image(s, name, &image);
    afis_image_release(&image, &afis_memory_heap);
    return result;
}

static int make_finger(const struct settings *s, const struct subject *subject, FILE *manifest)
{
    struct afis_synth_master master;
    uint64_t seed = afis_synth_seed(s->seed, subject->number, 0);
    enum afis_synth_class class = afis_synth_draw_class(seed, subject->position);
    enum afis_status status = afis_synth_finger(seed, class, &afis_memory_heap, &master);
    if (status != AFIS_OK) {
        return fail(s->directory, "", afis_status_text(status));
    }
    int result = 0;
    for (uint32_t i = 1; i <= s->impressions && result == 0; i++) {
        result = make_impression(s, subject, &master, i);
        char name[64];
        file_name(subject, i, name, sizeof name);
        if (result == 0 && manifest != NULL) {
            fprintf(manifest, "p%04" PRIu32 ",%u,%" PRIu32 ",%s\n", subject->person,
                    subject->position, i, name);
        }
    }
    afis_synth_master_release(&master, &afis_memory_heap);
    return result;
}

static int make_fingers(const struct settings *s)
{
    int result = 0;
    for (uint32_t i = 1; i <= s->fingers && result == 0; i++) {
        result = make_finger(s, &(struct subject){.number = i}, NULL);
    }
    return result;
}

static int make_people(const struct settings *s)
{
    FILE *manifest = open_in(s->directory, "manifest.csv");
    if (manifest == NULL) {
        return fail(s->directory, "manifest.csv", strerror(errno));
    }
    int result = 0;
    fputs("person,position,impression,file\n", manifest);
    for (uint32_t person = 1; person <= s->people && result == 0; person++) {
        for (uint32_t i = 0; i < s->position_count && result == 0; i++) {
            unsigned position = s->positions[i];
            struct subject subject = {person, (person - 1) * POSITIONS + position, position};
            result = make_finger(s, &subject, manifest);
        }
    }
    bool failed = ferror(manifest) != 0;
    if ((fclose(manifest) != 0 || failed) && result == 0) {
        result = fail(s->directory, "manifest.csv", strerror(errno));
    }
    return result;
}

int cmd_synth(int argc, char **argv)
{
    static const struct argp parser = {
        options,
        parse_option,
        NULL,
        "Makes synthetic fingerprints: N fingers, M impressions of each, as 8-bit grey PNG of 500 "
        "dpi.\vThe same seed gives the same files, and finger k is the same however many are "
        "made. No living person has these fingers. They flatter a search engine: measure accuracy "
        "on real prints.\n\n`whorl synth templates` fills a gallery instead, `whorl synth month` "
        "the audit "
        "log with a simulated month of transactions.",
        NULL,
        NULL,
        NULL};
    struct settings settings = {.seed = 1,
                                .impressions = 1,
                                .width = AFIS_SYNTH_WIDTH,
                                .height = AFIS_SYNTH_HEIGHT,
                                .kind = AFIS_SYNTH_TYPICAL,
                                .positions = {2, 7},
                                .position_count = 2};
    argp_err_exit_status = 2;
    if (argp_parse(&parser, argc, argv, 0, NULL, &settings) != 0) {
        return 2;
    }
    if (mkdir(settings.directory, 0777) != 0 && errno != EEXIST) {
        return fail(settings.directory, "", strerror(errno));
    }
    if (settings.people != 0) {
        return make_people(&settings);
    }
    if (settings.fingers == 0) {
        settings.fingers = 1;
    }
    return make_fingers(&settings);
}
