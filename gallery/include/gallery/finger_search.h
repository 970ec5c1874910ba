/* A search backend over a gallery of fingers: everything that IDENT1, immigration and any other
 * such plugin have in common. A plugin provides its descriptor and says what a candidate shows.
 *
 *     call -> decode each sample on a worker -> search in slices over all workers -> answer
 *
 * Samples that cannot be used are named with the reason; the search is made with the others. The
 * answer is `match` when exactly one candidate stands above the match threshold and every other is
 * at least FINGER_SEARCH_AHEAD below it, `possible` when there is any other candidate, `no_match`
 * only when the whole gallery was read and somebody in it could have matched, `poor_quality` when
 * no sample could be used, and `unavailable` in every other case. */
#ifndef GALLERY_FINGER_SEARCH_H
#define GALLERY_FINGER_SEARCH_H

#include <msgpack.h>

#include "gallery/gallery.h"
#include "whorl/plugin.h"

#define FINGER_SEARCH_AHEAD 10.0f /* dB: the next is ten times as likely a stranger's */

/* What a plugin provides. */
struct finger_search_kind {
    /* Packs one candidate as a map, see docs/protocol.md. settings and force: for texts that a
     * force words itself. Worker thread. */
    void (*candidate)(msgpack_packer *pk, const struct gallery_person *person, float score,
                      const struct whorl_settings *settings, const char *force);
};

/* How a gallery stands that is a copy of somebody else's data. */
struct finger_search_standing {
    bool usable;      /* false: nothing can be searched now, and `reason` says why */
    char reason[250]; /* one sentence for an officer, without a trailing full stop */
    int64_t age;      /* seconds since the copy is known to have agreed with its source */
    uint64_t missing; /* people whom the source has and the copy could not take in: a search that
                         finds nobody is `unavailable` as long as there are any ... */
    bool tolerated;   /* ... unless the operator has said that such a one is still `no_match` */
};

/* Such a gallery, for finger_search_start. */
struct finger_search_copy {
    const char *dir; /* where it is kept; its parent exists */
    /* Asked at a search's beginning and before its end. Any thread; never blocks. */
    void (*standing)(void *ctx, struct finger_search_standing *standing);
    void *ctx;
};

/* For the plugin's descriptor. */
extern const char *const finger_search_modalities[];
#define finger_search_formats decode_formats

/* The first entries of the plugin's settings schema. */
#define FINGER_SEARCH_SETTINGS                                                                     \
    {"match_fpir",                                                                                 \
     WHORL_SETTING_REAL,                                                                           \
     0,                                                                                            \
     "0.001",                                                                                      \
     1e-9,                                                                                         \
     0.5,                                                                                          \
     "how often a search of somebody who is not in the gallery may end in a false match"},         \
        {"possible_fpir",                                                                          \
         WHORL_SETTING_REAL,                                                                       \
         0,                                                                                        \
         "0.05",                                                                                   \
         1e-9,                                                                                     \
         0.5,                                                                                      \
         "the same for a candidate that a person must judge; not below match_fpir"},               \
        {"min_quality",                                                                            \
         WHORL_SETTING_INTEGER,                                                                    \
         0,                                                                                        \
         "15",                                                                                     \
         0,                                                                                        \
         100,                                                                                      \
         "prints of a lower quality (0-100) are not searched but asked for again"},                \
    {                                                                                              \
        "max_candidates", WHORL_SETTING_INTEGER, 0, "10", 1, 20,                                   \
            "the most candidates that an answer holds"                                             \
    }

/* The plugin's check. */
int finger_search_check(const struct whorl_settings *settings, struct whorl_fault *fault);

/* Opens the gallery in host->data_dir. kind: constant. copy: NULL where the gallery is itself what
 * people are enrolled into; otherwise it is that copy, in which every answer says how old its data
 * is (*copy is copied; standing is called until stop returns). As start in whorl/plugin.h (*out is
 * the instance), with the call and stop that go with it (arg is the instance). */
int finger_search_start(const struct whorl_host *host, const struct finger_search_kind *kind,
                        const struct finger_search_copy *copy, void **out,
                        struct whorl_fault *fault);
void finger_search_call(void *arg, uint64_t call, const uint8_t *message, size_t len);
void finger_search_stop(void *arg);

/* Pieces of a candidate's map. */
void finger_search_pack_names(msgpack_packer *pk, const struct gallery_person *person);
void finger_search_pack_identifiers(msgpack_packer *pk, const struct gallery_person *person);
void finger_search_pack_detail(msgpack_packer *pk, const char *label, const char *value,
                               const char *level);

#endif
