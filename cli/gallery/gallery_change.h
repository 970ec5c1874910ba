/* A gallery of a configuration, open together with the audit log that every change is
 * recorded in first. */
#ifndef CLI_GALLERY_CHANGE_H
#define CLI_GALLERY_CHANGE_H

#include "cli/audit/change.h"
#include "gallery/gallery.h"

struct gallery_change {
    struct conf *conf;
    struct audit_writer *log;
    struct gallery *gallery;
    const char *name; /* the plugin whose gallery it is */
};

/* Opens the log, then the gallery of the plugin `name` (gallery_dir_open). false, having written
 * why to standard error: then nothing is open, and nothing may be changed. */
bool gallery_change_open(struct gallery_change *change, const char *conf_dir, const char *name);
/* The same for reading the gallery that people are enrolled into (gallery_dir_open_own), to put
 * them somewhere else. */
bool gallery_change_open_own(struct gallery_change *change, const char *conf_dir, const char *name);
void gallery_change_close(struct gallery_change *change);

/* A change_people whose ctx is a struct gallery_change: records that they are about to be enrolled.
 */
bool gallery_change_enrolling(void *ctx, const struct changed_person *people, size_t count,
                              struct whorl_fault *fault);

/* Records how many were enrolled; to be called however it ended. */
bool gallery_change_enrolled(struct gallery_change *change, uint64_t added, uint64_t changed,
                             struct whorl_fault *fault);

#endif
