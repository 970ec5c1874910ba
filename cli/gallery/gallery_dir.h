/* Finding the gallery of a plugin. */
#ifndef CLI_GALLERY_DIR_H
#define CLI_GALLERY_DIR_H

#include "core/conf/conf.h"
#include "gallery/gallery.h"

/* Opens the gallery that the plugin `name` of a configuration searches: DATA_DIR/name, or the copy
 * of a database that its `source` says, which may be read only. A plugin that is enabled must be
 * one that searches for fingers. NULL, having written why to standard error. */
struct gallery *gallery_dir_open(const struct conf *conf, const char *name,
                                 enum whorl_store_mode mode);

/* The same, but always the gallery that people are enrolled into. */
struct gallery *gallery_dir_open_own(const struct conf *conf, const char *name,
                                     enum whorl_store_mode mode);

#endif
