/* Finding the gallery of a plugin. */
#ifndef CLI_GALLERY_DIR_H
#define CLI_GALLERY_DIR_H

#include "gallery/gallery.h"

/* Opens the gallery of the plugin `name` of a configuration: DATA_DIR/name. A plugin that is
 * enabled must be one that searches for fingers. NULL, having written why to standard error. */
struct gallery *gallery_dir_open(const char *conf_dir, const char *name,
                                 enum whorl_store_mode mode);

#endif
