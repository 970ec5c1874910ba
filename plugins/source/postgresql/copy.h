/* Making a gallery a copy of a database's people, and keeping it one.
 *
 * Two things go on side by side. Changes: what was committed since the last look is read and put
 * into the gallery. A pass: everybody is read in order of id and compared with the gallery; what
 * differs is put right. The first copy is a pass over an empty gallery. Both may be broken off at
 * any moment: the gallery's mark says where to go on, and doing something twice does no harm.
 *
 * One thread at a time uses a copy, and it may wait. Several copies of one gallery, of other
 * processes too, respect each other's work (gallery/copy.h); only one of them makes a pass. */
#ifndef PLUGINS_SOURCE_POSTGRESQL_COPY_H
#define PLUGINS_SOURCE_POSTGRESQL_COPY_H

#include "gallery/gallery.h"
#include "plugins/source/postgresql/ask.h"
#include "plugins/source/postgresql/mapping.h"
#include "plugins/source/postgresql/mark.h"

struct pg_copy;

/* Where a copy tells what it does; one line without personal data. */
struct pg_copy_log {
    void (*say)(void *ctx, enum whorl_log_level level, const char *text);
    void *ctx;
};

/* The gallery in `dir`, which is made; all but dir must outlive the copy. NULL with *fault. */
struct pg_copy *pg_copy_open(const char *dir, const struct pg_target *target,
                             const struct pg_mapping *mapping, const struct pg_ask *ask,
                             const struct pg_copy_log *log, struct whorl_fault *fault);
void pg_copy_close(struct pg_copy *copy);

const struct pg_mark *pg_copy_mark(const struct pg_copy *copy);

/* Whether the gallery holds everybody, and is a copy of that very database by that mapping: as far
 * as is known until pg_copy_connected. */
bool pg_copy_whole(const struct pg_copy *copy);

/* Whether somebody else has begun to make the gallery a copy of another database, or by another
 * mapping: the newer configuration's instance, after a reload. Then every function here fails, and
 * this copy leaves it alone for good. */
bool pg_copy_taken(const struct pg_copy *copy);
struct gallery *pg_copy_gallery(struct pg_copy *copy);

/* What gives false with *fault: the connection is lost or unfit, or the gallery can't be written.
 * Nothing is half done; begin again later with pg_copy_connected. The fault's text is "" when
 * woken.
 */

/* After the connection has come up: whose database is it, and can the copy go on from where it
 * stands? If not, a pass begins. */
bool pg_copy_connected(struct pg_copy *copy, struct whorl_fault *fault);

/* Looks for what has changed and takes it in. *agreed: the gallery now is as the database was when
 * the call began. */
bool pg_copy_changes(struct pg_copy *copy, bool *agreed, struct whorl_fault *fault);

/* Begins a pass, or begins it again. */
bool pg_copy_begin_pass(struct pg_copy *copy, struct whorl_fault *fault);

/* Goes on with the pass by one page. *busy: it is not over and another may follow at once; it is
 * false as well while somebody else makes the pass. */
bool pg_copy_page(struct pg_copy *copy, bool *busy, struct whorl_fault *fault);

/* Writes down how far it has come, which otherwise is done now and then. */
bool pg_copy_keep(struct pg_copy *copy, struct whorl_fault *fault);

/* Takes up what others have done to gallery and mark meanwhile. */
bool pg_copy_refresh(struct pg_copy *copy, struct whorl_fault *fault);

#endif
