/* What a gallery stores: the first byte says whether a block, a person's record or a record of
 * changes follows. Checksums are put right, so that what lies behind them is reached. */
#include <libdeflate.h>
#include <string.h>

#include "afis/template.h"
#include "block.h"
#include "bytes.h"
#include "changes.h"
#include "fuzz.h"
#include "person.h"

static void read_prints(const uint8_t *block, const struct block_entry *entry)
{
    const uint8_t *at = entry->prints;
    for (unsigned i = 0; i < entry->print_count; i++) {
        struct gallery_print print;
        struct afis_template tmpl;
        block_print(&at, &print);
        FUZZ_CHECK(print.packed >= block && print.packed + print.len <= block + BLOCK_SIZE);
        afis_template_unpack(print.packed, print.len, &tmpl);
    }
}

static void read_block(const uint8_t *bytes, size_t len)
{
    uint8_t *block = malloc(BLOCK_SIZE);
    struct block_info info;
    struct block_entry entry;
    const char *why;
    size_t at = BLOCK_HEADER;
    if (!block) {
        abort();
    }
    if (len > BLOCK_SIZE - BLOCK_HEADER) {
        len = BLOCK_SIZE - BLOCK_HEADER;
    }
    block_clear(block, 1);
    memcpy(block + BLOCK_HEADER, bytes, len);
    put32(block + 28, (uint32_t)(BLOCK_HEADER + len)); /* used */
    block_seal(block, 7);
    FUZZ_CHECK(block_open(block, BLOCK_SIZE, &info, &why));
    while (block_next(block, &info, &at, &entry, &why)) {
        char id[GALLERY_ID_MAX + 1] = {0};
        struct block_entry found;
        memcpy(id, entry.id, entry.id_len);
        read_prints(block, &entry);
        FUZZ_CHECK(strlen(id) != entry.id_len || block_find(block, &info, id, &found));
    }
    FUZZ_CHECK(why != NULL || at == info.used);
    free(block);
}

static void read_person(const uint8_t *bytes, size_t len)
{
    uint8_t *record = malloc(12 + len);
    struct whorl_fault fault = {{0}, {0}};
    if (!record) {
        abort();
    }
    memcpy(record + 12, bytes, len);
    put32(record, 1);
    put32(record + 8, 3);
    put32(record + 4, libdeflate_crc32(0, record + 8, len + 4));
    struct gallery_person *person = person_decode("P1", 2, record, 12 + len, NULL, &fault);
    if (person) {
        msgpack_sbuffer again;
        struct gallery_person *back;
        msgpack_sbuffer_init(&again);
        FUZZ_CHECK(gallery_person_valid(person, NULL));
        FUZZ_CHECK(person_encode(person, 3, &again));
        back = person_decode("P1", 2, (const uint8_t *)again.data, again.size, NULL, &fault);
        FUZZ_CHECK(back != NULL && back->print_count == person->print_count);
        gallery_person_free(back);
        msgpack_sbuffer_destroy(&again);
    } else {
        FUZZ_CHECK(fault.text[0] != '\0');
    }
    gallery_person_free(person);
    free(record);
}

/* A record of changes under a key of 8 bytes, in a list that holds at most 1,000. */
static void read_changes(const uint8_t *bytes, size_t len)
{
    const size_t key_len = len < 8 ? len : 8;
    uint8_t *record = malloc(len + 1);
    if (!record) {
        abort();
    }
    memcpy(record, bytes, len);
    MDB_val key = {key_len, record}, value = {len - key_len, record + key_len};
    struct changes changes = {0};
    const int rc = changes_decode(&key, &value, 1, 1000, &changes);
    FUZZ_CHECK(rc == 0 || changes.count == 0);
    FUZZ_CHECK(rc != 0 || (changes.count <= 1000 && value.mv_size == 8 + 6 * changes.count));
    changes_free(&changes);
    free(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len > 0 && bytes[0] & 1) {
        read_block(bytes + 1, len - 1);
    } else if (len > 0 && bytes[0] & 2) {
        read_changes(bytes + 1, len - 1);
    } else if (len > 0 && len < 65000) {
        read_person(bytes + 1, len - 1);
    }
    return 0;
}
