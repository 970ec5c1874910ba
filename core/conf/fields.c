#include "core/conf/fields.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct whorl_setting *schema_at(struct schema schema, size_t index)
{
    return (const void *)((const char *)schema.settings + index * schema.stride);
}

size_t schema_find(struct schema schema, const char *name)
{
    size_t i = 0;
    while (i < schema.count && strcmp(schema_at(schema, i)->name, name) != 0) {
        i++;
    }
    return i;
}

bool fields_is_name(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len <= CONF_NAME_MAX && islower((unsigned char)text[0]) &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

const char *fields_path(struct arena *arena, const char *dir, const char *path)
{
    size_t len = strlen(dir);
    if (path[0] == '/' || path[0] == '\0') {
        return path;
    }
    /* dir has no symbolic links (realpath), so that ".." may be taken off it. */
    for (;;) {
        size_t dots = strspn(path, ".");
        if (dots < 1 || dots > 2 || (path[dots] != '/' && path[dots] != '\0')) {
            break;
        }
        while (dots == 2 && len > 0 && dir[--len] != '/') {
        }
        path += dots;
        path += strspn(path, "/");
    }
    return arena_printf(arena, "%.*s%s%s", (int)len, dir, *path != '\0' || len == 0 ? "/" : "",
                        path);
}

struct conf_place field_place(const struct field *field, struct conf_place section)
{
    return (struct conf_place){section.file, field->line > 0 ? field->line : section.line};
}

/* Says in words what a value must be. */
static const char *expectation(struct arena *arena, const struct whorl_setting *setting)
{
    bool bounded = setting->min != 0 || setting->max != 0;
    switch (setting->type) {
    case WHORL_SETTING_INTEGER:
        return bounded ? arena_printf(arena, "a whole number from %.0f to %.0f", setting->min,
                                      setting->max)
                       : "a whole number";
    case WHORL_SETTING_REAL:
        return bounded ? arena_printf(arena, "a number from %g to %g", setting->min, setting->max)
                       : "a number";
    case WHORL_SETTING_BOOLEAN:
        return "yes or no";
    default:
        return bounded
                   ? arena_printf(arena, "a text of %.0f to %.0f bytes", setting->min, setting->max)
                   : arena_printf(arena, "a text of at most %u bytes", FIELDS_STRING_MAX);
    }
}

static bool in_bounds(const struct whorl_setting *setting, double value)
{
    return (setting->min == 0 && setting->max == 0) ||
           (value >= setting->min && value <= setting->max);
}

/* A number that is refused is not stored: whoever reads the field goes by its bounds. */
static bool parse_integer(const struct whorl_setting *setting, const char *text, int64_t *value)
{
    char *end;
    errno = 0;
    const int64_t number = strtoll(text, &end, 10);
    bool sane = *text != '\0' && strspn(text, "+-0123456789") == strlen(text) && *end == '\0';
    bool good = sane && errno == 0 && in_bounds(setting, (double)number);
    *value = good ? number : *value;
    return good;
}

static bool parse_real(const struct whorl_setting *setting, const char *text, double *value)
{
    char *end;
    const double number = strtod(text, &end);
    bool sane = *text != '\0' && strspn(text, "+-0123456789.eE") == strlen(text) && *end == '\0';
    bool good = sane && isfinite(number) && in_bounds(setting, number);
    *value = good ? number : *value;
    return good;
}

static bool parse_boolean(const char *text, bool *value)
{
    static const char *const words[] = {"no", "yes", "off", "on", "false", "true"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *value = i % 2 == 1;
            return true;
        }
    }
    return false;
}

static bool fits(const struct whorl_setting *setting, const char *text)
{
    size_t len = strlen(text);
    return len <= FIELDS_STRING_MAX && in_bounds(setting, (double)len);
}

/* One value, not a list. */
static bool parse_value(struct reading *reading, const struct whorl_setting *setting,
                        const char *text, struct field *field)
{
    switch (setting->type) {
    case WHORL_SETTING_INTEGER:
        return parse_integer(setting, text, &field->integer);
    case WHORL_SETTING_REAL:
        return parse_real(setting, text, &field->real);
    case WHORL_SETTING_BOOLEAN:
        return parse_boolean(text, &field->boolean);
    default:
        field->string = (setting->flags & WHORL_SETTING_PATH) != 0
                            ? fields_path(reading->arena, reading->dir, text)
                            : text;
        return fits(setting, text);
    }
}

static void read_list(struct reading *reading, const struct whorl_setting *setting,
                      const struct tree_option *option, const char *file, struct field *field)
{
    size_t count = option->count < FIELDS_LIST_MAX ? option->count : FIELDS_LIST_MAX;
    const char **list = arena_alloc(reading->arena, (count + 1) * sizeof *list);
    if (option->count > FIELDS_LIST_MAX) {
        mistake_at(reading->mistakes, (struct conf_place){file, option->line},
                   "%s has more than %u entries", option->name, FIELDS_LIST_MAX);
    }
    const struct tree_value *value = option->values;
    for (size_t i = 0; i < count; i++, value = value->next) {
        list[i] = value->text;
        if (!fits(setting, value->text)) {
            mistake_at(reading->mistakes, (struct conf_place){file, value->line},
                       "each entry of %s must be %s", option->name,
                       expectation(reading->arena, setting));
        }
    }
    field->list = list;
    field->list_count = count;
}

static void read_option(struct reading *reading, const struct whorl_setting *setting,
                        const struct tree_option *option, const char *file, struct field *field)
{
    struct conf_place place = {file, option->line};
    field->line = option->line;
    if (setting->type == WHORL_SETTING_LIST) {
        read_list(reading, setting, option, file, field);
    } else if (option->count != 1) {
        mistake_at(reading->mistakes, place, "%s must be %s, not a list", option->name,
                   expectation(reading->arena, setting));
    } else if (!parse_value(reading, setting, option->values->text, field)) {
        mistake_at(reading->mistakes, place, "%s must be %s, not \"%.60s\"", option->name,
                   expectation(reading->arena, setting), option->values->text);
    }
}

/* The default of a setting, written as in a file. A plain text needs no quotes there. */
static void read_fallback(struct reading *reading, const struct whorl_setting *setting,
                          struct conf_place place, struct field *field)
{
    static const char *const none = NULL;
    const char *text = setting->fallback;
    field->string = "";
    field->list = &none;
    if (!text) {
        return;
    }
    struct tree_value value = {text, place.line, NULL};
    struct tree_option plain = {.name = setting->name, .count = 1, .values = &value};
    const struct tree_option *option = &plain;
    if (setting->type == WHORL_SETTING_LIST || text[0] == '"') {
        char *line = arena_printf(reading->arena, "x = %s", text);
        option =
            tree_parse(reading->arena, reading->mistakes, place.file, line, strlen(line))->options;
    }
    if (option) {
        read_option(reading, setting, option, place.file, field);
    }
    field->line = 0;
}

static void refuse_unknown(struct reading *reading, struct schema schema,
                           const struct tree_section *section, const char *what)
{
    for (const struct tree_option *option = section->options; option; option = option->next) {
        if (schema_find(schema, option->name) == schema.count) {
            mistake_at(reading->mistakes, (struct conf_place){section->place.file, option->line},
                       "%s has no option \"%.60s\"", what, option->name);
        }
    }
}

static const struct tree_option *find_option(const struct tree_section *section, const char *name)
{
    const struct tree_option *option = section ? section->options : NULL;
    while (option && strcmp(option->name, name) != 0) {
        option = option->next;
    }
    return option;
}

struct field *fields_read(struct reading *reading, struct schema schema,
                          const struct tree_section *section, struct conf_place place,
                          const char *what)
{
    struct field *fields = arena_alloc(reading->arena, schema.count * sizeof *fields);
    if (section) {
        refuse_unknown(reading, schema, section, what);
    }
    for (size_t i = 0; i < schema.count; i++) {
        const struct whorl_setting *setting = schema_at(schema, i);
        const struct tree_option *option = find_option(section, setting->name);
        read_fallback(reading, setting, place, &fields[i]);
        if (option) {
            read_option(reading, setting, option, place.file, &fields[i]);
        } else if ((setting->flags & WHORL_SETTING_REQUIRED) != 0 &&
                   (!section || section->complete)) {
            mistake_at(reading->mistakes, place, "%s lacks %s%s%s", what, setting->name,
                       setting->about ? ": " : "", setting->about ? setting->about : "");
        }
    }
    return fields;
}

struct field *fields_read_overrides(struct reading *reading, struct schema schema,
                                    const struct tree_section *section, const char *what)
{
    struct field *fields = arena_alloc(reading->arena, schema.count * sizeof *fields);
    refuse_unknown(reading, schema, section, what);
    for (size_t i = 0; i < schema.count; i++) {
        const struct whorl_setting *setting = schema_at(schema, i);
        const struct tree_option *option = find_option(section, setting->name);
        if (option && (setting->flags & WHORL_SETTING_PER_FORCE) == 0) {
            mistake_at(reading->mistakes, (struct conf_place){section->place.file, option->line},
                       "%s is the same for all forces and can't stand in %s", setting->name, what);
        } else if (option) {
            read_option(reading, setting, option, section->place.file, &fields[i]);
        }
    }
    return fields;
}
