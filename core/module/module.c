/* Loading a module and judging its descriptor. */
#include <dlfcn.h>
#include <errno.h>

#include <elf.h>
#include <link.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/module/identity.h"
#include "core/module/judge.h"
#include "core/module/module.h"
#include "whorl/msg.h"

enum { LIST_MAX = 32, WORD_MAX = 32, TEXT_MAX = 100, SETTINGS_MAX = 256 };

/* What is being judged, for the sentences. */
struct candidate {
    const char *path;
    const struct whorl_plugin *plugin;
    struct whorl_fault *fault;
};

/* Fills in the fault: the file, then the sentence. Always false. */
static bool refuse(const struct candidate *candidate, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool refuse(const struct candidate *candidate, const char *field, const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    /* A long path loses its beginning rather than the sentence its end. */
    size_t len = strlen(candidate->path);
    size_t room = sizeof candidate->fault->text - sizeof text - 1;
    const char *path = candidate->path + (len > room ? len - room : 0);
    whorl_fail(candidate->fault, field, "%s: %s", path, text);
    return false;
}

const struct whorl_setting *module_setting(const struct whorl_plugin *plugin, size_t index)
{
    return (const void *)((const char *)plugin->settings + index * plugin->setting_size);
}

static bool is_text(const char *text)
{
    size_t len = text ? strnlen(text, TEXT_MAX + 1) : 0;
    return len > 0 && len <= TEXT_MAX && whorl_text_is_clean(text, len);
}

static bool is_line(const char *text)
{
    size_t len = text ? strnlen(text, MODULE_LINE_MAX + 1) : 0;
    return len <= MODULE_LINE_MAX && whorl_text_is_clean(text ? text : "", len);
}

/* [a-z0-9][a-z0-9._-]* of a bounded length. */
static bool is_word(const char *text)
{
    size_t len = text ? strnlen(text, WORD_MAX + 1) : 0;
    return len > 0 && len <= WORD_MAX && text[0] != '.' && text[0] != '_' && text[0] != '-' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

static bool check_words(const struct candidate *candidate, const char *field,
                        const char *const *words)
{
    size_t count = 0;
    if (!words || !words[0]) {
        return refuse(candidate, field, "%s must hold at least one word for this role, found none",
                      field);
    }
    for (; words[count]; count++) {
        if (count == LIST_MAX) {
            return refuse(candidate, field, "%s must hold at most %d words and end with NULL",
                          field, LIST_MAX);
        }
        if (!is_word(words[count])) {
            return refuse(candidate, field,
                          "%s must hold words of small letters, digits and . _ - (1 to %d), entry "
                          "%zu is none",
                          field, WORD_MAX, count + 1);
        }
    }
    return true;
}

/* Everything that must be right before another field may be looked at. symbol_size: of the
 * exported object, by the module's symbol table. */
static bool check_version(const struct candidate *candidate, size_t symbol_size)
{
    const struct whorl_plugin *plugin = candidate->plugin;
    size_t head = offsetof(struct whorl_plugin, version);
    if (symbol_size < head) {
        return refuse(candidate, "size", "whorl_plugin must be a struct of %zu bytes, found %zu",
                      sizeof *plugin, symbol_size);
    }
    if (plugin->magic != WHORL_PLUGIN_MAGIC) {
        return refuse(candidate, "magic", "magic must be 0x%08x, found 0x%08x", WHORL_PLUGIN_MAGIC,
                      plugin->magic);
    }
    if (plugin->abi_major != WHORL_ABI_MAJOR) {
        return refuse(candidate, "abi_major", "abi_major must be %u, found %u", WHORL_ABI_MAJOR,
                      plugin->abi_major);
    }
    if (plugin->size < sizeof *plugin) {
        return refuse(candidate, "size", "size must be at least %zu, that of ABI 1.0, found %u",
                      sizeof *plugin, plugin->size);
    }
    if (plugin->size > symbol_size) {
        return refuse(candidate, "size", "size must be that of whorl_plugin, %zu, found %u",
                      symbol_size, plugin->size);
    }
    return true;
}

static bool check_role(const struct candidate *candidate)
{
    const struct whorl_plugin *plugin = candidate->plugin;
    switch (plugin->role) {
    case WHORL_ROLE_SEARCH:
        return check_words(candidate, "modalities", plugin->modalities) &&
               check_words(candidate, "formats", plugin->formats);
    case WHORL_ROLE_LOOKUP:
        return check_words(candidate, "keys", plugin->keys);
    case WHORL_ROLE_SINK:
        return true;
    default:
        return refuse(candidate, "role",
                      "role must be 1 (search), 2 (look-up) or 3 (sink), found %u", plugin->role);
    }
}

static bool check_identity(const struct candidate *candidate)
{
    const struct whorl_plugin *plugin = candidate->plugin;
    if (!is_text(plugin->version)) {
        return refuse(candidate, "version", "version must be a text of 1 to %d bytes of UTF-8",
                      TEXT_MAX);
    }
    if (!is_text(plugin->title)) {
        return refuse(candidate, "title", "title must be a text of 1 to %d bytes of UTF-8",
                      TEXT_MAX);
    }
    if (plugin->entitlement && !is_word(plugin->entitlement)) {
        return refuse(candidate, "entitlement",
                      "entitlement must be NULL or a word of small letters, digits and . _ -");
    }
    if (plugin->flags != 0 && plugin->abi_minor <= WHORL_ABI_MINOR) {
        return refuse(candidate, "flags", "flags must be 0 in ABI %u.%u, found 0x%x",
                      plugin->abi_major, plugin->abi_minor, plugin->flags);
    }
    return true;
}

static bool check_functions(const struct candidate *candidate)
{
    const struct whorl_plugin *plugin = candidate->plugin;
    const char *missing = !plugin->start  ? "start"
                          : !plugin->call ? "call"
                          : !plugin->stop ? "stop"
                                          : NULL;
    if (missing) {
        return refuse(candidate, missing, "%s must be a function, found NULL", missing);
    }
    return true;
}

static bool is_setting_name(const char *name)
{
    size_t len = name ? strnlen(name, WORD_MAX + 1) : 0;
    return len > 0 && len <= WORD_MAX && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

/* The flags that a setting of this plugin may have. */
static uint32_t setting_flags(const struct whorl_plugin *plugin)
{
    const uint32_t first = WHORL_SETTING_REQUIRED | WHORL_SETTING_PER_FORCE | WHORL_SETTING_PATH;
    if (plugin->abi_minor > WHORL_ABI_MINOR) {
        return UINT32_MAX; /* what is newer than this host means nothing to it */
    }
    return plugin->abi_minor > 0 ? first | WHORL_SETTING_SOURCE : first;
}

/* A source is one thing for all forces, and there is one. */
static bool check_source(const struct candidate *candidate, size_t index)
{
    const struct whorl_setting *setting = module_setting(candidate->plugin, index);
    if (candidate->plugin->abi_minor == 0 || (setting->flags & WHORL_SETTING_SOURCE) == 0) {
        return true;
    }
    if (setting->type != WHORL_SETTING_STRING || (setting->flags & WHORL_SETTING_PER_FORCE) != 0) {
        return refuse(candidate, "settings",
                      "setting %s is a source and must be of type 1 (string) and not per force",
                      setting->name);
    }
    for (size_t i = 0; i < index; i++) {
        if ((module_setting(candidate->plugin, i)->flags & WHORL_SETTING_SOURCE) != 0) {
            return refuse(candidate, "settings", "setting %s is a second source", setting->name);
        }
    }
    return true;
}

static bool check_setting(const struct candidate *candidate, size_t index)
{
    const struct whorl_setting *setting = module_setting(candidate->plugin, index);
    const uint32_t flags = setting_flags(candidate->plugin);
    if (!is_setting_name(setting->name) || strcmp(setting->name, "force") == 0) {
        return refuse(candidate, "settings",
                      "setting %zu must have a name of small letters, digits and _, other than "
                      "force",
                      index + 1);
    }
    for (size_t i = 0; i < index; i++) {
        if (strcmp(module_setting(candidate->plugin, i)->name, setting->name) == 0) {
            return refuse(candidate, "settings", "setting %s is there twice", setting->name);
        }
    }
    if (setting->type < WHORL_SETTING_STRING || setting->type > WHORL_SETTING_LIST) {
        return refuse(candidate, "settings", "setting %s must have a type from 1 to 5, found %u",
                      setting->name, setting->type);
    }
    if ((setting->flags & ~flags) != 0) {
        return refuse(candidate, "settings", "setting %s must have flags within 0x%x, found 0x%x",
                      setting->name, flags, setting->flags);
    }
    if ((setting->flags & WHORL_SETTING_PATH) != 0 && setting->type != WHORL_SETTING_STRING) {
        return refuse(candidate, "settings",
                      "setting %s is a path and must be of type 1 (string), "
                      "found %u",
                      setting->name, setting->type);
    }
    if (!check_source(candidate, index)) {
        return false;
    }
    if (!isfinite(setting->min) || !isfinite(setting->max) || setting->min > setting->max) {
        return refuse(candidate, "settings", "setting %s must have min <= max, found %g and %g",
                      setting->name, setting->min, setting->max);
    }
    if (!is_line(setting->fallback) || !is_line(setting->about)) {
        return refuse(candidate, "settings",
                      "setting %s must have a fallback and an about that are NULL or a line of at "
                      "most %u bytes of UTF-8",
                      setting->name, MODULE_LINE_MAX);
    }
    return true;
}

static bool check_settings(const struct candidate *candidate)
{
    const struct whorl_plugin *plugin = candidate->plugin;
    if (plugin->setting_count == 0) {
        return true;
    }
    if (plugin->setting_count > SETTINGS_MAX) {
        return refuse(candidate, "setting_count", "setting_count must be at most %d, found %zu",
                      SETTINGS_MAX, plugin->setting_count);
    }
    if (!plugin->settings) {
        return refuse(candidate, "settings", "settings must be a list of %zu, found NULL",
                      plugin->setting_count);
    }
    if (plugin->setting_size < sizeof(struct whorl_setting) ||
        plugin->setting_size % _Alignof(struct whorl_setting) != 0) {
        return refuse(candidate, "setting_size",
                      "setting_size must be at least %zu, that of ABI 1.0, found %u",
                      sizeof(struct whorl_setting), plugin->setting_size);
    }
    for (size_t i = 0; i < plugin->setting_count; i++) {
        if (!check_setting(candidate, i)) {
            return false;
        }
    }
    return true;
}

/* The file itself, before its code is let in. */
static bool check_file(const struct candidate *candidate)
{
    struct stat st;
    if (stat(candidate->path, &st) != 0) {
        return refuse(candidate, "module", "can't be found: %s", strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return refuse(candidate, "module", "must be a regular file");
    }
    if ((st.st_mode & S_IWOTH) != 0) {
        return refuse(candidate, "module",
                      "can be changed by everybody on this machine (mode %04o)",
                      (unsigned)st.st_mode & 07777u);
    }
    return true;
}

/* NULL: refused. A file that was put in the place of one that is loaded is loaded beside it. */
static void *open_module(const struct candidate *candidate)
{
    char name[PATH_MAX];
    uint8_t digest[32];
    struct link_map *map = NULL;
    if (!module_digest(candidate->path, digest, candidate->fault)) {
        return NULL;
    }
    if (!module_name_of(candidate->path, digest, name)) {
        refuse(candidate, "module", "its path is too long");
        return NULL;
    }
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) {
        const char *why = dlerror();
        size_t len = strlen(name);
        /* the linker begins with the path, too */
        if (strncmp(why, name, len) == 0) {
            why += len + strspn(why + len, ": ");
        }
        refuse(candidate, "module", "can't be loaded: %s", why);
        return NULL;
    }
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || !module_is_of(map->l_name, digest)) {
        (void)dlclose(handle);
        refuse(candidate, "module",
               "was written over while it is in use; put a new file in its place instead (install, "
               "mv), and restart");
        return NULL;
    }
    return handle;
}

static bool load(struct candidate *candidate, size_t *symbol_size)
{
    void *handle = open_module(candidate);
    if (!handle) {
        return false;
    }
    candidate->plugin = dlsym(handle, "whorl_plugin");
    if (!candidate->plugin) {
        (void)dlclose(handle);
        refuse(candidate, "whorl_plugin",
               "must export the symbol whorl_plugin, found none: it is no Whorl plugin");
        return false;
    }
    Dl_info info;
    const ElfW(Sym) *symbol = NULL;
    if (dladdr1(candidate->plugin, &info, (void **)&symbol, RTLD_DL_SYMENT) == 0 || !symbol) {
        return refuse(candidate, "whorl_plugin", "whorl_plugin is not in its symbol table");
    }
    *symbol_size = symbol->st_size;
    return true;
}

bool module_judge(const char *path, const struct whorl_plugin *plugin, struct whorl_fault *fault)
{
    struct candidate candidate = {path, plugin, fault};
    return check_identity(&candidate) && check_role(&candidate) && check_settings(&candidate);
}

bool module_is_file(const char *path, struct whorl_fault *fault)
{
    struct candidate candidate = {path, NULL, fault};
    return check_file(&candidate);
}

const struct whorl_plugin *module_load(const char *path, struct whorl_fault *fault)
{
    struct candidate candidate = {path, NULL, fault};
    size_t symbol_size = 0;
    bool good = check_file(&candidate) && load(&candidate, &symbol_size) &&
                check_version(&candidate, symbol_size) && check_functions(&candidate) &&
                module_judge(path, candidate.plugin, fault);
    return good ? candidate.plugin : NULL;
}
