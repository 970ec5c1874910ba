/* What differs between two configurations, in the words of a log. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/conf/digest.h"

enum { CHANGE_MAX = 400, WHAT_MAX = CONF_NAME_MAX + 20, CONTENT_SIZE = 32 };

struct telling {
    void (*change)(void *ctx, const char *text);
    void *ctx;
};

static void tell(const struct telling *telling, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void tell(const struct telling *telling, const char *format, ...)
{
    char text[CHANGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    telling->change(telling->ctx, text);
}

/* The sections of one kind, by index. */
struct kind {
    const char *name;
    size_t (*count)(const struct conf *conf);
    const char *(*title)(const struct conf *conf, size_t index);
    void (*print)(const struct conf *conf, size_t index, FILE *out);
    /* CONTENT_SIZE bytes; NULL: there is none */
    const uint8_t *(*content)(const struct conf *conf, size_t index);
    const char *content_name;
};

/* The section as text; NULL: out of memory. */
static char *text_of(const struct kind *kind, const struct conf *conf, size_t index)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL) {
        return NULL;
    }
    kind->print(conf, index, out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static size_t find(const struct kind *kind, const struct conf *conf, const char *title)
{
    size_t count = kind->count(conf), i = 0;
    while (i < count && strcmp(kind->title(conf, i), title) != 0) {
        i++;
    }
    return i;
}

/* The next line of a text without its indentation; NULL at the end. */
static char *next_line(char **text)
{
    char *line = strsep(text, "\n");
    return line != NULL ? line + strspn(line, " ") : NULL;
}

/* Line by line as long as both texts have the same options in the same order; the rest, if any, is
 * one change. */
static void tell_lines(const struct telling *telling, const char *what, char *before, char *after)
{
    for (;;) {
        char *was = next_line(&before), *is = next_line(&after);
        if (was == NULL || is == NULL) {
            if (was != is) {
                tell(telling, "%s: changed", what);
            }
            return;
        }
        size_t name = strcspn(is, "=");
        if (strcmp(was, is) == 0) {
            continue;
        }
        if (is[name] != '=' || strncmp(was, is, name + 1) != 0) {
            tell(telling, "%s: changed", what);
            return;
        }
        tell(telling, "%s: %.150s, was%.150s", what, is, was + name + 1);
    }
}

/* "listener devices", "core" */
static void name_section(const struct kind *kind, const struct conf *conf, size_t index,
                         char what[WHAT_MAX])
{
    const char *title = kind->title(conf, index);
    (void)snprintf(what, WHAT_MAX, "%s%s%s", kind->name, title[0] != '\0' ? " " : "", title);
}

/* Files are read only of what is on: of what is switched on or off nobody knows whether they
 * differ. */
static bool contents_differ(const uint8_t *old, const uint8_t *new)
{
    static const uint8_t unread[CONTENT_SIZE];
    return memcmp(old, unread, CONTENT_SIZE) != 0 && memcmp(new, unread, CONTENT_SIZE) != 0 &&
           memcmp(old, new, CONTENT_SIZE) != 0;
}

static void compare(const struct telling *telling, const struct kind *kind,
                    const struct conf *before, size_t was, const struct conf *after, size_t is)
{
    char what[WHAT_MAX];
    char *old = text_of(kind, before, was), *new = text_of(kind, after, is);
    name_section(kind, after, is, what);
    if (old != NULL && new != NULL) {
        tell_lines(telling, what, old, new);
    }
    if (kind->content != NULL &&
        contents_differ(kind->content(before, was), kind->content(after, is))) {
        tell(telling, "%s: %s", what, kind->content_name);
    }
    free(old);
    free(new);
}

static void compare_kind(const struct telling *telling, const struct kind *kind,
                         const struct conf *before, const struct conf *after)
{
    char what[WHAT_MAX];
    for (size_t i = 0; i < kind->count(before); i++) {
        if (find(kind, after, kind->title(before, i)) == kind->count(after)) {
            name_section(kind, before, i, what);
            tell(telling, "%s: removed", what);
        }
    }
    for (size_t i = 0; i < kind->count(after); i++) {
        size_t was = find(kind, before, kind->title(after, i));
        if (was == kind->count(before)) {
            name_section(kind, after, i, what);
            tell(telling, "%s: added", what);
        } else {
            compare(telling, kind, before, was, after, i);
        }
    }
}

/* The kinds. */

static size_t one(const struct conf *conf)
{
    (void)conf;
    return 1;
}

static const char *untitled(const struct conf *conf, size_t index)
{
    (void)conf;
    (void)index;
    return "";
}

static void core_print(const struct conf *conf, size_t index, FILE *out)
{
    (void)index;
    print_core(&conf->core, out);
}

static size_t monitor_count(const struct conf *conf)
{
    return conf->monitor.on ? 1 : 0;
}

static void monitor_print(const struct conf *conf, size_t index, FILE *out)
{
    (void)index;
    print_monitor(&conf->monitor, out);
}

#define KIND_FUNCTIONS(kind, plural, key)                                                          \
    static size_t kind##_count(const struct conf *conf)                                            \
    {                                                                                              \
        return conf->kind##_count;                                                                 \
    }                                                                                              \
    static const char *kind##_title(const struct conf *conf, size_t index)                         \
    {                                                                                              \
        return conf->plural[index].key;                                                            \
    }                                                                                              \
    static void kind##_print(const struct conf *conf, size_t index, FILE *out)                     \
    {                                                                                              \
        print_##kind(&conf->plural[index], out);                                                   \
    }

KIND_FUNCTIONS(listener, listeners, name)
KIND_FUNCTIONS(policy, policies, name)
KIND_FUNCTIONS(force, forces, code)
KIND_FUNCTIONS(plugin, plugins, name)

static const uint8_t *listener_content(const struct conf *conf, size_t index)
{
    return conf->listeners[index].content;
}

static const uint8_t *plugin_content(const struct conf *conf, size_t index)
{
    return conf->plugins[index].content;
}

void conf_changes(const struct conf *before, const struct conf *after,
                  void (*change)(void *ctx, const char *text), void *ctx)
{
    static const struct kind kinds[] = {
        {"core", one, untitled, core_print, NULL, NULL},
        {"monitor", monitor_count, untitled, monitor_print, NULL, NULL},
        {"listener", listener_count, listener_title, listener_print, listener_content,
         "other certificates"},
        {"policy", policy_count, policy_title, policy_print, NULL, NULL},
        {"force", force_count, force_title, force_print, NULL, NULL},
        {"plugin", plugin_count, plugin_title, plugin_print, plugin_content, "another module file"},
    };
    const struct telling telling = {change, ctx};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        compare_kind(&telling, &kinds[i], before, after);
    }
}
