/* The configuration files as a tree of sections, options and values, each with its line, before
 * anybody asks what they mean. */
#ifndef CORE_CONF_TREE_H
#define CORE_CONF_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/conf/arena.h"
#include "core/conf/mistakes.h"

#define TREE_FILE_MAX (256u << 10)   /* bytes of one file */
#define TREE_TOTAL_MAX (1024u << 10) /* bytes of all files together */

struct tree_value {
    const char *text; /* UTF-8 without control characters */
    int line;
    struct tree_value *next;
};

/* `name = value` or `name = {value, …}`. */
struct tree_option {
    const char *name;
    int line;     /* of its first value, or of its empty list */
    size_t count; /* of values */
    struct tree_value *values, *last;
    struct tree_option *next;
};

/* `name { }` or `name "title" { }`; the file itself is a section without name. */
struct tree_section {
    const char *name, *title; /* title NULL: none */
    struct conf_place place;  /* of its opening brace */
    bool complete;            /* read to its end: what it lacks is really not there */
    struct tree_option *options, *last_option;
    struct tree_section *sections, *last_section;
    struct tree_section *next;
};

/* Reads one file's text (length bytes, changed in the course of it). Syntax errors go to mistakes;
 * what could be read in spite of them is returned, never NULL. Not reentrant, as libconfuse
 * itself isn't. */
struct tree_section *tree_parse(struct arena *arena, struct mistakes *mistakes, const char *file,
                                char *text, size_t length);

/* The same from a file; NULL when it can't be read at all. *total counts the bytes of all. */
struct tree_section *tree_read(struct arena *arena, struct mistakes *mistakes, const char *file,
                               size_t *total);

#endif
