/* A gallery: people and the fingerprint templates that searches compare a probe with.
 *
 * Kept in LMDB, through whorl/store.h. Other processes may read and change the same gallery at the
 * same time; every change is one durable transaction and is seen by the next search. What is
 * scanned lies apart from what is looked up:
 *
 *     blocks   number -> 64 KiB of people's packed templates, many people each (gallery/block.h)
 *     index    number -> which version of the block is current, who has left it since it was
 *                        written, how many people it holds
 *     people   id     -> who the person is, and in which block the templates are (gallery/person.h)
 *     meta     counters
 *
 * Searching is declared in gallery/search.h. */
#ifndef GALLERY_GALLERY_H
#define GALLERY_GALLERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/plugin.h"
#include "whorl/store.h"

#define GALLERY_ID_MAX 64u     /* bytes of a person's id */
#define GALLERY_TEXT_MAX 250u  /* bytes of any other text */
#define GALLERY_PRINTS_MAX 40u /* of one person: ten fingers, four impressions each */
#define GALLERY_DIGEST 16u

/* A value under a key, e.g. "pncid" and "2008/0056560Z". */
struct gallery_pair {
    const char *key; /* [a-z][a-z0-9_]* */
    const char *value;
};

struct gallery_name {
    const char *family, *given; /* "" = not known; never both */
};

/* What to show of a person, in order, beyond the fixed fields. */
struct gallery_detail {
    const char *label, *value;
    const char *level; /* "alert", "warning" or "info" */
};

/* One impression of one finger. */
struct gallery_print {
    uint8_t position;               /* ISO finger position 1..10; 0 = unknown */
    uint8_t impression;             /* tells impressions of one finger apart */
    uint16_t len;                   /* bytes of packed */
    const uint8_t *packed;          /* afis_template_pack's form */
    uint8_t digest[GALLERY_DIGEST]; /* of what it was made from, to recognise it again */
};

/* A person. Every text is UTF-8 without control characters. */
struct gallery_person {
    const char *id; /* 1..GALLERY_ID_MAX bytes: the candidate's `ref` */
    const struct gallery_pair *identifiers;
    size_t identifier_count;          /* 0..16, keys differ */
    const struct gallery_name *names; /* the filed name first, then aliases */
    size_t name_count;                /* 0..32 */
    const char *born;                 /* "YYYY-MM-DD"; "" = not known */
    const char *sex;                  /* "male", "female", "other", "unknown"; "" = not recorded */
    const struct gallery_detail *details;
    size_t detail_count; /* 0..32 */
    const char *source;  /* the lawful source of the prints, "" = not recorded */
    int64_t enrolled;    /* Unix seconds */
    int64_t expires;     /* Unix seconds from which no search finds the person; 0 = never */
    const struct gallery_print *prints;
    size_t print_count; /* 1..GALLERY_PRINTS_MAX; (position, impression) pairs differ */
};

struct gallery;

/* Opens the gallery in a directory; WHORL_STORE_WRITE makes an empty one where there is none.
 * NULL with *fault. Blocks (file access). Any thread; so are all functions here, and a gallery may
 * be used from many threads at once. */
struct gallery *gallery_open(const char *dir, enum whorl_store_mode mode,
                             struct whorl_fault *fault);
void gallery_close(struct gallery *gallery);

struct gallery_counts {
    uint64_t people, prints, blocks;
};
bool gallery_count(struct gallery *gallery, struct gallery_counts *counts,
                   struct whorl_fault *fault);

/* Adds people, or replaces those whose id exists, in one durable transaction: all or nothing.
 * added: how many were new; may be NULL. false with *fault, which names the person when one is
 * at fault. Blocks (fsync). */
bool gallery_put(struct gallery *gallery, const struct gallery_person *people, size_t count,
                 size_t *added, struct whorl_fault *fault);

/* Removes people in one durable transaction. Ids that do not exist are passed over; removed: how
 * many did, may be NULL. Blocks (fsync). */
bool gallery_remove(struct gallery *gallery, const char *const *ids, size_t count, size_t *removed,
                    struct whorl_fault *fault);

/* The same, but whose enrolment has not ended by `now` (Unix seconds, not 0) stays: somebody may
 * have been enrolled again since the ids were listed. */
bool gallery_remove_expired(struct gallery *gallery, const char *const *ids, size_t count,
                            int64_t now, size_t *removed, struct whorl_fault *fault);

/* Ends a person's enrolment at `when` (Unix seconds): from then on no search finds the person. In
 * one durable transaction, so that nobody comes back who is removed meanwhile. *found: whether
 * there is such a person. Blocks (fsync). */
bool gallery_withdraw(struct gallery *gallery, const char *id, int64_t when, bool *found,
                      struct whorl_fault *fault);

/* Overwrites what the data file and the search index's file no longer use, so that they hold
 * nothing of who was removed before: see whorl_store_erase. Blocks; other writers wait. */
bool gallery_erase(struct gallery *gallery, struct whorl_store_erased *done,
                   struct whorl_fault *fault);

/* Whether a person is one that gallery_put takes; *fault names the field that is not. */
bool gallery_person_valid(const struct gallery_person *person, struct whorl_fault *fault);

/* Reads a person into memory of its own (gallery_person_free). Without `prints`, the prints have
 * position, impression and digest but packed = NULL and len = 0. true with *person NULL: there is
 * no such person. */
bool gallery_get(struct gallery *gallery, const char *id, bool prints,
                 struct gallery_person **person, struct whorl_fault *fault);
void gallery_person_free(struct gallery_person *person);

/* Visits everyone in order of id, prints without their templates, until visit returns false. Runs
 * over many short transactions: a person changed meanwhile is visited as before or after. */
bool gallery_each(struct gallery *gallery,
                  bool (*visit)(void *ctx, const struct gallery_person *person), void *ctx,
                  struct whorl_fault *fault);

/* Verifies everything: checksums, the form of each record and template, and that blocks, index,
 * people, counters and the search index's file agree. Calls problem for each fault found (one line)
 * and adds to *problems. false with *fault only when it could not go through to the end. Holds one
 * read transaction. */
bool gallery_check(struct gallery *gallery, void (*problem)(void *ctx, const char *text), void *ctx,
                   size_t *problems, struct whorl_fault *fault);

#endif
