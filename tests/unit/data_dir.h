/* Measured data that is no part of the project: the folder WHORL_DATA names. */
#ifndef TESTS_DATA_DIR_H
#define TESTS_DATA_DIR_H

#include <stddef.h>
#include <stdint.h>

/* Reads a file of the data folder (WHORL_DATA, else ../shared/data from the project's root) into
 * memory to be freed. NULL when it is not there: the test says "skipped". */
uint8_t *data_read(const char *path, size_t *len);

#endif
