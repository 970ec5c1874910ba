/* The parts of conf_read: each turns the tree's sections of one kind into their structures. */
#ifndef CORE_CONF_SECTIONS_H
#define CORE_CONF_SECTIONS_H

#include "core/conf/conf.h"
#include "core/conf/fields.h"

/* The sections of one kind from all files, in order. */
struct sources {
    const struct tree_section **sections;
    size_t count;
};

/* The sections of one name inside another. */
struct sources sections_of(struct arena *arena, const struct tree_section *parent,
                           const char *name);
/* Reports titles that are given twice; the title of each must be a name, or a force's code. */
void sections_check_titles(struct reading *reading, const struct sources *sources, bool codes);
/* Reports sections that don't belong into another, but for those named `known` (may be NULL). */
void sections_refuse_inner(struct reading *reading, const struct tree_section *section,
                           const char *known);

void core_read(struct reading *reading, struct conf *conf, const struct sources *cores);
void monitor_read(struct reading *reading, struct conf *conf, const struct sources *monitors);
void listeners_read(struct reading *reading, struct conf *conf, const struct sources *sources);
void policies_read(struct reading *reading, struct conf *conf, const struct sources *sources);
/* Needs conf->policies and conf->plugins. */
void forces_read(struct reading *reading, struct conf *conf, const struct sources *sources);
/* Needs conf->core; codes: the force sections, whose titles settings may name. */
void plugins_read(struct reading *reading, struct conf *conf, const struct sources *sources,
                  const struct sources *forces);

/* Reports backends in list that are no plugin, or a sink. option: where the list stands. */
void plugins_check_list(struct reading *reading, const struct conf *conf, struct conf_place place,
                        conf_list list, const char *option);

#endif
