/* The sample that trials send. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "internal.h"

enum { NOISE_LEN = 4096, FILE_MAX = 4 << 20 };

/* xorshift64 (Marsaglia 2003): noise of which no run of 32 bytes occurs elsewhere by chance. */
static bool noise(struct whorl_secret *sample)
{
    uint64_t x = 88172645463325252u;
    if (!whorl_secret_reserve(sample, NOISE_LEN)) {
        return false;
    }
    for (sample->len = 0; sample->len < NOISE_LEN; sample->len++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        sample->bytes[sample->len] = (uint8_t)(x >> 32);
    }
    return true;
}

bool kit_sample(const struct kit_subject *subject, struct whorl_secret *sample)
{
    if (!subject->sample_path) {
        return noise(sample);
    }
    int fd = open(subject->sample_path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && whorl_secret_reserve(sample, FILE_MAX);
    ssize_t got = 1;
    while (good && got > 0 && sample->len < FILE_MAX) {
        got = read(fd, sample->bytes + sample->len, FILE_MAX - sample->len);
        good = got >= 0 || errno == EINTR;
        sample->len += got > 0 ? (size_t)got : 0;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return good && sample->len > 0;
}
