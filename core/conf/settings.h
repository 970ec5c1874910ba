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

/* Reads `settings { }` (NULL: there is none) of a plugin whose section is at `place`, and lets the
 * plugin check them. Mistakes carry the lines of the settings that they are about. */
const struct whorl_settings *settings_read(struct reading *reading,
                                           const struct whorl_plugin *descriptor,
                                           const struct tree_section *section,
                                           struct conf_place place, const char *plugin,
                                           const struct sources *forces);

/* What settings_read made. */
const struct settings *settings_inside(const struct whorl_settings *settings);

#endif
