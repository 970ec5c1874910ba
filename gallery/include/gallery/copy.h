/* A gallery that is a copy of somebody else's data: what it takes to keep one.
 *
 * Beside its people such a gallery keeps a mark, which says how far the copying has come; the
 * gallery does not look into it. A mark is written in the transaction of the changes that it stands
 * for, and only if nobody else has changed anything since the one before was read: so two who copy
 * into one gallery (two instances during a reload, a command beside a server) never undo each
 * other's work unnoticed, and what was changed by other means is noticed too. */
#ifndef GALLERY_COPY_H
#define GALLERY_COPY_H

#include "gallery/gallery.h"

#define GALLERY_MARK_MAX (256u << 10) /* bytes */

struct gallery_mark {
    uint8_t *bytes; /* on the heap */
    size_t len;     /* 0: there is none yet */
    uint64_t stamp; /* of the gallery: how many transactions had changed it when it was read */
    bool untouched; /* nothing but gallery_apply has changed the gallery since it was made */
};

/* Reads the mark. Release with gallery_mark_release. Any thread. */
bool gallery_mark_read(struct gallery *gallery, struct gallery_mark *mark,
                       struct whorl_fault *fault);
void gallery_mark_release(struct gallery_mark *mark);

/* Changes that belong together. Nobody is both removed and put. */
struct gallery_change {
    const struct gallery_person *people; /* put, as by gallery_put */
    size_t count;
    const char *const *ids; /* removed, as by gallery_remove */
    size_t id_count;
    const struct gallery_mark *before; /* as it was read, or as *after of the last call */
    const uint8_t *mark;               /* what is to stand in its place */
    size_t mark_len;                   /* 1..GALLERY_MARK_MAX */
};

enum gallery_applied {
    GALLERY_APPLIED,
    GALLERY_APPLY_LATE, /* mark or gallery are not as in `before`: nothing is changed, read anew */
    GALLERY_APPLY_FAILED
};

/* Makes them in one durable transaction. *after: the mark as it now is (its own memory); only when
 * applied. Blocks (fsync). Any thread but the loop's. */
enum gallery_applied gallery_apply(struct gallery *gallery, const struct gallery_change *change,
                                   struct gallery_mark *after, struct whorl_fault *fault);

/* Reads up to `most` people, with their templates, in order of id (of its bytes) from the first
 * behind `after` on ("": from the first). Each is memory of its own (gallery_person_free). One that
 * is damaged gives false with *fault, and those before it. One read transaction. Any thread. */
bool gallery_next(struct gallery *gallery, const char *after, struct gallery_person **people,
                  size_t most, size_t *count, struct whorl_fault *fault);

#endif
