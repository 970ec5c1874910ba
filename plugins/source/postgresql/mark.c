#include "plugins/source/postgresql/mark.h"

#include <string.h>

#include "whorl/msg.h"

#define VERSION 1

void pg_mark_pack(const struct pg_mark *mark, msgpack_sbuffer *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 19);
    whorl_put_int(&pk, "v", VERSION);
    whorl_put_str(&pk, "database", mark->database);
    whorl_put_str(&pk, "place", mark->place);
    whorl_put_int(&pk, "timeline", mark->timeline);
    whorl_put_str(&pk, "mapping", mark->mapping);
    whorl_put_str(&pk, "position", mark->position);
    whorl_put_bool(&pk, "whole", mark->whole);
    whorl_put_bool(&pk, "behind", mark->behind);
    whorl_put_int(&pk, "agreed", mark->agreed);
    whorl_put_bool(&pk, "pass", mark->pass);
    whorl_put_bin(&pk, "after", mark->after, strlen(mark->after));
    whorl_put_int(&pk, "done", (int64_t)mark->done);
    whorl_put_int(&pk, "of", (int64_t)mark->of);
    whorl_put_int(&pk, "put", (int64_t)mark->put);
    whorl_put_int(&pk, "removed", (int64_t)mark->removed);
    whorl_put_int(&pk, "passed", mark->passed);
    whorl_put_int(&pk, "nameless", (int64_t)mark->nameless);
    whorl_put_int(&pk, "overflow", mark->overflow);
    whorl_put_key(&pk, "unreadable");
    msgpack_pack_array(&pk, mark->unreadable_count);
    for (uint32_t i = 0; i < mark->unreadable_count; i++) {
        size_t len = strlen(mark->unreadable[i]);
        msgpack_pack_bin(&pk, len);
        msgpack_pack_bin_body(&pk, mark->unreadable[i], len);
    }
}

enum {
    V,
    DATABASE,
    PLACE,
    TIMELINE,
    MAPPING,
    POSITION,
    WHOLE,
    BEHIND,
    AGREED,
    PASS,
    AFTER,
    DONE,
    OF,
    PUT,
    REMOVED,
    PASSED,
    NAMELESS,
    OVERFLOW,
    UNREADABLE,
    FIELDS
};

/* Copies an id of 0 to GALLERY_ID_MAX bytes. */
static bool read_id(const msgpack_object *bin, size_t min, char *id)
{
    if (bin->type != MSGPACK_OBJECT_BIN || bin->via.bin.size < min ||
        bin->via.bin.size > GALLERY_ID_MAX) {
        return false;
    }
    if (bin->via.bin.size > 0) {
        memcpy(id, bin->via.bin.ptr, bin->via.bin.size);
    }
    id[bin->via.bin.size] = '\0';
    return strlen(id) == bin->via.bin.size;
}

static bool fill(struct pg_mark *mark, const struct whorl_field *f, struct whorl_fault *fault)
{
    whorl_str_copy(f[DATABASE].value, mark->database, sizeof mark->database);
    whorl_str_copy(f[PLACE].value, mark->place, sizeof mark->place);
    whorl_str_copy(f[MAPPING].value, mark->mapping, sizeof mark->mapping);
    whorl_str_copy(f[POSITION].value, mark->position, sizeof mark->position);
    mark->timeline = f[TIMELINE].value->via.i64;
    mark->whole = f[WHOLE].value->via.boolean;
    mark->behind = f[BEHIND].value->via.boolean;
    mark->agreed = f[AGREED].value->via.i64;
    mark->pass = f[PASS].value->via.boolean;
    mark->done = f[DONE].value->via.u64;
    mark->of = f[OF].value->via.u64;
    mark->put = f[PUT].value->via.u64;
    mark->removed = f[REMOVED].value->via.u64;
    mark->passed = f[PASSED].value->via.i64;
    mark->nameless = f[NAMELESS].value->via.u64;
    mark->overflow = (uint8_t)f[OVERFLOW].value->via.u64;
    if (!read_id(f[AFTER].value, 0, mark->after)) {
        return whorl_fail(fault, "after", "is no person's id");
    }
    const msgpack_object_array *array = &f[UNREADABLE].value->via.array;
    for (mark->unreadable_count = 0; mark->unreadable_count < array->size;
         mark->unreadable_count++) {
        if (!read_id(&array->ptr[mark->unreadable_count], 1,
                     mark->unreadable[mark->unreadable_count])) {
            return whorl_fail(fault, "unreadable", "holds what is no person's id");
        }
    }
    return true;
}

bool pg_mark_read(const uint8_t *bytes, size_t len, struct pg_mark *mark, struct whorl_fault *fault)
{
    struct whorl_msg msg;
    struct whorl_field f[FIELDS] = {
        [V] = {"v", WHORL_FIELD_INT, true, VERSION, VERSION, NULL},
        [DATABASE] = {"database", WHORL_FIELD_STR, true, 0, sizeof mark->database - 1, NULL},
        [PLACE] = {"place", WHORL_FIELD_STR, true, 0, sizeof mark->place - 1, NULL},
        [TIMELINE] = {"timeline", WHORL_FIELD_INT, true, 0, 9e15, NULL},
        [MAPPING] = {"mapping", WHORL_FIELD_STR, true, 0, sizeof mark->mapping - 1, NULL},
        [POSITION] = {"position", WHORL_FIELD_STR, true, 0, PG_POSITION_MAX, NULL},
        [WHOLE] = {"whole", WHORL_FIELD_BOOL, true, 0, 0, NULL},
        [BEHIND] = {"behind", WHORL_FIELD_BOOL, true, 0, 0, NULL},
        [AGREED] = {"agreed", WHORL_FIELD_INT, true, 0, 9e15, NULL},
        [PASS] = {"pass", WHORL_FIELD_BOOL, true, 0, 0, NULL},
        [AFTER] = {"after", WHORL_FIELD_BIN, true, 0, GALLERY_ID_MAX, NULL},
        [DONE] = {"done", WHORL_FIELD_INT, true, 0, 9e15, NULL},
        [OF] = {"of", WHORL_FIELD_INT, true, 0, 9e15, NULL},
        [PUT] = {"put", WHORL_FIELD_INT, true, 0, 9e15, NULL},
        [REMOVED] = {"removed", WHORL_FIELD_INT, true, 0, 9e15, NULL},
        [PASSED] = {"passed", WHORL_FIELD_INT, true, 0, 9e15, NULL},
        [NAMELESS] = {"nameless", WHORL_FIELD_INT, true, 0, 9e15, NULL},
        [OVERFLOW] = {"overflow", WHORL_FIELD_INT, true, 0, PG_OVERFLOW_COUNTING, NULL},
        [UNREADABLE] = {"unreadable", WHORL_FIELD_ARRAY, true, 0, PG_UNREADABLE_MAX, NULL},
    };
    memset(mark, 0, sizeof *mark);
    if (!whorl_msg_parse(bytes, len, &msg, fault)) {
        return false;
    }
    bool ok = whorl_fields_read(&msg.root, "", f, FIELDS, fault) && fill(mark, f, fault);
    whorl_msg_release(&msg);
    return ok;
}

uint64_t pg_mark_missing(const struct pg_mark *mark)
{
    return mark->nameless + mark->unreadable_count;
}

void pg_mark_begin_pass(struct pg_mark *mark, uint64_t of, uint64_t nameless)
{
    mark->pass = true;
    mark->after[0] = '\0';
    mark->done = mark->put = mark->removed = 0;
    mark->of = of;
    mark->nameless = nameless;
    if (mark->overflow != PG_OVERFLOW_NONE) {
        mark->unreadable_count = 0;
        mark->overflow = PG_OVERFLOW_COUNTING;
    }
}

void pg_mark_end_pass(struct pg_mark *mark, int64_t now)
{
    mark->pass = mark->behind = false;
    mark->whole = true;
    mark->after[0] = '\0';
    mark->passed = now;
    if (mark->overflow == PG_OVERFLOW_COUNTING) {
        mark->overflow = PG_OVERFLOW_NONE;
    }
}

static uint32_t find(const struct pg_mark *mark, const char *id)
{
    uint32_t i = 0;
    while (i < mark->unreadable_count && strcmp(mark->unreadable[i], id) != 0) {
        i++;
    }
    return i;
}

void pg_mark_add_unreadable(struct pg_mark *mark, const char *id)
{
    if (find(mark, id) < mark->unreadable_count) {
        return;
    }
    if (mark->unreadable_count == PG_UNREADABLE_MAX) {
        mark->overflow = PG_OVERFLOW;
        return;
    }
    memcpy(mark->unreadable[mark->unreadable_count++], id, strlen(id) + 1);
}

static void drop_at(struct pg_mark *mark, uint32_t i)
{
    mark->unreadable_count--;
    if (i < mark->unreadable_count) {
        memcpy(mark->unreadable[i], mark->unreadable[mark->unreadable_count],
               sizeof mark->unreadable[i]);
    }
}

void pg_mark_drop_unreadable(struct pg_mark *mark, const char *id)
{
    uint32_t i = find(mark, id);
    if (i < mark->unreadable_count) {
        drop_at(mark, i);
    }
}

void pg_mark_drop_range(struct pg_mark *mark, const char *after, const char *last)
{
    for (uint32_t i = mark->unreadable_count; i-- > 0;) {
        const char *id = mark->unreadable[i];
        if (strcmp(id, after) > 0 && (!last || strcmp(id, last) <= 0)) {
            drop_at(mark, i);
        }
    }
}
