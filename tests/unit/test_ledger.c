/* Nothing that the loop's thread copied goes along to the threads that a write starts: a new thread
 * begins with its parent's vector registers. Here the function that starts them is this program's
 * own; it looks at the registers and goes on to libuv's. */
#include <check.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/identify/ledger.h"
#include "run_suite.h"
#include "whorl/msg.h"

static uint8_t registers[16][16];
static unsigned started;

int uv_queue_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work, uv_after_work_cb after)
{
    static const uint8_t zeros[sizeof registers];
    __asm__ volatile(
        "movups %%xmm0, 0(%0)\n\tmovups %%xmm1, 16(%0)\n\tmovups %%xmm2, 32(%0)\n\t"
        "movups %%xmm3, 48(%0)\n\tmovups %%xmm4, 64(%0)\n\tmovups %%xmm5, 80(%0)\n\t"
        "movups %%xmm6, 96(%0)\n\tmovups %%xmm7, 112(%0)\n\tmovups %%xmm15, 240(%0)" ::"r"(
            registers)
        : "memory");
    started++;
    ck_assert_mem_eq(registers, zeros, sizeof registers);
    int (*real)(uv_loop_t *, uv_work_t *, uv_work_cb, uv_after_work_cb);
    *(void **)&real = dlsym(RTLD_NEXT, "uv_queue_work");
    return real(loop, req, work, after);
}

static void done(void *ctx, bool stored, const struct whorl_fault *fault)
{
    ck_assert_msg(stored, "%s", fault->text);
    *(bool *)ctx = true;
}

START_TEST(threads_that_a_write_starts_inherit_no_registers)
{
    char dir[] = "/tmp/whorl-test-XXXXXX", file[64];
    uv_loop_t loop;
    struct whorl_fault fault = {"", ""};
    bool ended = false;
    const struct ledger_entry entry = {.transaction = "0190b6a0-0000-7000-8000-000000000001",
                                       .request_id = "request-1",
                                       .device = "phone-1",
                                       .officer = "WMP1",
                                       .force = "WMP"};
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    struct ledger *ledger = ledger_open(&loop, dir, &fault);
    ck_assert_msg(ledger != NULL, "%s", fault.text);
    /* What a copy of a probe would leave. */
    __asm__ volatile("pcmpeqd %%xmm15, %%xmm15" ::: "xmm15");
    ledger_add(ledger, &entry, done, &ended);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(ended);
    ck_assert_uint_eq(started, 1);
    ledger_close(ledger);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    snprintf(file, sizeof file, "rm -r %s", dir);
    ck_assert_int_eq(system(file), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ledger");
    TCase *cases = tcase_create("ledger");
    tcase_add_test(cases, threads_that_a_write_starts_inherit_no_registers);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
