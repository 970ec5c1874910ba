/* Enrolling the people of manifests into a gallery.
 *
 *     reader (the caller's thread) -> extracting threads -> writer thread
 *
 * The reader hands out people in the manifest's order; a person may be extracted by any thread; the
 * writer puts what is ready into the gallery, many people a transaction. Nothing is kept about
 * where an earlier run stopped: prints that are in the gallery already are known by their digest
 * and passed over without being extracted. */
#ifndef CLI_ENROL_H
#define CLI_ENROL_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/audit/change_people.h"
#include "cli/enrol/manifest.h"
#include "gallery/gallery.h"

struct enrol_totals {
    uint64_t people_added, people_changed, people_same; /* same: nothing was new about them */
    uint64_t prints_added, prints_replaced;
    uint64_t bad_lines, bad_files, people_skipped; /* skipped: no print could be used */
    uint64_t duplicates;                           /* reported by find_duplicates */
};

struct enrol_options {
    unsigned threads;      /* >= 1 */
    bool find_duplicates;  /* search the gallery for each person that is new */
    const char *source;    /* of people whose manifest states none; NULL: they are passed over */
    int64_t expires;       /* likewise, Unix seconds; 0 = none stated here */
    bool never;            /* likewise: they do not expire */
    change_people *record; /* asked on the writer's thread before each transaction */
    void *record_ctx;
};

/* One line about something wrong or noteworthy; called from one thread at a time. */
typedef void enrol_say(void *ctx, const char *text);
/* How far it is, about ten times a second; likewise. */
typedef void enrol_show(void *ctx, const struct enrol_totals *totals, double fraction);

/* Reads the manifest to its end. false with *fault when the gallery or the manifest fails; what
 * was put by then stays. Adds to *totals. Blocks. */
bool enrol_run(struct gallery *gallery, struct manifest *manifest,
               const struct enrol_options *options, enrol_say *say, enrol_show *show, void *ctx,
               struct enrol_totals *totals, struct whorl_fault *fault);

#endif
