/* Whether the same fingers are in a gallery under two ids. */
#ifndef CLI_ENROL_DUPLICATES_H
#define CLI_ENROL_DUPLICATES_H

#include "gallery/gallery.h"

/* Searches the gallery for the fingers of a person who is in it. Into text goes one line that names
 * the others found above the match threshold, "" when there are none. false with *fault. Blocks for
 * the time of a search. */
bool enrol_duplicates_of(struct gallery *gallery, const struct gallery_person *person, char *text,
                         size_t cap, struct whorl_fault *fault);

#endif
