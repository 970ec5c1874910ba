/* The search index: that what it holds, lacks or has wrong never changes what a search finds. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "afis/match.h"
#include "gallery/gallery.h"
#include "gallery/search.h"
#include "gallery_people.h"
#include "run_suite.h"
#include "segment.h"
#include "view_parts.h"
#include "whorl/secret.h"

#define TWO_FINGERS (1u << 2 | 1u << 7)

static char dir[64], path[128];
static struct gallery *gallery;
static struct whorl_fault fault;

static void reopen(void)
{
    people_open(&gallery, dir);
}

static void setup(void)
{
    people_mkdir(dir);
    (void)snprintf(path, sizeof path, "%s/%s", dir, SEGMENT_NAME);
    reopen();
}

static void teardown(void)
{
    gallery_close(gallery);
    gallery = NULL;
    people_rmdir(dir);
}

static void put_as(unsigned n, unsigned fingers, const char *id)
{
    struct test_person *person = malloc(sizeof *person);
    people_make(person, n, fingers);
    if (id) {
        (void)snprintf(person->id, sizeof person->id, "%s", id);
    }
    ck_assert_msg(gallery_put(gallery, &person->person, 1, NULL, &fault), "%s", fault.text);
    free(person);
}

static void put_range(unsigned from, unsigned to, unsigned fingers)
{
    enum { AT_ONCE = 200 };
    struct test_person *people = calloc(AT_ONCE, sizeof *people);
    struct gallery_person *list = calloc(AT_ONCE, sizeof *list);
    while (from < to) {
        unsigned count = 0;
        for (; count < AT_ONCE && from < to; count++, from++) {
            people_make(&people[count], from, fingers);
            list[count] = people[count].person;
        }
        ck_assert_msg(gallery_put(gallery, list, count, NULL, &fault), "%s", fault.text);
    }
    free(people);
    free(list);
}

static void remove_person(unsigned n)
{
    char id[32];
    const char *ids[] = {id};
    (void)snprintf(id, sizeof id, "P%06u", n);
    ck_assert(gallery_remove(gallery, ids, 1, NULL, &fault));
}

static void write_index(void)
{
    bool in_use;
    ck_assert_msg(gallery_index(gallery, 0, &in_use, &fault), "%s", fault.text);
}

/* --- searching --- */

static struct afis_finger *finger_of(unsigned n, uint8_t position, unsigned impression)
{
    struct afis_template tmpl;
    struct afis_finger *finger = aligned_alloc(64, (afis_finger_size() + 63) & ~(size_t)63);
    people_finger(people_seed(n, position), impression, position, &tmpl);
    ck_assert_int_eq(afis_finger_prepare(&tmpl, finger), AFIS_OK);
    return finger;
}

static void run(struct gallery_search *search, struct gallery_result *result)
{
    void *scratch = whorl_secret_alloc(gallery_search_scratch_size());
    enum gallery_finish finish;
    ck_assert_msg(search != NULL, "%s", fault.text);
    do {
        while (gallery_search_step(search, scratch) == GALLERY_STEP_MORE) {
        }
        finish = gallery_search_finish(search, scratch, result, &fault);
    } while (finish == GALLERY_FINISH_AGAIN);
    ck_assert_int_eq(finish, GALLERY_FINISH_DONE);
    whorl_secret_free(scratch, gallery_search_scratch_size());
    gallery_search_free(search);
}

static void search_for(unsigned n, unsigned impression, bool thorough,
                       struct gallery_result *result)
{
    struct afis_finger *fingers[] = {finger_of(n, 2, impression), finger_of(n, 7, impression)};
    struct gallery_probe probes[] = {{fingers[0], 2}, {fingers[1], 7}};
    struct gallery_search_params params = {.probes = probes,
                                           .probe_count = 2,
                                           .match_fpir = 0.001,
                                           .possible_fpir = 0.05,
                                           .max_candidates = 10,
                                           .thorough = thorough,
                                           .now = 1800000000};
    run(gallery_search_begin(gallery, &params, &fault), result);
    free(fingers[0]);
    free(fingers[1]);
}

static void assert_found(unsigned n)
{
    struct gallery_result result;
    char id[32];
    (void)snprintf(id, sizeof id, "P%06u", n);
    search_for(n, 3, false, &result);
    ck_assert(result.complete);
    ck_assert_uint_eq(result.people, result.of);
    ck_assert_uint_ge(result.candidate_count, 1);
    ck_assert_str_eq(result.candidates[0].person->id, id);
    gallery_result_release(&result);
}

static void assert_nobody(unsigned n)
{
    struct gallery_result result;
    search_for(n, 3, false, &result);
    ck_assert(result.complete);
    ck_assert_uint_eq(result.candidate_count, 0);
    gallery_result_release(&result);
}

/* How many of the index's chunks are as the store has the blocks now, and void. */
static unsigned count_chunks(unsigned *voided)
{
    enum segment_lack lack;
    struct segment *segment = segment_open(dir, &lack, &fault);
    ck_assert_msg(segment != NULL, "%s", fault.text);
    ck_assert_msg(segment_verify(segment, UINT32_MAX, &fault), "%s", fault.text);
    unsigned count = segment->count;
    *voided = 0;
    for (unsigned i = 0; i < count; i++) {
        struct chunk chunk;
        const char *why;
        ck_assert(chunk_open(segment->bytes + segment->offset[i], segment->len - segment->offset[i],
                             true, &chunk, &why));
        *voided += chunk.stamp == CHUNK_VOID;
    }
    segment_unref(segment);
    return count;
}

static void note_problem(void *ctx, const char *text)
{
    (void)snprintf(ctx, 512, "%s", text);
}

static size_t problems(char text[512])
{
    size_t count = 0;
    text[0] = '\0';
    ck_assert_msg(gallery_check(gallery, note_problem, text, &count, &fault), "%s", fault.text);
    return count;
}

/* --- stages --- */

START_TEST(a_large_gallery_gives_the_answer_of_comparing_everyone)
{
    enum { PEOPLE = 1500, SEARCHES = 12 };
    put_range(0, PEOPLE, TWO_FINGERS);
    struct afis_matcher *matcher = aligned_alloc(64, (afis_matcher_size() + 63) & ~(size_t)63);
    struct afis_finger *finger = aligned_alloc(64, (afis_finger_size() + 63) & ~(size_t)63);
    struct test_person *person = malloc(sizeof *person);
    memset(matcher, 0, afis_matcher_size());
    for (unsigned i = 0; i < SEARCHES; i++) {
        const unsigned n = i * 120 + (i % 3 == 2 ? 100000 : 0);
        struct gallery_result result;
        char best_id[32] = "";
        float best = -1;
        struct afis_finger *probe[] = {finger_of(n, 2, 3), finger_of(n, 7, 3)};
        search_for(n, 3, i % 2, &result);
        for (unsigned k = i; k < PEOPLE; k += SEARCHES) { /* a share of the strangers, and n */
            float scores[2];
            people_make(person, k == i && n < PEOPLE ? n : k, TWO_FINGERS);
            for (unsigned f = 0; f < 2; f++) {
                ck_assert_int_eq(
                    afis_finger_prepare_packed(person->packed[f], person->prints[f].len, finger),
                    AFIS_OK);
                scores[f] = afis_compare(matcher, probe[f], finger);
            }
            float fused = afis_fuse(scores, 2);
            if (fused > best) {
                best = fused;
                (void)snprintf(best_id, sizeof best_id, "%s", person->id);
            }
        }
        ck_assert(result.complete);
        ck_assert_uint_eq(result.people, PEOPLE);
        ck_assert_uint_eq(result.comparable, PEOPLE);
        ck_assert_uint_eq(result.candidate_count > 0, best >= result.possible_threshold);
        if (result.candidate_count > 0) {
            ck_assert_str_eq(result.candidates[0].person->id, best_id);
            ck_assert_float_eq(result.candidates[0].score, best);
        }
        gallery_result_release(&result);
        free(probe[0]);
        free(probe[1]);
    }
    free(matcher);
    free(finger);
    free(person);
}
END_TEST

START_TEST(two_enrolments_of_one_person_are_both_found)
{
    struct gallery_result result;
    put_range(0, 1200, TWO_FINGERS);
    put_as(7, TWO_FINGERS, "AGAIN");
    search_for(7, 3, true, &result);
    ck_assert_uint_eq(result.above_match, 2);
    gallery_result_release(&result);
    search_for(7, 3, false, &result);
    ck_assert_uint_eq(result.above_match, 2);
    gallery_result_release(&result);
}
END_TEST

/* --- the segment --- */

START_TEST(a_gallery_is_searched_from_its_segment)
{
    unsigned voided;
    put_range(0, 1500, TWO_FINGERS);
    write_index();
    ck_assert_uint_gt(count_chunks(&voided), 10);
    ck_assert_uint_eq(voided, 0);
    reopen();
    ck_assert_msg(gallery_prepare(gallery, &fault), "%s", fault.text);
    assert_found(1234);
    assert_nobody(5000);
}
END_TEST

START_TEST(what_changed_after_the_segment_was_written_is_found_and_missed_as_it_should)
{
    put_range(0, 700, TWO_FINGERS);
    write_index();
    remove_person(11);
    put_range(700, 705, TWO_FINGERS);
    put_as(4000, TWO_FINGERS, "P000012"); /* P000012 has other fingers now */
    reopen();
    ck_assert(gallery_prepare(gallery, &fault));
    assert_nobody(11);
    assert_nobody(12);
    assert_found(702);
    assert_found(13);
    struct gallery_result result;
    search_for(4000, 3, false, &result);
    ck_assert_uint_ge(result.candidate_count, 1);
    ck_assert_str_eq(result.candidates[0].person->id, "P000012");
    gallery_result_release(&result);
}
END_TEST

/* A segment of another state of the same gallery: versions of blocks have the same numbers. */
START_TEST(a_segment_of_another_gallery_costs_time_and_no_answer)
{
    char other[64], from[128];
    people_mkdir(other);
    (void)snprintf(from, sizeof from, "%s/%s", other, SEGMENT_NAME);
    put_range(1000, 1700, TWO_FINGERS);
    write_index();
    ck_assert_int_eq(rename(path, from), 0);
    for (unsigned n = 0; n < 5; n++) {
        remove_person(1000 + n);
    }
    teardown();
    setup();
    put_range(0, 700, TWO_FINGERS);
    ck_assert_int_eq(rename(from, path), 0);
    reopen();
    ck_assert(gallery_prepare(gallery, &fault));
    assert_found(600);
    assert_nobody(1600);
    people_rmdir(other);
}
END_TEST

static void damage(off_t at)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* In each field of the header, of a chunk's header, and in each of its parts. */
static const off_t places[] = {0,  4,  8,   16,  60,  64,  68,   72,   80,    84,   88,
                               92, 96, 100, 104, 120, 128, 1000, 9000, 20000, 40000};

START_TEST(a_damaged_segment_is_refused_and_named_and_made_anew)
{
    struct segment *segment;
    enum segment_lack lack;
    put_range(0, 300, TWO_FINGERS);
    write_index();
    char problem[512];
    ck_assert_msg(problems(problem) == 0, "%s", problem);
    damage(places[_i]);
    ck_assert_uint_eq(problems(problem), 1);
    ck_assert_msg(strstr(problem, "segment") != NULL, "%s", problem);
    segment = segment_open(dir, &lack, &fault);
    ck_assert(segment == NULL || !segment_verify(segment, UINT32_MAX, &fault));
    ck_assert_str_eq(fault.where, SEGMENT_NAME);
    ck_assert(segment != NULL || lack == SEGMENT_DAMAGED);
    segment_unref(segment);
    reopen();
    uint64_t people, of;
    bool said = false;
    while (gallery_prepare_step(gallery, &people, &of, &fault) == GALLERY_PREPARING) {
        said = said || strstr(fault.text, "segment") != NULL;
    }
    ck_assert(said);
    assert_found(245);
    assert_nobody(900);
    write_index();
    unsigned voided;
    ck_assert_uint_gt(count_chunks(&voided), 3);
    ck_assert_uint_eq(problems(problem), 0);
}
END_TEST

/* Chunks that took the words of unchanged prints from those before are the same as others. */
START_TEST(an_index_of_changed_blocks_is_as_if_made_at_once)
{
    char problem[512];
    put_range(0, 300, TWO_FINGERS);
    ck_assert(gallery_prepare(gallery, &fault));
    for (unsigned n = 0; n < 300; n += 17) {
        n % 2 ? remove_person(n) : put_as(n + 500, 0x7feu & (n * 37 + 4), "P000001");
    }
    put_range(290, 296, 1u << 7);
    write_index();
    ck_assert_msg(problems(problem) == 0, "%s", problem);
    assert_found(200);
}
END_TEST

START_TEST(a_chunk_of_more_than_a_block_can_hold_is_refused)
{
    enum { MANY = CHUNK_ROWS_MAX + 1 };
    const uint32_t size = chunk_size(1, MANY);
    uint8_t *bytes = aligned_alloc(64, size), *good = NULL;
    struct chunk chunk;
    const char *why;
    struct stat st;
    put_range(0, 20, TWO_FINGERS);
    write_index();
    ck_assert_int_eq(stat(path, &st), 0);
    good = malloc((size_t)st.st_size);
    int fd = open(path, O_RDONLY);
    ck_assert_int_eq(read(fd, good, (size_t)st.st_size), st.st_size);
    close(fd);
    memset(bytes, 0, size);
    memcpy(bytes, good + SEGMENT_HEADER, CHUNK_HEADER);
    const uint32_t counts[] = {1, MANY, size};
    memcpy(bytes + 16, counts, sizeof counts);
    for (size_t at = 40; at < 62; at += 2) { /* all of one position */
        bytes[at] = MANY & 0xff;
        bytes[at + 1] = MANY >> 8;
    }
    ck_assert(!chunk_open(bytes, size, false, &chunk, &why));
    ck_assert_str_eq(why, "has impossible counts");
    free(bytes);
    free(good);
}
END_TEST

START_TEST(a_segment_cut_anywhere_is_refused)
{
    struct stat st;
    put_range(0, 300, TWO_FINGERS);
    write_index();
    ck_assert_int_eq(stat(path, &st), 0);
    for (off_t len = st.st_size - 1; len > 0; len -= 1 + len / 23) {
        enum segment_lack lack;
        ck_assert_int_eq(truncate(path, len), 0);
        struct segment *segment = segment_open(dir, &lack, &fault);
        ck_assert(segment == NULL || !segment_verify(segment, UINT32_MAX, &fault));
        segment_unref(segment);
    }
}
END_TEST

START_TEST(a_writer_that_did_not_come_to_the_end_leaves_the_segment_as_it_was)
{
    unsigned voided;
    put_range(0, 300, TWO_FINGERS);
    write_index();
    unsigned before = count_chunks(&voided);
    struct segment_writer *writer = segment_begin(dir, &fault);
    ck_assert_msg(writer != NULL, "%s", fault.text);
    ck_assert_msg(segment_begin(dir, &fault) == NULL, "two write at once");
    uint8_t junk[CHUNK_HEADER] = {[0] = 1, [24] = CHUNK_HEADER}; /* with its length */
    ck_assert(segment_add(writer, junk, &fault));
    segment_abandon(writer);
    ck_assert_uint_eq(count_chunks(&voided), before);
    write_index();
    ck_assert_uint_eq(count_chunks(&voided), before);
}
END_TEST

/* As for the moment in which a writer has given the file its name, but holds it still; or as where
 * this process has too many files open. */
START_TEST(a_segment_that_cannot_be_opened_at_the_moment_is_tried_again)
{
    put_range(0, 300, TWO_FINGERS);
    write_index();
    gallery_close(gallery);
    gallery = NULL;
    int fd = open(path, O_RDONLY);
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    reopen();
    uint64_t people, of;
    unsigned said = 0;
    while (gallery_prepare_step(gallery, &people, &of, &fault) == GALLERY_PREPARING) {
        said += strstr(fault.text, "at present") != NULL;
    }
    ck_assert_uint_eq(said, 1);
    ck_assert_ptr_null(gallery->keeper->segment);
    assert_found(205);
    close(fd);
    for (unsigned i = 0; i < 100 && !gallery->keeper->segment; i++) {
        usleep(100000);
        ck_assert_msg(gallery_prepare(gallery, &fault), "%s", fault.text);
    }
    ck_assert_ptr_nonnull(gallery->keeper->segment);
    assert_found(205);
}
END_TEST

/* --- erasing --- */

static bool file_holds(const char *name, const void *bytes, size_t len)
{
    char file[160];
    (void)snprintf(file, sizeof file, "%s/%s", dir, name);
    FILE *f = fopen(file, "rb");
    if (!f) {
        return false;
    }
    ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(f);
    uint8_t *all = malloc(size);
    rewind(f);
    ck_assert_uint_eq(fread(all, 1, size, f), size);
    (void)fclose(f);
    bool found = memmem(all, size, bytes, len) != NULL;
    free(all);
    return found;
}

START_TEST(what_the_segment_held_of_somebody_removed_is_overwritten)
{
    uint64_t words[AFIS_SIEVE_WORDS];
    uint8_t lies[AFIS_SIEVE_PLACES];
    struct test_person *person = malloc(sizeof *person);
    struct whorl_store_erased erased = {0};
    unsigned voided;
    put_range(0, 300, TWO_FINGERS);
    write_index();
    people_make(person, 42, TWO_FINGERS);
    ck_assert_int_eq(afis_sieve_words(person->packed[0], person->prints[0].len, words, lies),
                     AFIS_OK);
    ck_assert(file_holds(SEGMENT_NAME, words, sizeof words));
    ck_assert(file_holds(SEGMENT_NAME, lies, sizeof lies));
    remove_person(42);
    ck_assert_msg(gallery_erase(gallery, &erased, &fault), "%s", fault.text);
    ck_assert_uint_gt(erased.bytes, sizeof words);
    ck_assert(!file_holds(SEGMENT_NAME, words, sizeof words));
    ck_assert(!file_holds(SEGMENT_NAME, lies, sizeof lies));
    ck_assert_uint_gt(count_chunks(&voided), 3);
    ck_assert_uint_eq(voided, 1);
    assert_nobody(42);
    assert_found(41);
    reopen();
    assert_nobody(42);
    assert_found(41);
    free(person);
}
END_TEST

START_TEST(a_segment_that_is_replaced_does_not_stay)
{
    struct gallery_result result;
    bool in_use;
    put_range(0, 300, TWO_FINGERS);
    write_index();
    search_for(7, 3, true, &result); /* from the segment, which is mapped from now on */
    gallery_result_release(&result);
    put_range(300, 310, TWO_FINGERS);
    ck_assert_msg(gallery_index(gallery, 0, &in_use, &fault), "%s", fault.text);
    ck_assert(!in_use);
    ck_assert(!file_holds(SEGMENT_NAME ".old", "", 1));
    assert_found(305);
}
END_TEST

/* Lets go of a segment after a while, as a server does that has looked for a newer one. */
static void *let_go(void *segment)
{
    usleep(300000);
    segment_unref(segment);
    return NULL;
}

START_TEST(writing_the_index_waits_for_servers_to_let_go_of_the_one_before)
{
    enum segment_lack lack;
    bool in_use;
    pthread_t thread;
    put_range(0, 300, TWO_FINGERS);
    write_index();
    struct segment *mapped = segment_open(dir, &lack, &fault);
    ck_assert_ptr_nonnull(mapped);
    ck_assert_msg(gallery_index(gallery, 0, &in_use, &fault), "%s", fault.text);
    ck_assert(in_use);
    ck_assert(file_holds(SEGMENT_NAME ".old", "", 1));
    ck_assert_int_eq(pthread_create(&thread, NULL, let_go, mapped), 0);
    ck_assert_msg(gallery_index(gallery, 60000, &in_use, &fault), "%s", fault.text);
    ck_assert(!in_use);
    ck_assert(!file_holds(SEGMENT_NAME ".old", "", 1));
    pthread_join(thread, NULL);
    assert_found(205);
}
END_TEST

START_TEST(a_segment_that_was_replaced_is_overwritten_when_nobody_has_it_mapped)
{
    enum segment_lack lack;
    struct whorl_store_erased erased;
    put_range(0, 300, TWO_FINGERS);
    write_index();
    struct segment *mapped = segment_open(dir, &lack, &fault);
    ck_assert_ptr_nonnull(mapped);
    ck_assert(segment_verify(mapped, UINT32_MAX, &fault));
    put_range(300, 310, TWO_FINGERS);
    write_index();
    ck_assert(file_holds(SEGMENT_NAME ".old", mapped->bytes, 256));
    mapped->verified = 0;
    mapped->at = SEGMENT_HEADER;
    ck_assert_msg(segment_verify(mapped, UINT32_MAX, &fault), "it changed: %s", fault.text);
    ck_assert(!segment_dispose(dir, 0, &fault));
    segment_unref(mapped);
    ck_assert_msg(gallery_prepare(gallery, &fault), "%s", fault.text);
    ck_assert_msg(gallery_erase(gallery, &erased, &fault), "%s", fault.text);
    ck_assert(!file_holds(SEGMENT_NAME ".old", "", 1));
    ck_assert(!file_holds(SEGMENT_NAME ".new", "", 1));
    assert_found(305);
}
END_TEST

/* A chunk whose header tells another version of the words, as a program of that version has it. */
static void make_foreign(off_t at)
{
    const uint8_t version[2] = {0xff, 0xff};
    int fd = open(path, O_RDWR);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, version, sizeof version, at + 36), 2);
    close(fd);
}

static bool is_zero(int fd)
{
    uint8_t bytes[4096];
    ssize_t len;
    for (off_t at = 0; (len = pread(fd, bytes, sizeof bytes, at)) > 0; at += len) {
        for (ssize_t i = 0; i < len; i++) {
            if (bytes[i] != 0) {
                return false;
            }
        }
    }
    return len == 0;
}

#define EXPORT __attribute__((visibility("default")))
EXPORT int ftruncate(int fd, off_t len);
static bool truncated_zeros; /* the last file that was */

int ftruncate(int fd, off_t len)
{
    truncated_zeros = is_zero(fd);
    return (int)syscall(SYS_ftruncate, fd, len);
}

/* Begins a segment and adds the first chunk of the one that there is. */
static struct segment_writer *begin_copy(void)
{
    enum segment_lack lack;
    struct segment *segment = segment_open(dir, &lack, &fault);
    ck_assert(segment && segment_verify(segment, UINT32_MAX, &fault));
    struct segment_writer *writer = segment_begin(dir, &fault);
    ck_assert_msg(writer != NULL, "%s", fault.text);
    ck_assert(segment_add(writer, segment->bytes + segment->offset[0], &fault));
    segment_unref(segment);
    return writer;
}

START_TEST(a_segment_that_is_just_being_replaced_is_left_to_the_writer)
{
    char old[160];
    put_range(0, 300, TWO_FINGERS);
    write_index();
    (void)snprintf(old, sizeof old, "%s.old", path);
    struct segment_writer *writer = begin_copy();
    ck_assert_int_eq(link(path, old), 0); /* the first of his two steps */
    ck_assert(!segment_dispose_beside(dir, 0, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "being replaced"));
    ck_assert_int_eq(access(old, F_OK), 0);
    ck_assert_msg(segment_end(writer, &fault), "%s", fault.text);
    ck_assert_int_eq(access(old, F_OK), 0);
    ck_assert_msg(gallery_prepare(gallery, &fault), "%s", fault.text);
    ck_assert_msg(segment_dispose_beside(dir, 0, &fault), "%s", fault.text);
    ck_assert_int_ne(access(old, F_OK), 0);
}
END_TEST

START_TEST(what_a_writer_leaves_who_does_not_come_to_the_end_is_overwritten)
{
    char new[160];
    struct stat st;
    (void)snprintf(new, sizeof new, "%s.new", path);
    put_range(0, 300, TWO_FINGERS);
    write_index();
    struct segment_writer *writer = begin_copy();
    int fd = open(new, O_RDONLY);
    segment_abandon(writer);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_gt(st.st_size, 4096);
    ck_assert(is_zero(fd));
    ck_assert_int_ne(stat(new, &st), 0);
    close(fd);
    /* who was killed leaves his file */
    fd = open(new, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(write(fd, path, sizeof path), sizeof path);
    close(fd);
    truncated_zeros = false;
    writer = begin_copy();
    ck_assert(truncated_zeros);
    segment_abandon(writer);
    ck_assert_int_ne(stat(new, &st), 0);
}
END_TEST

START_TEST(a_segment_that_cannot_be_read_is_overwritten_only_where_nobody_uses_it)
{
    enum segment_lack lack;
    struct whorl_store_erased erased;
    struct stat st;
    char problem[512];
    put_range(0, 300, TWO_FINGERS);
    write_index();
    reopen();
    struct segment *mapped = segment_open(dir, &lack, &fault);
    ck_assert(mapped && segment_verify(mapped, UINT32_MAX, &fault));
    uint8_t *before = malloc(mapped->len);
    make_foreign((off_t)mapped->offset[_i]);
    memcpy(before, mapped->bytes, mapped->len);
    ck_assert(!gallery_erase(gallery, &erased, &fault));
    ck_assert_msg(strstr(fault.text, "is being used") &&
                      strstr(fault.text, "another format version") && strstr(fault.text, "restart"),
                  "%s", fault.text);
    ck_assert_mem_eq(mapped->bytes, before, mapped->len);
    segment_unref(mapped);
    int fd = open(path, O_RDONLY);
    ck_assert_msg(gallery_erase(gallery, &erased, &fault), "%s", fault.text);
    ck_assert_int_ne(stat(path, &st), 0);
    ck_assert(is_zero(fd));
    close(fd);
    ck_assert_msg(problems(problem) == 0, "%s", problem);
    free(before);
}
END_TEST

/* Another process begins to erase a chunk while the next one is made of it: the first words of a
 * print are there still, the last are zeros. */
START_TEST(nothing_is_copied_of_a_chunk_that_is_being_erased)
{
    const uint8_t *block;
    const char *why;
    struct block_info info;
    struct chunk before;
    put_range(0, 20, TWO_FINGERS);
    MDB_txn *txn = whorl_store_read(gallery->store, &fault);
    ck_assert_int_eq(block_read(gallery, txn, 1, &block, &info, &why), 0);
    uint8_t *earlier = chunk_make(block, &info, NULL, &why);
    const uint32_t size = chunk_bytes(earlier);
    uint8_t *good = malloc(size);
    memcpy(good, earlier, size);
    ck_assert(chunk_open(earlier, size, false, &before, &why));
    chunk_void_begin(earlier);
    memset(earlier + CHUNK_HEADER + CHUNK_PRINT - 64, 0, 64);
    uint8_t *made = chunk_make(block, &info, &before, &why);
    ck_assert_msg(made != NULL, "%s", why);
    ck_assert_mem_eq(made, good, size);
    ck_assert_ptr_null(chunk_without(&before, NULL, 0));
    whorl_store_done(gallery->store, txn);
    free(earlier);
    free(good);
    free(made);
}
END_TEST

static void *erase(void *done)
{
    struct whorl_store_erased erased;
    struct whorl_fault why;
    *(bool *)done = gallery_erase(gallery, &erased, &why);
    return NULL;
}

START_TEST(an_erasure_that_waited_for_a_writer_leaves_his_segment)
{
    enum segment_lack lack;
    pthread_t thread;
    bool done = false;
    unsigned voided;
    put_range(0, 300, TWO_FINGERS);
    write_index();
    const unsigned before = count_chunks(&voided);
    reopen();
    struct segment_writer *writer = segment_begin(dir, &fault);
    ck_assert_ptr_nonnull(writer);
    ck_assert_int_eq(pthread_create(&thread, NULL, erase, &done), 0);
    struct segment *segment = segment_open(dir, &lack, &fault);
    ck_assert(segment && segment_verify(segment, UINT32_MAX, &fault));
    for (uint32_t i = 0; i < segment->count; i++) {
        ck_assert(segment_add(writer, segment->bytes + segment->offset[i], &fault));
    }
    segment_unref(segment);
    usleep(300000); /* it waits by now */
    ck_assert_msg(segment_end(writer, &fault), "%s", fault.text);
    pthread_join(thread, NULL);
    ck_assert(done);
    ck_assert_uint_eq(count_chunks(&voided), before);
    ck_assert_uint_eq(voided, 0);
    ck_assert(!file_holds(SEGMENT_NAME ".old", "", 1));
    ck_assert(!file_holds(SEGMENT_NAME ".new", "", 1));
}
END_TEST

int main(void)
{
    people_warm(1500, TWO_FINGERS);
    Suite *suite = suite_create("segment");
    TCase *tcase = tcase_create("segment");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 280);
    tcase_add_test(tcase, a_large_gallery_gives_the_answer_of_comparing_everyone);
    tcase_add_test(tcase, two_enrolments_of_one_person_are_both_found);
    tcase_add_test(tcase, a_gallery_is_searched_from_its_segment);
    tcase_add_test(tcase,
                   what_changed_after_the_segment_was_written_is_found_and_missed_as_it_should);
    tcase_add_test(tcase, a_segment_of_another_gallery_costs_time_and_no_answer);
    tcase_add_loop_test(tcase, a_damaged_segment_is_refused_and_named_and_made_anew, 0,
                        sizeof places / sizeof places[0]);
    tcase_add_test(tcase, an_index_of_changed_blocks_is_as_if_made_at_once);
    tcase_add_test(tcase, a_chunk_of_more_than_a_block_can_hold_is_refused);
    tcase_add_test(tcase, a_segment_cut_anywhere_is_refused);
    tcase_add_test(tcase, a_writer_that_did_not_come_to_the_end_leaves_the_segment_as_it_was);
    tcase_add_test(tcase, a_segment_that_cannot_be_opened_at_the_moment_is_tried_again);
    tcase_add_test(tcase, what_the_segment_held_of_somebody_removed_is_overwritten);
    tcase_add_test(tcase, a_segment_that_is_replaced_does_not_stay);
    tcase_add_test(tcase, writing_the_index_waits_for_servers_to_let_go_of_the_one_before);
    tcase_add_test(tcase, a_segment_that_was_replaced_is_overwritten_when_nobody_has_it_mapped);
    tcase_add_loop_test(
        tcase, a_segment_that_cannot_be_read_is_overwritten_only_where_nobody_uses_it, 0, 3);
    tcase_add_test(tcase, a_segment_that_is_just_being_replaced_is_left_to_the_writer);
    tcase_add_test(tcase, what_a_writer_leaves_who_does_not_come_to_the_end_is_overwritten);
    tcase_add_test(tcase, nothing_is_copied_of_a_chunk_that_is_being_erased);
    tcase_add_test(tcase, an_erasure_that_waited_for_a_writer_leaves_his_segment);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
