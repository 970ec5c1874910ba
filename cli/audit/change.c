#include "cli/audit/change.h"

#include <stdlib.h>
#include <string.h>

#include "core/packed/packed.h"
#include "whorl/msg.h"

static const char *const kinds[] = {
    [CHANGE_COLLECTION] = "collection",
    [CHANGE_ALTERATION] = "alteration",
    [CHANGE_ERASURE] = "erasure",
};

/* The record of ids from `first` on. */
static void pack(const struct audit_writer *writer, const struct change *change, size_t first,
                 msgpack_sbuffer *out)
{
    msgpack_packer pk;
    bool erasure = change->kind == CHANGE_ERASURE;
    msgpack_packer_init(&pk, out, packed_write);
    audit_writer_begin(writer, &pk, kinds[change->kind], change->event, erasure ? 4 : 5);
    whorl_put_str(&pk, "store", change->store);
    if (erasure) {
        whorl_put_str(&pk, "before", change->before);
    } else {
        whorl_put_str(&pk, "source", change->source);
        whorl_put_key(&pk, "entry");
        if (change->entry == NULL) {
            msgpack_pack_nil(&pk);
        } else {
            (void)packed_write(out, change->entry->data, change->entry->size);
        }
    }
    whorl_put_int(&pk, "count", change->count);
    whorl_put_key(&pk, "ids");
    size_t left = change->id_count - first;
    size_t here = left < CHANGE_IDS_MAX ? left : CHANGE_IDS_MAX;
    msgpack_pack_array(&pk, here);
    for (size_t i = 0; i < here; i++) {
        const char *id = change->ids[first + i];
        msgpack_pack_str_with_body(&pk, id, strlen(id));
    }
}

static size_t records_of(const struct change *change)
{
    return change->id_count == 0 ? 1 : (change->id_count - 1) / CHANGE_IDS_MAX + 1;
}

bool change_record(struct audit_writer *writer, const struct change *changes, size_t count,
                   struct whorl_fault *fault)
{
    size_t records = 0, done = 0;
    for (size_t c = 0; c < count; c++) {
        records += records_of(&changes[c]);
    }
    msgpack_sbuffer *packed = calloc(records, sizeof *packed);
    if (packed == NULL) {
        return whorl_fail(fault, "", "out of memory");
    }
    for (size_t c = 0; c < count; c++) {
        for (size_t i = 0; i < records_of(&changes[c]); i++) {
            pack(writer, &changes[c], i * CHANGE_IDS_MAX, &packed[done++]);
        }
    }
    bool ok = audit_writer_append(writer, packed, records, NULL, fault);
    for (size_t i = 0; i < records; i++) {
        msgpack_sbuffer_destroy(&packed[i]);
    }
    free(packed);
    return ok;
}

/* ------------------------------------------------------------------ people */

static bool same_change(const struct changed_person *a, const struct changed_person *b)
{
    return a->known == b->known && strcmp(a->source, b->source) == 0;
}

/* By kind and source; of one kind and source, in the order given. */
static int by_change(const void *a, const void *b)
{
    const struct changed_person *x = *(const struct changed_person *const *)a;
    const struct changed_person *y = *(const struct changed_person *const *)b;
    if (x->known != y->known) {
        return x->known ? 1 : -1;
    }
    int order = strcmp(x->source, y->source);
    return order != 0 ? order : (x > y) - (x < y);
}

/* Makes changes of people who are sorted; returns how many there are. */
static size_t gather(const char *event, const char *store,
                     const struct changed_person *const *sorted, size_t count, const char **ids,
                     struct change *changes)
{
    size_t made = 0;
    for (size_t i = 0; i < count; i++) {
        ids[i] = sorted[i]->id;
        if (i == 0 || !same_change(sorted[i - 1], sorted[i])) {
            changes[made++] =
                (struct change){.kind = sorted[i]->known ? CHANGE_ALTERATION : CHANGE_COLLECTION,
                                .event = event,
                                .store = store,
                                .source = sorted[i]->source[0] != '\0' ? sorted[i]->source : NULL,
                                .ids = &ids[i]};
        }
        changes[made - 1].id_count++;
        changes[made - 1].count++;
    }
    return made;
}

bool change_record_people(struct audit_writer *writer, const char *event, const char *store,
                          const struct changed_person *people, size_t count,
                          struct whorl_fault *fault)
{
    if (count == 0) {
        return true;
    }
    const struct changed_person **sorted = calloc(count, sizeof(const struct changed_person *));
    const char **ids = calloc(count, sizeof *ids);
    struct change *changes = calloc(count, sizeof *changes);
    bool ok = sorted != NULL && ids != NULL && changes != NULL;
    if (!ok) {
        whorl_fail(fault, "", "out of memory");
    } else {
        for (size_t i = 0; i < count; i++) {
            sorted[i] = &people[i];
        }
        qsort(sorted, count, sizeof(const struct changed_person *), by_change);
        ok = change_record(writer, changes, gather(event, store, sorted, count, ids, changes),
                           fault);
    }
    free(sorted);
    free(ids);
    free(changes);
    return ok;
}

bool change_record_done(struct audit_writer *writer, const char *event, const char *store,
                        uint64_t collected, uint64_t altered, struct whorl_fault *fault)
{
    struct change changes[2];
    size_t count = 0;
    if (collected > 0) {
        changes[count++] = (struct change){
            .kind = CHANGE_COLLECTION, .event = event, .store = store, .count = (int64_t)collected};
    }
    if (altered > 0) {
        changes[count++] = (struct change){
            .kind = CHANGE_ALTERATION, .event = event, .store = store, .count = (int64_t)altered};
    }
    return count == 0 || change_record(writer, changes, count, fault);
}
