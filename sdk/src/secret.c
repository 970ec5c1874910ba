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

#if defined(__x86_64__)

#define FORGET(n) "vpxord %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n\t"
#define LOW_REGISTERS                                                                              \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",       \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

/* In this ABI no vector register survives a call, so all may be cleared. The upper sixteen exist
 * with AVX-512 only, where glibc copies with them. */
void whorl_secret_forget(void)
{
    if (__builtin_cpu_supports("avx512f")) {
        __asm__ volatile(FORGET(16) FORGET(17) FORGET(18) FORGET(19) FORGET(20) FORGET(21)
                             FORGET(22) FORGET(23) FORGET(24) FORGET(25) FORGET(26) FORGET(27)
                                 FORGET(28) FORGET(29) FORGET(30) FORGET(31)::
                                     : "memory");
    }
    if (__builtin_cpu_supports("avx")) {
        __asm__ volatile("vzeroall" ::: LOW_REGISTERS, "memory");
    } else {
        __asm__ volatile(
            "pxor %%xmm0, %%xmm0\n\tpxor %%xmm1, %%xmm1\n\tpxor %%xmm2, %%xmm2\n\t"
            "pxor %%xmm3, %%xmm3\n\tpxor %%xmm4, %%xmm4\n\tpxor %%xmm5, %%xmm5\n\t"
            "pxor %%xmm6, %%xmm6\n\tpxor %%xmm7, %%xmm7\n\tpxor %%xmm8, %%xmm8\n\t"
            "pxor %%xmm9, %%xmm9\n\tpxor %%xmm10, %%xmm10\n\tpxor %%xmm11, %%xmm11\n\t"
            "pxor %%xmm12, %%xmm12\n\tpxor %%xmm13, %%xmm13\n\tpxor %%xmm14, %%xmm14\n\t"
            "pxor %%xmm15, %%xmm15" ::
                : LOW_REGISTERS, "memory");
    }
}

#elif defined(__aarch64__)

/* v8 to v15 belong to the caller in part, which the clobbers see to; copying uses the others. */
void whorl_secret_forget(void)
{
    __asm__ volatile("movi v0.2d, #0\n\tmovi v1.2d, #0\n\tmovi v2.2d, #0\n\tmovi v3.2d, #0\n\t"
                     "movi v4.2d, #0\n\tmovi v5.2d, #0\n\tmovi v6.2d, #0\n\tmovi v7.2d, #0\n\t"
                     "movi v16.2d, #0\n\tmovi v17.2d, #0\n\tmovi v18.2d, #0\n\t"
                     "movi v19.2d, #0\n\tmovi v20.2d, #0\n\tmovi v21.2d, #0\n\t"
                     "movi v22.2d, #0\n\tmovi v23.2d, #0" ::
                         : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18",
                           "v19", "v20", "v21", "v22", "v23", "memory");
}

#else

void whorl_secret_forget(void)
{
}

#endif
