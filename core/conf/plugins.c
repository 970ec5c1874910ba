/* plugin "name" { settings { } }. */
#include <string.h>

#include "core/conf/sections.h"
#include "core/conf/settings.h"
#include "core/module/identity.h"
#include "core/module/module.h"

enum {
    PLUGIN_ENABLED,
    PLUGIN_MODULE,
    PLUGIN_DEADLINE,
    PLUGIN_MAX_CALLS,
    PLUGIN_BREAKER_FAILURES,
    PLUGIN_BREAKER_WAIT,
    PLUGIN_BREAKER_MAX_WAIT,
    PLUGIN_COUNT,
};

static const struct whorl_setting plugin_settings[PLUGIN_COUNT] = {
    [PLUGIN_ENABLED] = {"enabled", WHORL_SETTING_BOOLEAN, 0, "yes", 0, 0, "whether it is loaded"},
    [PLUGIN_MODULE] = {"module", WHORL_SETTING_STRING, WHORL_SETTING_REQUIRED, NULL, 1, 1024,
                       "its shared object"},
    [PLUGIN_DEADLINE] = {"deadline", WHORL_SETTING_REAL, 0, "20", 0.1, 600, "seconds for one call"},
    [PLUGIN_MAX_CALLS] = {"max_calls", WHORL_SETTING_INTEGER, 0, "64", 1, 4096,
                          "calls in flight at once"},
    [PLUGIN_BREAKER_FAILURES] = {"breaker_failures", WHORL_SETTING_INTEGER, 0, "5", 0, 1000,
                                 "failed calls in a row that cut it off; 0: never"},
    [PLUGIN_BREAKER_WAIT] = {"breaker_wait", WHORL_SETTING_REAL, 0, "1", 0.01, 3600,
                             "seconds until it is tried again; doubled by each try that fails"},
    [PLUGIN_BREAKER_MAX_WAIT] = {"breaker_max_wait", WHORL_SETTING_REAL, 0, "60", 0.01, 3600,
                                 "seconds that this wait becomes at most"},
};

static void load(struct reading *reading, struct conf_plugin *plugin,
                 const struct tree_section *section, struct conf_place module,
                 const struct sources *forces)
{
    struct whorl_fault fault = {"", ""};
    plugin->descriptor = module_load(plugin->module, &fault);
    if (!plugin->descriptor || !module_digest(plugin->module, plugin->content, &fault)) {
        plugin->descriptor = NULL;
        mistake_at(reading->mistakes, module, "plugin %s: %s", plugin->name, fault.text);
        return;
    }
    struct sources settings = sections_of(reading->arena, section, "settings");
    for (size_t i = 1; i < settings.count; i++) {
        mistake_at(reading->mistakes, settings.sections[i]->place,
                   "plugin %s has settings { } twice, first in line %d", plugin->name,
                   settings.sections[0]->place.line);
    }
    plugin->settings =
        settings_read(reading, plugin->descriptor, settings.count > 0 ? settings.sections[0] : NULL,
                      section->place, plugin->name, forces);
}

static void plugin_read(struct reading *reading, const struct conf *conf,
                        const struct tree_section *section, const struct sources *forces,
                        struct conf_plugin *plugin)
{
    const char *what = arena_printf(reading->arena, "plugin %s", section->title);
    sections_refuse_inner(reading, section, "settings");
    struct field *fields =
        fields_read(reading, SCHEMA(plugin_settings), section, section->place, what);
    const char *module = fields[PLUGIN_MODULE].string;
    const char *base = strchr(module, '/') ? reading->dir : conf->core.plugin_dir;
    *plugin = (struct conf_plugin){
        .place = section->place,
        .name = section->title,
        .module = fields_path(reading->arena, base, module),
        .enabled = fields[PLUGIN_ENABLED].boolean,
        .deadline_ms = (unsigned)(fields[PLUGIN_DEADLINE].real * 1000),
        .max_calls = (unsigned)fields[PLUGIN_MAX_CALLS].integer,
        .breaker_failures = (unsigned)fields[PLUGIN_BREAKER_FAILURES].integer,
        .breaker_wait_ms = (unsigned)(fields[PLUGIN_BREAKER_WAIT].real * 1000),
        .breaker_max_wait_ms = (unsigned)(fields[PLUGIN_BREAKER_MAX_WAIT].real * 1000),
    };
    if (plugin->breaker_max_wait_ms < plugin->breaker_wait_ms) {
        mistake_at(reading->mistakes, field_place(&fields[PLUGIN_BREAKER_MAX_WAIT], section->place),
                   "breaker_max_wait must not be below breaker_wait");
    }
    if (plugin->enabled && module[0] != '\0') {
        load(reading, plugin, section, field_place(&fields[PLUGIN_MODULE], section->place), forces);
    }
}

static void check_sink(struct reading *reading, const struct conf *conf)
{
    for (size_t i = 0; i < conf->plugin_count; i++) {
        const struct conf_plugin *plugin = &conf->plugins[i];
        bool failed = plugin->enabled && !plugin->descriptor;
        if (failed || (plugin->descriptor && plugin->descriptor->role == WHORL_ROLE_SINK)) {
            return;
        }
    }
    if (reading->whole) {
        mistake_at(reading->mistakes, (struct conf_place){reading->name, 0},
                   "no plugin that is enabled keeps the audit log (role sink)");
    }
}

void plugins_read(struct reading *reading, struct conf *conf, const struct sources *sources,
                  const struct sources *forces)
{
    struct conf_plugin *list = arena_alloc(reading->arena, (sources->count + 1) * sizeof *list);
    sections_check_titles(reading, sources, false);
    for (size_t i = 0; i < sources->count; i++) {
        plugin_read(reading, conf, sources->sections[i], forces, &list[i]);
    }
    conf->plugins = list;
    conf->plugin_count = sources->count;
    check_sink(reading, conf);
}

void plugins_check_list(struct reading *reading, const struct conf *conf, struct conf_place place,
                        conf_list list, const char *option)
{
    for (size_t i = 0; list[i]; i++) {
        const struct conf_plugin *plugin = conf_find_plugin(conf, list[i]);
        bool again = false;
        for (size_t j = 0; j < i; j++) {
            again = again || strcmp(list[j], list[i]) == 0;
        }
        if (again) {
            mistake_at(reading->mistakes, place, "%s holds \"%s\" twice", option, list[i]);
        } else if (!plugin && reading->whole) {
            mistake_at(reading->mistakes, place, "%s: there is no plugin \"%.60s\"", option,
                       list[i]);
        } else if (plugin && plugin->descriptor && plugin->descriptor->role == WHORL_ROLE_SINK) {
            mistake_at(reading->mistakes, place, "%s: %s keeps records and can't be asked", option,
                       list[i]);
        }
    }
}
