#include "cli/print/file.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "afis/an2k.h"
#include "whorl/msg.h"

enum { MAX_FILE = 64 << 20 };

static bool read_all(int fd, const char *path, struct whorl_secret *out, struct whorl_fault *fault)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return whorl_fail(fault, path, "%s", strerror(errno));
    }
    if (!S_ISREG(st.st_mode) || st.st_size < 1 || st.st_size > MAX_FILE) {
        return whorl_fail(fault, path, "expected a file of 1 byte to %d MiB", MAX_FILE >> 20);
    }
    if (!whorl_secret_reserve(out, (size_t)st.st_size)) {
        return whorl_fail(fault, path, "out of memory, or of locked memory (ulimit -l)");
    }
    while (out->len < (size_t)st.st_size) {
        ssize_t n = read(fd, out->bytes + out->len, (size_t)st.st_size - out->len);
        if (n <= 0) {
            return whorl_fail(fault, path, "%s", n < 0 ? strerror(errno) : "it became shorter");
        }
        out->len += (size_t)n;
    }
    return true;
}

bool file_read(const char *path, struct whorl_secret *out, struct whorl_fault *fault)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return whorl_fail(fault, path, "%s", strerror(errno));
    }
    bool ok = read_all(fd, path, out, fault);
    close(fd);
    return ok;
}

bool file_write(const char *path, const uint8_t *bytes, size_t len, struct whorl_fault *fault)
{
    FILE *file = fopen(path, "wb");
    bool ok = file && fwrite(bytes, 1, len, file) == len;
    ok = file && fclose(file) == 0 && ok;
    return ok || whorl_fail(fault, path, "cannot write it: %s", strerror(errno));
}

/* A file has many names: links, and other ways to its folder. */
struct identity {
    dev_t device;
    ino_t number;
};

static int by_identity(const void *a, const void *b)
{
    const struct identity *x = a, *y = b;
    return x->device != y->device ? (x->device > y->device ? 1 : -1)
                                  : (x->number > y->number) - (x->number < y->number);
}

/* false: there is no such file. */
static bool identify(const char *path, struct identity *identity)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return false;
    }
    *identity = (struct identity){st.st_dev, st.st_ino};
    return true;
}

bool file_keep(struct file_kept *kept, const char *path, struct whorl_fault *fault)
{
    struct identity identity;
    if (!identify(path, &identity) || tfind(&identity, &kept->tree, by_identity)) {
        return true;
    }
    struct identity *copy = malloc(sizeof *copy);
    if (copy) {
        *copy = identity;
    }
    if (!copy || !tsearch(copy, &kept->tree, by_identity)) {
        free(copy);
        return whorl_fail(fault, path, "out of memory");
    }
    return true;
}

bool file_keep_all(struct file_kept *kept, char *const *paths, int count, struct whorl_fault *fault)
{
    for (int i = 0; i < count; i++) {
        if (!file_keep(kept, paths[i], fault)) {
            return false;
        }
    }
    return true;
}

bool file_is_free(const struct file_kept *kept, const char *path, struct whorl_fault *fault)
{
    struct identity identity;
    return !identify(path, &identity) || !tfind(&identity, &kept->tree, by_identity) ||
           whorl_fail(fault, path,
                      "is not written over: it is one of the files to read, or was "
                      "written from another of them");
}

bool file_write_once(struct file_kept *kept, const char *path, const uint8_t *bytes, size_t len,
                     struct whorl_fault *fault)
{
    return file_is_free(kept, path, fault) && file_write(path, bytes, len, fault) &&
           file_keep(kept, path, fault);
}

void file_kept_release(struct file_kept *kept)
{
    tdestroy(kept->tree, free);
    kept->tree = NULL;
}

bool file_is_minutiae_record(const struct whorl_secret *bytes)
{
    return bytes->len >= 4 && memcmp(bytes->bytes, "FMR", 4) == 0;
}

bool file_is_wsq(const struct whorl_secret *bytes)
{
    return bytes->len >= 2 && bytes->bytes[0] == 0xff && bytes->bytes[1] == 0xa0;
}

bool file_is_an2k(const struct whorl_secret *bytes)
{
    return afis_an2k_probable(bytes->bytes, bytes->len);
}
