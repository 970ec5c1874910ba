/* What the audit log can't know and a force's other systems do: rosters, whose references are
 * officers' own, and where devices are. CSV files with a header (cli/csv.h), read strictly:
 *
 *   roster      officer,from,until,duty       the duty system's export: hours that were worked,
 *                                             overtime too; duty is a word for the posting
 *   identities  officer,backend,reference     the vetting unit's: under which reference a database
 *                                             knows a member of staff
 *   positions   device,from,latitude,longitude    the asset register's or the device management's:
 *                                             from then until the device's next line it is there
 *
 * Times are the clock on the wall in the United Kingdom, YYYY-MM-DDTHH:MM, as such systems print
 * it. */
#ifndef CLI_REPORT_OTHERS_H
#define CLI_REPORT_OTHERS_H

#include <stdbool.h>
#include <stdint.h>

#include "report/names.h"
#include "whorl/plugin.h"

struct duty {
    uint32_t officer; /* number in the names given */
    uint32_t label;   /* number in others.labels */
    int64_t from, until;
};

struct identity {
    uint32_t reference; /* number in the references given */
    uint32_t owner;     /* number in others.staff */
};

struct position {
    uint32_t device; /* number in the names given */
    int64_t from;
    double latitude, longitude;
};

struct others {
    struct duty *duties; /* by officer, then by time */
    uint32_t duty_count, duty_cap;
    struct identity *identities;
    uint32_t identity_count, identity_cap;
    struct position *positions; /* by device, then by time */
    uint32_t position_count, position_cap;
    struct names labels, staff;
};

/* Reads a file; lines about officers, references or devices that are not among the names are
 * checked and left out. A reference's name is BACKEND/REFERENCE. false with *fault, where is
 * FILE:LINE. others begins zeroed. */
bool others_roster(struct others *others, const char *path, const struct names *officers,
                   struct whorl_fault *fault);
bool others_identities(struct others *others, const char *path, const struct names *references,
                       struct whorl_fault *fault);
bool others_positions(struct others *others, const char *path, const struct names *devices,
                      struct whorl_fault *fault);
void others_release(struct others *others);

/* The duty that holds a moment, or the one nearest to it, of those from first up to last;
 * *distance: milliseconds to it, 0 within. NULL: there is none. */
const struct duty *others_nearest(const struct others *others, uint32_t first, uint32_t last,
                                  int64_t time_ms, int64_t *distance);
/* Where an officer's duties begin among all. */
uint32_t others_duties_of(const struct others *others, uint32_t officer);
/* Where a device is at a time; NULL: not known. */
const struct position *others_where(const struct others *others, uint32_t device, int64_t time_ms);

/* Kilometres between two places, along a great circle. */
double others_km(const struct position *a, const struct position *b);

#endif
