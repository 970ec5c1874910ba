/* What glances at a person's fingers say together (afis/match.h). The finger that the sieve found
 * nearest is glanced at first; where it makes a stranger's impression, so will the others, and they
 * are left alone. The rank counts a little: it knows of words that glances do not see. How these
 * figures were chosen: docs/search.md. */
#ifndef GALLERY_IMPRESSION_H
#define GALLERY_IMPRESSION_H

#include <stdbool.h>

/* Three quarters of the strangers who rank high make a lesser impression, one mate in 3,000. */
#define IMPRESSION_DOUBTFUL (-2.8f)
#define IMPRESSION_STRANGE (-4.0f) /* what a stranger's usually is */
#define IMPRESSION_OF_RANK (1.0f / 800)

struct impression {
    float sum, last;
    unsigned fingers;
};

/* rank: by sieve and sift, 0 = no evidence either way. */
static inline struct impression impression_begin(float rank)
{
    return (struct impression){.sum = rank * IMPRESSION_OF_RANK};
}

/* Whether the next finger is worth a glance. */
static inline bool impression_doubtful(const struct impression *impression)
{
    return impression->fingers == 0 || impression->last >= IMPRESSION_DOUBTFUL;
}

/* Of a finger that was glanced at. */
static inline void impression_add(struct impression *impression, float glance)
{
    impression->sum += glance;
    impression->last = glance;
    impression->fingers++;
}

/* Of one that was left alone. */
static inline void impression_skip(struct impression *impression)
{
    impression->sum += IMPRESSION_STRANGE;
    impression->fingers++;
}

#endif
