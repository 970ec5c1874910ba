/* A call on its way through finger_search.c, and what finger_answer.c makes of it. */
#ifndef GALLERY_FINGER_REQUEST_H
#define GALLERY_FINGER_REQUEST_H

#include <pthread.h>
#include <stdatomic.h>

#include "afis/match.h"
#include "afis/template.h"
#include "gallery/decode.h"
#include "gallery/finger_search.h"
#include "gallery/search.h"
#include "whorl/msg.h"

struct finger_instance {
    const struct whorl_host *host;
    const struct finger_search_kind *kind;
    struct gallery *gallery;
    double match_fpir, possible_fpir;
    unsigned min_quality;
    size_t max_candidates;
    struct finger_search_copy copy; /* standing NULL: it is none; dir is not kept */
    atomic_bool preparing;          /* a chain of jobs makes the gallery ready */

    pthread_mutex_t mutex;         /* guards what follows */
    unsigned active;               /* calls that are not parked */
    uint64_t returned;             /* how often one of them has given its locked memory back */
    struct finger_request *parked; /* for want of locked memory; who waits longest is first */
};

/* Makes the gallery ready to be searched, in jobs of its own, unless that is going on already. Any
 * thread. */
void finger_prepare(struct finger_instance *instance);
/* ... now, and from now on once a second. Loop thread. */
void finger_prepare_start(struct finger_instance *instance);

enum sample_state {
    SAMPLE_USABLE,
    SAMPLE_POOR,   /* too poor, or not to be decoded: fault says why */
    SAMPLE_FAILED, /* not the sample's fault: out of memory, given up */
};

/* One sample of the call. What is derived from it lives in secret memory. */
struct finger_sample {
    struct finger_request *request;
    int64_t index; /* its place in the device's request */
    struct decode_sample source;
    char format[33];
    enum sample_state state;
    struct whorl_fault fault;
    uint8_t quality, reasons, position;
    struct afis_finger *finger; /* secret */
};

/* One chain of jobs that steps the search. */
struct finger_lane {
    struct finger_request *request;
    void *scratch; /* secret */
};

struct finger_request {
    struct finger_instance *instance;
    uint64_t call;
    const uint8_t *message; /* the host's, until the call is completed */
    size_t len;
    struct whorl_msg msg;
    char force[33];

    struct finger_sample samples[GALLERY_PROBES_MAX];
    size_t sample_count;
    atomic_uint samples_left; /* being decoded, and one for who submits them */

    struct gallery_probe probes[GALLERY_PROBES_MAX];
    size_t probe_count;
    struct gallery_search *search;
    struct finger_lane *lanes;
    unsigned lane_count;
    atomic_uint lanes_left;                 /* stepping, and one for who submits them */
    atomic_bool given_up;                   /* cancelled, or the host is stopping */
    struct finger_search_standing standing; /* of a copy, before the search's end */
    atomic_bool starved;                    /* there was too little locked memory for a sample */
    bool waited;                            /* was parked before, or began again */
    uint64_t returned;                      /* the instance's when it began, under its lock */
    struct finger_request *next;            /* that is parked */
};

/* finger_wait.c. Any thread. */

/* A call comes. */
void finger_wait_enter(struct finger_request *request);

enum finger_wait {
    FINGER_WAIT_PARKED, /* left to whoever ends; it may be under way again already */
    FINGER_WAIT_AGAIN,  /* no other is active now, but one was that had memory: it is to be begun
                           again, by the caller */
    FINGER_WAIT_ALONE   /* no other had any: there is too little for this one alone */
};
/* For a call that lacked locked memory, and holds none now. */
enum finger_wait finger_wait_park(struct finger_request *request);
/* The calls that are to be begun again, linked by `next`: the first that waits, and those that have
 * been given up. leave: a call has ended; else there may be memory left. */
struct finger_request *finger_wait_next(struct finger_instance *instance, bool leave);

/* Each packs a whole answer. */
void finger_answer_plain(msgpack_packer *pk, const char *class, const char *reason);
/* No sample could be used: poor_quality, or unavailable if that was not the samples' fault. */
void finger_answer_unusable(msgpack_packer *pk, const struct finger_request *request);
void finger_answer_result(msgpack_packer *pk, const struct finger_request *request,
                          const struct gallery_result *result);

#endif
