/* Views of a gallery: one that was brought up to date by the log of changes is the one that the
 * index of all blocks lists, whatever has happened; one that somebody has never changes. */
#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "changes.h"
#include "chunk.h"
#include "gallery/gallery.h"
#include "gallery_people.h"
#include "run_suite.h"
#include "view.h"
#include "view_parts.h"

#define TWO_FINGERS (1u << 2 | 1u << 7)

enum { PEOPLE = 600, PUT_MOST = 40, HELD = 4 };

static char dir[64];
static struct gallery *gallery;
static struct whorl_fault fault;

static void name_person(char id[32], unsigned n)
{
    (void)snprintf(id, 32, "P%06u", n);
}

/* Puts person first, first + step, ... with the fingers of the people from `as` on. */
static void put(unsigned first, unsigned step, unsigned count, unsigned as)
{
    struct test_person *people = calloc(count, sizeof *people);
    struct gallery_person *list = calloc(count, sizeof *list);
    for (unsigned i = 0; i < count; i++) {
        people_make(&people[i], (as + i) % PEOPLE, TWO_FINGERS);
        name_person(people[i].id, (first + i * step) % PEOPLE);
        list[i] = people[i].person;
    }
    ck_assert_msg(gallery_put(gallery, list, count, NULL, &fault), "%s", fault.text);
    free(people);
    free(list);
}

static void take_out(unsigned first, unsigned step, unsigned count)
{
    char ids[PEOPLE][32];
    const char *list[PEOPLE];
    for (unsigned i = 0; i < count; i++) {
        name_person(ids[i], (first + i * step) % PEOPLE);
        list[i] = ids[i];
    }
    ck_assert_msg(gallery_remove(gallery, list, count, NULL, &fault), "%s", fault.text);
}

static void setup(void)
{
    people_mkdir(dir);
    people_open(&gallery, dir);
    for (unsigned first = 0; first < PEOPLE; first += PUT_MOST) {
        put(first, 1, PUT_MOST, first);
    }
    ck_assert(gallery_prepare(gallery, &fault));
}

static void teardown(void)
{
    gallery_close(gallery);
    gallery = NULL;
    people_rmdir(dir);
}

static struct view *view_of(struct gallery *of)
{
    size_t pending;
    MDB_txn *txn = whorl_store_read(of->store, &fault);
    struct view *view = view_get(of, txn, SIZE_MAX, &pending, &fault);
    ck_assert_msg(view != NULL, "%s", fault.text);
    whorl_store_done(of->store, txn);
    return view;
}

static void assert_same_chunk(const struct view_chunk *a, const struct view_chunk *b)
{
    struct chunk x, y;
    const char *why;
    uint8_t *left = view_chunk_without(a), *right = view_chunk_without(b);
    ck_assert_uint_eq(a->number, b->number);
    ck_assert_uint_eq(a->people, b->people);
    ck_assert_uint_eq(a->stamp, b->stamp);
    ck_assert_uint_eq(a->written, b->written);
    ck_assert_uint_eq(a->checksum, b->checksum);
    ck_assert(chunk_open(left, SIZE_MAX, false, &x, &why));
    ck_assert(chunk_open(right, SIZE_MAX, false, &y, &why));
    ck_assert_uint_eq(x.people, a->people);
    ck_assert_uint_eq(x.size, y.size);
    ck_assert_mem_eq(left, right, x.size);
    free(left);
    free(right);
}

static int by_rows(const void *a, const void *b)
{
    const struct view_chunk *x = *(const struct view_chunk *const *)a,
                            *y = *(const struct view_chunk *const *)b;
    return x->before < y->before ? -1 : x->before > y->before;
}

/* Each chunk has rows of its own. */
static void assert_rows(const struct view *view)
{
    const struct view_chunk **list = malloc(view->count * sizeof *list);
    uint64_t end = 0, rows = 0, people = 0;
    size_t count = 0;
    for (size_t i = 0; i < view->count; i++) {
        rows += view->chunks[i].rows;
        people += view->chunks[i].people;
        if (view->chunks[i].rows > 0) {
            list[count++] = &view->chunks[i];
        }
    }
    qsort(list, count, sizeof(const struct view_chunk *), by_rows);
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_ge(list[i]->before, end);
        end = list[i]->before + list[i]->rows;
    }
    ck_assert_uint_le(end, view->extent);
    ck_assert_uint_eq(rows, view->rows);
    ck_assert_uint_eq(people, view->people);
    free(list);
}

/* What another reader lists who knows nothing of earlier moments. */
static void assert_is_listed(const struct view *view)
{
    struct gallery *other = gallery_open(dir, WHORL_STORE_WRITE, &fault);
    ck_assert_msg(other && gallery_prepare(other, &fault), "%s", fault.text);
    struct view *listed = view_of(other);
    size_t k = 0;
    ck_assert_uint_eq(view->stamp, listed->stamp);
    ck_assert_uint_eq(view->people, listed->people);
    for (size_t i = 0; i < view->count; i++) {
        ck_assert(i == 0 || view->chunks[i].number > view->chunks[i - 1].number);
        if (view->chunks[i].people > 0) {
            ck_assert_uint_lt(k, listed->count);
            assert_same_chunk(&view->chunks[i], &listed->chunks[k++]);
        }
    }
    ck_assert_uint_eq(k, listed->count);
    assert_rows(view);
    view_unref(listed);
    gallery_close(other);
}

/* Whom a view holds, to be compared with later. */
static uint64_t digest(const struct view *view)
{
    uint64_t sum = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < view->count; i++) {
        uint8_t *bytes = view_chunk_without(&view->chunks[i]);
        const uint32_t size = chunk_bytes(bytes);
        for (uint32_t k = 0; k < size; k++) {
            sum = (sum ^ bytes[k]) * 1099511628211u;
        }
        free(bytes);
    }
    return sum;
}

static unsigned drawn(unsigned below)
{
    return (unsigned)rand() % below;
}

/* One transaction, or a few; without an erasure while others have an index file, which then cannot
 * be replaced more than once. */
static void change_something(bool erases)
{
    bool in_use;
    struct whorl_store_erased erased;
    const unsigned first = drawn(PEOPLE), step = 1 + drawn(30), count = 1 + drawn(PUT_MOST);
    switch (drawn(24)) {
    case 0:
        ck_assert(gallery_index(gallery, 0, &in_use, &fault) || !erases);
        break;
    case 1:
        ck_assert_msg(!erases || gallery_erase(gallery, &erased, &fault), "%s", fault.text);
        break;
    case 2: /* whole blocks */
        take_out(first, 1, 150);
        break;
    case 3:
    case 4:
    case 5:
        take_out(first, step, count);
        break;
    default:
        put(first, step, drawn(3) == 0 ? 1 : count, drawn(PEOPLE));
    }
}

/* Reads some blocks for the next view, which may be enough for it; returns how many are missing. */
static size_t look_ahead(size_t blocks)
{
    size_t pending;
    MDB_txn *txn = whorl_store_read(gallery->store, &fault);
    struct view *view = view_get(gallery, txn, blocks, &pending, &fault);
    whorl_store_done(gallery->store, txn);
    ck_assert((view == NULL) == (pending > 0));
    view_unref(view);
    return pending;
}

START_TEST(a_view_that_followed_the_changes_is_the_one_that_is_listed)
{
    struct view *held[HELD] = {NULL};
    uint64_t digests[HELD] = {0}, layout = 0;
    unsigned followed = 0;
    srand((unsigned)_i + 1);
    for (unsigned round = 0; round < 60; round++) {
        change_something(_i % 2 == 0);
        if (drawn(4) == 0) {
            if (drawn(2) == 0) {
                (void)look_ahead(1 + drawn(2));
            }
            continue; /* several at once */
        }
        MDB_txn *txn = whorl_store_read(gallery->store, &fault);
        if (drawn(2) == 0) {
            view_refresh(gallery, txn);
        }
        whorl_store_done(gallery->store, txn);
        struct view *view = view_of(gallery);
        followed += view->layout == layout;
        layout = view->layout;
        assert_is_listed(view);
        const unsigned k = drawn(HELD);
        if (_i % 2 != 0 && drawn(2) == 0) {
            ck_assert(!held[k] || digest(held[k]) == digests[k]);
            view_unref(held[k]);
            held[k] = view_ref(view);
            digests[k] = digest(view);
        }
        view_unref(view);
    }
    for (unsigned k = 0; k < HELD; k++) {
        ck_assert(!held[k] || digest(held[k]) == digests[k]);
        view_unref(held[k]);
    }
    ck_assert_uint_gt(followed, 20);
}
END_TEST

START_TEST(many_changes_are_taken_in_by_steps)
{
    struct view *before = view_of(gallery);
    const uint64_t digest_before = digest(before), layout = before->layout;
    uint64_t people, of;
    for (unsigned i = 0; i < 15; i++) {
        put(i, 15, PUT_MOST, 3 * i);
    }
    take_out(7, 15, PUT_MOST);
    size_t missing = look_ahead(1), steps = 1;
    ck_assert_uint_gt(missing, 4);
    view_progress(gallery, &people, &of);
    ck_assert_uint_lt(people, of);
    put(5, 15, PUT_MOST, 5); /* some of what was read is of no use any more */
    for (size_t left = look_ahead(1); left > 0; left = look_ahead(1)) {
        ck_assert(steps++ == 1 || left + 1 == missing);
        missing = left;
    }
    ck_assert_uint_gt(steps, 4);
    struct view *view = view_of(gallery);
    ck_assert_uint_eq(view->layout, layout); /* it followed the log */
    assert_is_listed(view);
    ck_assert(digest(before) == digest_before);
    view_unref(view);
    view_unref(before);
}
END_TEST

static bool is_listed(const uint32_t *numbers, size_t count, uint32_t number)
{
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] == number) {
            return true;
        }
    }
    return false;
}

START_TEST(between_two_views_those_blocks_differ_that_are_said_to)
{
    srand((unsigned)_i + 100);
    struct view *from = view_of(gallery);
    unsigned told = 0;
    for (unsigned round = 0; round < 20; round++) {
        uint32_t *numbers;
        size_t count;
        for (unsigned n = drawn(5); n > 0; n--) {
            put(drawn(PEOPLE), 1 + drawn(30), 1 + drawn(8), drawn(PEOPLE));
            MDB_txn *txn = whorl_store_read(gallery->store, &fault);
            view_refresh(gallery, txn);
            whorl_store_done(gallery->store, txn);
        }
        struct view *to = view_of(gallery);
        if (view_changes(from, to, &numbers, &count)) {
            for (size_t i = 0; i < to->count; i++) {
                const struct view_chunk *a = &from->chunks[i], *b = &to->chunks[i];
                if (!is_listed(numbers, count, b->number)) {
                    ck_assert_uint_lt(i, from->count);
                    ck_assert_mem_eq(a, b, sizeof *a);
                }
            }
            free(numbers);
            told++;
        }
        view_unref(from);
        from = to;
    }
    ck_assert_uint_gt(told, 15);
    view_unref(from);
}
END_TEST

/* --- blocks that cannot be had at the moment --- */

static size_t lacking(const struct view *view)
{
    size_t count = 0;
    for (size_t i = 0; i < view->count; i++) {
        count += view->chunks[i].bytes == NULL;
    }
    return count;
}

#define EXPORT __attribute__((visibility("default")))
EXPORT int mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value);

static int blocks_fail; /* with that code */

int mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value)
{
    int (*real)(MDB_txn *, MDB_dbi, MDB_val *, MDB_val *) =
        (int (*)(MDB_txn *, MDB_dbi, MDB_val *, MDB_val *))dlsym(RTLD_NEXT, "mdb_get");
    return blocks_fail != 0 && dbi == gallery->blocks ? blocks_fail : real(txn, dbi, key, value);
}

START_TEST(a_code_that_may_pass_is_no_damage)
{
    static const struct {
        int code;
        bool damage;
    } of[] = {{MDB_BAD_TXN, false},     {MDB_PANIC, false}, {MDB_MAP_RESIZED, false},
              {ENOMEM, false},          {EIO, false},       {MDB_CORRUPTED, true},
              {MDB_PAGE_NOTFOUND, true}};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        put(5, 3, 5, 9 + (unsigned)i);
        blocks_fail = of[i].code;
        struct view *view = view_of(gallery);
        blocks_fail = 0;
        ck_assert_uint_gt(lacking(view), 0);
        view_unref(view);
        view = view_of(gallery);
        ck_assert_int_eq(lacking(view) > 0, of[i].damage);
        view_unref(view);
    }
}
END_TEST

/* --- short of memory --- */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static bool memory_is_short; /* for chunks, which alone are aligned */
EXPORT void *aligned_alloc(size_t alignment, size_t size);

void *aligned_alloc(size_t alignment, size_t size)
{
    void *p = NULL;
    return memory_is_short || posix_memalign(&p, alignment, size) != 0 ? NULL : p;
}

START_TEST(what_memory_was_short_for_is_read_once_there_is_some)
{
    if (_i < 2) { /* the blocks have changed; or else all are new to a reader */
        put(5, 3, 5, 9);
    } else {
        people_open(&gallery, dir);
    }
    memory_is_short = true;
    struct view *view = view_of(gallery);
    memory_is_short = false;
    const size_t lacked = lacking(view);
    view_unref(view);
    ck_assert_uint_gt(lacked, 0);
    if (_i == 1) { /* others have changed meanwhile */
        put(400, 1, 2, 50);
    }
    view = view_of(gallery);
    ck_assert_uint_eq(lacking(view), 0);
    assert_is_listed(view);
    view_unref(view);
    put(50, 3, 5, 9);
    view = view_of(gallery);
    ck_assert_uint_eq(lacking(view), 0);
    assert_is_listed(view);
    view_unref(view);
}
END_TEST
#endif

/* --- the log --- */

struct spoiling {
    unsigned how;
    uint64_t stamp;
};

/* What another version of this program, or damage, may leave. */
static int spoil(MDB_txn *txn, void *arg)
{
    const struct spoiling *s = arg;
    uint64_t stamp = s->stamp;
    uint8_t bytes[8 + 6 + 1] = {0};
    MDB_val key = {sizeof stamp, &stamp}, value = {sizeof bytes, bytes};
    switch (s->how) {
    case 0:
        return mdb_drop(txn, gallery->changes, 0);
    case 1:
        return mdb_del(txn, gallery->changes, &key, NULL);
    case 2: /* cut short */
        return mdb_put(txn, gallery->changes, &key, &value, 0);
    case 3: /* of no block */
        value.mv_size = 14;
        return mdb_put(txn, gallery->changes, &key, &value, 0);
    case 4: /* nothing */
        value.mv_size = 8;
        return mdb_put(txn, gallery->changes, &key, &value, 0);
    default:
        value.mv_size = 3;
        return mdb_put(txn, gallery->changes, &key, &value, 0);
    }
}

START_TEST(where_the_log_fails_the_index_is_read)
{
    for (unsigned round = 0; round < 3; round++) {
        struct view *view = view_of(gallery);
        const uint64_t stamp = view->stamp;
        view_unref(view);
        take_out(100 + round, 7, 10);
        put(20 + round, 90, 5, round);
        struct spoiling s = {(unsigned)_i, stamp + 1};
        ck_assert(whorl_store_write(gallery->store, spoil, &s, &fault));
        view = view_of(gallery);
        assert_is_listed(view);
        view_unref(view);
    }
}
END_TEST

/* The log is not to be trusted with how many leave a block: lists of them have that much room. */
START_TEST(no_more_leave_a_chunk_than_the_index_can_name)
{
    const uint8_t bytes[CHUNK_HEADER] = {0};
    struct change changes[GONE_MAX + 1] = {{.block = 1, .place = BLOCK_HEADER}};
    struct view_gone *gone = calloc(1, sizeof *gone + GONE_MAX * sizeof *gone->people);
    struct view_chunk known = {.number = 1, .bytes = bytes, .rows = 3000, .people = 3000};
    ck_assert(view_stays(&known, changes, GONE_MAX));
    ck_assert(!view_stays(&known, changes, GONE_MAX + 1));
    known.gone = gone;
    gone->count = 60;
    ck_assert(view_stays(&known, changes, GONE_MAX - 60));
    ck_assert(!view_stays(&known, changes, GONE_MAX - 59));
    free(gone);
}
END_TEST

static uint64_t bytes_logged(uint64_t *records)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    uint64_t bytes = 0;
    MDB_txn *txn = whorl_store_read(gallery->store, &fault);
    ck_assert_int_eq(mdb_cursor_open(txn, gallery->changes, &cursor), 0);
    *records = 0;
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        bytes += value.mv_size;
        ++*records;
    }
    mdb_cursor_close(cursor);
    whorl_store_done(gallery->store, txn);
    return bytes;
}

START_TEST(the_log_keeps_what_is_new_and_drops_what_is_old)
{
    uint64_t records, most = 0;
    for (unsigned round = 0; round < 120; round++) {
        put(round, 17, PUT_MOST, round);
        const uint64_t bytes = bytes_logged(&records);
        most = bytes > most ? bytes : most;
        ck_assert_uint_gt(records, 0);
    }
    ck_assert_uint_le(most, 6 * (1000 + PEOPLE / 4) + 8 * records + 6 * 2 * PUT_MOST);
    ck_assert_uint_gt(most, 6 * 1000);
    take_out(0, 1, PEOPLE); /* all of them */
    struct view *view = view_of(gallery);
    ck_assert_uint_eq(view->people, 0);
    view_unref(view);
}
END_TEST

/* A gallery that was written before there was a log, opened for reading. */
START_TEST(a_gallery_without_a_log_can_be_read)
{
    gallery_close(gallery);
    char path[160];
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    (void)snprintf(path, sizeof path, "%s", dir);
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
    ck_assert_int_eq(mdb_env_open(env, path, 0, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, "changes", MDB_INTEGERKEY, &dbi), 0);
    ck_assert_int_eq(mdb_drop(txn, dbi, 1), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    gallery = gallery_open(dir, WHORL_STORE_READ, &fault);
    ck_assert_msg(gallery && gallery_prepare(gallery, &fault), "%s", fault.text);
    struct view *view = view_of(gallery);
    ck_assert_uint_eq(view->people, PEOPLE);
    view_unref(view);
    people_open(&gallery, dir); /* a writer makes one */
    put(5, 3, 5, 9);
    view = view_of(gallery);
    put(50, 3, 5, 9);
    struct view *next = view_of(gallery);
    ck_assert_uint_eq(next->layout, view->layout);
    assert_is_listed(next);
    view_unref(view);
    view_unref(next);
}
END_TEST

int main(void)
{
    people_warm(PEOPLE, TWO_FINGERS);
    Suite *suite = suite_create("view");
    TCase *tcase = tcase_create("view");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 280);
    tcase_add_loop_test(tcase, a_view_that_followed_the_changes_is_the_one_that_is_listed, 0, 6);
    tcase_add_test(tcase, many_changes_are_taken_in_by_steps);
    tcase_add_loop_test(tcase, between_two_views_those_blocks_differ_that_are_said_to, 0, 3);
    tcase_add_loop_test(tcase, where_the_log_fails_the_index_is_read, 0, 6);
    tcase_add_test(tcase, a_code_that_may_pass_is_no_damage);
    tcase_add_test(tcase, no_more_leave_a_chunk_than_the_index_can_name);
    tcase_add_test(tcase, the_log_keeps_what_is_new_and_drops_what_is_old);
    tcase_add_test(tcase, a_gallery_without_a_log_can_be_read);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    tcase_add_loop_test(tcase, what_memory_was_short_for_is_read_once_there_is_some, 0, 3);
#endif
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
