#include "report/suppress.h"

static int64_t least_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What is withheld, as its totals are known: the totals of the table less what is shown. */
struct withheld {
    int64_t hidden_uses, hidden_rows; /* over HIDDEN rows */
    int64_t hidden_least;             /* what the reader knows them to have at least */
    int64_t split_uses;               /* over SPLIT rows: known for each of them */
    int64_t identified, others;       /* over both */
};

static int64_t least_uses(const struct suppress_row *row)
{
    return most_of(1, row->least);
}

static struct withheld withheld_of(const struct suppress_row *rows, size_t count)
{
    struct withheld w = {0};
    for (size_t i = 0; i < count; i++) {
        if (rows[i].state == SUPPRESS_SHOWN) {
            continue;
        }
        if (rows[i].state == SUPPRESS_HIDDEN) {
            w.hidden_uses += rows[i].uses;
            w.hidden_rows++;
            w.hidden_least += least_uses(&rows[i]);
        } else {
            w.split_uses += rows[i].uses;
        }
        w.identified += rows[i].identified;
        w.others += rows[i].uses - rows[i].identified;
    }
    return w;
}

struct suppress_range suppress_uses(const struct suppress_row *rows, size_t count, size_t row)
{
    struct withheld w = withheld_of(rows, count);
    if (rows[row].state != SUPPRESS_HIDDEN) {
        return (struct suppress_range){rows[row].uses, rows[row].uses};
    }
    if (w.hidden_rows == 1) {
        return (struct suppress_range){w.hidden_uses, w.hidden_uses};
    }
    /* What the others have at least bounds this one. The split doesn't narrow it: whatever the
     * rows' uses are, they can be split so that its totals come out. */
    int64_t least = least_uses(&rows[row]);
    return (struct suppress_range){least, w.hidden_uses - (w.hidden_least - least)};
}

struct suppress_range suppress_identified(const struct suppress_row *rows, size_t count, size_t row)
{
    struct withheld w = withheld_of(rows, count);
    if (rows[row].state == SUPPRESS_SHOWN) {
        return (struct suppress_range){rows[row].identified, rows[row].identified};
    }
    /* The identified are spread over this row and all other withheld ones at will, no row more
     * than it has uses. */
    struct suppress_range uses = suppress_uses(rows, count, row);
    return (struct suppress_range){most_of(0, uses.least - w.others),
                                   least_of(uses.most, w.identified)};
}

/* ------------------------------------------------------------------ choosing */

static bool sensitive(int64_t count, int64_t threshold)
{
    return !suppress_safe(count, threshold);
}

/* Whether the range leaves a reader all that a sensitive count may be, and something beyond. */
static bool covered(struct suppress_range range, int64_t threshold)
{
    return range.least <= 1 && range.most >= threshold;
}

/* The same for a row; all of it counts that its state withholds and that is sensitive. */
static bool row_covered(const struct suppress_row *rows, size_t count, size_t row, bool split,
                        int64_t threshold)
{
    const struct suppress_row *r = &rows[row];
    if (sensitive(r->uses, threshold) && !covered(suppress_uses(rows, count, row), threshold)) {
        return false;
    }
    if (!split || r->state == SUPPRESS_SHOWN) {
        return true;
    }
    struct suppress_range range = suppress_identified(rows, count, row);
    if (sensitive(r->identified, threshold) && !covered(range, threshold)) {
        return false;
    }
    /* The others of the row run the other way: its uses less the identified. */
    struct suppress_range uses = suppress_uses(rows, count, row);
    struct withheld w = withheld_of(rows, count);
    struct suppress_range others = {most_of(0, uses.least - w.identified),
                                    least_of(uses.most, w.others)};
    return !sensitive(r->uses - r->identified, threshold) || covered(others, threshold);
}

static bool all_covered(const struct suppress_row *rows, size_t count, bool split,
                        int64_t threshold)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].state != SUPPRESS_SHOWN && !row_covered(rows, count, i, split, threshold)) {
            return false;
        }
    }
    return true;
}

/* Whether hiding rows wholly is what is missing: a row that is sensitive in its uses. */
static bool needs_hidden(const struct suppress_row *rows, size_t count, int64_t threshold)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].state == SUPPRESS_HIDDEN && sensitive(rows[i].uses, threshold) &&
            !covered(suppress_uses(rows, count, i), threshold)) {
            return true;
        }
    }
    return false;
}

/* The smallest row that can be withheld further; count if there is none. */
static size_t next_row(const struct suppress_row *rows, size_t count, enum suppress_state to)
{
    size_t best = count;
    for (size_t i = 0; i < count; i++) {
        bool can =
            rows[i].state < to && rows[i].uses > 0 && !(to == SUPPRESS_HIDDEN && rows[i].fixed);
        if (can && (best == count || rows[i].uses < rows[best].uses)) {
            best = i;
        }
    }
    return best;
}

bool suppress_table(struct suppress_row *rows, size_t count, bool split, int64_t threshold)
{
    for (size_t i = 0; i < count; i++) {
        bool uses = sensitive(rows[i].uses, threshold);
        bool parts = split && (sensitive(rows[i].identified, threshold) ||
                               sensitive(rows[i].uses - rows[i].identified, threshold));
        rows[i].state = uses ? SUPPRESS_HIDDEN : parts ? SUPPRESS_SPLIT : SUPPRESS_SHOWN;
    }
    while (!all_covered(rows, count, split, threshold)) {
        enum suppress_state to =
            !split || needs_hidden(rows, count, threshold) ? SUPPRESS_HIDDEN : SUPPRESS_SPLIT;
        size_t row = next_row(rows, count, to);
        if (row == count && to == SUPPRESS_SPLIT) {
            to = SUPPRESS_HIDDEN;
            row = next_row(rows, count, to);
        }
        if (row == count) {
            return false;
        }
        rows[row].state = to;
    }
    return true;
}
