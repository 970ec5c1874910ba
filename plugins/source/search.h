/* Where a search backend's people come from: the setting `source` of ident1 and immigration, which
 * a reload changes without a lost call.
 *
 *     lmdb        the gallery that `whorl enrol` fills (the default)
 *     postgresql  somebody else's database; the gallery is a copy that follows it
 *     upstream    another Whorl, which is asked instead
 *
 * A plugin gives these functions to its descriptor, in place of finger_search's. */
#ifndef SOURCE_SEARCH_H
#define SOURCE_SEARCH_H

#include "gallery/finger_search.h"
#include "plugins/source/postgresql/follow.h"
#include "plugins/source/upstream/upstream.h"
#include "whorl/plugin.h"

/* The first entries of the plugin's settings schema. */
#define SOURCE_SEARCH_SETTINGS                                                                     \
    FINGER_SEARCH_SETTINGS,                                                                        \
        {"source",                                                                                 \
         WHORL_SETTING_STRING,                                                                     \
         WHORL_SETTING_SOURCE,                                                                     \
         "lmdb",                                                                                   \
         1,                                                                                        \
         16,                                                                                       \
         "where its people come from: lmdb (enrolled here), postgresql (a database) or "           \
         "upstream (another gateway is asked)"},                                                   \
        PG_FOLLOW_SETTINGS, UPSTREAM_SETTINGS

/* As in whorl/plugin.h; arg is the instance. kind: constant. */
int source_search_check(const struct whorl_settings *settings, struct whorl_fault *fault);
int source_search_start(const struct whorl_host *host, const struct finger_search_kind *kind,
                        void **out, struct whorl_fault *fault);
void source_search_call(void *arg, uint64_t call, const uint8_t *message, size_t len);
void source_search_cancel(void *arg, uint64_t call);
void source_search_stop(void *arg);

#endif
