#include "cli/print/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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
