/* Files that may hold a probe, read into secret memory without passing any buffer that nobody
 * wipes. */
#ifndef CLI_FILE_H
#define CLI_FILE_H

#include <stdbool.h>

#include "whorl/plugin.h"
#include "whorl/secret.h"

/* Reads a regular file of 1 byte to 64 MiB into *out (empty before). false with *fault, where is
 * the path; release *out in any case. */
bool file_read(const char *path, struct whorl_secret *out, struct whorl_fault *fault);

/* Writes a file anew. false with *fault, where is the path. */
bool file_write(const char *path, const uint8_t *bytes, size_t len, struct whorl_fault *fault);

/* The files that a run may not write over: what it reads, and what it has written. Zero it first.
 */
struct file_kept {
    void *tree;
};

/* Adds a file, by whatever name; one that does not exist is passed over. false with *fault. */
bool file_keep(struct file_kept *kept, const char *path, struct whorl_fault *fault);
bool file_keep_all(struct file_kept *kept, char *const *paths, int count,
                   struct whorl_fault *fault);

/* Whether a file may be written: false with *fault where it is one of those. */
bool file_is_free(const struct file_kept *kept, const char *path, struct whorl_fault *fault);

/* Writes a file that is none of those, and adds it. false with *fault. */
bool file_write_once(struct file_kept *kept, const char *path, const uint8_t *bytes, size_t len,
                     struct whorl_fault *fault);
void file_kept_release(struct file_kept *kept);

/* Whether bytes begin like an ISO/IEC 19794-2 or ANSI INCITS 378 minutiae record. */
bool file_is_minutiae_record(const struct whorl_secret *bytes);

/* Whether bytes begin like a WSQ picture, or like an ANSI/NIST-ITL transaction. */
bool file_is_wsq(const struct whorl_secret *bytes);
bool file_is_an2k(const struct whorl_secret *bytes);

#endif
