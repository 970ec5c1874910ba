/* A person's record: it comes back as written, and what has another form is refused. */
#include <check.h>
#include <libdeflate.h>
#include <string.h>

#include "bytes.h"
#include "gallery_people.h"
#include "person.h"
#include "run_suite.h"
#include "whorl/msg.h"

#define HEADER 12u
#define TWO_FINGERS (1u << 2 | 1u << 7)
#define FIELDS 9

static struct test_person person;
static struct whorl_fault fault;
static msgpack_sbuffer record;

static void setup(void)
{
    people_make(&person, 7, TWO_FINGERS);
    person.person.expires = 4000000000;
    msgpack_sbuffer_init(&record);
}

static void teardown(void)
{
    msgpack_sbuffer_destroy(&record);
}

static void seal(uint32_t version)
{
    uint8_t *bytes = (uint8_t *)record.data;
    put32(bytes, version);
    put32(bytes + 8, 42);
    put32(bytes + 4, libdeflate_crc32(0, bytes + 8, record.size - 8));
}

static struct gallery_person *decode(void)
{
    fault = (struct whorl_fault){{0}, {0}};
    return person_decode(person.person.id, strlen(person.person.id), (const uint8_t *)record.data,
                         record.size, NULL, &fault);
}

static void assert_comes_back(void)
{
    uint32_t block;
    ck_assert(person_block((const uint8_t *)record.data, record.size, &block));
    ck_assert_uint_eq(block, 42);
    struct gallery_person *back = decode();
    ck_assert_msg(back != NULL, "%s %s", fault.where, fault.text);
    people_assert_same(&person.person, back);
    gallery_person_free(back);
}

/* The elements of the record as it is, which may change then. The caller releases them. */
static struct whorl_msg elements(void)
{
    static uint8_t copy[4096];
    struct whorl_msg msg;
    ck_assert_uint_le(record.size, sizeof copy);
    memcpy(copy, record.data, record.size);
    ck_assert(whorl_msg_parse(copy + HEADER, record.size - HEADER, &msg, &fault));
    ck_assert_int_eq(msg.root.type, MSGPACK_OBJECT_MAP);
    return msg;
}

START_TEST(a_record_comes_back_as_written)
{
    ck_assert(person_encode(&person.person, 42, &record));
    assert_comes_back();
}
END_TEST

START_TEST(a_record_of_an_unknown_version_or_form_is_refused)
{
    msgpack_packer pk;
    uint32_t block;
    ck_assert(person_encode(&person.person, 42, &record));
    for (uint32_t version = 0; version < 5; version++) {
        seal(version);
        ck_assert(person_block((const uint8_t *)record.data, record.size, &block) ==
                  (version == 1));
    }
    struct whorl_msg msg = elements();
    const uint32_t all = msg.root.via.map.size, other = (uint32_t)_i % all;
    ck_assert_uint_eq(all, FIELDS);
    msgpack_sbuffer_clear(&record);
    msgpack_packer_init(&pk, &record, msgpack_sbuffer_write);
    msgpack_sbuffer_write(&record, (const char[HEADER]){0}, HEADER);
    msgpack_pack_map(&pk, _i < FIELDS ? all - 1 : all);
    for (uint32_t i = 0; i < all; i++) {
        if (i != other || _i >= FIELDS) {
            msgpack_pack_object(&pk, msg.root.via.map.ptr[i].key);
        }
        if (i != other) {
            msgpack_pack_object(&pk, msg.root.via.map.ptr[i].val);
        } else if (_i >= FIELDS) {
            msgpack_pack_false(&pk);
        }
    }
    whorl_msg_release(&msg);
    seal(1);
    ck_assert_ptr_null(decode());
    ck_assert_str_ne(fault.text, "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("person");
    TCase *tcase = tcase_create("person");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_record_comes_back_as_written);
    tcase_add_loop_test(tcase, a_record_of_an_unknown_version_or_form_is_refused, 0, 2 * FIELDS);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
