/* libconfuse reads the text; what it means is checked elsewhere, so that one reading can report
 * every mistake instead of the first. To that end each name is declared to libconfuse as a list of
 * strings, whose callback records the value and its line and never objects. A name that was not
 * declared ends libconfuse's parsing: it is learned, and the text parsed again. */
#include "core/conf/tree.h"

#include <confuse.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/conf/text.h"

enum {
    DEPTH_MAX = 6,    /* sections in one another */
    PARSES_MAX = 400, /* of one file: an unknown name costs one, an unknown section up to three */
};

/* Names that no text can hold, because text.c refuses control characters, and escapes that give
 * them. BEGIN is a list with a default, and so called back when a section opens; END_MARK is
 * appended to the text, to find out which section is open at its end (libconfuse takes that for its
 * closing brace). */
#define BEGIN_MARK "\x01"
#define END_MARK "\x02"
#define NOT_A_SECTION_FORM "missing equal sign after option"
#define NOT_AN_UNTITLED_FORM "missing opening brace for section"
#define UNKNOWN_NAME "no such option"

enum form { FORM_VALUE, FORM_SECTION, FORM_TITLED };

/* What libconfuse is told about a name. */
struct shape {
    const char *name;
    enum form form;
    bool learned;
    int line; /* where a learned name turned out to be no value */
    struct shape *children, *next;
};

struct reader {
    struct arena *arena;
    struct shape root;
    struct tree_section *stack[DEPTH_MAX + 1];
    const struct shape *shapes[DEPTH_MAX + 1]; /* of the sections on the stack */
    size_t depth;
    struct tree_section *unclosed;
    const char *file;
    bool resumed; /* after an error */
    /* the error that ended the last parse */
    int error_line;
    char error[256];
    char error_name[128];
    bool unknown_name, not_a_value, not_untitled;
    size_t error_depth;
};

/* libconfuse's callbacks carry no pointer of ours; set for the time of one cfg_parse_buf. */
static _Thread_local struct reader *current;

static struct shape *shape_find(const struct shape *parent, const char *name)
{
    struct shape *child = parent->children;
    while (child && strcmp(child->name, name) != 0) {
        child = child->next;
    }
    return child;
}

static struct shape *shape_add(struct arena *arena, struct shape *parent, const char *name,
                               enum form form)
{
    struct shape *child = arena_alloc(arena, sizeof *child);
    *child = (struct shape){arena_copy(arena, name), form, false, 0, NULL, parent->children};
    parent->children = child;
    return child;
}

static void shape_init(struct reader *reader)
{
    struct arena *arena = reader->arena;
    struct shape *root = &reader->root;
    shape_add(arena, root, "core", FORM_SECTION);
    shape_add(arena, root, "listener", FORM_TITLED);
    shape_add(arena, shape_add(arena, root, "policy", FORM_TITLED), "rule", FORM_TITLED);
    shape_add(arena, root, "force", FORM_TITLED);
    struct shape *plugin = shape_add(arena, root, "plugin", FORM_TITLED);
    shape_add(arena, shape_add(arena, plugin, "settings", FORM_SECTION), "force", FORM_TITLED);
}

/* What the file holds, for a name or text as libconfuse has it. */
static const char *copy(struct reader *reader, const char *text)
{
    char *restored = arena_copy(reader->arena, text);
    text_restore(restored);
    return restored;
}

static void open_section(struct reader *reader, const cfg_t *cfg)
{
    struct tree_section *section = arena_alloc(reader->arena, sizeof *section);
    section->name = copy(reader, cfg->name);
    section->title = cfg->title ? copy(reader, cfg->title) : NULL;
    section->place = (struct conf_place){reader->file, cfg->line};
    struct tree_section *parent = reader->stack[reader->depth];
    *(parent->last_section ? &parent->last_section->next : &parent->sections) = section;
    parent->last_section = section;
    const struct shape *shape = shape_find(reader->shapes[reader->depth], cfg->name);
    reader->depth++;
    reader->stack[reader->depth] = section;
    reader->shapes[reader->depth] = shape;
}

static struct tree_option *add_option(struct reader *reader, const char *name, int line)
{
    struct tree_section *section = reader->stack[reader->depth];
    struct tree_option *option = arena_alloc(reader->arena, sizeof *option);
    option->name = name;
    option->line = line;
    *(section->last_option ? &section->last_option->next : &section->options) = option;
    section->last_option = option;
    return option;
}

/* The option that a value belongs to. first: the value begins an assignment, it does not go on with
 * a list. */
static struct tree_option *option_for(struct reader *reader, const char *name, bool first, int line)
{
    struct tree_option *option = NULL;
    if (!first) {
        struct tree_option *other = reader->stack[reader->depth]->options;
        for (; other; other = other->next) {
            option = strcmp(other->name, name) == 0 ? other : option;
        }
    }
    return option ? option : add_option(reader, name, line);
}

static void add_value(struct reader *reader, struct tree_option *option, const char *text, int line)
{
    struct tree_value *value = arena_alloc(reader->arena, sizeof *value);
    *value = (struct tree_value){copy(reader, text), line, NULL};
    *(option->last ? &option->last->next : &option->values) = value;
    option->last = value;
    option->count++;
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *text, void *result)
{
    struct reader *reader = current;
    *(const char **)result = ""; /* libconfuse's own copy is not used */
    if (strcmp(opt->name, BEGIN_MARK) == 0) {
        open_section(reader, cfg);
    } else if (strcmp(opt->name, END_MARK) == 0) {
        reader->unclosed = reader->depth > 0 ? reader->stack[reader->depth] : NULL;
    } else if (strcmp(text, END_MARK) != 0) {
        const char *name = copy(reader, opt->name);
        struct tree_option *option = option_for(reader, name, opt->nvalues == 1, cfg->line);
        if (strcmp(text, TEXT_EMPTY_LIST) != 0) {
            add_value(reader, option, text, cfg->line);
        }
    }
    return 0;
}

static int on_section_end(cfg_t *parent, cfg_opt_t *opt)
{
    struct reader *reader = current;
    (void)parent, (void)opt;
    struct tree_section *section = reader->stack[reader->depth];
    section->complete = section != reader->unclosed;
    reader->depth--;
    return 0;
}

static void on_error(cfg_t *cfg, const char *format, va_list args)
{
    struct reader *reader = current;
    reader->error_line = cfg->line;
    reader->error_depth = reader->depth;
    reader->unknown_name = strncmp(format, UNKNOWN_NAME, strlen(UNKNOWN_NAME)) == 0;
    reader->not_a_value = strncmp(format, NOT_A_SECTION_FORM, strlen(NOT_A_SECTION_FORM)) == 0;
    reader->not_untitled = strncmp(format, NOT_AN_UNTITLED_FORM, strlen(NOT_AN_UNTITLED_FORM)) == 0;
    (void)vsnprintf(reader->error, sizeof reader->error, format, args);
    /* the name stands in single quotes at the end of these three */
    reader->error_name[0] = '\0';
    const char *open = strchr(reader->error, '\'');
    const char *close = strrchr(reader->error, '\'');
    if (open && close > open && (size_t)(close - open) < sizeof reader->error_name) {
        memcpy(reader->error_name, open + 1, (size_t)(close - open - 1));
        reader->error_name[close - open - 1] = '\0';
    }
}

/* The options that libconfuse may meet inside a section of this shape. */
static cfg_opt_t *make_options(struct arena *arena, const struct shape *shape)
{
    size_t count = 3; /* two marks and the end */
    for (const struct shape *child = shape->children; child; child = child->next) {
        count++;
    }
    cfg_opt_t *opts = arena_alloc(arena, count * sizeof *opts);
    cfg_opt_t *opt = opts;
    for (const struct shape *child = shape->children; child; child = child->next, opt++) {
        if (child->form == FORM_VALUE) {
            *opt = (cfg_opt_t)CFG_STR_LIST_CB(child->name, NULL, CFGF_NODEFAULT, on_value);
        } else {
            cfg_flag_t title = child->form == FORM_TITLED ? CFGF_TITLE : CFGF_NONE;
            *opt = (cfg_opt_t)CFG_SEC(child->name, make_options(arena, child), CFGF_MULTI | title);
            opt->validcb = on_section_end;
        }
    }
    *opt++ = (cfg_opt_t)CFG_STR_LIST_CB(END_MARK, NULL, CFGF_NODEFAULT, on_value);
    if (shape->name) {
        *opt++ = (cfg_opt_t)CFG_STR_LIST_CB(BEGIN_MARK, "{x}", CFGF_NONE, on_value);
    }
    *opt = (cfg_opt_t)CFG_END();
    return opts;
}

/* One pass over the text by libconfuse. */
static bool parse_once(struct reader *reader, const char *text)
{
    reader->stack[0] = arena_alloc(reader->arena, sizeof *reader->stack[0]);
    reader->stack[0]->place = (struct conf_place){reader->file, 1};
    reader->shapes[0] = &reader->root;
    reader->depth = 0;
    reader->unclosed = NULL;
    reader->error_line = 1;
    reader->error_depth = 0;
    reader->error_name[0] = '\0';
    reader->unknown_name = reader->not_a_value = reader->not_untitled = false;
    (void)snprintf(reader->error, sizeof reader->error, "out of memory");

    cfg_t *cfg = cfg_init(make_options(reader->arena, &reader->root), CFGF_NONE);
    if (!cfg) {
        return false;
    }
    reader->error[0] = '\0';
    cfg_set_error_function(cfg, on_error);
    current = reader;
    int result = cfg_parse_buf(cfg, text);
    current = NULL;
    if (result != CFG_SUCCESS && reader->error[0] == '\0') { /* libconfuse says nothing of these */
        reader->error_line = cfg->line;
        (void)snprintf(reader->error, sizeof reader->error,
                       "what begins here can't be read: a name is empty, or memory is short");
    }
    cfg_free(cfg);
    return result == CFG_SUCCESS;
}

/* Learns from the last parse's error what form a name has. false: it is an error indeed. */
static bool learn(struct reader *reader, size_t mark)
{
    struct shape *parent = (struct shape *)reader->shapes[reader->error_depth];
    struct shape *child = shape_find(parent, reader->error_name);
    if (reader->error_name[0] == '\0' || reader->error_depth >= DEPTH_MAX) {
        return false;
    }
    if (reader->unknown_name && !child) {
        arena_rewind(reader->arena, mark);
        shape_add(reader->arena, parent, reader->error_name, FORM_VALUE)->learned = true;
        return true;
    }
    if (!child || !child->learned) {
        return false;
    }
    if (reader->not_a_value && child->form == FORM_VALUE) {
        child->form = FORM_SECTION;
        child->line = reader->error_line;
    } else if (reader->not_untitled && child->form == FORM_SECTION) {
        child->form = FORM_TITLED;
    } else {
        return false;
    }
    arena_rewind(reader->arena, mark);
    return true;
}

static void check_options(struct mistakes *mistakes, const struct tree_section *section)
{
    for (const struct tree_option *option = section->options; option; option = option->next) {
        const struct tree_option *other = section->options;
        while (strcmp(other->name, option->name) != 0) {
            other = other->next;
        }
        if (other != option) {
            mistake_at(mistakes, (struct conf_place){section->place.file, option->line},
                       "%s is given twice, first in line %d", option->name, other->line);
        }
        for (const struct tree_value *value = option->values; value; value = value->next) {
            if (!text_is_clean(value->text)) {
                mistake_at(mistakes, (struct conf_place){section->place.file, value->line},
                           "the value of %s holds a line break or another control character, or "
                           "is not UTF-8",
                           option->name);
            }
        }
    }
}

static void check_sections(struct mistakes *mistakes, const struct tree_section *section)
{
    check_options(mistakes, section);
    for (const struct tree_section *child = section->sections; child; child = child->next) {
        if (child->title && !text_is_clean(child->title)) {
            mistake_at(mistakes, child->place, "the title of %s holds a control character",
                       child->name);
        }
        check_sections(mistakes, child);
    }
}

/* Puts the last parse's error into better words, and where it belongs. */
static void explain(struct reader *reader, int lines, bool last)
{
    struct shape *parent = (struct shape *)reader->shapes[reader->error_depth];
    struct shape *child = shape_find(parent, reader->error_name);
    if (reader->error_line > lines) {
        reader->error_line = lines;
        (void)snprintf(reader->error, sizeof reader->error,
                       "the file ends in the middle of a statement or a string");
    } else if (child && child->learned && reader->not_untitled) {
        reader->error_line = child->line; /* the parser noticed later */
        child->form = FORM_VALUE;         /* the other guesses were wrong too */
        (void)snprintf(reader->error, sizeof reader->error, "%.100s is followed by neither = nor {",
                       child->name);
    }
    text_restore(reader->error);
    if (last) {
        (void)snprintf(reader->error, sizeof reader->error,
                       "the file is read up to here: with more than about %d different names and "
                       "mistakes it must be split",
                       PARSES_MAX);
    }
}

/* After an error the parse was resumed without a line: nothing can be said to be missing. */
static void mark_incomplete(struct tree_section *section)
{
    section->complete = false;
    for (struct tree_section *child = section->sections; child; child = child->next) {
        mark_incomplete(child);
    }
}

/* Parses until there is no error left, or none that one could go on after: false, with a mistake.
 * What was read up to there is reader->stack[0], because the last parse's memory is never given
 * back. */
static bool parse(struct reader *reader, struct mistakes *mistakes, char *text, int lines)
{
    size_t mark = reader->arena->used;
    for (unsigned parses = 1; !parse_once(reader, text); parses++) {
        bool last = parses == PARSES_MAX;
        if (last || !learn(reader, mark)) {
            explain(reader, lines, last);
            bool blanked = !last && text_blank_line(text, reader->error_line);
            if (blanked) {
                arena_rewind(reader->arena, mark);
            }
            mistake_at(mistakes, (struct conf_place){reader->file, reader->error_line}, "%s",
                       reader->error);
            if (!blanked) {
                return false;
            }
            reader->resumed = true;
        }
        mark = reader->arena->used;
    }
    return true;
}

struct tree_section *tree_parse(struct arena *arena, struct mistakes *mistakes, const char *file,
                                char *text, size_t length)
{
    struct reader reader = {.arena = arena, .file = arena_copy(arena, file)};
    shape_init(&reader);
    int lines = text_prepare(mistakes, reader.file, text, length);
    char *marked = arena_printf(arena, "%s\n" END_MARK " = x\n", text);
    bool parsed = parse(&reader, mistakes, marked, lines);
    struct tree_section *root = reader.stack[0];
    root->complete = parsed;
    if (reader.resumed) {
        mark_incomplete(root);
    }
    if (reader.unclosed) {
        mistake_at(mistakes, reader.unclosed->place,
                   "the section %s is not closed: its } is missing", reader.unclosed->name);
        root->complete = false;
    }
    check_sections(mistakes, root);
    return root;
}

struct tree_section *tree_read(struct arena *arena, struct mistakes *mistakes, const char *file,
                               size_t *total)
{
    struct conf_place place = {arena_copy(arena, file), 1};
    FILE *in = fopen(file, "re");
    if (!in) {
        mistake_at(mistakes, place, "can't be opened: %s", strerror(errno));
        return NULL;
    }
    char *text = arena_alloc(arena, TREE_FILE_MAX + 2);
    errno = 0;
    size_t length = fread(text, 1, TREE_FILE_MAX + 1, in);
    int error = ferror(in) ? errno : 0;
    (void)fclose(in);
    *total += length;
    if (error != 0) {
        mistake_at(mistakes, place, "can't be read: %s", strerror(error));
    } else if (length > TREE_FILE_MAX) {
        mistake_at(mistakes, place, "is longer than %u bytes", TREE_FILE_MAX);
    } else if (*total > TREE_TOTAL_MAX) {
        mistake_at(mistakes, place, "all files together are longer than %u bytes", TREE_TOTAL_MAX);
    } else {
        return tree_parse(arena, mistakes, file, text, length);
    }
    return NULL;
}
