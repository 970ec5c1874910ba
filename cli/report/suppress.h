/* Suppression of small numbers in a published table, so that neither a cell nor what can be
 * computed from the other cells, the totals and other tables tells of few people.
 *
 * A table has rows; each row counts its uses, split into those that identified somebody and those
 * that did not. The totals of uses and of the split are known to the reader. A row is published in
 * one of three states:
 *
 *   SHOWN   uses and split
 *   SPLIT   uses; its split is withheld
 *   HIDDEN  nothing but that it is not zero
 *
 * A count of 1 to threshold - 1 is sensitive (primary suppression). Rows are then withheld beside
 * it, smallest first, until, for each sensitive count, the values that agree with all that is
 * published reach from below the threshold up to it or beyond (complementary suppression). What
 * agrees is computed exactly, over whole numbers, not approximated. Complementary suppression of
 * linked tables: Cox, J. Am. Stat. Assoc. 75 (1980) 377; Willenborg and de Waal, Elements of
 * Statistical Disclosure Control (2001). */
#ifndef CLI_REPORT_SUPPRESS_H
#define CLI_REPORT_SUPPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum suppress_state { SUPPRESS_SHOWN, SUPPRESS_SPLIT, SUPPRESS_HIDDEN };

struct suppress_row {
    int64_t uses, identified; /* identified <= uses */
    int64_t
        least;  /* if the row is there at all, the reader knows that it has so many uses; 0: one */
    bool fixed; /* the reader knows its uses from elsewhere: it can't be withheld. It is never
                   sensitive itself */
    enum suppress_state state; /* set */
};

/* Whether a number may stand in print. */
static inline bool suppress_safe(int64_t count, int64_t threshold)
{
    return count == 0 || count >= threshold;
}

/* Sets the states. split: whether the split of uses is published at all; its totals must be safe
 * then. false: the table can't be published safely, all of it is to be withheld. */
bool suppress_table(struct suppress_row *rows, size_t count, bool split, int64_t threshold);

/* The values that a reader can't rule out. */
struct suppress_range {
    int64_t least, most;
};

/* For the row's uses (HIDDEN), and for those of them that identified somebody (not SHOWN). Pure
 * functions, exact over whole numbers. */
struct suppress_range suppress_uses(const struct suppress_row *rows, size_t count, size_t row);
struct suppress_range suppress_identified(const struct suppress_row *rows, size_t count,
                                          size_t row);

#endif
