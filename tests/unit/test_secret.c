/* Memory for probes: what the kernel says about it, and what is left behind. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run_suite.h"
#include "whorl/secret.h"

/* Whether /proc/self/smaps gives the mapping of p this two-letter flag. */
static bool mapping_has(const void *p, const char *flag)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    ck_assert_ptr_nonnull(maps);
    char line[512];
    bool inside = false, has = false;
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from = 0, to = 0;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            inside = (unsigned long)p >= from && (unsigned long)p < to;
        } else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            has = strstr(line, flag) != NULL;
        }
    }
    fclose(maps);
    return has;
}

static void assert_protected(const void *p)
{
    ck_assert(mapping_has(p, " lo"));
    ck_assert(mapping_has(p, " dd"));
    ck_assert(mapping_has(p, " wf"));
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Runs body in a child as an ordinary user with so much lockable memory; its exit status is 0 when
 * all held. */
static void as_limited_user(rlim_t bytes, int (*body)(void))
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct rlimit limit = {bytes, bytes};
        if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 ||
            (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)) {
            _exit(99);
        }
        _exit(body());
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}

START_TEST(allocation_is_zeroed_aligned_locked_undumped_and_not_inherited)
{
    uint8_t *p = whorl_secret_alloc(100000);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq((uintptr_t)p % 64, 0);
    ck_assert(all_zero(p, 100000));
    assert_protected(p);
    whorl_secret_free(p, 100000);
    whorl_secret_free(NULL, 5);
}
END_TEST

START_TEST(impossible_sizes_fail_cleanly)
{
    errno = 0;
    ck_assert_ptr_null(whorl_secret_alloc(SIZE_MAX));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_ptr_null(whorl_secret_alloc(0));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_null(whorl_secret_alloc(SIZE_MAX / 2));
}
END_TEST

START_TEST(a_child_process_sees_zeros)
{
    char *p = whorl_secret_alloc(4096);
    ck_assert_ptr_nonnull(p);
    memset(p, 'x', 4096);
    pid_t child = fork();
    if (child == 0) {
        _exit(all_zero((uint8_t *)p, 4096) ? 0 : 1);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    ck_assert_int_eq(p[4095], 'x');
    whorl_secret_free(p, 4096);
}
END_TEST

static int alloc_past_limit(void)
{
    void *small = whorl_secret_alloc(4096);
    errno = 0;
    void *large = whorl_secret_alloc(1 << 20);
    return small != NULL && large == NULL && errno != 0 ? 0 : 1;
}

static int grow_past_limit(void)
{
    struct whorl_secret secret = {0};
    char block[4096];
    memset(block, 'a', sizeof block);
    int wrote = 0;
    while (wrote < 100 && whorl_secret_write(&secret, block, sizeof block) == 0) {
        wrote++;
    }
    /* 64 KiB hold 16 blocks; what was written stays. */
    bool kept = wrote == 16 && secret.len == 16 * sizeof block && secret.bytes[65535] == 'a';
    whorl_secret_release(&secret);
    return kept ? 0 : 1;
}

START_TEST(the_limit_on_locked_memory_is_an_error_not_unlocked_memory)
{
    as_limited_user(65536, alloc_past_limit);
    as_limited_user(65536, grow_past_limit);
}
END_TEST

START_TEST(a_growing_buffer_keeps_its_bytes_and_its_protection)
{
    struct whorl_secret secret = {0};
    unsigned written = 0, kept = 0;
    for (unsigned i = 0; i < 300000; i++) { /* Check itself takes longer than all the rest */
        char byte = (char)(i * 7);
        written += whorl_secret_write(&secret, &byte, 1) == 0;
    }
    ck_assert_uint_eq(written, 300000);
    ck_assert_uint_eq(secret.len, 300000);
    for (unsigned i = 0; i < 300000; i++) {
        kept += secret.bytes[i] == (uint8_t)(i * 7);
    }
    ck_assert_uint_eq(kept, 300000);
    assert_protected(secret.bytes);
    assert_protected(secret.bytes + secret.cap - 1);
    ck_assert(whorl_secret_reserve(&secret, 5000000));
    ck_assert_uint_ge(secret.cap, 5000000);
    assert_protected(secret.bytes + 4999999);
    ck_assert_uint_eq(secret.bytes[299999], (uint8_t)(299999 * 7));
    whorl_secret_release(&secret);
    ck_assert_ptr_null(secret.bytes);
    ck_assert_uint_eq(secret.len + secret.cap, 0);
    whorl_secret_release(&secret);
}
END_TEST

START_TEST(consuming_moves_the_rest_down_and_wipes_its_old_place)
{
    struct whorl_secret secret = {0};
    ck_assert_int_eq(whorl_secret_write(&secret, "abcdefgh", 8), 0);
    whorl_secret_consume(&secret, 3);
    ck_assert_uint_eq(secret.len, 5);
    ck_assert_mem_eq(secret.bytes, "defgh\0\0\0", 8);
    whorl_secret_consume(&secret, 0);
    ck_assert_uint_eq(secret.len, 5);
    whorl_secret_consume(&secret, 5);
    ck_assert(all_zero(secret.bytes, 8));
    ck_assert_int_eq(whorl_secret_write(&secret, "", 0), 0);
    ck_assert_int_eq(whorl_secret_write(&secret, "x", SIZE_MAX / 2), -1);
    whorl_secret_release(&secret);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("secret");
    TCase *tc = tcase_create("secret");
    tcase_add_test(tc, allocation_is_zeroed_aligned_locked_undumped_and_not_inherited);
    tcase_add_test(tc, impossible_sizes_fail_cleanly);
    tcase_add_test(tc, a_child_process_sees_zeros);
    tcase_add_test(tc, the_limit_on_locked_memory_is_an_error_not_unlocked_memory);
    tcase_add_test(tc, a_growing_buffer_keeps_its_bytes_and_its_protection);
    tcase_add_test(tc, consuming_moves_the_rest_down_and_wipes_its_old_place);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
