/* One answer out of two: what the local data says and what the upstream gateway says. Pure
 * functions; any thread. */
#ifndef UPSTREAM_MERGE_H
#define UPSTREAM_MERGE_H

#include "plugins/source/upstream/part.h"

/* The class of both together. agree: what each has found is the same, or of different people asked
 * about.
 *
 *  - whoever found somebody is believed: the others' silence takes nothing away from it;
 *  - two matches that disagree, and a match beside candidates that a person must judge, are
 *    `possible`;
 *  - where nobody was found, it is `no_match` only if both say so. Otherwise, in this order:
 *    `unavailable` if one is; `poor_quality` if one is, because scanning again helps;
 * `not_searched` if neither has searched; and `unavailable` where only one of them has. */
enum part_class merge_class(enum part_class local, enum part_class upstream, bool agree);

/* Packs the answer of `count` parts, 1 or 2, the local one first, with a level for each gateway
 * that they come from. */
void merge_pack(msgpack_packer *pk, const struct part *const *parts, size_t count,
                const struct part_question *question);

#endif
