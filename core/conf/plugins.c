/* plugin "name" { settings { } }. */
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/conf/sections.h"
#include "core/conf/settings.h"
#include "core/conf/settings_pack.h"
#include "core/isolate/describe.h"
#include "core/isolate/isolate.h"
#include "core/module/describe.h"
#include "core/module/identity.h"
#include "core/module/judge.h"
#include "core/module/module.h"

/* Users for plugins that have none of their own, when the server is root: a range that no
 * distribution assigns (systemd's UIDS-GIDS calls it unused), so large that names don't meet. */
#define USERS_FROM 0x70000000u
#define USERS 0x0f000000u
#define MIB ((uint64_t)1 << 20)

enum {
    PLUGIN_ENABLED,
    PLUGIN_MODULE,
    PLUGIN_DEADLINE,
    PLUGIN_MAX_CALLS,
    PLUGIN_BREAKER_FAILURES,
    PLUGIN_BREAKER_WAIT,
    PLUGIN_BREAKER_MAX_WAIT,
    PLUGIN_ISOLATION,
    PLUGIN_USER, /* from here on: of a process of its own */
    PLUGIN_NETWORK,
    PLUGIN_MEMORY_LIMIT,
    PLUGIN_CPU_LIMIT,
    PLUGIN_COUNT
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
    [PLUGIN_ISOLATION] = {"isolation", WHORL_SETTING_STRING, 0, "", 0, 16,
                          "process: it runs in one of its own; in_process: in the server's"},
    [PLUGIN_USER] = {"user", WHORL_SETTING_STRING, 0, "", 0, 32,
                     "whom its process runs as when the server is root"},
    [PLUGIN_NETWORK] = {"network", WHORL_SETTING_BOOLEAN, 0, "no", 0, 0,
                        "whether its process may connect to others"},
    [PLUGIN_MEMORY_LIMIT] = {"memory_limit", WHORL_SETTING_INTEGER, 0, "1024", 32, 1 << 20,
                             "MiB of its process"},
    [PLUGIN_CPU_LIMIT] = {"cpu_limit", WHORL_SETTING_INTEGER, 0, "0", 0, 4096,
                          "processors that its process may run on; 0: all"},
};

/* What the functions that read one plugin share. */
struct plugin_reading {
    struct reading *reading;
    const struct conf *conf;
    const struct tree_section *section;
    const struct field *fields;
    const struct sources *forces;
    struct conf_plugin *plugin;
    struct isolate_spec *process; /* what plugin->process will be */
};

static struct conf_place place_of(const struct plugin_reading *of, size_t option)
{
    return field_place(&of->fields[option], of->section->place);
}

/* Ours are those in the folder that is built or installed with the server. */
static bool is_ours(const struct plugin_reading *of)
{
    const char *folder = of->conf->core.own_plugin_dir;
    char *module = realpath(of->plugin->module, NULL), *own = realpath(folder, NULL);
    size_t len = own ? strlen(own) : 0;
    bool ours = module && own && strncmp(module, own, len) == 0 && module[len] == '/' &&
                !strchr(module + len + 1, '/');
    free(module);
    free(own);
    return ours;
}

static bool in_process(const struct plugin_reading *of)
{
    const char *isolation = of->fields[PLUGIN_ISOLATION].string;
    if (isolation[0] == '\0') {
        return is_ours(of);
    }
    if (strcmp(isolation, "process") != 0 && strcmp(isolation, "in_process") != 0) {
        mistake_at(of->reading->mistakes, place_of(of, PLUGIN_ISOLATION),
                   "isolation must be process or in_process, not \"%s\"", isolation);
    }
    return strcmp(isolation, "in_process") == 0;
}

static void refuse_process_options(const struct plugin_reading *of)
{
    for (size_t i = PLUGIN_USER; i < PLUGIN_COUNT; i++) {
        if (of->fields[i].line > 0) {
            mistake_at(of->reading->mistakes, place_of(of, i),
                       "plugin %s: %s has no meaning without isolation = process", of->plugin->name,
                       plugin_settings[i].name);
        }
    }
}

/* The same user for the same name, on every start (FNV-1a). */
static uint32_t user_for(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name != '\0'; name++) {
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    }
    return USERS_FROM + hash % USERS;
}

static void choose_user(const struct plugin_reading *of, struct isolate_limits *limits)
{
    const char *user = of->fields[PLUGIN_USER].string;
    const struct passwd *found = user[0] != '\0' ? getpwnam(user) : NULL;
    if (user[0] != '\0' && (!found || found->pw_uid == 0)) {
        mistake_at(of->reading->mistakes, place_of(of, PLUGIN_USER),
                   found ? "user must not be root, \"%s\"" : "there is no user \"%s\"", user);
        return;
    }
    if (geteuid() == 0) {
        limits->uid = found ? found->pw_uid : user_for(of->plugin->name);
        limits->gid = found ? found->pw_gid : limits->uid;
    }
}

static void make_process(struct plugin_reading *of)
{
    struct isolate_spec *spec = arena_alloc(of->reading->arena, sizeof *spec);
    *spec = (struct isolate_spec){
        .task = ISOLATE_DESCRIBE,
        .name = of->plugin->name,
        .module = of->plugin->module,
        .limits = {.network = of->fields[PLUGIN_NETWORK].boolean,
                   .memory = (uint64_t)of->fields[PLUGIN_MEMORY_LIMIT].integer * MIB,
                   .processors = (uint32_t)of->fields[PLUGIN_CPU_LIMIT].integer,
                   .user = of->fields[PLUGIN_USER].string},
    };
    choose_user(of, &spec->limits);
    of->process = spec;
}

/* Keeps bytes for as long as the configuration. */
static const uint8_t *keep(const struct plugin_reading *of, const msgpack_sbuffer *buffer)
{
    uint8_t *bytes = arena_alloc(of->reading->arena, buffer->size + 1);
    return memcpy(bytes, buffer->data, buffer->size);
}

static void *alloc(void *ctx, size_t size)
{
    return arena_alloc(ctx, size);
}

/* Has the module loaded by a process of its own. */
static const struct whorl_plugin *describe(const struct plugin_reading *of,
                                           struct whorl_fault *fault)
{
    const struct whorl_plugin *descriptor = NULL;
    msgpack_sbuffer described;
    msgpack_sbuffer_init(&described);
    if (module_is_file(of->plugin->module, fault) &&
        isolate_describe(of->process, &described, fault)) {
        of->process->descriptor = keep(of, &described);
        of->process->descriptor_len = described.size;
        descriptor = module_undescribe(of->process->descriptor, described.size, of->plugin->module,
                                       &isolate_functions, alloc, of->reading->arena, fault);
    }
    msgpack_sbuffer_destroy(&described);
    return descriptor;
}

static void check_here(void *ctx, const struct whorl_plugin *descriptor,
                       const struct whorl_settings *settings, settings_refused *refused,
                       void *refused_ctx)
{
    const struct plugin_reading *of = ctx;
    settings_check(of->reading->arena, descriptor, settings, refused, refused_ctx);
}

static void check_there(void *ctx, const struct whorl_plugin *descriptor,
                        const struct whorl_settings *settings, settings_refused *refused,
                        void *refused_ctx)
{
    const struct plugin_reading *of = ctx;
    struct whorl_fault fault = {"", ""};
    struct isolate_spec spec = *of->process;
    msgpack_sbuffer packed;
    (void)descriptor;
    msgpack_sbuffer_init(&packed);
    settings_pack(settings, &packed);
    spec.task = ISOLATE_CHECK;
    spec.settings = (const uint8_t *)packed.data;
    spec.settings_len = packed.size;
    if (!isolate_check(&spec, settings_inside(settings)->force_count, refused, refused_ctx,
                       &fault)) {
        mistake_at(of->reading->mistakes, of->section->place,
                   "plugin %s: its settings could not be checked: %s", of->plugin->name,
                   fault.text);
    }
    msgpack_sbuffer_destroy(&packed);
}

static void pack_settings(const struct plugin_reading *of)
{
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    settings_pack(of->plugin->settings, &packed);
    if (packed.size > 0) {
        of->process->settings = keep(of, &packed);
        of->process->settings_len = packed.size;
    } else {
        mistake_at(of->reading->mistakes, of->section->place, "plugin %s: out of memory",
                   of->plugin->name);
    }
    msgpack_sbuffer_destroy(&packed);
}

/* Whether the plugin's source is another gateway, which has to learn this one's name. */
static bool passes_on(const struct plugin_reading *of)
{
    const struct conf_plugin *plugin = of->plugin;
    const char *source = NULL;
    for (size_t i = 0; plugin->settings && i < plugin->descriptor->setting_count; i++) {
        const struct whorl_setting *setting = module_setting(plugin->descriptor, i);
        if ((setting->flags & WHORL_SETTING_SOURCE) != 0 && plugin->descriptor->abi_minor > 0) {
            source = plugin->settings->string(plugin->settings, NULL, setting->name);
        }
    }
    bool upstream = source && strcmp(source, WHORL_SOURCE_UPSTREAM) == 0;
    const char *gateway = of->conf->core.gateway; /* NULL: one plugin alone is judged */
    if (upstream && gateway && gateway[0] == '\0' && of->reading->whole) {
        mistake_at(of->reading->mistakes, of->section->place,
                   "plugin %s passes its calls on to another gateway, which needs this server's "
                   "name: core { gateway = … }",
                   plugin->name);
    }
    return upstream;
}

static void load(struct plugin_reading *of)
{
    struct reading *reading = of->reading;
    struct conf_plugin *plugin = of->plugin;
    struct whorl_fault fault = {"", ""};
    plugin->descriptor = of->process ? describe(of, &fault) : module_load(plugin->module, &fault);
    if (!plugin->descriptor || !module_digest(plugin->module, plugin->content, &fault)) {
        plugin->descriptor = NULL;
        mistake_at(reading->mistakes, place_of(of, PLUGIN_MODULE), "plugin %s: %s", plugin->name,
                   fault.text);
        return;
    }
    struct sources settings = sections_of(reading->arena, of->section, "settings");
    for (size_t i = 1; i < settings.count; i++) {
        mistake_at(reading->mistakes, settings.sections[i]->place,
                   "plugin %s has settings { } twice, first in line %d", plugin->name,
                   settings.sections[0]->place.line);
    }
    const struct settings_checker checker = {of->process ? check_there : check_here, of};
    plugin->settings =
        settings_read(reading, plugin->descriptor, settings.count > 0 ? settings.sections[0] : NULL,
                      of->section->place, plugin->name, of->forces, &checker);
    if (of->process) {
        pack_settings(of);
    }
    plugin->process = of->process;
    plugin->passes_on = passes_on(of);
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
    struct plugin_reading of = {reading, conf, section, fields, forces, plugin, NULL};
    if (in_process(&of)) {
        refuse_process_options(&of);
    } else {
        make_process(&of);
    }
    if (plugin->enabled && module[0] != '\0') {
        load(&of);
    }
}

/* An absolute path without "//", "." and "..", with "/" at its end. It need not be there yet, so
 * that symbolic links are taken for folders. */
static const char *plain_folder(struct arena *arena, const char *path)
{
    char *plain = arena_alloc(arena, strlen(path) + 3), *end = plain;
    while (*(path += strspn(path, "/")) != '\0') {
        size_t len = strcspn(path, "/");
        if (len == 2 && memcmp(path, "..", 2) == 0) {
            while (end > plain && *--end != '/') {
            }
        } else if (len != 1 || *path != '.') {
            *end++ = '/';
            memcpy(end, path, len);
            end += len;
        }
        path += len;
    }
    *end = '/';
    return plain;
}

/* A plugin with a process of its own is given its folder in data_dir: what the server keeps there
 * itself (core/registry, core/identify/ledger.c, the control socket) must be in none. */
static void refuse_folder(struct reading *reading, const struct conf *conf,
                          const struct tree_section *section)
{
    static const char *const own[] = {"registry", "requests", "run", NULL};
    const char *name = section->title, *data_dir = conf->core.data_dir;
    if (conf_list_has(own, name)) {
        mistake_at(reading->mistakes, section->place,
                   "plugin \"%s\": the server itself keeps a folder of that name in data_dir",
                   name);
        return;
    }
    if (!data_dir || data_dir[0] == '\0') { /* one plugin alone is judged, or it is missing */
        return;
    }
    const char *folder = arena_printf(reading->arena, "%s/%s", data_dir, name);
    const char *plain = plain_folder(reading->arena, folder);
    const char *runtime = plain_folder(reading->arena, conf->core.runtime_dir);
    if (strncmp(plain, runtime, strlen(plain)) == 0 ||
        strncmp(plain, runtime, strlen(runtime)) == 0) {
        mistake_at(reading->mistakes, section->place,
                   "plugin \"%.60s\": its folder, %s, and runtime_dir, %s, must not be the same or "
                   "in one another",
                   name, folder, conf->core.runtime_dir);
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
        refuse_folder(reading, conf, sources->sections[i]);
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
