/* What glances at a person's fingers (afis/sieve.h) say together: their sum. The rank counts a
 * little: it knows of words that glances do not see. How much: docs/search.md. */
#ifndef GALLERY_IMPRESSION_H
#define GALLERY_IMPRESSION_H

/* rank: by sieve and sift, 0 = no evidence either way. */
static inline float impression_of_rank(float rank)
{
    return rank * (1.0f / 800);
}

#endif
