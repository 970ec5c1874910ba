/* Finding blocks with room for those who come: people who were replaced or removed leave it
 * everywhere. */
#include <string.h>

#include "write_parts.h"

#define DRAWN 16u                      /* blocks that are looked at for room ... */
#define TRIES 64u                      /* ... of so many numbers at most */
#define FULL (BLOCK_SIZE / 8 * 7)      /* bytes: as full as blocks are to be on average */
#define MUCH_ROOM (BLOCK_SIZE / 4 * 3) /* with less than that a block is filled up in any case */
#define SAMPLED_LEAST 4096u            /* people, for how large they are ... */
#define SAMPLED_MOST 1048576u          /* ... on average of the latest */

/* Draws a block at random. A number that no block has is passed over, unless `near`: the block
 * behind a gap would be drawn too often. false: there is none, or its record cannot be read. */
static bool draw_block(struct batch *batch, MDB_cursor *cursor, bool near,
                       struct index_entry *entry)
{
    batch->drawn = batch->drawn * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
    uint32_t number = 1 + (uint32_t)((batch->drawn >> 32) % batch->meta.tail);
    MDB_val key = {sizeof number, &number}, value;
    return mdb_cursor_get(cursor, &key, &value, near ? MDB_SET_RANGE : MDB_SET_KEY) == 0 &&
           index_decode(&key, &value, entry) == 0 && entry->people > 0;
}

/* The bytes that a block uses for all people, also those who have left it; 0 where it cannot be
 * read. */
static uint64_t used_by(const struct batch *batch, uint32_t number)
{
    struct block_info info;
    const char *why;
    MDB_val key = {sizeof number, &number}, value;
    return mdb_get(batch->txn, batch->gallery->blocks, &key, &value) == 0 &&
                   block_header(value.mv_data, value.mv_size, &info, &why)
               ? info.used
               : 0;
}

/* Whether a block is one that people are being added to, or will be. */
static bool is_taken(const struct batch *batch, uint32_t number)
{
    bool taken = number == batch->tail->number || number == batch->other->number ||
                 number == batch->meta.tail || number == batch->meta.room;
    for (uint32_t i = 0; i < batch->chosen_count && !taken; i++) {
        taken = number == batch->chosen[i];
    }
    return taken;
}

/* The sum of one block's people to that of earlier ones, which count less and less. It outlasts the
 * transaction: were it begun anew each time, chance would have it that now blocks are filled up and
 * now new ones are begun, which no later one takes back. */
static void add_sample(struct sizes *sizes, uint64_t bytes, uint64_t people)
{
    if (sizes->people > SAMPLED_MOST) {
        sizes->bytes /= 2;
        sizes->people /= 2;
    }
    sizes->bytes += bytes;
    sizes->people += people;
}

/* Of some blocks that are drawn at random the emptiest, and the bytes of who is in it; 0: none.
 * The blocks themselves lie far apart, so only those are read that hold no more people than the
 * emptiest so far; the first, whichever it is, for how large people are. */
static uint32_t draw_emptiest(struct batch *batch, MDB_cursor *cursor, uint64_t *least)
{
    struct sizes *sizes = &batch->gallery->sizes;
    uint32_t best = 0, fewest = UINT32_MAX;
    *least = UINT64_MAX;
    for (unsigned tries = 0, drawn = 0; tries < TRIES && drawn < DRAWN && batch->meta.tail > 0;
         tries++) {
        struct index_entry entry;
        if (!draw_block(batch, cursor, tries >= TRIES - DRAWN, &entry)) {
            continue;
        }
        const bool sample = drawn++ == 0 || sizes->people < SAMPLED_LEAST;
        if (!sample && entry.people > fewest) {
            continue;
        }
        const uint64_t used = used_by(batch, entry.number);
        const uint64_t left = used * entry.people / (entry.people + entry.gone);
        if (sample && used > 0) {
            add_sample(sizes, used, entry.people + entry.gone);
        }
        if (used > 0 && left < *least && !is_taken(batch, entry.number)) {
            *least = left;
            best = entry.number;
            fewest = entry.people;
        }
    }
    return best;
}

/* Finds a block with room: of some that are drawn at random the emptiest, if all blocks together
 * have more room than they need to have, or this one has much. *number 0: there is none. */
static int find_room(struct batch *batch, uint32_t *number, uint64_t *left)
{
    MDB_cursor *cursor;
    MDB_stat stat;
    int rc = mdb_stat(batch->txn, batch->gallery->index, &stat);
    if (rc == 0) {
        rc = mdb_cursor_open(batch->txn, batch->gallery->index, &cursor);
    }
    if (rc != 0) {
        return rc;
    }
    *number = draw_emptiest(batch, cursor, left);
    mdb_cursor_close(cursor);
    const struct sizes *sizes = &batch->gallery->sizes;
    if (*number != 0 && sizes->people > 0) {
        const double person = (double)sizes->bytes / (double)sizes->people;
        const double full = person * (double)batch->meta.people / (double)stat.ms_entries;
        *number = full <= FULL || *left <= MUCH_ROOM ? *number : 0;
    }
    return 0;
}

int write_seek_room(struct batch *batch)
{
    uint32_t number = 0;
    uint64_t left;
    while (batch->chosen_next < batch->chosen_count && number == 0) {
        number = batch->chosen[batch->chosen_next++];
    }
    int rc = number == 0 ? find_room(batch, &number, &left) : 0;
    batch->meta.room = rc == 0 && number != 0 ? number : batch->meta.room;
    return rc;
}

/* Writes a block as it is. */
static int rewrite(struct batch *batch, uint32_t number)
{
    MDB_val key = {sizeof number, &number}, value;
    int rc = mdb_get(batch->txn, batch->gallery->blocks, &key, &value);
    if (rc != 0 || value.mv_size != BLOCK_SIZE) {
        return rc == MDB_NOTFOUND ? 0 : rc; /* for load to say */
    }
    memcpy(batch->other->bytes, value.mv_data, BLOCK_SIZE);
    value.mv_data = batch->other->bytes;
    return mdb_put(batch->txn, batch->gallery->blocks, &key, &value, 0);
}

/* A block takes sixteen pages that lie together. LMDB has those of blocks that earlier transactions
 * replaced, about as many as a batch needs; but the single pages, of which a batch writes many
 * more, it takes from wherever they come first. Were these written before, they would break up the
 * runs of sixteen: then blocks make the file grow, by pages that are free for ever after, and each
 * transaction goes through all of these. */
int write_choose_blocks(struct batch *batch)
{
    uint64_t needed = 0;
    int rc = write_flush(batch, batch->other); /* whose bytes rewrite needs */
    batch->other->number = 0;
    if (rc == 0 && batch->meta.room != 0) {
        rc = rewrite(batch, batch->meta.room);
    }
    for (size_t i = 0; i < batch->count; i++) {
        needed += block_entry_size(&batch->people[i]);
    }
    while (rc == 0 && needed > 0 && batch->chosen_count < CHOSEN) {
        uint32_t number;
        uint64_t left;
        rc = find_room(batch, &number, &left);
        if (rc != 0 || number == 0) {
            break;
        }
        batch->chosen[batch->chosen_count++] = number;
        rc = rewrite(batch, number);
        needed -= needed < BLOCK_SIZE - left ? needed : BLOCK_SIZE - left;
    }
    return rc;
}

void write_forget_block(struct batch *batch, uint32_t number)
{
    for (uint32_t i = 0; i < batch->chosen_count; i++) {
        batch->chosen[i] = batch->chosen[i] == number ? 0 : batch->chosen[i];
    }
}
