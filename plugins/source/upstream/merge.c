#include "plugins/source/upstream/merge.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A candidate, and whose it is. */
struct entry {
    const msgpack_object *candidate;
    const struct part *part;
};

/* An answer that is being put together. */
struct merging {
    const struct part *const *parts;
    size_t count;
    const struct part_question *question;
    enum part_class class;
    bool agree;
    struct entry entries[2 * PART_CANDIDATES_MAX];
    size_t entry_count;
    char reason[4096];
    size_t reason_len;
};

static bool is_found(enum part_class class)
{
    return class == PART_MATCH || class == PART_POSSIBLE;
}

enum part_class merge_class(enum part_class local, enum part_class upstream, bool agree)
{
    const enum part_class both[] = {local, upstream};
    if (is_found(local) && is_found(upstream)) {
        return local == PART_MATCH && upstream == PART_MATCH && agree ? PART_MATCH : PART_POSSIBLE;
    }
    if (is_found(local) || is_found(upstream)) {
        return is_found(local) ? local : upstream;
    }
    if (local == upstream) {
        return local;
    }
    for (size_t i = 0; i < 2; i++) {
        if (both[i] == PART_UNAVAILABLE) {
            return PART_UNAVAILABLE;
        }
    }
    return local == PART_POOR_QUALITY || upstream == PART_POOR_QUALITY ? PART_POOR_QUALITY
                                                                       : PART_UNAVAILABLE;
}

/* --- whether two candidates are one person --- */

static const msgpack_object *field(const msgpack_object *candidate, const char *name)
{
    const msgpack_object *value = whorl_map_get(candidate, name);
    return value && value->type != MSGPACK_OBJECT_NIL ? value : NULL;
}

/* How many identifiers they share; -1: they have one of the same kind that differs. */
static int shared(const msgpack_object *a, const msgpack_object *b)
{
    const msgpack_object *one = field(a, "identifiers"), *other = field(b, "identifiers");
    int count = 0;
    for (uint32_t i = 0; one && other && i < one->via.map.size; i++) {
        for (uint32_t j = 0; j < other->via.map.size; j++) {
            const msgpack_object_kv *p = &one->via.map.ptr[i], *q = &other->via.map.ptr[j];
            if (!msgpack_object_equal(p->key, q->key)) {
                continue;
            }
            if (!msgpack_object_equal(p->val, q->val)) {
                return -1;
            }
            count++;
        }
    }
    return count;
}

static bool equal(const msgpack_object *a, const msgpack_object *b)
{
    return (!a && !b) || (a && b && msgpack_object_equal(*a, *b));
}

/* A search: both have the same person. A look-up: nobody who was asked about is two people. */
static bool do_agree(const struct part *a, const struct part *b, enum whorl_role role)
{
    for (size_t i = 0; i < part_count(a->candidates); i++) {
        for (size_t j = 0; j < part_count(b->candidates); j++) {
            const msgpack_object *p = &a->candidates->via.array.ptr[i];
            const msgpack_object *q = &b->candidates->via.array.ptr[j];
            int common = shared(p, q);
            if (role == WHORL_ROLE_SEARCH
                    ? common <= 0
                    : common < 0 && equal(field(p, "found_for"), field(q, "found_for"))) {
                return false;
            }
        }
    }
    return true;
}

/* --- the reason --- */

__attribute__((format(printf, 2, 3))) static void say(struct merging *m, const char *format, ...)
{
    va_list args;
    size_t room = sizeof m->reason - m->reason_len;
    if (m->reason_len > 0 && room > 3) {
        memcpy(m->reason + m->reason_len, "; ", 3);
        m->reason_len += 2;
        room -= 2;
    }
    va_start(args, format);
    vsnprintf(m->reason + m->reason_len, room, format, args);
    va_end(args);
    m->reason_len = strlen(m->reason);
}

/* What a gateway that was itself answered by several says of them is said already. */
static void say_part(struct merging *m, const struct part *part)
{
    static const char *const words[PART_CLASSES] = {
        "", "", "", " needs better samples", " did not answer", " did not search"};
    bool reason = part->reason[0] != '\0', said = part->levels && !part->doubted;
    if (said && reason) {
        say(m, "%s", part->reason);
    } else if (!said && (reason || part->class > PART_NO_MATCH)) {
        say(m, "%s%s%s%s", part->gateway, words[part->class], reason ? ": " : "", part->reason);
    }
}

/* --- packing --- */

static double score_of(const msgpack_object *candidate)
{
    const msgpack_object *score = whorl_map_get(candidate, "score");
    return score->type == MSGPACK_OBJECT_POSITIVE_INTEGER   ? (double)score->via.u64
           : score->type == MSGPACK_OBJECT_NEGATIVE_INTEGER ? (double)score->via.i64
                                                            : score->via.f64;
}

/* Best first; of equals, and of look-ups, the local ones first. */
static void gather(struct merging *m)
{
    for (size_t i = 0; i < m->count; i++) {
        for (size_t j = 0; j < part_count(m->parts[i]->candidates); j++) {
            struct entry entry = {&m->parts[i]->candidates->via.array.ptr[j], m->parts[i]};
            size_t at = m->entry_count++;
            while (m->question->role == WHORL_ROLE_SEARCH && at > 0 &&
                   score_of(m->entries[at - 1].candidate) < score_of(entry.candidate)) {
                m->entries[at] = m->entries[at - 1];
                at--;
            }
            m->entries[at] = entry;
        }
    }
    if (m->class == PART_MATCH && m->question->role == WHORL_ROLE_SEARCH && m->entry_count == 2) {
        char ref[129];
        const struct part *other = m->entries[1].part;
        whorl_str_copy(whorl_map_get(m->entries[1].candidate, "ref"), ref, sizeof ref);
        say(m, "%s found the same person, as %s", other->gateway, ref);
        m->entry_count = 1;
    }
    if (m->entry_count > PART_CANDIDATES_MAX) {
        say(m, "%zu more candidates are not shown", m->entry_count - PART_CANDIDATES_MAX);
        m->entry_count = PART_CANDIDATES_MAX;
    }
}

/* The fields that are known, whatever else another gateway sent. */
static void pack_candidate(msgpack_packer *pk, const struct entry *entry)
{
    static const char *const names[] = {"ref",  "score",   "identifiers", "names",
                                        "born", "details", "found_by",    "found_for"};
    const msgpack_object *gateway = field(entry->candidate, "gateway");
    size_t count = 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        count += field(entry->candidate, names[i]) != NULL;
    }
    msgpack_pack_map(pk, count);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const msgpack_object *value = field(entry->candidate, names[i]);
        if (value) {
            whorl_put_object(pk, names[i], value);
        }
    }
    if (gateway) {
        whorl_put_object(pk, "gateway", gateway);
    } else {
        whorl_put_str(pk, "gateway", entry->part->gateway);
    }
}

static void pack_searched(msgpack_packer *pk, uint64_t people, uint64_t of)
{
    whorl_put_key(pk, "searched");
    msgpack_pack_map(pk, 2);
    whorl_put_int(pk, "people", (int64_t)people);
    whorl_put_int(pk, "of", (int64_t)of);
}

static void pack_levels(msgpack_packer *pk, const struct merging *m)
{
    size_t count = 0;
    for (size_t i = 0; i < m->count; i++) {
        count += m->parts[i]->levels ? part_count(m->parts[i]->levels) : 1;
    }
    whorl_put_key(pk, "levels");
    msgpack_pack_array(pk, count);
    for (size_t i = 0; i < m->count; i++) {
        const struct part *part = m->parts[i];
        for (size_t j = 0; j < part_count(part->levels); j++) {
            msgpack_pack_object(pk, part->levels->via.array.ptr[j]);
        }
        if (part->levels) {
            continue;
        }
        msgpack_pack_map(pk, 4u + (part->reason[0] != '\0') + part->searched);
        whorl_put_str(pk, "gateway", part->gateway);
        whorl_put_str(pk, "backend", part->backend);
        whorl_put_str(pk, "class", part_class_name(part->class));
        if (part->reason[0] != '\0') {
            whorl_put_str(pk, "reason", part->reason);
        }
        if (part->searched) {
            pack_searched(pk, part->people, part->of);
        }
        whorl_put_int(pk, "elapsed_ms", (int64_t)part->elapsed_ms);
    }
}

/* Of the first part that says anything of the samples. */
static const struct part *samples_of(const struct merging *m)
{
    for (size_t i = 0; i < m->count; i++) {
        if (part_count(m->parts[i]->samples) > 0) {
            return m->parts[i];
        }
    }
    return NULL;
}

static void pack_samples(msgpack_packer *pk, const struct part *part,
                         const struct part_question *question)
{
    whorl_put_key(pk, "samples");
    msgpack_pack_array(pk, part_count(part->samples));
    for (size_t i = 0; i < part_count(part->samples); i++) {
        const msgpack_object *sample = &part->samples->via.array.ptr[i];
        const msgpack_object *quality = field(sample, "quality"), *advice = field(sample, "advice");
        uint64_t index = whorl_map_get(sample, "sample")->via.u64;
        msgpack_pack_map(pk, 1u + (quality != NULL) + (advice != NULL));
        whorl_put_int(pk, "sample", part->renumbered ? question->samples[index] : (int64_t)index);
        if (quality) {
            whorl_put_object(pk, "quality", quality);
        }
        if (advice) {
            whorl_put_object(pk, "advice", advice);
        }
    }
}

static void judge(struct merging *m)
{
    m->class = m->parts[0]->class;
    if (m->count == 2) {
        m->agree = do_agree(m->parts[0], m->parts[1], m->question->role);
        m->class = merge_class(m->parts[0]->class, m->parts[1]->class, m->agree);
        if (m->class == PART_POSSIBLE && m->parts[0]->class == PART_MATCH &&
            m->parts[1]->class == PART_MATCH) {
            say(m, "%s and %s found different people", m->parts[0]->gateway, m->parts[1]->gateway);
        }
    }
    for (size_t i = 0; i < m->count; i++) {
        say_part(m, m->parts[i]);
    }
}

void merge_pack(msgpack_packer *pk, const struct part *const *parts, size_t count,
                const struct part_question *question)
{
    struct merging m = {.parts = parts, .count = count, .question = question};
    uint64_t people = 0, of = 0;
    bool searched = true;
    int64_t age = -1;
    judge(&m);
    gather(&m);
    for (size_t i = 0; i < count; i++) {
        searched = searched && parts[i]->searched;
        people += parts[i]->people;
        of += parts[i]->of;
        age = parts[i]->age > age ? parts[i]->age : age;
    }
    const struct part *judged = samples_of(&m);
    part_clip(m.reason, PART_REASON_MAX);
    msgpack_pack_map(pk, 2u + (m.reason[0] != '\0') + (m.entry_count > 0) + searched +
                             (judged != NULL) + (age >= 0));
    whorl_put_str(pk, "class", part_class_name(m.class));
    if (m.reason[0] != '\0') {
        whorl_put_str(pk, "reason", m.reason);
    }
    if (m.entry_count > 0) {
        whorl_put_key(pk, "candidates");
        msgpack_pack_array(pk, m.entry_count);
        for (size_t i = 0; i < m.entry_count; i++) {
            pack_candidate(pk, &m.entries[i]);
        }
    }
    if (searched) {
        pack_searched(pk, people, of);
    }
    if (judged) {
        pack_samples(pk, judged, question);
    }
    if (age >= 0) {
        whorl_put_int(pk, "age", age);
    }
    pack_levels(pk, &m);
}
