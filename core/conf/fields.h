/* Options against a schema: the form in which plugins declare their settings (whorl/plugin.h)
 * serves the core's own sections too. */
#ifndef CORE_CONF_FIELDS_H
#define CORE_CONF_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/conf/arena.h"
#include "core/conf/conf.h"
#include "core/conf/mistakes.h"
#include "core/conf/tree.h"

#define FIELDS_STRING_MAX 4096u /* bytes of one string */
#define FIELDS_LIST_MAX 1000u   /* strings of one list */

/* What all parts of one reading share. */
struct reading {
    struct arena *arena;
    struct mistakes *mistakes;
    const char *dir;  /* absolute */
    const char *name; /* of the directory, as the operator wrote it */
    bool whole;       /* no section is missing because of a syntax error */
};

struct schema {
    const struct whorl_setting *settings;
    size_t count;
    size_t stride; /* bytes from one to the next: a plugin's may be longer than ours */
};
#define SCHEMA(array)                                                                              \
    ((struct schema){array, sizeof(array) / sizeof((array)[0]), sizeof((array)[0])})

/* One option's value; which member holds it depends on the setting's type. */
struct field {
    int line; /* 0: not given, it is the default */
    int64_t integer;
    double real;
    bool boolean;
    const char *string;
    conf_list list;
    size_t list_count;
};

const struct whorl_setting *schema_at(struct schema schema, size_t index);
/* The index of a name; schema.count when there is none. */
size_t schema_find(struct schema schema, const char *name);

/* Reads a section's options into an array of schema.count fields from the arena; section NULL
 * counts as empty and complete, at `place`. Unknown options, ill-typed, out-of-range and missing
 * ones are mistakes. what names the section in them. */
struct field *fields_read(struct reading *reading, struct schema schema,
                          const struct tree_section *section, struct conf_place place,
                          const char *what);

/* The same for a section that overrides some: only settings marked per force, none required, no
 * defaults (line 0: not overridden). */
struct field *fields_read_overrides(struct reading *reading, struct schema schema,
                                    const struct tree_section *section, const char *what);

/* The line of a field, or where it would stand. */
struct conf_place field_place(const struct field *field, struct conf_place section);

/* An absolute path: `path` itself or counted from dir. "" stays "". */
const char *fields_path(struct arena *arena, const char *dir, const char *path);

/* [a-z][a-z0-9-]*, at most CONF_NAME_MAX bytes: names of plugins, policies, rules, listeners. */
bool fields_is_name(const char *text);

#endif
