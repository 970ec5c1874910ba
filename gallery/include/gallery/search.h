/* Searching a gallery for whom some fingers belong to (1:N).
 *
 * A search is a pool of small pieces of work that any threads take from, then an end:
 *
 *     begin -> { step, step, ... on many threads } -> finish [-> again: steps, finish] -> result
 *
 * Stages. First everyone in the gallery is given a level by the sift (afis/sift.h), which reads 192
 * bytes a print, of all fingers together; searches of one gallery that wait for this are sifted
 * together, whichever of them is stepped. Then those who rank highest are compared with the whole
 * matcher (afis/match.h): a few at first, more as long as none of them is a match, a fixed share of
 * the gallery in the end. In a small gallery everyone is compared. Only who was compared can be a
 * candidate: the share is chosen so that hardly anyone is lost whom the matcher would have found
 * (docs/search.md has the figures). Nothing of the gallery is left out of the ranking, and the
 * same gallery and probe always end in the same result, however many threads step and whatever
 * other searches there are.
 *
 * Consistency. Steps read in short transactions of their own, so people may be added, replaced or
 * moved between them. finish therefore compares, in one last transaction, the version of every
 * block that was read with the one that is current: only if all agree is the result taken, and it
 * then is that of the gallery as it stood in that transaction. Blocks that changed are
 * read again; after some rounds finish does so itself inside its transaction, so that a busy
 * writer cannot keep a search from ending.
 *
 * Scores. A probe finger whose position is known is compared with the prints of that position and
 * with those of unknown position; one of unknown position is compared with all. Where several
 * comparisons compete for one finger the best counts, reduced by 10*log10 of their number, so that
 * a score keeps its meaning as a false-match rate. No enrolled finger counts for two probe
 * fingers. The fingers' scores are fused by afis_fuse. */
#ifndef GALLERY_SEARCH_H
#define GALLERY_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "afis/match.h"
#include "gallery/gallery.h"

#define GALLERY_PROBES_MAX 20u
#define GALLERY_CANDIDATES_MAX 20u

/* One impression that is searched for. Impressions of the same known position are one finger. */
struct gallery_probe {
    const struct afis_finger *finger; /* lives as long as the search */
    uint8_t position;                 /* ISO 1..10; 0 = unknown */
};

struct gallery_search_params {
    const struct gallery_probe *probes; /* copied; what they point to is not */
    size_t probe_count;                 /* 1..GALLERY_PROBES_MAX */
    /* How often a search of somebody who is not in the gallery may give a candidate above the
     * threshold; 0 < match_fpir <= possible_fpir < 1. See afis_threshold. */
    double match_fpir, possible_fpir;
    size_t max_candidates;        /* 1..GALLERY_CANDIDATES_MAX */
    bool thorough;                /* as deep as it goes, also after a match */
    int64_t now;                  /* Unix seconds: who has expired by then is not found */
    bool *short_of_memory;        /* set where that is why the search can't begin; may be NULL */
    bool (*cancelled)(void *ctx); /* asked before each person, on any thread; may be NULL */
    void *ctx;
};

struct gallery_search;

/* Searches read an index that is made from the gallery: kept in a file beside it (gallery_index),
 * and in memory for what has changed since. gallery_prepare brings it up to date; while a gallery
 * is open, later changes are caught up with by gallery_search_begin, unless they are too many.
 * false with *fault. Blocks: a second or two for each million people whom the file holds, some ten
 * for others. Any thread. */
bool gallery_prepare(struct gallery *gallery, struct whorl_fault *fault);

/* The same in pieces of about 10 ms. *people of *of are done; *of 0: not known yet. Where the file
 * is damaged, fault->text says so once, beside GALLERY_PREPARING: what it held is then made anew.
 */
enum gallery_ready { GALLERY_READY, GALLERY_PREPARING, GALLERY_PREPARE_FAILED };
enum gallery_ready gallery_prepare_step(struct gallery *gallery, uint64_t *people, uint64_t *of,
                                        struct whorl_fault *fault);

/* Prepares, then writes the index's file, durably and in one step for whoever reads it. Searches of
 * this and other processes go on. Then waits up to patience_ms for all processes to let go of the
 * file that was replaced, and overwrites and deletes it; *in_use: somebody has not, so that it
 * stays until the next index or gallery_erase; that is no failure. Blocks. One process at a time.
 */
bool gallery_index(struct gallery *gallery, unsigned patience_ms, bool *in_use,
                   struct whorl_fault *fault);

/* Takes in what has changed. NULL with *fault, also when so much has, or when a gallery of more
 * than some 10,000 people has never been ready, that gallery_prepare must be called: the fault then
 * says how far that is; or when there is no locked memory for one more search
 * (params.short_of_memory). What step and finish read is the caller's gallery, which must stay
 * open. Any thread; a millisecond or less per million people where nothing has changed. */
struct gallery_search *gallery_search_begin(struct gallery *gallery,
                                            const struct gallery_search_params *params,
                                            struct whorl_fault *fault);
/* Bytes of locked memory that a search of a large gallery takes for each impression. */
size_t gallery_search_locked_size(void);

/* Scratch space of one stepping thread: gallery_search_scratch_size() bytes, 64-byte aligned,
 * zeroed before first use. It holds traces of the probe: wipe it like one. */
size_t gallery_search_scratch_size(void);

enum gallery_step {
    GALLERY_STEP_MORE,     /* there is more to do */
    GALLERY_STEP_DRAINED,  /* nothing left to begin; other threads may still be in a step */
    GALLERY_STEP_CANCELLED /* params.cancelled said so */
};

/* Does about 10 ms of work. Any number of threads at once, each with its own scratch. */
enum gallery_step gallery_search_step(struct gallery_search *search, void *scratch);

/* How many people have been read, of how many. Any thread. */
void gallery_search_progress(struct gallery_search *search, uint64_t *people, uint64_t *of);

struct gallery_candidate {
    float score; /* dB, fused over the fingers */
    struct gallery_person *person;
};

struct gallery_result {
    /* Everyone was read: blocks that cannot be read make this false, and so does an index that does
     * not list as many people as the gallery counts; `trouble` says what is wrong, or first. A
     * result that is not complete says nothing about who is not in the gallery. */
    bool complete;
    struct whorl_fault trouble;

    /* Read, of all in the gallery. Expired people and those without a comparable print count as
     * read: nothing in the gallery about them was left out. */
    uint64_t people, of;
    uint64_t comparable; /* of those read: had a print that some probe finger was compared with */

    float match_threshold, possible_threshold; /* dB, for the size of the gallery at begin */
    struct gallery_candidate candidates[GALLERY_CANDIDATES_MAX]; /* >= possible, best first */
    size_t candidate_count;
    uint64_t above_possible, above_match; /* of those compared, also those past max_candidates */
};

enum gallery_finish {
    GALLERY_FINISH_AGAIN,     /* there is more to read: step on, then finish again */
    GALLERY_FINISH_DONE,      /* *result is filled in */
    GALLERY_FINISH_CANCELLED, /* params.cancelled said so */
    GALLERY_FINISH_FAILED     /* the store failed: *fault */
};

/* To be called when all threads that step are out of it and the last said DRAINED. One thread.
 * Release the result with gallery_result_release. */
enum gallery_finish gallery_search_finish(struct gallery_search *search, void *scratch,
                                          struct gallery_result *result, struct whorl_fault *fault);
void gallery_result_release(struct gallery_result *result);

/* Frees; NULL is allowed. No thread may be in a step. */
void gallery_search_free(struct gallery_search *search);

#endif
