/* Transactions made by hand, right ones and wrong ones. */
#ifndef TESTS_AN2K_FILE_H
#define TESTS_AN2K_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AN2K_FILE_MAX 65536u

struct an2k_file {
    uint8_t bytes[AN2K_FILE_MAX];
    size_t len;
    char contents[2048]; /* of 1.003, from the first record on */
    uint8_t records[AN2K_FILE_MAX];
    size_t records_len;
    unsigned count;
};

void an2k_file_begin(struct an2k_file *file);

/* Adds a record of tagged fields: IDC and then `fields`, in which '|' stands for GS, '^' for RS and
 * '~' for US. With data, a field 999 follows. */
void an2k_file_tagged(struct an2k_file *file, unsigned type, unsigned idc, const char *fields,
                      const uint8_t *data, size_t len);

/* Adds a Type-4 record. */
void an2k_file_type4(struct an2k_file *file, unsigned idc, unsigned position, unsigned width,
                     unsigned height, unsigned coding, const uint8_t *data, size_t len);

/* Puts Type-1 and a Type-2 before them. */
void an2k_file_end(struct an2k_file *file);

/* The fields of a Type-14 record up to its data, with the coding's name and the position. */
const char *an2k_file_type14(unsigned width, unsigned height, const char *coding,
                             unsigned position);

#endif
