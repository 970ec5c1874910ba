#include "core/conf/settings.h"

#include <string.h>

/* What a complaint about settings needs. */
struct settings_checking {
    struct reading *reading;
    const struct settings *settings;
    const char *plugin;
    struct conf_place place;
};

const struct settings *settings_inside(const struct whorl_settings *settings)
{
    return settings->ctx;
}

/* The value of a setting for a force; NULL when there is no setting of that name and type. */
static const struct field *lookup(const struct whorl_settings *whorl, const char *force,
                                  const char *name, enum whorl_setting_type type)
{
    const struct settings *settings = whorl->ctx;
    size_t index = schema_find(settings->schema, name);
    if (index == settings->schema.count || schema_at(settings->schema, index)->type != type) {
        return NULL;
    }
    const struct settings_force *view = settings->view;
    for (size_t i = 0; force && i < settings->force_count; i++) {
        if (strcmp(settings->forces[i].code, force) == 0) {
            view = &settings->forces[i];
        }
    }
    return view && view->fields[index].line > 0 ? &view->fields[index] : &settings->fields[index];
}

static const char *get_string(const struct whorl_settings *settings, const char *force,
                              const char *name)
{
    const struct field *field = lookup(settings, force, name, WHORL_SETTING_STRING);
    return field ? field->string : NULL;
}

static int64_t get_integer(const struct whorl_settings *settings, const char *force,
                           const char *name)
{
    const struct field *field = lookup(settings, force, name, WHORL_SETTING_INTEGER);
    return field ? field->integer : 0;
}

static double get_real(const struct whorl_settings *settings, const char *force, const char *name)
{
    const struct field *field = lookup(settings, force, name, WHORL_SETTING_REAL);
    return field ? field->real : 0;
}

static bool get_boolean(const struct whorl_settings *settings, const char *force, const char *name)
{
    const struct field *field = lookup(settings, force, name, WHORL_SETTING_BOOLEAN);
    return field ? field->boolean : false;
}

static const char *get_item(const struct whorl_settings *settings, const char *force,
                            const char *name, size_t index)
{
    const struct field *field = lookup(settings, force, name, WHORL_SETTING_LIST);
    return field && index < field->list_count ? field->list[index] : NULL;
}

struct whorl_settings *settings_wrap(struct arena *arena, const struct settings *settings)
{
    struct whorl_settings *whorl = arena_alloc(arena, sizeof *whorl);
    *whorl = (struct whorl_settings){sizeof *whorl, 0,        settings,    get_string,
                                     get_integer,   get_real, get_boolean, get_item};
    return whorl;
}

/* Puts what a plugin says of its settings, as a view shows them, where the setting that it names
 * stands. */
static void complain(void *ctx, size_t number, struct whorl_fault *fault)
{
    const struct settings_checking *checking = ctx;
    const struct settings *settings = checking->settings;
    const struct settings_force *view = number > 0 ? &settings->forces[number - 1] : NULL;
    struct conf_place place = checking->place;
    fault->where[sizeof fault->where - 1] = '\0';
    fault->text[sizeof fault->text - 1] = '\0';
    size_t index = schema_find(settings->schema, fault->where);
    if (index < settings->schema.count) {
        const struct field *field = &settings->fields[index];
        if (view && view->fields[index].line > 0) {
            field = &view->fields[index];
            place = view->place;
        }
        place = field_place(field, place);
    }
    mistake_at(checking->reading->mistakes, place, "plugin %s%s%s: %s%s%s", checking->plugin,
               view ? " for force " : "", view ? view->code : "", fault->where,
               fault->where[0] != '\0' ? ": " : "",
               fault->text[0] != '\0' ? fault->text : "refused without a reason");
}

void settings_check(struct arena *arena, const struct whorl_plugin *descriptor,
                    const struct whorl_settings *whorl, settings_refused *refused, void *ctx)
{
    const struct settings *settings = settings_inside(whorl);
    bool good = true;
    for (size_t i = 0; i <= settings->force_count && good; i++) {
        struct settings *seen = arena_alloc(arena, sizeof *seen);
        struct whorl_fault fault = {"", ""};
        *seen = *settings;
        seen->view = i > 0 ? &settings->forces[i - 1] : NULL;
        if (descriptor->check(settings_wrap(arena, seen), &fault) != 0) {
            refused(ctx, i, &fault);
            good = i > 0; /* what is wrong in general would be said again for each force */
        }
    }
}

static bool has_title(const struct sources *sources, const char *title)
{
    for (size_t i = 0; i < sources->count; i++) {
        if (strcmp(sources->sections[i]->title, title) == 0) {
            return true;
        }
    }
    return false;
}

static void read_forces(struct reading *reading, struct settings *settings,
                        const struct tree_section *section, const struct sources *forces)
{
    struct sources own = sections_of(reading->arena, section, "force");
    struct settings_force *list = arena_alloc(reading->arena, (own.count + 1) * sizeof *list);
    sections_check_titles(reading, &own, true);
    for (size_t i = 0; i < own.count; i++) {
        const struct tree_section *force = own.sections[i];
        const char *what = arena_printf(reading->arena, "force %s of settings", force->title);
        sections_refuse_inner(reading, force, NULL);
        if (reading->whole && !has_title(forces, force->title)) {
            mistake_at(reading->mistakes, force->place, "there is no force \"%.60s\"",
                       force->title);
        }
        list[i] =
            (struct settings_force){force->title, force->place,
                                    fields_read_overrides(reading, settings->schema, force, what)};
    }
    settings->forces = list;
    settings->force_count = own.count;
}

const struct whorl_settings *
settings_read(struct reading *reading, const struct whorl_plugin *descriptor,
              const struct tree_section *section, struct conf_place place, const char *plugin,
              const struct sources *forces, const struct settings_checker *checker)
{
    size_t before = reading->mistakes->count;
    struct settings *settings = arena_alloc(reading->arena, sizeof *settings);
    const char *what = arena_printf(reading->arena, "settings of plugin %s", plugin);
    place = section ? section->place : place;
    settings->schema =
        (struct schema){descriptor->settings, descriptor->setting_count, descriptor->setting_size};
    settings->fields = fields_read(reading, settings->schema, section, place, what);
    if (section) {
        sections_refuse_inner(reading, section, "force");
        read_forces(reading, settings, section, forces);
    }
    const struct whorl_settings *whorl = settings_wrap(reading->arena, settings);
    if (descriptor->check && reading->mistakes->count == before) {
        struct settings_checking checking = {reading, settings, plugin, place};
        checker->check(checker->ctx, descriptor, whorl, complain, &checking);
    }
    return whorl;
}
