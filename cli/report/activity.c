#include "report/activity.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/codes.h"

#define NAMES_MOST 40000000u

void activity_begin(struct activity *activity, const struct period *period, const char *force)
{
    *activity = (struct activity){0};
    facts_begin(&activity->facts, period, force);
    activity->references.most = activity->texts.most = NAMES_MOST;
}

void activity_release(struct activity *activity)
{
    facts_release(&activity->facts);
    names_release(&activity->references);
    names_release(&activity->texts);
    free(activity->positions);
    free(activity->reasons);
    free(activity->people);
    free(activity->matches);
    free(activity->encounters);
    free(activity->starts);
    *activity = (struct activity){0};
}

static bool give_up(struct activity *activity)
{
    snprintf(activity->facts.trouble, sizeof activity->facts.trouble, "out of memory");
    return false;
}

static bool grow(struct activity *activity)
{
    uint32_t cap = activity->facts.cap;
    uint64_t *positions = reallocarray(activity->positions, cap, sizeof *positions);
    activity->positions = positions != NULL ? positions : activity->positions;
    uint32_t *reasons = reallocarray(activity->reasons, cap, sizeof *reasons);
    activity->reasons = reasons != NULL ? reasons : activity->reasons;
    uint32_t *people = reallocarray(activity->people, cap, sizeof *people);
    activity->people = people != NULL ? people : activity->people;
    activity->cap = cap;
    return positions != NULL && reasons != NULL && people != NULL;
}

/* ASCII letters small, blanks single: what a hand types the same each time. */
static size_t fold(const struct record_text *text, char *out, size_t cap)
{
    size_t len = 0;
    for (size_t i = 0; text->at != NULL && i < text->len && len + 1 < cap; i++) {
        bool blank = text->at[i] == ' ';
        if (!blank || (len > 0 && out[len - 1] != ' ')) {
            out[len++] = (char)tolower((unsigned char)text->at[i]);
        }
    }
    while (len > 0 && out[len - 1] == ' ') {
        len--;
    }
    out[len] = '\0';
    return len;
}

static bool take_reason(struct activity *activity, uint32_t row, const struct record *record)
{
    char text[256];
    size_t len = fold(&record->reason, text, sizeof text);
    activity->reasons[row] = len > 0 ? names_add(&activity->texts, text, len) : NAMES_NONE;
    return len == 0 || activity->reasons[row] != NAMES_NONE;
}

static bool add_match(struct activity *activity, uint32_t row, uint32_t reference)
{
    if (activity->match_count == activity->match_cap) {
        uint32_t cap = activity->match_cap == 0 ? 1024 : 2 * activity->match_cap;
        void *matches = reallocarray(activity->matches, cap, sizeof *activity->matches);
        if (matches == NULL) {
            return false;
        }
        activity->matches = matches;
        activity->match_cap = cap;
    }
    activity->matches[activity->match_count].row = row;
    activity->matches[activity->match_count++].reference = reference;
    return true;
}

/* The reference that one answer gives, if it is sure of one. */
static bool take_match(struct activity *activity, uint32_t row, const struct record_answer *answer)
{
    char name[512], backend[65];
    const msgpack_object_array *list = &answer->candidates->via.array;
    if (answer->class != CLASS_MATCH || list->size != 1 || list->ptr[0].via.str.size > 400) {
        return true;
    }
    record_text_copy(&answer->backend, backend, sizeof backend);
    int len = snprintf(name, sizeof name, "%s/%.*s", backend, (int)list->ptr[0].via.str.size,
                       list->ptr[0].via.str.ptr);
    uint32_t reference = names_add(&activity->references, name, (size_t)len);
    if (reference == NAMES_NONE || !add_match(activity, row, reference)) {
        return false;
    }
    /* Searches stand before look-ups. */
    if (activity->people[row] == NAMES_NONE) {
        activity->people[row] = reference;
    }
    return true;
}

/* Without a match, a person is who he or she claimed to be: name and birth date together. */
static bool take_claim(struct activity *activity, uint32_t row, const struct record *record)
{
    char family[104], given[104], born[16], name[240];
    if (activity->people[row] != NAMES_NONE || fold(&record->family, family, sizeof family) == 0 ||
        fold(&record->given, given, sizeof given) == 0 ||
        fold(&record->born, born, sizeof born) == 0) {
        return true;
    }
    int len = snprintf(name, sizeof name, "%s|%s|%s", family, given, born);
    activity->people[row] = names_add(&activity->references, name, (size_t)len);
    return activity->people[row] != NAMES_NONE;
}

bool activity_add(struct activity *activity, uint64_t position, const struct record *record)
{
    uint32_t row = activity->facts.count;
    activity->last_ms = record->time_ms > activity->last_ms ? record->time_ms : activity->last_ms;
    if (!facts_add(&activity->facts, record)) {
        return false;
    }
    if (activity->facts.count == row) {
        return true;
    }
    if (activity->facts.cap != activity->cap && !grow(activity)) {
        return give_up(activity);
    }
    activity->positions[row] = position;
    activity->people[row] = NAMES_NONE;
    bool ok = take_reason(activity, row, record);
    for (size_t i = 0; ok && i < record->answer_count; i++) {
        ok = take_match(activity, row, &record->answers[i]);
    }
    return (ok && take_claim(activity, row, record)) || give_up(activity);
}

/* ------------------------------------------------------------------ encounters */

static int in_order(const void *a, const void *b, void *arg)
{
    const struct transaction *rows = arg;
    const struct encounter *x = a, *y = b;
    const struct transaction *p = &rows[x->row], *q = &rows[y->row];
    if (p->officer != q->officer) {
        return p->officer < q->officer ? -1 : 1;
    }
    if (p->time_ms != q->time_ms) {
        return p->time_ms < q->time_ms ? -1 : 1;
    }
    return (x->row > y->row) - (x->row < y->row);
}

/* Whether a use scans again for whom an encounter is about. Who is somebody else is met anew. */
static bool belongs(const struct activity *activity, const struct encounter *encounter, uint32_t i)
{
    const struct transaction *row = &activity->facts.rows[i];
    return facts_scans_again(activity_row(activity, encounter), row) &&
           !(encounter->found && row->identified && encounter->person != activity->people[i]);
}

/* The first of a chain begins an encounter; those that scan again add what they found to it. */
static void take_row(struct activity *activity, uint32_t i, uint32_t *places)
{
    const struct transaction *row = &activity->facts.rows[i];
    if (row->refusal || row->officer == NAMES_NONE) {
        return;
    }
    uint32_t *place = &places[row->chain]; /* of the chain's last encounter, + 1 */
    if (*place == 0 || !belongs(activity, &activity->encounters[*place - 1], i)) {
        activity->encounters[activity->count++] = (struct encounter){
            .row = i, .reason = activity->reasons[i], .person = activity->people[i]};
        *place = activity->count;
    }
    struct encounter *encounter = &activity->encounters[*place - 1];
    encounter->outcome |= row->outcome != codes_outcome.count;
    if (row->identified && !encounter->found) {
        encounter->found = true;
        encounter->person = activity->people[i];
    }
}

bool activity_finish(struct activity *activity)
{
    struct facts *facts = &activity->facts;
    uint32_t *places = calloc(facts->count + 1u, sizeof *places);
    facts_finish(facts);
    activity->encounters = calloc(facts->count + 1u, sizeof *activity->encounters);
    activity->starts = calloc(facts->officers.count + 1u, sizeof *activity->starts);
    if (places == NULL || activity->encounters == NULL || activity->starts == NULL) {
        free(places);
        return give_up(activity);
    }
    for (uint32_t i = 0; i < facts->count; i++) {
        take_row(activity, i, places);
    }
    free(places);
    qsort_r(activity->encounters, activity->count, sizeof *activity->encounters, in_order,
            facts->rows);
    for (uint32_t i = 0, officer = 0; officer <= facts->officers.count; officer++) {
        while (i < activity->count &&
               activity_row(activity, &activity->encounters[i])->officer < officer) {
            i++;
        }
        activity->starts[officer] = i;
    }
    return true;
}
