/* A backend whose source is another gateway (docs/data-sources.md): its calls are passed on to it
 * over one TLS connection, beside or after a search of the local data or instead of it, and what
 * both say becomes one answer.
 *
 *     call -> local data, if asked -> [worker] the upstream request -> [line's thread] its answer
 *          -> one answer
 *
 * No worker waits for the network. Everything that can go wrong with the upstream gateway is
 * `unavailable` of that level, and so never part of a no_match. */
#ifndef UPSTREAM_H
#define UPSTREAM_H

#include "whorl/plugin.h"

/* Entries of a plugin's settings schema, beside its `source`. */
#define UPSTREAM_SETTINGS                                                                          \
    {"upstream_gateway",                                                                           \
     WHORL_SETTING_STRING,                                                                         \
     0,                                                                                            \
     NULL,                                                                                         \
     0,                                                                                            \
     32,                                                                                           \
     "with source = upstream: the name of the gateway that is asked"},                             \
        {"upstream_address",                                                                       \
         WHORL_SETTING_STRING,                                                                     \
         0,                                                                                        \
         NULL,                                                                                     \
         0,                                                                                        \
         262,                                                                                      \
         "where it is: HOST:PORT or [IPV6]:PORT"},                                                 \
        {"upstream_server_name",                                                                   \
         WHORL_SETTING_STRING,                                                                     \
         0,                                                                                        \
         NULL,                                                                                     \
         0,                                                                                        \
         253,                                                                                      \
         "the name that its certificate must be for; default: the host of its address"},           \
        {"upstream_certificate",                                                                   \
         WHORL_SETTING_STRING,                                                                     \
         WHORL_SETTING_PATH,                                                                       \
         NULL,                                                                                     \
         0,                                                                                        \
         1024,                                                                                     \
         "this gateway's certificate, under which it is registered there (PEM)"},                  \
        {"upstream_key",                                                                           \
         WHORL_SETTING_STRING,                                                                     \
         WHORL_SETTING_PATH,                                                                       \
         NULL,                                                                                     \
         0,                                                                                        \
         1024,                                                                                     \
         "the certificate's private key (PEM)"},                                                   \
        {"upstream_ca",                                                                            \
         WHORL_SETTING_STRING,                                                                     \
         WHORL_SETTING_PATH,                                                                       \
         NULL,                                                                                     \
         0,                                                                                        \
         1024,                                                                                     \
         "who signs the upstream gateway's certificate (PEM)"},                                    \
        {"upstream_backend",                                                                       \
         WHORL_SETTING_STRING,                                                                     \
         0,                                                                                        \
         NULL,                                                                                     \
         0,                                                                                        \
         32,                                                                                       \
         "which of its backends is asked; default: the one of the same name"},                     \
        {"cascade",                                                                                \
         WHORL_SETTING_STRING,                                                                     \
         0,                                                                                        \
         "upstream",                                                                               \
         1,                                                                                        \
         16,                                                                                       \
         "upstream: only it is asked; first: the data here first, and it unless they have a "      \
         "match; all: both"},                                                                      \
    {                                                                                              \
        "cascade_data", WHORL_SETTING_STRING, 0, "lmdb", 1, 16,                                    \
            "with cascade = first or all: the source of the data here, lmdb or postgresql"         \
    }

/* The backend's own data: what it would be without a gateway above it. */
struct upstream_local {
    const void *ctx;
    int (*start)(const void *ctx, const struct whorl_host *host, void **inner,
                 struct whorl_fault *fault);
    void (*call)(void *inner, uint64_t call, const uint8_t *message, size_t len);
    void (*stop)(void *inner);
};

/* Whether the setting `source` says upstream. */
bool upstream_is_source(const struct whorl_settings *settings);

/* Whether the data here are asked as well, and where they come from. */
bool upstream_asks_here(const struct whorl_settings *settings);
const char *upstream_source_here(const struct whorl_settings *settings);

/* Checks the settings above, and that the files are such; connects to nothing. 0, or -1 with
 * *fault. */
int upstream_check(const struct whorl_settings *settings, struct whorl_fault *fault);

struct upstream;

/* Starts an instance (loop thread), with one of local if it is to be asked (*local is copied). NULL
 * with *fault. */
struct upstream *upstream_open(const struct whorl_host *host, enum whorl_role role,
                               const struct upstream_local *local, struct whorl_fault *fault);
/* As the functions of whorl/plugin.h. */
void upstream_call(struct upstream *upstream, uint64_t call, const uint8_t *message, size_t len);
void upstream_cancel(struct upstream *upstream, uint64_t call);
void upstream_close(struct upstream *upstream);

#endif
