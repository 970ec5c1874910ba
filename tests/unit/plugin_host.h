/* A host for one plugin under test: threads for its jobs, and its answers kept for looking at. */
#ifndef TESTS_PLUGIN_HOST_H
#define TESTS_PLUGIN_HOST_H

#include <pthread.h>

#include "whorl/msg.h"
#include "whorl/plugin.h"

#define HOST_CALLS 4096u

struct host_answer {
    uint8_t *bytes;
    size_t len;
    unsigned times; /* completed */
};

struct plugin_host {
    struct whorl_host host;
    struct whorl_settings settings;
    const struct whorl_plugin *plugin;
    void *instance;
    /* The settings are the schema's defaults, but for these; each may be NULL. */
    const char *text;         /* of the first setting */
    const char *const *list;  /* of the first setting; NULL-terminated */
    const char *const *pairs; /* NAME, VALUE, …, NULL; a list is a name that comes again */
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    struct host_answer answers[HOST_CALLS]; /* by call id */
    unsigned answered, jobs;
    bool given_up;  /* what host->cancelled says */
    char log[4096]; /* all lines */
};

/* Starts plugin on data_dir; false with *fault as its start left it. */
bool plugin_host_start(struct plugin_host *host, const struct whorl_plugin *plugin,
                       const char *data_dir, struct whorl_fault *fault);
/* Waits for jobs, stops the instance, frees the answers. */
void plugin_host_stop(struct plugin_host *host);
/* Waits until `count` calls are answered. */
void plugin_host_wait(struct plugin_host *host, unsigned count);
/* The parsed answer to a call that is answered; release with whorl_msg_release. */
struct whorl_msg plugin_host_answer(struct plugin_host *host, uint64_t call);

#endif
