/* whorl plugin: what a backend's author needs. */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/plugin/cmd_plugin.h"
#include "core/module/module.h"
#include "sdk/template/template.h"
#include "whorl/msg.h"

enum { NAME_MAX_BYTES = CONF_NAME_MAX };

struct options {
    const char *what, *dir;
    bool wants;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'c':
        o->dir = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (!o->wants || o->what) {
            argp_error(state, "unexpected argument \"%s\"", arg);
        }
        o->what = arg;
        return 0;
    case ARGP_KEY_END:
        if (o->wants && !o->what) {
            argp_error(state, "an argument is missing");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* new */

static bool is_plugin_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= NAME_MAX_BYTES && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* Writes text with every @NAME@ replaced. */
static void write_named(FILE *out, const char *text, const char *name)
{
    static const char mark[] = "@NAME@";
    const char *at;
    while ((at = strstr(text, mark)) != NULL) {
        (void)fwrite(text, 1, (size_t)(at - text), out);
        fputs(name, out);
        text = at + sizeof mark - 1;
    }
    fputs(text, out);
}

static bool write_template(const char *name, const struct template_file *file)
{
    char *path = NULL;
    size_t len = 0;
    FILE *memory = open_memstream(&path, &len);
    if (!memory) {
        return false;
    }
    fprintf(memory, "whorl-%s/", name);
    write_named(memory, file->name, name);
    bool good = fclose(memory) == 0;
    FILE *out = good ? fopen(path, "wxe") : NULL;
    if (out) {
        write_named(out, file->text, name);
        good = fclose(out) == 0;
    }
    good = good && out;
    if (!good) {
        fprintf(stderr, "whorl plugin new: %s: %s\n", path ? path : "", strerror(errno));
    }
    free(path);
    return good;
}

static int run_new(int argc, char **argv)
{
    static const struct argp argp = {
        .parser = parse,
        .args_doc = "NAME",
        .doc = "Writes the folder whorl-NAME with a backend that works: its source, a build file, "
               "its configuration and its test."};
    struct options o = {.wants = true};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (!is_plugin_name(o.what)) {
        fprintf(stderr,
                "whorl plugin new: a name is 1 to %d small letters, digits and hyphens, and begins "
                "with a letter\n",
                NAME_MAX_BYTES);
        return EXIT_USAGE;
    }
    char dir[NAME_MAX_BYTES + 8];
    snprintf(dir, sizeof dir, "whorl-%s", o.what);
    if (mkdir(dir, 0777) != 0) {
        fprintf(stderr, "whorl plugin new: %s: %s\n", dir, strerror(errno));
        return EXIT_FAILED;
    }
    for (const struct template_file *file = template_files; file->name; file++) {
        if (!write_template(o.what, file)) {
            return EXIT_FAILED;
        }
    }
    printf("%s is there; next:\n\n    cd %s\n    meson setup build\n    meson compile -C build\n"
           "    whorl plugin test build/%s.so --conf %s.conf\n",
           dir, dir, dir, o.what);
    return EXIT_DONE;
}

/* describe */

const char *plugin_role_name(const struct whorl_plugin *plugin)
{
    switch (plugin->role) {
    case WHORL_ROLE_SEARCH:
        return "search";
    case WHORL_ROLE_LOOKUP:
        return "look-up";
    default:
        return "sink";
    }
}

static void print_words(const char *title, const char *const *words)
{
    printf("%-13s", title);
    for (; words && *words; words++) {
        printf("%s%s", *words, words[1] ? ", " : "\n");
    }
}

static void print_setting(const struct whorl_setting *setting)
{
    static const char *const types[] = {"", "text", "whole number", "number", "yes/no", "list"};
    printf("  %-18s %s%s%s", setting->name, types[setting->type],
           setting->flags & WHORL_SETTING_REQUIRED ? ", needed" : "",
           setting->flags & WHORL_SETTING_PER_FORCE ? ", per force" : "");
    if (setting->min != 0 || setting->max != 0) {
        printf(", %g to %g", setting->min, setting->max);
    }
    if (setting->fallback) {
        printf(", default %s", setting->fallback[0] == '\0' ? "\"\"" : setting->fallback);
    }
    printf("\n  %-18s %s\n", "", setting->about ? setting->about : "");
}

static void describe(const char *path, const struct whorl_plugin *plugin)
{
    printf("%-13s%s\n%-13s%s\n%-13s%s\n%-13s%s\n%-13s%u.%u\n", "module", path, "title",
           plugin->title, "version", plugin->version, "role", plugin_role_name(plugin), "ABI",
           plugin->abi_major, plugin->abi_minor);
    if (plugin->role == WHORL_ROLE_SEARCH) {
        print_words("modalities", plugin->modalities);
        print_words("formats", plugin->formats);
    } else if (plugin->role == WHORL_ROLE_LOOKUP) {
        print_words("keys", plugin->keys);
    }
    if (plugin->entitlement) {
        printf("%-13s%s\n", "entitlement", plugin->entitlement);
    }
    printf("%s", plugin->setting_count > 0 ? "settings\n" : "");
    for (size_t i = 0; i < plugin->setting_count; i++) {
        print_setting((const void *)((const char *)plugin->settings + i * plugin->setting_size));
    }
}

const struct whorl_plugin *plugin_file_load(const char *file, char path[PATH_MAX])
{
    struct whorl_fault fault = {"", ""};
    if (!realpath(file, path)) {
        fprintf(stderr, "whorl plugin: %s: %s\n", file, strerror(errno));
        return NULL;
    }
    const struct whorl_plugin *plugin = module_load(path, &fault);
    if (!plugin) {
        fprintf(stderr, "whorl plugin: %s\n", fault.text);
    }
    return plugin;
}

static int run_describe(int argc, char **argv)
{
    static const struct argp argp = {.parser = parse,
                                     .args_doc = "FILE.so",
                                     .doc =
                                         "Prints what a backend says of itself, and its settings."};
    struct options o = {.wants = true};
    char path[PATH_MAX];
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    const struct whorl_plugin *plugin = plugin_file_load(o.what, path);
    if (!plugin) {
        return EXIT_FAILED;
    }
    describe(path, plugin);
    return EXIT_DONE;
}

/* list */

static int run_list(int argc, char **argv)
{
    static const struct argp_option options[] = {CONF_DIR_OPTION, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "Lists the backends of a configuration, those that are switched off too."};
    struct options o = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (!o.dir) {
        fputs("whorl plugin list: -c DIR is missing\n", stderr);
        return EXIT_USAGE;
    }
    struct conf *conf = read_conf(o.dir);
    if (!conf) {
        return EXIT_FAILED;
    }
    printf("%-18s %-4s %-8s %-9s %s\n", "NAME", "ON", "ROLE", "VERSION", "MODULE");
    for (size_t i = 0; i < conf->plugin_count; i++) {
        const struct conf_plugin *plugin = &conf->plugins[i];
        const struct whorl_plugin *descriptor = plugin->descriptor;
        printf("%-18s %-4s %-8s %-9s %s\n", plugin->name, plugin->enabled ? "yes" : "no",
               descriptor ? plugin_role_name(descriptor) : "-",
               descriptor ? descriptor->version : "-", plugin->module);
    }
    conf_unref(conf);
    return EXIT_DONE;
}

int cmd_plugin(int argc, char **argv)
{
    static const struct subcommand commands[] = {
        {"new", run_new, "write a backend to start from"},
        {"list", run_list, "the backends of a configuration"},
        {"describe", run_describe, "what a backend says of itself"},
        {"test", cmd_plugin_test, "try a backend against every rule of the ABI"},
        {NULL, NULL, NULL},
    };
    return subcommand_run("plugin", commands, argc, argv);
}
