#include "report/group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/codes.h"

static const struct {
    const char *id, *title;
    const struct code_list *codes; /* NULL: from records, or hours */
} dimensions[DIMENSIONS] = {
    [BY_OFFICER] = {"officer", "Officer", NULL},
    [BY_DEVICE] = {"device", "Device", NULL},
    [BY_BASIS] = {"basis", "Legal basis", NULL},
    [BY_STOP_POWER] = {"stop_power", "Power to stop", NULL},
    [BY_REASON_CODE] = {"reason_code", "PNC reason code", &codes_reason_code},
    [BY_CONSENT] = {"consent", "Consent", &codes_consent},
    [BY_CONDITION] = {"condition", "Condition of the person", &codes_condition},
    [BY_ETHNICITY_OFFICER] = {"ethnicity_officer", "Ethnicity as the officer saw it",
                              &codes_ethnicity_officer},
    [BY_ETHNICITY_SELF] = {"ethnicity_self", "Ethnicity as the person defined it",
                           &codes_ethnicity_self},
    [BY_GENDER] = {"gender", "Gender", &codes_gender},
    [BY_AGE_BAND] = {"age_band", "Age band", &codes_age_band},
    [BY_OUTCOME] = {"outcome", "Outcome", &codes_outcome},
    [BY_HOUR] = {"hour", "Hour of the day", NULL},
    [BY_WEEKDAY] = {"weekday", "Day of the week", &codes_weekday},
};

const char *group_id(enum dimension dimension)
{
    return dimensions[dimension].id;
}

const char *group_title(enum dimension dimension)
{
    return dimensions[dimension].title;
}

bool group_is_closed(enum dimension dimension)
{
    return dimensions[dimension].codes != NULL || dimension == BY_HOUR;
}

static const struct names *names_of(const struct facts *facts, enum dimension dimension)
{
    switch (dimension) {
    case BY_OFFICER:
        return &facts->officers;
    case BY_DEVICE:
        return &facts->devices;
    case BY_BASIS:
        return &facts->bases;
    default:
        return &facts->stop_powers;
    }
}

/* The place of a use's value among the group's rows; at or past `count`: it doesn't say. */
static uint32_t value_of(const struct transaction *row, enum dimension dimension)
{
    switch (dimension) {
    case BY_OFFICER:
        return row->officer;
    case BY_DEVICE:
        return row->device;
    case BY_BASIS:
        return row->basis;
    case BY_STOP_POWER:
        return row->stop_power;
    case BY_REASON_CODE:
        return row->reason_code;
    case BY_CONSENT:
        return row->consent;
    case BY_CONDITION:
        return row->condition;
    case BY_ETHNICITY_OFFICER:
        return row->ethnicity_officer;
    case BY_ETHNICITY_SELF:
        return row->ethnicity_self;
    case BY_GENDER:
        return row->gender;
    case BY_AGE_BAND:
        return row->age_band;
    case BY_OUTCOME:
        return row->outcome;
    case BY_HOUR:
        return row->hour;
    case BY_WEEKDAY:
        return row->weekday;
    case DIMENSIONS:
    default:
        return NAMES_NONE;
    }
}

static void name_rows(const struct facts *facts, enum dimension dimension, struct group *group)
{
    const struct code_list *codes = dimensions[dimension].codes;
    for (uint32_t i = 0; i < group->count; i++) {
        struct group_row *row = &group->rows[i];
        if (dimension == BY_HOUR) {
            snprintf(row->code, sizeof row->code, "%02u", i);
            snprintf(row->label, sizeof row->label, "%02u:00 to %02u:59", i, i);
        } else if (codes != NULL) {
            snprintf(row->code, sizeof row->code, "%s", codes->codes[i].code);
            snprintf(row->label, sizeof row->label, "%s", codes->codes[i].label);
        } else {
            snprintf(row->code, sizeof row->code, "%s", names_of(facts, dimension)->texts[i]);
            snprintf(row->label, sizeof row->label, "%s", row->code);
        }
    }
    struct group_row *none = &group->rows[group->count];
    snprintf(none->label, sizeof none->label, "Not recorded");
}

static int by_uses(const void *a, const void *b)
{
    const struct group_row *x = a, *y = b;
    return x->uses != y->uses ? (x->uses < y->uses) - (x->uses > y->uses)
                              : strcmp(x->code, y->code);
}

bool group_by(const struct facts *facts, enum dimension dimension, struct group *group)
{
    const struct code_list *codes = dimensions[dimension].codes;
    group->count = dimension == BY_HOUR ? 24
                   : codes != NULL      ? codes->count
                                        : names_of(facts, dimension)->count;
    group->rows = calloc(group->count + 1u, sizeof *group->rows);
    if (group->rows == NULL) {
        group->count = 0;
        return false;
    }
    name_rows(facts, dimension, group);
    for (uint32_t i = 0; i < facts->count; i++) {
        const struct transaction *use = &facts->rows[i];
        if (use->refusal) {
            continue;
        }
        uint32_t value = value_of(use, dimension);
        struct group_row *row = &group->rows[value < group->count ? value : group->count];
        row->uses++;
        row->persons += use->person;
        row->identifications += use->identified;
    }
    if (!group_is_closed(dimension)) {
        qsort(group->rows, group->count, sizeof *group->rows, by_uses);
        while (group->count > 0 && group->rows[group->count - 1].uses == 0) {
            group->rows[group->count - 1] = group->rows[group->count]; /* named by refusals only */
            group->count--;
        }
    }
    if (group->rows[group->count].uses > 0) {
        group->count++;
    }
    return true;
}

void group_release(struct group *group)
{
    free(group->rows);
    *group = (struct group){0};
}
