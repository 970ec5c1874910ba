/* The files of a segment: shared by segment.c and segment_erase.c. */
#ifndef GALLERY_SEGMENT_FILE_H
#define GALLERY_SEGMENT_FILE_H

#include <limits.h>

#include "segment.h"

#define SEGMENT_NEW SEGMENT_NAME ".new" /* being written */
#define SEGMENT_OLD SEGMENT_NAME ".old" /* the one before the newest, until it is overwritten */

bool segment_path(const char *dir, const char *name, char path[PATH_MAX],
                  struct whorl_fault *fault);

/* Opens DIR/segment.new, for this process alone (its lock ends with the descriptor) and empty: what
 * a writer left there who did not come to the end is overwritten. -1 with errno; EBUSY: another has
 * it. */
int segment_open_new(const char *path);

/* Overwrites a whole file, which is open for reading and writing, durably, and adds the bytes that
 * were not zero to *bytes. false with errno. */
bool segment_clear(int fd, uint64_t *bytes);

/* Makes changes of names durable. */
bool segment_sync_dir(const char *dir);

#endif
