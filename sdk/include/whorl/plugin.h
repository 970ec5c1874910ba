/* Whorl plugin ABI, version 1.
 *
 * A backend is a shared object that exports one constant symbol, `whorl_plugin`, of type struct
 * whorl_plugin. The host loads it, compares the versions, validates its settings, starts it, and
 * from then on sends it calls. A call is a message (msgpack bytes, specified in docs/plugins.md)
 * named by an id; the plugin completes each call exactly once, from any thread, whenever it is
 * ready.
 *
 *     life of an instance      start -> call* (cancel*) -> stop
 *     life of a call           call -> [progress*] -> complete
 *
 * Rules that hold everywhere
 *  - "Loop thread" is the host's single event thread. What runs on it must not block: no file or
 *    network waits, no computation beyond a millisecond. Hand work to host->submit.
 *  - The plugin is loaded once and never unloaded (RTLD_NODELETE). On a reload a second instance is
 *    started while the first still drains; so keep state in the instance, not in static variables.
 *  - Numbers only grow: structures are extended at their end, and each carries its size. Neither
 *    side touches a field past the size that the other declared.
 *  - Probe data (the samples in a call) may be copied into memory from host->secret_alloc only, and
 *    must appear in no log line, error text, answer or file. */
#ifndef WHORL_PLUGIN_H
#define WHORL_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WHORL_PLUGIN_MAGIC 0x57484f52u /* "WHOR" */
#define WHORL_ABI_MAJOR 1u
#define WHORL_ABI_MINOR 1u /* 1.1: WHORL_SETTING_SOURCE */

/* Put before the definition of `whorl_plugin`. */
#define WHORL_EXPORT __attribute__((visibility("default")))

/* What is wrong, in words for a person: `where` names the setting or message field ("" when none),
 * `text` is one sentence without a trailing full stop. Owned by whoever passes it. */
struct whorl_fault {
    char where[96];
    char text[256];
};

enum whorl_role {
    WHORL_ROLE_SEARCH = 1, /* samples in, candidates out */
    WHORL_ROLE_LOOKUP = 2, /* identifiers or personal details in, records out */
    WHORL_ROLE_SINK = 3    /* audit records in, durable position out */
};

enum whorl_log_level { WHORL_LOG_DEBUG, WHORL_LOG_INFO, WHORL_LOG_WARNING, WHORL_LOG_ERROR };

enum whorl_setting_type {
    WHORL_SETTING_STRING = 1,
    WHORL_SETTING_INTEGER = 2,
    WHORL_SETTING_REAL = 3,
    WHORL_SETTING_BOOLEAN = 4,
    WHORL_SETTING_LIST = 5 /* of strings */
};

enum whorl_setting_flags {
    WHORL_SETTING_REQUIRED = 1u << 0,  /* the operator must give it */
    WHORL_SETTING_PER_FORCE = 1u << 1, /* may be overridden inside a `force "CODE" { }` section */
    WHORL_SETTING_PATH = 1u << 2,      /* a string; relative paths count from the conf directory */
    /* Since ABI 1.1. A string, the same for every force: where the plugin's data is. With the value
     * WHORL_SOURCE_UPSTREAM the plugin passes its calls on to another gateway, and each of them
     * holds `request`: who asks, why, and past which gateways (docs/plugins.md). With any other
     * value they don't. One setting at most may have it. */
    WHORL_SETTING_SOURCE = 1u << 3
};

#define WHORL_SOURCE_UPSTREAM "upstream"

/* One entry of a plugin's settings schema. */
struct whorl_setting {
    const char *name;     /* [a-z][a-z0-9_]* */
    uint32_t type;        /* enum whorl_setting_type */
    uint32_t flags;       /* enum whorl_setting_flags */
    const char *fallback; /* the default as it would be written in the file; NULL: "", 0, no, {} */
    double min, max;      /* bounds of a number, or of a string's length; both 0: none */
    const char *about;    /* one line for `whorl check` and the manual */
};

/* Reading the validated settings. force: a force's code for its own value where it has one, or
 * NULL. A name that is not in the schema gives NULL, 0 or false. Strings are owned by the host and
 * live as long as the settings. Any thread. */
struct whorl_settings {
    uint32_t size; /* sizeof(struct whorl_settings) of the host */
    uint32_t reserved;
    const void *ctx;
    const char *(*string)(const struct whorl_settings *settings, const char *force,
                          const char *name);
    int64_t (*integer)(const struct whorl_settings *settings, const char *force, const char *name);
    double (*real)(const struct whorl_settings *settings, const char *force, const char *name);
    bool (*boolean)(const struct whorl_settings *settings, const char *force, const char *name);
    /* The index-th string of a list, NULL past its end. */
    const char *(*item)(const struct whorl_settings *settings, const char *force, const char *name,
                        size_t index);
};

/* What the host gives to an instance. The structure and all it points to live until stop has
 * returned. */
struct whorl_host {
    uint32_t size; /* sizeof(struct whorl_host) of the host: check before using newer fields */
    uint16_t abi_major, abi_minor;
    void *ctx; /* the host's own */

    const struct whorl_settings *settings;
    const char *data_dir; /* a directory of this plugin alone; exists, mode 0700 */
    uint32_t workers;     /* worker threads that run submitted jobs, >= 1 */

    /* Any thread; never blocks. text: one line, no personal data, no biometric data. */
    void (*log)(const struct whorl_host *host, enum whorl_log_level level, const char *text);

    /* Ends a call with its answer (one msgpack map, docs/plugins.md). Any thread; never blocks.
     * The bytes are copied before the return. After it the call's message is gone. A second
     * completion, or one for a call that the host has given up, is logged and ignored. */
    void (*complete)(const struct whorl_host *host, uint64_t call, const uint8_t *answer,
                     size_t len);

    /* Reports how far a call is. stage: a short word ("extracting", "searching", "looking_up");
     * fraction 0..1, or negative when unknown. Any thread; never blocks; the host may merge
     * reports that follow one another quickly. */
    void (*progress)(const struct whorl_host *host, uint64_t call, const char *stage,
                     double fraction);

    /* Whether the host has given up on a call (cancelled, past its deadline, device gone). Cheap:
     * ask inside long loops. The call must still be completed. Any thread. */
    bool (*cancelled)(const struct whorl_host *host, uint64_t call);

    /* Runs job(arg) on a worker thread, in order of submission but many at a time. The host's
     * workers are shared by all plugins: split long work into jobs of some 10 ms and submit the
     * next one from the last. Any thread; never blocks. false: the host is stopping, the job will
     * not run. */
    bool (*submit)(const struct whorl_host *host, void (*job)(void *arg), void *arg);

    /* Calls expired(arg) once on the loop thread after `milliseconds`. Loop thread only. Returns
     * an id > 0; 0: out of memory. */
    uint64_t (*timer_start)(const struct whorl_host *host, uint64_t milliseconds,
                            void (*expired)(void *arg), void *arg);
    /* Stops a timer that has not expired; any other id is ignored. Loop thread only. */
    void (*timer_stop)(const struct whorl_host *host, uint64_t timer);

    /* Zeroed memory for probe data: locked into RAM, left out of core dumps, wiped on release.
     * NULL when the limit on locked memory is reached. 64-byte aligned. Any thread. */
    void *(*secret_alloc)(const struct whorl_host *host, size_t size);
    /* p may be NULL; size as it was asked for. Any thread. */
    void (*secret_free)(const struct whorl_host *host, void *p, size_t size);

    /* A named, revisioned extra ability, e.g. "whorl.metrics/1"; NULL if this host has none of
     * that name. Any thread. */
    const void *(*extension)(const struct whorl_host *host, const char *name);
};

/* The descriptor: exported as `const struct whorl_plugin whorl_plugin`. All pointers are to
 * constant data of the plugin. */
struct whorl_plugin {
    uint32_t magic;                /* WHORL_PLUGIN_MAGIC */
    uint16_t abi_major, abi_minor; /* WHORL_ABI_MAJOR, WHORL_ABI_MINOR */
    uint32_t size;                 /* sizeof(struct whorl_plugin) */
    uint32_t setting_size;         /* sizeof(struct whorl_setting) */

    const char *version; /* of the plugin, for people */
    const char *title;   /* what it is, for people: "Criminal fingerprints (IDENT1)" */
    uint32_t role;       /* enum whorl_role */
    uint32_t flags;      /* 0 */

    /* Search: the kinds of sample it takes ("finger", "face") and their formats ("png", "raw",
     * "iso19794-2"); NULL-terminated lists. NULL for other roles. */
    const char *const *modalities;
    const char *const *formats;

    /* Look-up: what a record can be found by ("pncid", "cro", "name"); NULL-terminated; NULL for
     * other roles. */
    const char *const *keys;

    /* What an officer must hold for this backend to be asked; NULL: nothing in particular. */
    const char *entitlement;

    const struct whorl_setting *settings; /* schema; NULL when setting_count is 0 */
    size_t setting_count;

    /* Validates settings beyond what the schema says, without starting anything: no files written,
     * no threads. Any thread, one check at a time, also while instances run. Returns 0, or -1 with
     * *fault filled in. May be NULL. */
    int (*check)(const struct whorl_settings *settings, struct whorl_fault *fault);

    /* Makes an instance. Loop thread; may open files, should return within a second (go on in
     * submitted jobs and answer `unavailable` until ready). Returns 0 and sets *instance, or -1
     * with *fault filled in and nothing left behind. */
    int (*start)(const struct whorl_host *host, void **instance, struct whorl_fault *fault);

    /* A new call. Loop thread; must not block. The message belongs to the host and stays valid
     * until the call is completed. The plugin must complete the call sooner or later, even if it
     * is cancelled; it may do so before it returns. */
    void (*call)(void *instance, uint64_t call, const uint8_t *message, size_t len);

    /* The host has given up on a call: finish early. host->cancelled says so from now on, which is
     * enough for most. Another thread may have completed the call in the same moment: an id that
     * the instance no longer knows is ignored. Loop thread; must not block. May be NULL. */
    void (*cancel)(void *instance, uint64_t call);

    /* Ends the instance. Loop thread; called once, after its last call is completed and its last
     * job has run. */
    void (*stop)(void *instance);

    /* A named, revisioned extra ability that this plugin offers; NULL if none of that name. Any
     * thread. May be NULL. */
    const void *(*extension)(const char *name);
};

#ifdef __cplusplus
}
#endif

#endif
