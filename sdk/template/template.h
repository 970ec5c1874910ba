/* What `whorl plugin new` writes: a plugin outside of this tree. @NAME@ in a file's name or text
 * stands for the plugin's name. */
#ifndef WHORL_TEMPLATE_H
#define WHORL_TEMPLATE_H

struct template_file {
    const char *name; /* NULL ends the list */
    const char *text;
};

extern const struct template_file template_files[];

#endif
