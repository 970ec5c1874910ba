/* PNC records from a database's row: what is made of it, perhaps with classes of another record, is
 * stored in bytes that are read again to the same. The input: a byte for the set of classes, then
 * up to eight texts, each ended by a zero byte: PNCID, CRO number, and each class; an empty one is
 * NULL.
 */
#include <stdlib.h>
#include <string.h>

#include "plugins/pnc/records.h"

static const char base_json[] =
    "{\"pncid\":\"1988/0012345G\",\"name\":{\"family\":\"F\",\"given\":\"G\"},"
    "\"warnings\":[\"W\"],\"markers\":[\"M\"],\"bail\":[{\"condition\":\"C\"}]}";

static int count_key(void *arg, enum pnc_key by, const char *key)
{
    (void)by;
    if (key[0] == '\0') {
        abort();
    }
    ++*(unsigned *)arg;
    return 0;
}

static void check(const struct pnc_record *record)
{
    struct pnc_record again;
    struct whorl_fault fault;
    unsigned keys = 0;
    if (!pnc_record_from_bytes(record->bytes, record->len, &again, &fault) ||
        strcmp(record->pncid, again.pncid) != 0 || strcmp(record->cro, again.cro) != 0) {
        abort();
    }
    pnc_record_keys(&again, count_key, &keys);
    if (keys == 0) {
        abort();
    }
    pnc_record_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const char *texts[2 + PNC_CLASSES] = {NULL};
    struct pnc_record base, record;
    struct whorl_fault fault;
    if (len < 2) {
        return 0;
    }
    unsigned classes = bytes[0] & PNC_ALL_CLASSES;
    char *copy = malloc(len);
    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, bytes + 1, len - 1);
    copy[len - 1] = '\0';
    char *at = copy;
    for (size_t i = 0; i < 2 + PNC_CLASSES && at < copy + len; at += strlen(at) + 1) {
        texts[i++] = at[0] != '\0' ? at : NULL;
    }
    struct pnc_row row = {.pncid = texts[0] != NULL ? texts[0] : "", .cro = texts[1]};
    memcpy(row.json, texts + 2, sizeof(row.json));
    if (!pnc_record_from_json(base_json, strlen(base_json), 2026, &base, &fault)) {
        abort();
    }
    if (pnc_record_from_row(&row, classes, classes != PNC_ALL_CLASSES ? &base : NULL, 2026, &record,
                            &fault)) {
        check(&record);
        pnc_record_release(&record);
    }
    pnc_record_release(&base);
    free(copy);
    return 0;
}
