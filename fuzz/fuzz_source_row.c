/* What a database gives: a row of a person, or with a zero first byte a copy's mark. A row's
 * columns follow each other, two bytes of length before each; 0xffff: NULL. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "plugins/source/postgresql/mark.h"
#include "plugins/source/postgresql/row.h"

static void read_row(const uint8_t *bytes, size_t len)
{
    struct pg_row row = {.len = {0}};
    struct pg_arena arena = {NULL};
    struct gallery_person person, again;
    struct whorl_fault fault = {{0}, {0}};
    for (int i = 0; i < PG_COLUMNS; i++) {
        size_t size = len >= 2 ? (size_t)bytes[0] << 8 | bytes[1] : 0xffff;
        bytes += len >= 2 ? 2 : 0;
        len -= len >= 2 ? 2 : 0;
        row.value[i] = (const char *)bytes;
        row.len[i] = size == 0xffff ? -1 : (int)(size < len ? size : len);
        bytes += row.len[i] > 0 ? row.len[i] : 0;
        len -= row.len[i] > 0 ? (size_t)row.len[i] : 0;
    }
    enum pg_row_kind kind = pg_row_read(&row, &arena, &person, &fault);
    if (kind == PG_ROW_PERSON) {
        FUZZ_CHECK(gallery_person_valid(&person, NULL));
        FUZZ_CHECK(pg_row_read(&row, &arena, &again, &fault) == PG_ROW_PERSON);
        FUZZ_CHECK(pg_person_same(&person, &again));
    }
    FUZZ_CHECK(kind != PG_ROW_BAD || fault.text[0] != '\0');
    pg_arena_release(&arena);
}

static void read_mark(const uint8_t *bytes, size_t len)
{
    struct pg_mark *mark = malloc(sizeof *mark), *again = malloc(sizeof *again);
    struct whorl_fault fault = {{0}, {0}};
    if (!mark || !again) {
        abort();
    }
    if (pg_mark_read(bytes, len, mark, &fault)) {
        msgpack_sbuffer packed;
        msgpack_sbuffer_init(&packed);
        pg_mark_pack(mark, &packed);
        FUZZ_CHECK(pg_mark_read((const uint8_t *)packed.data, packed.size, again, &fault));
        FUZZ_CHECK(memcmp(mark, again, sizeof *mark) == 0);
        msgpack_sbuffer_destroy(&packed);
    }
    free(mark);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len > 0 && bytes[0] == 0) {
        read_mark(bytes + 1, len - 1);
    } else if (len > 0) {
        read_row(bytes + 1, len - 1);
    }
    return 0;
}
