/* What needs no statistics: searches of oneself and of colleagues, and travel that nobody can do.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "report/text.h"
#include "report/unusual.h"

#define SPEED_KMH 160.0 /* in a straight line; roads are longer */
#define NEAR_KM 3.0     /* a device's place is no nearer known */
#define HOUR_MS 3600000.0

/* ------------------------------------------------------------------ people */

struct meeting {
    uint32_t officer, row;
    uint32_t owner; /* number in others.staff */
    bool self;
};

static int by_officer(const void *a, const void *b)
{
    const struct meeting *x = a, *y = b;
    if (x->self != y->self) {
        return x->self ? -1 : 1;
    }
    if (x->officer != y->officer) {
        return x->officer < y->officer ? -1 : 1;
    }
    return (x->row > y->row) - (x->row < y->row);
}

static uint32_t add_colleague(const struct unusual *unusual, const struct meeting *meetings,
                              size_t count, char *names, size_t cap)
{
    uint32_t people = 0;
    names[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        bool known = false;
        for (size_t j = 0; j < i; j++) {
            known |= meetings[j].owner == meetings[i].owner;
        }
        size_t len = strlen(names);
        if (!known && len + 80 < cap) {
            const char *name = unusual->others->staff.texts[meetings[i].owner];
            snprintf(names + len, cap - len, "%s%.*s", people++ > 0 ? ", " : "",
                     text_most(name, 64), name);
        }
    }
    return people;
}

/* One flag for all that one officer did of a kind. */
static void flag_meetings(struct unusual *unusual, const struct meeting *meetings, size_t count)
{
    enum unusual_kind kind = meetings[0].self ? UNUSUAL_SELF : UNUSUAL_COLLEAGUE;
    char names[300];
    struct flag *flag = unusual_flag(unusual, kind, meetings[0].officer, 0, 0);
    if (flag == NULL) {
        return;
    }
    /* Several databases may have found the same person in one use. */
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || meetings[i].row != meetings[i - 1].row) {
            unusual_evidence(unusual, meetings[i].row);
        }
    }
    if (meetings[0].self) {
        snprintf(flag->why, sizeof flag->why,
                 "%u of the officer's uses found a reference that is the officer's own.",
                 flag->count);
    } else {
        add_colleague(unusual, meetings, count, names, sizeof names);
        snprintf(flag->why, sizeof flag->why,
                 "%u of the officer's uses found a reference that belongs to a colleague: %s. "
                 "Officers are stopped with reason too: see the reason, the place and the outcome.",
                 flag->count, names);
    }
}

/* The owner of a reference by its number; owners is by number, + 1. */
static size_t collect(struct unusual *unusual, const uint32_t *owners, struct meeting *meetings)
{
    const struct activity *activity = unusual->activity;
    size_t count = 0;
    for (uint32_t i = 0; i < activity->match_count; i++) {
        uint32_t owner = owners[activity->matches[i].reference];
        const struct transaction *row = &activity->facts.rows[activity->matches[i].row];
        if (owner == 0 || row->refusal || row->officer == NAMES_NONE) {
            continue;
        }
        const char *name = unusual->others->staff.texts[owner - 1];
        meetings[count++] = (struct meeting){
            .officer = row->officer,
            .row = activity->matches[i].row,
            .owner = owner - 1,
            .self = strcmp(name, activity->facts.officers.texts[row->officer]) == 0};
    }
    return count;
}

void unusual_people(struct unusual *unusual)
{
    const struct activity *activity = unusual->activity;
    if (!unusual->options->has_identities) {
        unusual->families[UNUSUAL_SELF].skipped = unusual->families[UNUSUAL_COLLEAGUE].skipped =
            "no --identities are given";
        return;
    }
    unusual->families[UNUSUAL_SELF].tested = unusual->families[UNUSUAL_COLLEAGUE].tested =
        unusual_officers(unusual);
    uint32_t *owners = calloc(activity->references.count + 1u, sizeof *owners);
    struct meeting *meetings = calloc(activity->match_count + 1u, sizeof *meetings);
    if (owners != NULL && meetings != NULL) {
        for (uint32_t i = 0; i < unusual->others->identity_count; i++) {
            const struct identity *identity = &unusual->others->identities[i];
            owners[identity->reference] = identity->owner + 1;
        }
        size_t count = collect(unusual, owners, meetings), from = 0;
        qsort(meetings, count, sizeof *meetings, by_officer);
        for (size_t i = 1; i <= count; i++) {
            if (i == count || meetings[i].officer != meetings[from].officer ||
                meetings[i].self != meetings[from].self) {
                flag_meetings(unusual, &meetings[from], i - from);
                from = i;
            }
        }
    } else {
        unusual->failed = true;
    }
    free(owners);
    free(meetings);
}

/* ------------------------------------------------------------------ travel */

struct trip {
    const struct transaction *from, *to;
    double km, minutes;
};

/* Whether nobody can have been at both. */
static bool impossible(const struct unusual *unusual, const struct encounter *a,
                       const struct encounter *b, struct trip *trip)
{
    const struct activity *activity = unusual->activity;
    trip->from = activity_row(activity, a);
    trip->to = activity_row(activity, b);
    if (trip->from->device == trip->to->device) {
        return false;
    }
    const struct position *here =
        others_where(unusual->others, trip->from->device, trip->from->time_ms);
    const struct position *there =
        others_where(unusual->others, trip->to->device, trip->to->time_ms);
    if (here == NULL || there == NULL) {
        return false;
    }
    double hours = (double)(trip->to->time_ms - trip->from->time_ms) / HOUR_MS;
    trip->km = others_km(here, there);
    trip->minutes = 60 * hours;
    return trip->km - NEAR_KM > SPEED_KMH * hours;
}

static void flag_trips(struct unusual *unusual, uint32_t officer)
{
    uint32_t count, trips = 0;
    const struct encounter *encounters = unusual_of(unusual, officer, &count);
    const char *const *devices = (const char *const *)unusual->activity->facts.devices.texts;
    struct trip trip, fastest = {0};
    struct flag *flag = NULL;
    char at[32];
    for (uint32_t i = 1; i < count; i++) {
        if (!impossible(unusual, &encounters[i - 1], &encounters[i], &trip)) {
            continue;
        }
        if (trips++ == 0) {
            flag = unusual_flag(unusual, UNUSUAL_TRAVEL, officer, 0, 0);
            fastest = trip;
        }
        if (flag == NULL) {
            return;
        }
        if (trip.km * fastest.minutes > fastest.km * trip.minutes) {
            fastest = trip;
        }
        unusual_evidence(unusual, encounters[i - 1].row);
        unusual_evidence(unusual, encounters[i].row);
    }
    if (flag != NULL) {
        unusual_time(fastest.to->time_ms, at);
        snprintf(
            flag->why, sizeof flag->why,
            "%u %s the officer's number was used on two devices further apart than one "
            "can travel: on %s device %s, %.0f km from %s, which was used %.0f minutes before.",
            trips, trips == 1 ? "time" : "times", at, devices[fastest.to->device], fastest.km,
            devices[fastest.from->device], fastest.minutes);
    }
}

void unusual_travel(struct unusual *unusual)
{
    struct family *family = &unusual->families[UNUSUAL_TRAVEL];
    if (!unusual->options->has_positions) {
        family->skipped = "no --positions are given";
        return;
    }
    family->tested = unusual_officers(unusual);
    snprintf(family->usual, sizeof family->usual, "up to %.0f km/h in a straight line", SPEED_KMH);
    for (uint32_t i = 0; i < unusual_officers(unusual) && !unusual->failed; i++) {
        flag_trips(unusual, i);
    }
}
