/* A configuration folder in a temporary place, and what conf_read says of it. A test that is linked
 * with this serves as the process of its plugins, too (`TEST plugin-host`). */
#ifndef TESTS_CONF_FOLDER_H
#define TESTS_CONF_FOLDER_H

#include <stddef.h>

#include "core/conf/conf.h"

struct conf_folder {
    char dir[64];
    const char *isolation;  /* of the plugins that conf_folder_fill writes; NULL: not said */
    char complaints[32768]; /* "FILE:LINE: TEXT\n" each, FILE without dir */
};

void conf_folder_make(struct conf_folder *folder);
/* Writes a file into it, printf-formatted. */
void conf_folder_write(const struct conf_folder *folder, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A whole valid configuration: core.conf, force.conf, policy.conf and plugins.conf with the test
 * plugins `finder` (search) and `keeper` (sink). */
void conf_folder_fill(const struct conf_folder *folder);
struct conf *conf_folder_read(struct conf_folder *folder);
void conf_folder_remove(const struct conf_folder *folder);

#endif
