/* The kit's own parts: finding (what is said), host, message, failing allocations, traces. */
#ifndef KIT_INTERNAL_H
#define KIT_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "kit.h"
#include "whorl/secret.h"

#define KIT_FINDING_MAX 400 /* bytes of one sentence */

/* finding.c — a trial's process says what it found down a pipe, so that a crash loses nothing. */

/* What the process is doing, for the sentence about a crash: "while allocation 7 failed". */
void kit_doing(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Says that a rule was broken. Any thread. The same sentence is said once. */
void kit_found(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* In a trial's process: findings go to fd from now on; crashes become findings. */
void kit_finding_begin(int fd);
/* The trial came to its end: an empty finding says so. */
void kit_finding_end(void);

/* host.c */

enum { KIT_CALLS_MAX = 512, KIT_WORKERS = 4, KIT_QUEUE_MAX = 4096 };

struct kit_call {
    uint64_t id;
    struct kit_asked asked;
    uint8_t *map; /* read-only pages, then a guard page */
    size_t map_len;
    bool completed, given_up;
    char class[KIT_CLASS_MAX];
};

struct kit_task { /* a job, or a timer when at_ns is not 0 */
    void (*run)(void *arg);
    void *arg;
    uint64_t id, at_ns;
};

/* What the host refuses to do. */
struct kit_refusals {
    bool submit, timers, secrets;
};

struct kit_host {
    struct whorl_host api;
    const struct kit_subject *subject;
    struct kit_refusals refuses;
    void *instance;
    char data_dir[PATH_MAX];

    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t loop, workers[KIT_WORKERS];
    bool ending, stopped;
    struct kit_task jobs[KIT_QUEUE_MAX], timers[KIT_CALLS_MAX];
    size_t job_count, timer_count, running;
    uint64_t next_id;

    struct kit_call calls[KIT_CALLS_MAX];
    size_t call_count, open;
    uint64_t events, give_up_at; /* the host gives call 0 up at that event; 0: never */
    bool cancel_due;

    struct whorl_secret said; /* all that the plugin logged and answered, to look for traces in */
};

/* Starts an instance on a data directory of its own. false: the plugin refused (*fault), which is
 * a finding only if the caller says so. */
bool kit_host_start(struct kit_host *host, const struct kit_subject *subject, const char *data_dir,
                    struct kit_refusals refuses, struct whorl_fault *fault);
/* Sends a call; the bytes are copied. */
void kit_host_call(struct kit_host *host, const uint8_t *bytes, size_t len,
                   const struct kit_asked *asked);
/* Gives a call up, as on its deadline or when the device has gone. */
void kit_host_give_up(struct kit_host *host, size_t call);
/* Runs the loop until every call is completed, or says that they never were. */
void kit_host_settle(struct kit_host *host);
/* The same for two instances side by side. */
void kit_host_settle_both(struct kit_host *a, struct kit_host *b);
/* Waits for the last job, stops the instance, and watches for calls to the host after that. */
void kit_host_stop(struct kit_host *host);
/* The first call whose memory holds the address; false: none. what: how that memory was used. */
bool kit_host_explains(const struct kit_host *host, const void *address, const char **what);
/* The hosts of this process, for whoever explains a crash. */
struct kit_host *kit_host_at(size_t index);

/* message.c */

/* A message that the plugin can understand, with deadline_ms until it is given up. In locked
 * memory, because of the sample. */
bool kit_message_good(const struct kit_subject *subject, unsigned deadline_ms,
                      struct whorl_secret *message, struct kit_asked *asked);
/* The index-th way to spoil it; false: there are no more. name: what is wrong with it. */
bool kit_message_spoilt(const struct kit_subject *subject, size_t index,
                        struct whorl_secret *message, struct kit_asked *asked, char name[128]);

/* sample.c */

/* The sample in locked memory; noise that looks the same on every call if there is no file. */
bool kit_sample(const struct kit_subject *subject, struct whorl_secret *sample);

/* shortage.c */

/* Makes the plugin's own calls of malloc and its like countable. false: its tables can't be
 * found. */
bool kit_shortage_install(const struct kit_subject *subject);
/* The n-th from now on fails; 0: none. */
void kit_shortage_at(unsigned long n);
/* Whether it has come to that. */
bool kit_shortage_struck(void);

/* traces.c */

/* What a process holds, to be compared before and after. */
struct kit_holding {
    size_t threads, descriptors, files, heap;
};
void kit_holding_now(struct kit_holding *now, const char *data_dir);
/* Whether 32 bytes in a row of the sample are anywhere in this process's writable memory, or in a
 * file below dir; says where. */
void kit_traces_of_sample(const struct kit_subject *subject, const struct kit_host *host,
                          const char *dir);

/* trials.c */

struct kit_trial {
    const char *name, *rule;
    uint32_t roles; /* bit r: it applies to role r */
    void (*run)(const struct kit_subject *subject, const char *scratch);
};
extern const struct kit_trial kit_trials[];
extern const size_t kit_trial_count;

#endif
