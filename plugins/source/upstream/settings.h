/* The settings of upstream.h, as they are used. */
#ifndef UPSTREAM_SETTINGS_H
#define UPSTREAM_SETTINGS_H

#include "plugins/source/upstream/part.h"
#include "whorl/line.h"

/* Which data are asked. */
enum upstream_cascade { CASCADE_UPSTREAM, CASCADE_FIRST, CASCADE_ALL };

/* Strings belong to the settings. */
struct upstream_options {
    enum upstream_cascade cascade;
    const char *gateway;
    const char *backend; /* "": as here */
    const char *server_name;
    struct whorl_client_options client;
};

/* false with *fault. */
bool upstream_options_read(const struct whorl_settings *settings, struct upstream_options *options,
                           struct whorl_fault *fault);

#endif
