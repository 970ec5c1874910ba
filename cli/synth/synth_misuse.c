/* Misuse seeded into a simulated month: what was done and by whom is known, so that finding it can
 * be measured. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/synth/synth_month.h"

#define HOUR_MS INT64_C(3600000)

const char *const synth_misuse_names[MISUSES] = {
    "hours", "volume", "repeat", "self", "colleague", "outcome", "travel", "hit-rate", "reason"};

struct seeding {
    struct synth_month *month;
    struct draw draw;
    uint32_t base_uses; /* the uses before anything was seeded */
    uint32_t *counts;   /* of them, by officer */
    bool failed;
};

static void label(struct seeding *s, enum synth_misuse kind, uint32_t use)
{
    struct synth_month *month = s->month;
    if (month->label_count == month->label_cap) {
        uint32_t cap = month->label_cap == 0 ? 256 : 2 * month->label_cap;
        struct synth_label *labels = reallocarray(month->labels, cap, sizeof *labels);
        if (labels == NULL) {
            s->failed = true;
            return;
        }
        month->labels = labels;
        month->label_cap = cap;
    }
    month->labels[month->label_count++] = (struct synth_label){kind, month->uses[use].officer, use};
}

/* Adds a use and its label; NULL: no room. */
static struct synth_use *add(struct seeding *s, enum synth_misuse kind, uint32_t officer,
                             int64_t time, uint32_t base)
{
    if (time < s->month->period.from || time >= s->month->period.until) {
        return NULL;
    }
    struct synth_use *use = synth_add_use(s->month, &s->draw, officer, time, base);
    if (use != NULL) {
        label(s, kind, s->month->use_count - 1);
    }
    return use;
}

/* On days off and hours after the shift, each time on another day. */
static void seed_hours(struct seeding *s, uint32_t officer)
{
    uint32_t wanted = 3 + draw_below(&s->draw, 5), first = draw_below(&s->draw, s->month->days);
    for (uint32_t i = 0; i < s->month->days && wanted > 0; i++) {
        uint32_t day = (first + 11 * i) % s->month->days; /* no month has a multiple of 11 days */
        struct synth_duty duty, next;
        bool works = synth_duty(s->month, officer, day, &duty);
        int64_t time = s->month->period.from + day * 24 * HOUR_MS;
        if (works && duty.op < 0 && duty.turn < 4 && draw_chance(&s->draw, 300)) {
            time = duty.end + (int64_t)(1.5 * HOUR_MS) +
                   (int64_t)draw_below(&s->draw, (uint32_t)(2 * HOUR_MS));
        } else if (!works && !synth_duty(s->month, officer, day + 1, &next)) {
            time += 12 * HOUR_MS + (int64_t)draw_below(&s->draw, (uint32_t)(8 * HOUR_MS));
        } else {
            continue;
        }
        wanted -= add(s, MISUSE_HOURS, officer, time, s->month->officers[officer].base) != NULL;
    }
}

/* One or two bursts within a shift hour. */
static void seed_volume(struct seeding *s, uint32_t officer)
{
    int64_t time;
    uint32_t base;
    for (uint32_t bursts = 1 + draw_below(&s->draw, 2); bursts > 0; bursts--) {
        if (!synth_pick_time(s->month, officer, &s->draw, &time, &base)) {
            return;
        }
        time -= time % HOUR_MS;
        for (uint32_t i = 9 + draw_below(&s->draw, 8); i > 0; i--) {
            add(s, MISUSE_VOLUME, officer, time + (int64_t)draw_below(&s->draw, (uint32_t)HOUR_MS),
                base);
        }
    }
}

/* Uses of one person on the officer's ordinary shifts. A search must find the person, where that is
 * what shows the misuse. */
static void seed_person(struct seeding *s, enum synth_misuse kind, uint32_t officer,
                        uint32_t person, uint32_t times)
{
    struct synth_month *month = s->month;
    int64_t time;
    uint32_t base;
    for (; times > 0 && synth_pick_time(month, officer, &s->draw, &time, &base); times--) {
        struct synth_use *use = add(s, kind, officer, time, base);
        if (use == NULL) {
            return;
        }
        use->person = person;
        for (unsigned tries = 0;
             kind != MISUSE_REPEAT && tries < 200 && !synth_matches(month, month->use_count - 1);
             tries++) {
            use->seed = draw_bits(&s->draw);
            use->rule = tries < 20 ? use->rule : 0;
        }
    }
}

/* With a device of the other end of the force, minutes after a use with the usual one. */
static void seed_travel(struct seeding *s, uint32_t officer)
{
    struct synth_month *month = s->month;
    uint32_t bases = 1 + month->officer_count / 40, force = month->officers[officer].force;
    int64_t time;
    uint32_t home, far = 0;
    for (uint32_t times = 1 + draw_below(&s->draw, 3); times > 0; times--) {
        double here[2], there[2], km, most = 0;
        if (!synth_pick_time(month, officer, &s->draw, &time, &home)) {
            return;
        }
        synth_place(month, force, home, &here[0], &here[1]);
        for (unsigned tries = 0; tries < 20; tries++) {
            uint32_t base = draw_below(&s->draw, bases);
            synth_place(month, force, base, &there[0], &there[1]);
            km = 111.2 * hypot(there[0] - here[0],
                               (there[1] - here[1]) * cos(here[0] * 3.14159265358979 / 180));
            far = km > most ? base : far;
            most = fmax(km, most);
        }
        /* Between 300 and 1500 km/h. */
        double hours = most / 300 * (0.2 + 0.8 * draw_below(&s->draw, 1000) * 1e-3);
        if (most > 15 && add(s, MISUSE_TRAVEL, officer, time, home) != NULL) {
            add(s, MISUSE_TRAVEL, officer, time + (int64_t)(hours * (double)HOUR_MS), far);
        }
    }
}

/* Somebody whom the first database knows. */
static uint32_t victim(struct seeding *s)
{
    uint32_t person = 0;
    do {
        person = synth_stranger(s->month, &s->draw, true);
    } while (!synth_known(s->month, person, 0));
    return person;
}

/* What the officer does in the uses that are there anyway. */
static void seed_habit(struct seeding *s, enum synth_misuse kind, uint32_t officer)
{
    struct synth_month *month = s->month;
    unsigned silent = 600 + draw_below(&s->draw, 350), same = 965 + draw_below(&s->draw, 36);
    bool always = draw_chance(&s->draw, 500);
    unsigned hits = always ? 960 + draw_below(&s->draw, 41) : draw_below(&s->draw, 41);
    uint8_t reason = (uint8_t)draw_below(&s->draw, synth_reason_count());
    for (uint32_t i = 0; i < s->base_uses; i++) {
        struct synth_use *use = &month->uses[i];
        if (use->officer != officer) {
            continue;
        }
        if (kind == MISUSE_OUTCOME) {
            use->silent |= draw_chance(&s->draw, silent);
        } else if (kind == MISUSE_REASON) {
            use->reason = draw_chance(&s->draw, same) ? reason : use->reason;
        } else {
            bool hit = draw_chance(&s->draw, hits);
            use->person = use->continues >= 0 ? month->uses[use->continues].person
                          : hit               ? victim(s)
                                              : synth_stranger(month, &s->draw, false);
        }
        label(s, kind, i);
    }
}

static bool suits(const struct seeding *s, enum synth_misuse kind, uint32_t officer)
{
    const struct synth_officer *who = &s->month->officers[officer];
    static const uint32_t least[MISUSES] = {
        [MISUSE_OUTCOME] = 15, [MISUSE_HITS] = 25, [MISUSE_REASON] = 15};
    return !who->misuses && s->counts[officer] >= least[kind] &&
           (kind != MISUSE_SELF || who->on_record);
}

/* An officer on record, of the same force; the officer's own index if there is none. */
static uint32_t colleague(struct seeding *s, uint32_t officer)
{
    const struct synth_officer *officers = s->month->officers;
    for (unsigned tries = 0; tries < 1000; tries++) {
        uint32_t other = draw_below(&s->draw, s->month->officer_count);
        if (other != officer && officers[other].on_record &&
            officers[other].force == officers[officer].force) {
            return other;
        }
    }
    return officer;
}

static void seed(struct seeding *s, enum synth_misuse kind, uint32_t officer)
{
    uint32_t other;
    switch (kind) {
    case MISUSE_HOURS:
        seed_hours(s, officer);
        break;
    case MISUSE_VOLUME:
        seed_volume(s, officer);
        break;
    case MISUSE_REPEAT:
        seed_person(s, kind, officer, victim(s), 6 + draw_below(&s->draw, 6));
        break;
    case MISUSE_SELF:
        seed_person(s, kind, officer, SYNTH_OFFICER_PERSON + officer, 1 + draw_below(&s->draw, 3));
        break;
    case MISUSE_COLLEAGUE:
        other = colleague(s, officer);
        if (other != officer) {
            seed_person(s, kind, officer, SYNTH_OFFICER_PERSON + other,
                        1 + draw_below(&s->draw, 3));
        }
        break;
    case MISUSE_TRAVEL:
        seed_travel(s, officer);
        break;
    case MISUSE_OUTCOME:
    case MISUSE_HITS:
    case MISUSE_REASON:
    case MISUSES:
    default:
        seed_habit(s, kind, officer);
    }
}

/* Officers are stopped too, with reason: one in two thousand officers a month, by a colleague. */
static void stop_officers(struct seeding *s)
{
    for (uint32_t i = 0; i < s->base_uses; i++) {
        struct synth_use *use = &s->month->uses[i];
        if (draw_below(&s->draw, 80000) == 0 && use->continues < 0) {
            uint32_t other = colleague(s, use->officer);
            use->person = other != use->officer ? SYNTH_OFFICER_PERSON + other : use->person;
        }
    }
}

bool synth_make_misuse(struct synth_month *month, const uint32_t misuse[MISUSES])
{
    struct seeding s = {.month = month,
                        .draw = {month->seed ^ 0x6d697375},
                        .base_uses = month->use_count,
                        .counts = calloc(month->officer_count, sizeof *s.counts)};
    if (s.counts == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < month->use_count; i++) {
        s.counts[month->uses[i].officer]++;
    }
    stop_officers(&s);
    for (unsigned kind = 0; kind < MISUSES; kind++) {
        uint32_t left = misuse[kind];
        for (unsigned tries = 0; left > 0 && tries < 100 * misuse[kind]; tries++) {
            uint32_t officer = draw_below(&s.draw, month->officer_count);
            if (suits(&s, (enum synth_misuse)kind, officer)) {
                month->officers[officer].misuses = true;
                seed(&s, (enum synth_misuse)kind, officer);
                left--;
            }
        }
    }
    free(s.counts);
    return !s.failed;
}
