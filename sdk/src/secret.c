/* Each allocation is a mapping of its own, so that locking, hiding from core dumps and wiping touch
 * nothing else, and a growing one can be moved by its page table without leaving a copy behind. */
#include "whorl/secret.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SMALLEST 4096u

/* Rounds up to whole pages; 0 when that overflows. */
static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (size > SIZE_MAX - page) {
        return 0;
    }
    return (size + page - 1) / page * page;
}

static bool protect(void *p, size_t size)
{
    /* mlock2 rather than mlock, which sanitizers turn into a call that does nothing. */
    return mlock2(p, size, 0) == 0 && madvise(p, size, MADV_DONTDUMP) == 0 &&
           madvise(p, size, MADV_WIPEONFORK) == 0;
}

void *whorl_secret_alloc(size_t size)
{
    size_t mapped = whole_pages(size);
    if (mapped == 0) {
        errno = size == 0 ? EINVAL : ENOMEM;
        return NULL;
    }
    void *p = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    if (!protect(p, mapped)) {
        int reason = errno;
        munmap(p, mapped);
        errno = reason;
        return NULL;
    }
    return p;
}

void whorl_secret_free(void *p, size_t size)
{
    if (p == NULL) {
        return;
    }
    size_t mapped = whole_pages(size);
    explicit_bzero(p, mapped);
    munmap(p, mapped);
}

bool whorl_secret_reserve(struct whorl_secret *secret, size_t cap)
{
    if (cap <= secret->cap) {
        return true;
    }
    size_t mapped = whole_pages(cap);
    if (mapped == 0) {
        errno = ENOMEM;
        return false;
    }
    void *p = NULL;
    if (secret->bytes == NULL) {
        p = whorl_secret_alloc(mapped);
    } else {
        /* Moves the pages themselves with their lock and advice: no second copy ever exists. */
        p = mremap(secret->bytes, secret->cap, mapped, MREMAP_MAYMOVE);
        p = p == MAP_FAILED ? NULL : p;
    }
    if (p == NULL) {
        return false;
    }
    secret->bytes = p;
    secret->cap = mapped;
    return true;
}

int whorl_secret_write(void *secret, const char *bytes, size_t len)
{
    struct whorl_secret *to = secret;
    if (len == 0) {
        return 0;
    }
    if (len > SIZE_MAX / 2 - to->len) {
        errno = ENOMEM;
        return -1;
    }
    size_t needed = to->len + len;
    if (needed > to->cap) {
        size_t doubled = to->cap < SMALLEST ? SMALLEST : to->cap * 2;
        if (!whorl_secret_reserve(to, doubled > needed ? doubled : needed) &&
            !whorl_secret_reserve(to, needed)) {
            return -1;
        }
    }
    memcpy(to->bytes + to->len, bytes, len);
    to->len = needed;
    return 0;
}

void whorl_secret_consume(struct whorl_secret *secret, size_t n)
{
    if (n == 0) {
        return;
    }
    size_t left = secret->len - n;
    memmove(secret->bytes, secret->bytes + n, left);
    explicit_bzero(secret->bytes + left, n);
    secret->len = left;
}

void whorl_secret_release(struct whorl_secret *secret)
{
    whorl_secret_free(secret->bytes, secret->cap);
    *secret = (struct whorl_secret){0};
}
