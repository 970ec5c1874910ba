/* The conformance kit: drives one plugin through what the ABI promises and what a hostile host
 * could do to it, each trial in a process of its own, and says in plain words which rule broke.
 *
 * It brings a host of its own, small and unkind: messages lie in read-only memory that ends at a
 * guard page and becomes unreadable when their call is completed; workers run jobs in any order;
 * every function of the host can be made to refuse. Knows the SDK alone. */
#ifndef WHORL_KIT_H
#define WHORL_KIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/plugin.h"

#define KIT_CLASS_MAX 24

/* What a message asked, so far as its answer has to agree with it. */
struct kit_asked {
    uint32_t role;       /* enum whorl_role */
    bool sample;         /* search: sample 0 was sent */
    bool intelligible;   /* false: nothing was asked that could be found or not found */
    const char *backend; /* look-up: person 0 was found by it … */
    const char *ref;     /* … as this */
};

/* Judges an answer's form as the real host would. class: "match", "no_match", …; of a sink
 * "stored" or "not_stored". false with *fault naming the field. Called on the kit's own thread. */
typedef bool kit_judge(const struct kit_asked *asked, const uint8_t *answer, size_t len,
                       char class[KIT_CLASS_MAX], struct whorl_fault *fault);

/* What is to be tried. All of it is the caller's and stays alive. */
struct kit_subject {
    const struct whorl_plugin *plugin;     /* loaded and judged */
    const char *path;                      /* of its file */
    const struct whorl_settings *settings; /* validated */
    kit_judge *judge;
    const char *sample_path; /* search: a file with a sample that it understands; NULL: noise */
    const char *modality, *format; /* of that sample */
    unsigned patience_s;           /* how long a call may take at the most */
    const char *only;              /* the one trial to run; NULL: all */
};

/* The outcome of one trial. */
struct kit_report {
    const char *trial; /* its name */
    const char *rule;  /* what it shows, one sentence */
    bool skipped;      /* it does not apply to this plugin's role */
    size_t count;      /* findings; 0: it holds */
    const char *const *findings;
};

/* Runs the trials one after another; each is reported as it ends. Returns how many broke a rule,
 * or -1 when there is no trial of the name `only`, or no process or scratch folder could be made
 * (*fault). The calling process must have one thread. */
int kit_run(const struct kit_subject *subject,
            void (*report)(void *ctx, const struct kit_report *report), void *ctx,
            struct whorl_fault *fault);

/* Calls each(ctx, name, rule) for every trial there is. */
void kit_each(void (*each)(void *ctx, const char *name, const char *rule), void *ctx);

#endif
