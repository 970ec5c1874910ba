#include "report/others.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csv.h"
#include "report/period.h"
#include "whorl/msg.h"

#define COLUMNS_MAX 4u
#define LINES_MAX 20000000u
#define HOUR_MS INT64_C(3600000)
#define EARTH_KM 6371.0

/* Takes one line's fields. false: what is wrong is in *fault. */
typedef bool take_line(struct others *others, char *fields[], const struct names *names,
                       struct whorl_fault *fault);

static void *room(void *items, uint32_t count, uint32_t *cap, size_t size,
                  struct whorl_fault *fault)
{
    if (count < *cap) {
        return items;
    }
    uint32_t more = *cap == 0 ? 1024 : 2 * *cap;
    void *grown = count < LINES_MAX ? reallocarray(items, more, size) : NULL;
    if (grown == NULL) {
        whorl_fail(fault, "", "out of memory, or more than %u lines", LINES_MAX);
        return NULL;
    }
    *cap = more;
    return grown;
}

static bool read_line(struct others *others, char *line, size_t len, const char *header,
                      bool is_header, take_line *take, const struct names *names,
                      struct whorl_fault *fault)
{
    char *fields[CSV_FIELDS_MAX], joined[128] = "";
    size_t count;
    if (!csv_split(line, len, fields, &count, fault)) {
        return false;
    }
    if (is_header) {
        for (size_t i = 0; i < count && i < COLUMNS_MAX; i++) {
            size_t end = strlen(joined);
            snprintf(joined + end, sizeof joined - end, "%s%.40s", i > 0 ? "," : "", fields[i]);
        }
        return (count <= COLUMNS_MAX && strcmp(joined, header) == 0) ||
               whorl_fail(fault, "", "expected the header %s", header);
    }
    size_t wanted = 1;
    for (const char *at = header; *at != '\0'; at++) {
        wanted += *at == ',';
    }
    if (count != wanted) {
        return whorl_fail(fault, "", "expected %zu fields, found %zu", wanted, count);
    }
    for (size_t i = 0; i < count; i++) {
        if (fields[i][0] == '\0' || strlen(fields[i]) > 200 ||
            !whorl_text_is_clean(fields[i], strlen(fields[i]))) {
            return whorl_fail(fault, "", "field %zu is empty, too long or no clean text", i + 1);
        }
    }
    return take(others, fields, names, fault);
}

static bool read_file(struct others *others, const char *path, const char *header, take_line *take,
                      const struct names *names, struct whorl_fault *fault)
{
    char *line = NULL;
    size_t cap = 0;
    uint32_t number = 0;
    bool ok = true;
    FILE *in = fopen(path, "re");
    if (in == NULL) {
        return whorl_fail(fault, path, "cannot be read: %s", strerror(errno));
    }
    for (ssize_t len; ok && (len = getline(&line, &cap, in)) > 0;) {
        struct whorl_fault here = {0};
        number++;
        ok = read_line(others, line, (size_t)len, header, number == 1, take, names, &here);
        if (!ok) {
            char where[300];
            snprintf(where, sizeof where, "%.250s:%u", path, number);
            whorl_fail(fault, where, "%s", here.text);
        }
    }
    if (ok && (ferror(in) || number == 0)) {
        ok = whorl_fail(fault, path, ferror(in) ? "cannot be read" : "is empty");
    }
    free(line);
    fclose(in);
    return ok;
}

/* YYYY-MM-DDTHH:MM on the wall. An hour that comes twice means the first time. */
static bool read_wall(const char *text, int64_t *time_ms)
{
    char day[16];
    struct period period;
    if (strlen(text) != 16 || text[10] != 'T' || text[13] != ':' ||
        strspn(text + 11, "0123456789") != 2 || strspn(text + 14, "0123456789") != 2) {
        return false;
    }
    snprintf(day, sizeof day, "%.10s", text);
    int hour = atoi(text + 11), minute = atoi(text + 14);
    if (!period_of_days(day, day, &period) || hour > 23 || minute > 59) {
        return false;
    }
    *time_ms = period.from + hour * HOUR_MS + minute * 60000;
    int off = period_local(*time_ms).hour - hour;
    if (off == 1 || off == -23) { /* the day's clocks went forward before it */
        *time_ms -= HOUR_MS;
    } else if (off == -1 || off == 23) { /* or back */
        *time_ms += HOUR_MS;
    }
    return true;
}

/* ------------------------------------------------------------------ rosters */

static bool take_duty(struct others *others, char *fields[], const struct names *officers,
                      struct whorl_fault *fault)
{
    struct duty duty = {.officer = names_find(officers, fields[0], strlen(fields[0]))};
    if (!read_wall(fields[1], &duty.from) || !read_wall(fields[2], &duty.until)) {
        return whorl_fail(fault, "", "expected times as YYYY-MM-DDTHH:MM");
    }
    if (duty.until <= duty.from || duty.until - duty.from > 48 * HOUR_MS) {
        return whorl_fail(fault, "", "a duty ends after its beginning and within 48 hours");
    }
    duty.label = names_add(&others->labels, fields[3], strlen(fields[3]));
    if (duty.label == NAMES_NONE) {
        return whorl_fail(fault, "", "more than %u different duties", others->labels.most);
    }
    if (duty.officer == NAMES_NONE) {
        return true;
    }
    struct duty *duties =
        room(others->duties, others->duty_count, &others->duty_cap, sizeof *others->duties, fault);
    if (duties == NULL) {
        return false;
    }
    others->duties = duties;
    duties[others->duty_count++] = duty;
    return true;
}

static int by_officer(const void *a, const void *b)
{
    const struct duty *x = a, *y = b;
    if (x->officer != y->officer) {
        return x->officer < y->officer ? -1 : 1;
    }
    return (x->from > y->from) - (x->from < y->from);
}

bool others_roster(struct others *others, const char *path, const struct names *officers,
                   struct whorl_fault *fault)
{
    others->labels.most = 10000;
    bool ok = read_file(others, path, "officer,from,until,duty", take_duty, officers, fault);
    if (ok && others->duty_count > 0) {
        qsort(others->duties, others->duty_count, sizeof *others->duties, by_officer);
    }
    return ok;
}

uint32_t others_duties_of(const struct others *others, uint32_t officer)
{
    uint32_t low = 0, high = others->duty_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (others->duties[middle].officer < officer) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct duty *others_nearest(const struct others *others, uint32_t first, uint32_t last,
                                  int64_t time_ms, int64_t *distance)
{
    const struct duty *nearest = NULL;
    for (uint32_t i = first; i < last; i++) {
        const struct duty *duty = &others->duties[i];
        int64_t away = time_ms < duty->from     ? duty->from - time_ms
                       : time_ms >= duty->until ? time_ms - duty->until + 1
                                                : 0;
        if (nearest == NULL || away < *distance) {
            nearest = duty;
            *distance = away;
        }
    }
    return nearest;
}

/* ------------------------------------------------------------------ identities */

static bool take_identity(struct others *others, char *fields[], const struct names *references,
                          struct whorl_fault *fault)
{
    char name[420];
    snprintf(name, sizeof name, "%s/%s", fields[1], fields[2]);
    uint32_t reference = names_find(references, name, strlen(name));
    if (reference == NAMES_NONE) {
        return true; /* no search has returned it: nothing is kept of it */
    }
    uint32_t owner = names_add(&others->staff, fields[0], strlen(fields[0]));
    struct identity *identities = room(others->identities, others->identity_count,
                                       &others->identity_cap, sizeof *others->identities, fault);
    if (identities == NULL || owner == NAMES_NONE) {
        return identities != NULL && whorl_fail(fault, "", "out of memory");
    }
    others->identities = identities;
    identities[others->identity_count++] = (struct identity){reference, owner};
    return true;
}

bool others_identities(struct others *others, const char *path, const struct names *references,
                       struct whorl_fault *fault)
{
    others->staff.most = 1000000;
    return read_file(others, path, "officer,backend,reference", take_identity, references, fault);
}

/* ------------------------------------------------------------------ positions */

static bool read_degrees(const char *text, double most, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return strspn(text, "+-.0123456789") == strlen(text) && *end == '\0' && fabs(*value) <= most;
}

static bool take_position(struct others *others, char *fields[], const struct names *devices,
                          struct whorl_fault *fault)
{
    struct position position = {.device = names_find(devices, fields[0], strlen(fields[0]))};
    if (!read_wall(fields[1], &position.from)) {
        return whorl_fail(fault, "", "expected a time as YYYY-MM-DDTHH:MM");
    }
    if (!read_degrees(fields[2], 90, &position.latitude) ||
        !read_degrees(fields[3], 180, &position.longitude)) {
        return whorl_fail(fault, "", "expected latitude and longitude in degrees");
    }
    if (position.device == NAMES_NONE) {
        return true;
    }
    struct position *positions = room(others->positions, others->position_count,
                                      &others->position_cap, sizeof *others->positions, fault);
    if (positions == NULL) {
        return false;
    }
    others->positions = positions;
    positions[others->position_count++] = position;
    return true;
}

static int by_device(const void *a, const void *b)
{
    const struct position *x = a, *y = b;
    if (x->device != y->device) {
        return x->device < y->device ? -1 : 1;
    }
    return (x->from > y->from) - (x->from < y->from);
}

bool others_positions(struct others *others, const char *path, const struct names *devices,
                      struct whorl_fault *fault)
{
    bool ok =
        read_file(others, path, "device,from,latitude,longitude", take_position, devices, fault);
    if (ok && others->position_count > 0) {
        qsort(others->positions, others->position_count, sizeof *others->positions, by_device);
    }
    return ok;
}

const struct position *others_where(const struct others *others, uint32_t device, int64_t time_ms)
{
    uint32_t low = 0, high = others->position_count;
    while (low < high) { /* the first line after that */
        uint32_t middle = low + (high - low) / 2;
        const struct position *at = &others->positions[middle];
        if (at->device < device || (at->device == device && at->from <= time_ms)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && others->positions[low - 1].device == device ? &others->positions[low - 1]
                                                                  : NULL;
}

double others_km(const struct position *a, const struct position *b)
{
    static const double radian = 0.017453292519943295;
    double north = sin((b->latitude - a->latitude) * radian / 2);
    double east = sin((b->longitude - a->longitude) * radian / 2);
    double h = north * north + cos(a->latitude * radian) * cos(b->latitude * radian) * east * east;
    return 2 * EARTH_KM * asin(fmin(1, sqrt(h)));
}

void others_release(struct others *others)
{
    free(others->duties);
    free(others->identities);
    free(others->positions);
    names_release(&others->labels);
    names_release(&others->staff);
    *others = (struct others){0};
}
