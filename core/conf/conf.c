#include "core/conf/conf.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/conf/digest.h"
#include "core/conf/sections.h"
#include "whorl/msg.h"

enum {
    FILES_MAX = 256,
    ARENA_SIZE = 256 << 20, /* address space; TREE_TOTAL_MAX bytes of text need much less */
};

/* A configuration with all that it points to. */
struct book {
    struct conf conf; /* first: a conf is a book */
    struct arena arena;
    unsigned references;
};

static bool is_code(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len <= CONF_NAME_MAX &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == len;
}

void sections_check_titles(struct reading *reading, const struct sources *sources, bool codes)
{
    for (size_t i = 0; i < sources->count; i++) {
        const struct tree_section *section = sources->sections[i];
        if (codes ? !is_code(section->title) : !fields_is_name(section->title)) {
            mistake_at(reading->mistakes, section->place,
                       codes ? "%s \"%.60s\": a code is 1 to %d capital letters, digits and hyphens"
                             : "%s \"%.60s\": a name is 1 to %d small letters, digits and "
                               "hyphens, and begins with a letter",
                       section->name, section->title, CONF_NAME_MAX);
        }
        for (size_t j = 0; j < i; j++) {
            const struct tree_section *other = sources->sections[j];
            if (strcmp(other->title, section->title) == 0) {
                mistake_at(reading->mistakes, section->place,
                           "%s \"%.60s\" is there twice, first in %s:%d", section->name,
                           section->title, other->place.file, other->place.line);
                break;
            }
        }
    }
}

void sections_refuse_inner(struct reading *reading, const struct tree_section *section,
                           const char *known)
{
    for (const struct tree_section *inner = section->sections; inner; inner = inner->next) {
        if (!known || strcmp(inner->name, known) != 0) {
            mistake_at(reading->mistakes, inner->place, "%s can't hold a section \"%.60s\"",
                       section->name ? section->name : "a file", inner->name);
        }
    }
}

static void gather(const struct tree_section *parent, const char *name, struct sources *sources)
{
    for (const struct tree_section *section = parent->sections; section; section = section->next) {
        if (strcmp(section->name, name) == 0) {
            if (sources->sections) {
                sources->sections[sources->count] = section;
            }
            sources->count++;
        }
    }
}

static struct sources gather_all(struct arena *arena, const struct tree_section *const *parents,
                                 size_t count, const char *name)
{
    struct sources sources = {NULL, 0};
    for (size_t i = 0; i < count; i++) {
        gather(parents[i], name, &sources);
    }
    sources.sections = arena_alloc(arena, (sources.count + 1) * sizeof(struct tree_section *));
    sources.count = 0;
    for (size_t i = 0; i < count; i++) {
        gather(parents[i], name, &sources);
    }
    return sources;
}

struct sources sections_of(struct arena *arena, const struct tree_section *parent, const char *name)
{
    return gather_all(arena, &parent, 1, name);
}

static int is_conf_file(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

struct files {
    const struct tree_section *roots[FILES_MAX];
    size_t count;
};

static void read_file(struct reading *reading, struct files *files, const char *name, size_t *total)
{
    const char *slash = reading->name[strlen(reading->name) - 1] == '/' ? "" : "/";
    const char *path = arena_printf(reading->arena, "%s%s%s", reading->name, slash, name);
    if (files->count == FILES_MAX) {
        mistake_at(reading->mistakes, (struct conf_place){path, 0},
                   "is one file too many: %d are read", FILES_MAX);
        return;
    }
    const struct tree_section *root = tree_read(reading->arena, reading->mistakes, path, total);
    if (!root || !root->complete) {
        reading->whole = false;
    }
    if (root) {
        files->roots[files->count++] = root;
    }
}

static void read_files(struct reading *reading, struct files *files)
{
    struct dirent **entries = NULL;
    size_t total = 0;
    int count = scandir(reading->name, &entries, is_conf_file, by_name);
    if (count < 0) {
        mistake_at(reading->mistakes, (struct conf_place){reading->name, 0}, "can't be read: %s",
                   strerror(errno));
        reading->whole = false;
    }
    for (int i = 0; i < count; i++) {
        read_file(reading, files, entries[i]->d_name, &total);
        free(entries[i]);
    }
    free(entries);
}

static void check_outermost(struct reading *reading, const struct tree_section *root)
{
    static const char *const known[] = {"core",   "listener", "policy", "force",
                                        "plugin", "monitor",  NULL};
    for (const struct tree_option *option = root->options; option; option = option->next) {
        mistake_at(reading->mistakes, (struct conf_place){root->place.file, option->line},
                   "the option \"%.60s\" stands outside of every section", option->name);
    }
    for (const struct tree_section *section = root->sections; section; section = section->next) {
        if (!conf_list_has(known, section->name)) {
            mistake_at(reading->mistakes, section->place, "there is no section of kind \"%.60s\"",
                       section->name);
        }
    }
}

static void read_sections(struct reading *reading, struct conf *conf, const struct files *files)
{
    struct arena *arena = reading->arena;
    struct sources cores = gather_all(arena, files->roots, files->count, "core");
    struct sources monitors = gather_all(arena, files->roots, files->count, "monitor");
    struct sources listeners = gather_all(arena, files->roots, files->count, "listener");
    struct sources policies = gather_all(arena, files->roots, files->count, "policy");
    struct sources forces = gather_all(arena, files->roots, files->count, "force");
    struct sources plugins = gather_all(arena, files->roots, files->count, "plugin");
    for (size_t i = 0; i < files->count; i++) {
        check_outermost(reading, files->roots[i]);
    }
    core_read(reading, conf, &cores);
    monitor_read(reading, conf, &monitors);
    listeners_read(reading, conf, &listeners);
    plugins_read(reading, conf, &plugins, &forces);
    policies_read(reading, conf, &policies);
    forces_read(reading, conf, &forces);
}

bool conf_runtime_dir(const char *dir, char *path, size_t cap, struct whorl_fault *fault)
{
    struct arena arena;
    char absolute[PATH_MAX];
    if (dir[0] == '\0' || !realpath(dir, absolute)) {
        return whorl_fail(fault, "", "%s: %s", dir, strerror(dir[0] == '\0' ? ENOENT : errno));
    }
    if (!arena_init(&arena, ARENA_SIZE)) {
        return whorl_fail(fault, "", "out of memory");
    }
    struct mistakes *mistakes = arena_alloc(&arena, sizeof *mistakes);
    struct files *files = arena_alloc(&arena, sizeof *files);
    struct conf conf = {.dir = absolute};
    mistakes->arena = &arena;
    struct reading reading = {
        .arena = &arena, .mistakes = mistakes, .dir = absolute, .name = dir, .whole = true};
    read_files(&reading, files);
    struct sources cores = gather_all(&arena, files->roots, files->count, "core");
    core_read(&reading, &conf, &cores);
    int len = snprintf(path, cap, "%s", conf.core.runtime_dir);
    bool good = conf.core.data_dir[0] != '\0' && len > 0 && (size_t)len < cap;
    arena_free(&arena);
    return good || whorl_fail(fault, "", "%s: core { } does not say where data_dir is", dir);
}

/* Reads into book; its mistakes have been reported when it returns false. */
static bool read_book(struct book *book, const char *dir, conf_complaint *complain, void *ctx)
{
    struct mistakes *mistakes = arena_alloc(&book->arena, sizeof *mistakes);
    struct files *files = arena_alloc(&book->arena, sizeof *files);
    char absolute[PATH_MAX];
    mistakes->arena = &book->arena;
    if (dir[0] == '\0' || !realpath(dir, absolute)) {
        complain(ctx, dir, 0, strerror(dir[0] == '\0' ? ENOENT : errno));
        return false;
    }
    struct reading reading = {
        .arena = &book->arena,
        .mistakes = mistakes,
        .dir = arena_copy(&book->arena, absolute),
        .name = arena_copy(&book->arena, dir),
        .whole = true,
    };
    book->conf.dir = reading.dir;
    read_files(&reading, files);
    read_sections(&reading, &book->conf, files);
    if (mistakes->count == 0 && !reading.whole) { /* whatever the reason: part of it is none */
        mistake_at(mistakes, (struct conf_place){reading.name, 0}, "it was not read to its end");
    }
    if (mistakes->count == 0 && !digest_all(&book->conf)) {
        mistake_at(mistakes, (struct conf_place){reading.name, 0},
                   "no digest of it could be made: out of memory");
    }
    mistakes_report(mistakes, complain, ctx);
    return mistakes->count == 0;
}

struct conf *conf_read(const char *dir, conf_complaint *complain, void *ctx)
{
    struct book *book = calloc(1, sizeof *book);
    if (!book || !arena_init(&book->arena, ARENA_SIZE)) {
        free(book);
        complain(ctx, dir, 0, "out of memory");
        return NULL;
    }
    book->references = 1;
    if (!read_book(book, dir, complain, ctx)) {
        conf_unref(&book->conf);
        return NULL;
    }
    arena_seal(&book->arena);
    return &book->conf;
}

/* Puts the module that the caller means in the place of what the file says. */
static void set_module(struct arena *arena, struct tree_section *plugin, const char *module)
{
    struct tree_option *option = arena_alloc(arena, sizeof *option);
    struct tree_value *value = arena_alloc(arena, sizeof *value);
    struct tree_option **at = &plugin->options;
    while (*at && strcmp((*at)->name, "module") != 0) {
        at = &(*at)->next;
    }
    *value = (struct tree_value){.text = arena_copy(arena, module), .line = plugin->place.line};
    *option =
        (struct tree_option){"module", value->line, 1, value, value, *at ? (*at)->next : NULL};
    *at = option;
}

/* A file without the plugin section that is needed is answered by NULL. */
static struct tree_section *only_plugin(struct reading *reading, const char *file)
{
    static const char none[] = "plugin \"subject\" { }";
    size_t total = 0;
    char *text = arena_copy(reading->arena, none);
    struct tree_section *root =
        file ? tree_read(reading->arena, reading->mistakes, file, &total)
             : tree_parse(reading->arena, reading->mistakes, reading->name, text, sizeof none - 1);
    struct tree_section *section = root ? root->sections : NULL;
    if (root && (!section || section->next || strcmp(section->name, "plugin") != 0)) {
        mistake_at(reading->mistakes, (struct conf_place){file, 0},
                   "must hold one section, of kind \"plugin\"");
        return NULL;
    }
    return section;
}

/* The folder that a file is in, without symbolic links; "/" where there is no file. */
static const char *folder_of(struct arena *arena, const char *file)
{
    char path[PATH_MAX];
    if (!file || !realpath(file, path)) {
        return "/";
    }
    *(strrchr(path, '/') == path ? path + 1 : strrchr(path, '/')) = '\0';
    return arena_copy(arena, path);
}

static bool read_plugin(struct book *book, const char *file, const char *module,
                        conf_complaint *complain, void *ctx)
{
    struct mistakes *mistakes = arena_alloc(&book->arena, sizeof *mistakes);
    mistakes->arena = &book->arena;
    struct reading reading = {.arena = &book->arena,
                              .mistakes = mistakes,
                              .dir = folder_of(&book->arena, file),
                              .name = "settings"};
    struct tree_section *section = only_plugin(&reading, file);
    if (section) {
        struct sources sources = {arena_alloc(&book->arena, sizeof section), 1};
        struct sources forces = {NULL, 0};
        sources.sections[0] = section;
        set_module(&book->arena, section, module);
        plugins_read(&reading, &book->conf, &sources, &forces);
    }
    mistakes_report(mistakes, complain, ctx);
    return section && mistakes->count == 0;
}

struct conf *conf_read_plugin(const char *file, const char *module, conf_complaint *complain,
                              void *ctx)
{
    struct book *book = calloc(1, sizeof *book);
    if (!book || !arena_init(&book->arena, ARENA_SIZE)) {
        free(book);
        complain(ctx, file ? file : module, 0, "out of memory");
        return NULL;
    }
    book->references = 1;
    if (!read_plugin(book, file, module, complain, ctx)) {
        conf_unref(&book->conf);
        return NULL;
    }
    arena_seal(&book->arena);
    return &book->conf;
}

struct conf *conf_ref(struct conf *conf)
{
    ((struct book *)conf)->references++;
    return conf;
}

void conf_unref(struct conf *conf)
{
    struct book *book = (struct book *)conf;
    if (book && --book->references == 0) {
        arena_free(&book->arena);
        free(book);
    }
}

const struct conf_force *conf_find_force(const struct conf *conf, const char *code)
{
    for (size_t i = 0; i < conf->force_count; i++) {
        if (strcmp(conf->forces[i].code, code) == 0) {
            return &conf->forces[i];
        }
    }
    return NULL;
}

const struct conf_plugin *conf_find_plugin(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->plugin_count; i++) {
        if (strcmp(conf->plugins[i].name, name) == 0) {
            return &conf->plugins[i];
        }
    }
    return NULL;
}

bool conf_is_gateway(const char *name)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(name);
    return len > 0 && len <= CONF_GATEWAY_MAX && strchr("._-", name[0]) == NULL &&
           strspn(name, allowed) == len;
}

bool conf_list_has(conf_list list, const char *text)
{
    for (; *list; list++) {
        if (strcmp(*list, text) == 0) {
            return true;
        }
    }
    return false;
}
