/* A plugin's settings as its ABI shows them. */
#ifndef CORE_CONF_SETTINGS_H
#define CORE_CONF_SETTINGS_H

#include "core/conf/fields.h"
#include "core/conf/sections.h"

/* Values of one force; where a field's line is 0, the plugin's general value counts. */
struct settings_force {
    const char *code;
    struct conf_place place;
    const struct field *fields;
};

struct settings {
    struct schema schema;
    const struct field *fields;
    const struct settings_force *forces;
    size_t force_count;
    const struct settings_force *view; /* whose values a question without force gets; or NULL */
};

/* What a plugin has against its settings: view 0 is the general values, n those that the n-th force
 * sees. */
typedef void settings_refused(void *ctx, size_t view, struct whorl_fault *fault);

/* How a plugin is let check its settings: here, or in a process of its own. */
struct settings_checker {
    void (*check)(void *ctx, const struct whorl_plugin *descriptor,
                  const struct whorl_settings *settings, settings_refused *refused,
                  void *refused_ctx);
    void *ctx;
};

/* Reads `settings { }` (NULL: there is none) of a plugin whose section is at `place`, and lets the
 * plugin check them. Mistakes carry the lines of the settings that they are about. */
const struct whorl_settings *
settings_read(struct reading *reading, const struct whorl_plugin *descriptor,
              const struct tree_section *section, struct conf_place place, const char *plugin,
              const struct sources *forces, const struct settings_checker *checker);

/* Calls the plugin's check for the general view, and if that is good for each force's. */
void settings_check(struct arena *arena, const struct whorl_plugin *descriptor,
                    const struct whorl_settings *settings, settings_refused *refused, void *ctx);

struct whorl_settings *settings_wrap(struct arena *arena, const struct settings *settings);

/* What settings_read made. */
const struct settings *settings_inside(const struct whorl_settings *settings);

#endif
