/* The statistics of unusual activity. All pure functions.
 *
 * Counts are negative binomial: Poisson limits take every officer, shift and place for alike, and
 * flag whoever works where there is much to do. The dispersion is fitted to the body of the data
 * and not to its tail, so that what is looked for doesn't hide itself (an empirical null: Efron,
 * J. Am. Stat. Assoc. 99 (2004) 96). Shares are beta-binomial with the dispersion of a funnel plot:
 * winsorised z scores and an additive random effect (Spiegelhalter, Statistics in Medicine 24
 * (2005) 1185; Spiegelhalter et al., J. R. Stat. Soc. A 175 (2012) 1). */
#ifndef CLI_REPORT_STATS_H
#define CLI_REPORT_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A count and what is expected of it, but for a factor that is the same for all. */
struct stats_count {
    double expected; /* > 0 */
    uint32_t count;
};

/* Counts are negative binomial with mean rate x expected and variance mean + mean^2 / size. */
struct stats_nb {
    double rate, size;
};

/* The probability of at least `count`. */
double stats_nb_tail(uint32_t count, double mean, double size);

/* The smallest count whose tail is at most p: the limit that flags it. At most 1000000. */
uint32_t stats_nb_limit(double mean, double size, double p);

/* Fits rate and size by maximum likelihood to the counts that are not in the upper `beyond` of
 * their own distribution, as one truncated there. Its time is linear in n. false: out of memory.
 */
bool stats_nb_fit(const struct stats_count *counts, size_t n, double beyond, struct stats_nb *fit);

/* So many of so many. */
struct stats_share {
    uint32_t hits, of;
};

/* Shares scatter around mean with variance mean (1 - mean) (1 + (of - 1) rho) / of. Trades make
 * them lopsided (whoever executes warrants finds more, nobody finds much less): a side that
 * scatters less than the whole has a rho of its own. */
struct stats_funnel {
    double mean, below, above; /* rho on either side */
};

/* Fits it to those of at least `least`; a mean of 0 or 1 if there is nothing to fit. false: out
 * of memory. */
bool stats_funnel_fit(const struct stats_share *shares, size_t n, uint32_t least,
                      struct stats_funnel *funnel);

/* The probability of at least (upper) or at most so many hits, beta-binomial; binomial if rho is 0.
 */
double stats_share_tail(const struct stats_share *share, const struct stats_funnel *funnel,
                        bool upper);

/* The limits of the funnel for `of`: shares at or beyond which the tail is at most p. below < 0
 * and above > 1: none is. */
void stats_share_limits(uint32_t of, const struct stats_funnel *funnel, double p, double *below,
                        double *above);

/* Adjusts p values as Benjamini and Hochberg do (J. R. Stat. Soc. B 57 (1995) 289): flagging all
 * with q up to x, on average no more than x of the flags are false. false: out of memory. */
bool stats_bh(const double *p, size_t n, double *q);

#endif
