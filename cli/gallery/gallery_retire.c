/* The end of enrolments: each step is in the audit log before it is taken. */
#include "cli/gallery/gallery_retire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/gallery/gallery_change.h"
#include "whorl/msg.h"

/* A gallery and the log that says what is done to it. */
struct retiring {
    struct gallery_change to;
    int64_t now;
    char **ids; /* of whom it is about */
    size_t count, cap;
    bool no_memory;
};

static void close_all(struct retiring *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->ids[i]);
    }
    free(r->ids);
    gallery_change_close(&r->to);
}

static bool open_all(struct retiring *r, const char *conf_dir, const char *name)
{
    *r = (struct retiring){.now = time(NULL)};
    return gallery_change_open(&r->to, conf_dir, name);
}

static bool take(struct retiring *r, const char *id)
{
    if (r->count == r->cap) {
        size_t cap = r->cap == 0 ? 256 : 2 * r->cap;
        char **ids = realloc(r->ids, cap * sizeof *ids);
        if (ids == NULL) {
            r->no_memory = true;
            return false;
        }
        r->ids = ids;
        r->cap = cap;
    }
    r->ids[r->count] = strdup(id);
    r->no_memory = r->ids[r->count] == NULL;
    r->count += !r->no_memory;
    return !r->no_memory;
}

/* With the ids before; after it, how many it was. */
static bool record(struct retiring *r, const char *event, bool ids, size_t count,
                   struct whorl_fault *fault)
{
    const struct change erasure = {.kind = CHANGE_ERASURE,
                                   .event = event,
                                   .store = r->to.name,
                                   .ids = (const char *const *)r->ids,
                                   .id_count = ids ? r->count : 0,
                                   .count = (int64_t)count};
    return change_record(r->to.log, &erasure, 1, fault);
}

/* ------------------------------------------------------------------ withdraw */

/* Takes those ids that are in the gallery, and names the others. */
static bool find_people(struct retiring *r, char *const *ids, int count, struct whorl_fault *fault)
{
    for (int i = 0; i < count; i++) {
        struct gallery_person *person;
        if (!gallery_get(r->to.gallery, ids[i], false, &person, fault)) {
            return false;
        }
        if (person == NULL) {
            fprintf(stderr, "whorl: %s: is not in the gallery\n", ids[i]);
        } else if (!take(r, ids[i])) {
            gallery_person_free(person);
            return whorl_fail(fault, "", "out of memory");
        }
        gallery_person_free(person);
    }
    return true;
}

static bool withdraw(struct retiring *r, size_t *withdrawn, struct whorl_fault *fault)
{
    bool found;
    if (r->count == 0) {
        return true;
    }
    if (!record(r, "withdrawing", true, r->count, fault)) {
        return false;
    }
    for (size_t i = 0; i < r->count; i++) {
        if (!gallery_withdraw(r->to.gallery, r->ids[i], r->now, &found, fault)) {
            return false;
        }
        *withdrawn += found;
    }
    return record(r, "withdrawn", false, *withdrawn, fault);
}

int gallery_withdraw_people(const char *conf_dir, const char *gallery, char *const *ids, int count)
{
    struct retiring r;
    struct whorl_fault fault = {0};
    if (!open_all(&r, conf_dir, gallery)) {
        return EXIT_FAILED;
    }
    size_t withdrawn = 0;
    bool ok = find_people(&r, ids, count, &fault) && withdraw(&r, &withdrawn, &fault);
    close_all(&r);
    if (!ok) {
        return print_fault(&fault);
    }
    printf("%zu of %d people withdrawn: no search finds them, whorl gallery purge removes them\n",
           withdrawn, count);
    return withdrawn == (size_t)count ? EXIT_DONE : EXIT_NEGATIVE;
}

/* ------------------------------------------------------------------ purge */

static bool take_expired(void *ctx, const struct gallery_person *person)
{
    struct retiring *r = ctx;
    return person->expires == 0 || person->expires > r->now || take(r, person->id);
}

/* Who was enrolled again since they were listed stays. */
static bool remove_people(struct retiring *r, size_t *purged, uint64_t *wiped,
                          struct whorl_fault *fault)
{
    struct whorl_store_erased erased;
    *purged = 0;
    for (size_t i = 0; i < r->count; i += CHANGE_IDS_MAX) {
        size_t left = r->count - i, removed;
        if (!gallery_remove_expired(r->to.gallery, (const char *const *)r->ids + i,
                                    left < CHANGE_IDS_MAX ? left : CHANGE_IDS_MAX, r->now, &removed,
                                    fault)) {
            return false;
        }
        *purged += removed;
    }
    bool ok = gallery_erase(r->to.gallery, &erased, fault);
    *wiped = erased.bytes;
    return ok;
}

static void print_problem(void *ctx, const char *text)
{
    (void)ctx;
    fprintf(stderr, "%s\n", text);
}

/* Reads back: none of them is there, and all that is there agrees with itself. */
static bool prove(struct retiring *r, struct whorl_fault *fault)
{
    size_t problems = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct gallery_person *person;
        if (!gallery_get(r->to.gallery, r->ids[i], false, &person, fault)) {
            return false;
        }
        bool still = person != NULL && person->expires != 0 && person->expires <= r->now;
        gallery_person_free(person);
        if (still) {
            return whorl_fail(fault, r->ids[i], "is still in the gallery");
        }
    }
    return gallery_check(r->to.gallery, print_problem, NULL, &problems, fault) &&
           (problems == 0 || whorl_fail(fault, r->to.name, "the gallery is damaged"));
}

/* An earlier purge may have been cut short after removing: overwriting is done in any case. */
static bool purge(struct retiring *r, size_t *purged, uint64_t *wiped, struct whorl_fault *fault)
{
    if (!gallery_each(r->to.gallery, take_expired, r, fault)) {
        return false;
    }
    if (r->no_memory) {
        return whorl_fail(fault, "", "out of memory");
    }
    return record(r, "purging", true, r->count, fault) && remove_people(r, purged, wiped, fault) &&
           prove(r, fault) && record(r, "purged", false, *purged, fault);
}

int gallery_purge(const char *conf_dir, const char *gallery)
{
    struct retiring r;
    struct whorl_fault fault = {0};
    size_t purged = 0;
    uint64_t wiped = 0;
    if (!open_all(&r, conf_dir, gallery)) {
        return EXIT_FAILED;
    }
    bool ok = purge(&r, &purged, &wiped, &fault);
    close_all(&r);
    if (!ok) {
        return print_fault(&fault);
    }
    printf("%zu people purged and read back as gone; %" PRIu64 " bytes of the file overwritten\n",
           purged, wiped);
    return EXIT_DONE;
}
