/* WSQ files made by hand: valid ones of given coefficients, to be decoded or damaged. */
#ifndef TESTS_WSQ_FILE_H
#define TESTS_WSQ_FILE_H

#include <stddef.h>
#include <stdint.h>

#define WSQ_FILE_MAX 65536u

struct wsq_file {
    uint8_t bytes[WSQ_FILE_MAX];
    size_t len;
};

/* Where the segments of a file made by wsq_file_make begin (their markers). */
enum {
    WSQ_FILE_DTT = 2,
    WSQ_FILE_DQT = WSQ_FILE_DTT + 60,
    WSQ_FILE_SOF = WSQ_FILE_DQT + 391,
    WSQ_FILE_DHT = WSQ_FILE_SOF + 19,
    WSQ_FILE_SOB = WSQ_FILE_DHT + 275
};

/* A file with the filters of the certified encoders (IAFIS-IC-0110, table 1), bins of width 1, no
 * zero bin, M = 128 and R = 1. coefficients: in order of the 60 coded bands. */
void wsq_file_make(struct wsq_file *file, unsigned width, unsigned height,
                   const int16_t *coefficients, size_t count);

/* How many coefficients the lowest band has in each direction. */
unsigned wsq_file_lowest(unsigned side);

/* How many coefficients the 60 coded bands have in all. */
size_t wsq_file_count(unsigned width, unsigned height);

#endif
