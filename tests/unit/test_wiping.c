/* Memory that core gives back holds nobody's name: whatever it frees on a request's way is looked
 * at, and it is linked so that its malloc and free are those of this file. */
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/identify/people.h"
#include "core/packed/packed.h"
#include "flow_world.h"
#include "run_suite.h"

#define EXPORT __attribute__((visibility("default"))) /* sanitizers' libraries refer to them */

/* What the search that is told finds, and who is claimed. */
static const char *const names[] = {"Calloway", "Ferncastle"};

static atomic_bool watching, no_memory, parsing_fails;
static atomic_uint freed, told; /* blocks that were looked at, and that held a name */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void __real_free(void *block);
bool __real_whorl_msg_parse(const uint8_t *bytes, size_t len, struct whorl_msg *out,
                            struct whorl_fault *why);
EXPORT void *__wrap_malloc(size_t size);
EXPORT void *__wrap_calloc(size_t count, size_t size);
EXPORT void *__wrap_realloc(void *block, size_t size);
EXPORT void __wrap_free(void *block);
EXPORT bool __wrap_whorl_msg_parse(const uint8_t *bytes, size_t len, struct whorl_msg *out,
                                   struct whorl_fault *why);

/* Empty up to where it ends, so that nothing is found that somebody else left there. */
void *__wrap_malloc(size_t size)
{
    void *block = no_memory ? NULL : __real_malloc(size);
    return block != NULL ? memset(block, 0, malloc_usable_size(block)) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *block = __real_calloc(count, size);
    return block != NULL ? memset(block, 0, malloc_usable_size(block)) : NULL;
}

void __wrap_free(void *block)
{
    size_t len = watching && block != NULL ? malloc_usable_size(block) : 0;
    freed += len > 0;
    for (size_t i = 0; len > 0 && i < sizeof names / sizeof *names; i++) {
        told += memmem(block, len, names[i], strlen(names[i])) != NULL;
    }
    __real_free(block);
}

/* As one that moves: it may. */
void *__wrap_realloc(void *block, size_t size)
{
    void *moved = __wrap_malloc(size);
    size_t len = block != NULL ? malloc_usable_size(block) : 0;
    if (moved != NULL) {
        memcpy(moved, block != NULL ? block : "", len < size ? len : size);
        __wrap_free(block);
    }
    return moved;
}

bool __wrap_whorl_msg_parse(const uint8_t *bytes, size_t len, struct whorl_msg *out,
                            struct whorl_fault *why)
{
    return !parsing_fails && __real_whorl_msg_parse(bytes, len, out, why);
}

static void watch(void)
{
    freed = told = 0;
    watching = true;
}

static void assert_wiped(void)
{
    watching = false;
    ck_assert_uint_gt(freed, 0);
    ck_assert_uint_eq(told, 0);
}

static void run_until_idle(void)
{
    while (identify_open(identify) > 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
}

START_TEST(of_a_request_that_is_answered_and_repeated)
{
    char more[512];
    snprintf(more, sizeof more,
             SAMPLES("match", "match") ",'subject':{'family':'Ferncastle',"
                                       "'given':'%090d','born':'1979-07-21'}",
             0);
    watch();
    ask(1, "request-1", more);
    await(1);
    ask(2, "request-1", more);
    await(2);
    run_until_idle();
    assert_wiped();
    ck_assert_uint_gt(replies[1].len, 1000); /* more than a buffer begins with */
    assert_class(&replies[1], "finder", "match", "");
    assert_class(&replies[2], "records", "match", "");
    ck_assert(memmem(replies[1].bytes, replies[1].len, names[0], strlen(names[0])) != NULL);
    ck_assert(memmem(replies[1].bytes, replies[1].len, names[1], strlen(names[1])) != NULL);
}
END_TEST

START_TEST(of_people_whom_a_gateway_names)
{
    watch();
    send_as(3, 1, "identify",
            "{'request_id':'request-1'," ASK ",'route':['region'],'people':[{'family':"
            "'Ferncastle'},{'family':'Calloway','given':'Dean'}]}");
    assert_class(await(1), "records", "match", "");
    send_as(1, 2, "identify",
            "{'request_id':'request-2'," ASK ",'people':[{'family':'Ferncastle'}]}");
    assert_refused(await(2), "invalid", "people");
    run_until_idle();
    assert_wiped();
}
END_TEST

/* The words that begin a buffer are in it when there is no memory for more. */
START_TEST(of_what_could_not_be_packed_whole)
{
    static const char rest[1000];
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    watch();
    ck_assert_int_eq(packed_write(&buffer, names[0], strlen(names[0])), 0);
    no_memory = true;
    int failed = packed_write(&buffer, rest, sizeof rest);
    no_memory = false;
    assert_wiped();
    ck_assert_int_ne(failed, 0);
    ck_assert_uint_eq(buffer.size, 0);
    ck_assert_int_ne(packed_write(&buffer, rest, 1), 0);
}
END_TEST

START_TEST(of_people_who_could_not_be_kept)
{
    struct packed packed;
    struct people people;
    packed_make(&packed, "[{'family':'Ferncastle'}]");
    watch();
    parsing_fails = true;
    bool kept = people_read(&packed.msg.root, &people, &fault);
    parsing_fails = false;
    assert_wiped();
    ck_assert(!kept);
    packed_free(&packed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wiping");
    TCase *cases = tcase_create("memory that is given back");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, of_a_request_that_is_answered_and_repeated);
    tcase_add_test(cases, of_people_whom_a_gateway_names);
    tcase_add_test(cases, of_what_could_not_be_packed_whole);
    tcase_add_test(cases, of_people_who_could_not_be_kept);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
