/* Does quality predict recognition? Tables of the two, from the genuine comparisons of a set. */
#ifndef BENCH_QUALITY_TABLE_H
#define BENCH_QUALITY_TABLE_H

#include <stddef.h>

#include <stdint.h>

struct quality_pair {
    float score; /* dB */
    uint8_t low; /* the lower of the two prints' qualities, 0..100 */
};

struct quality_table {
    size_t seen[10], matched[10];      /* by a print's quality: 0..9, 10..19, ..., 90..100 */
    size_t rejected, rejected_matched; /* of prints below QUALITY_REJECTED */
    struct quality_pair *pairs;
    size_t count, room;
};

#define QUALITY_REJECTED 15u   /* default min_quality of the finger plugins */
#define QUALITY_MATCH_DB 30.0f /* one impostor in a thousand scores as high */

/* Takes in one genuine comparison; it counts for both of its prints. Aborts when memory runs out,
 * as all that benchmarks do. */
void quality_table_add(struct quality_table *table, uint8_t a, uint8_t b, float score);
void quality_table_append(struct quality_table *to, const struct quality_table *from);
void quality_table_release(struct quality_table *table);

/* To standard output: the share of comparisons that reach QUALITY_MATCH_DB by quality ... */
void quality_table_head(void);
void quality_table_row(const char *name, const struct quality_table *table);
/* ... and the share that does not, after leaving out the comparisons with the worst prints. */
void quality_reject_head(void);
void quality_reject_row(const char *name, struct quality_table *table);

#endif
