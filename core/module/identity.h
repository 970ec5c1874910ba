/* What a module's file holds, so that another file at the same path is told from it. */
#ifndef CORE_MODULE_IDENTITY_H
#define CORE_MODULE_IDENTITY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "whorl/plugin.h"

/* SHA-256 of the file. false with *fault. Reads it whole: a loop thread that does so waits for the
 * disk, as it does when it loads a module. */
bool module_digest(const char *path, uint8_t digest[32], struct whorl_fault *fault);

/* The linker knows a module by the name that it was loaded by, and gives the old one back when
 * another file has taken that name. Writes a name of the same file that no other content has: the
 * digest's first bits become slashes ("/" or "/.") between folder and file. false: too long. */
bool module_name_of(const char *path, const uint8_t digest[32], char name[PATH_MAX]);

/* Whether a name that the linker knows a module by is of this content, at whatever path. */
bool module_is_of(const char *name, const uint8_t digest[32]);

#endif
