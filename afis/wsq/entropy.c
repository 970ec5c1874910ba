/* Huffman-coded coefficients (WSQ, 2.3 and table 3: what each symbol stands for). */
#include "wsq/internal.h"

/* Bits of one block, most significant first. A 0xff byte that stands for itself is followed by 0;
 * any other 0xff begins the marker that ends the block. */
struct bits {
    struct wsq_reader *r;
    unsigned held, count;
    bool at_end;
};

static unsigned next_bit(struct bits *b)
{
    if (b->count == 0) {
        const uint8_t *at = b->r->at;
        if (at == b->r->end || (*at == 0xff && (b->r->end - at < 2 || at[1] != 0))) {
            b->at_end = true;
            return 1; /* blocks are filled up with ones */
        }
        b->held = *at;
        b->count = 8;
        b->r->at += *at == 0xff ? 2 : 1;
    }
    b->count--;
    return b->held >> b->count & 1u;
}

static unsigned next_bits(struct bits *b, unsigned n)
{
    unsigned value = 0;
    while (n-- > 0) {
        value = value << 1 | next_bit(b);
    }
    return value;
}

/* The next symbol, or -1 at the block's end, or -2 for a code that no symbol has. Canonical codes:
 * those of one length follow one another, after the shorter ones (as in JPEG, ITU-T T.81 annex C).
 */
static int next_symbol(struct bits *b, const struct wsq_huffman *table)
{
    unsigned code = 0, first = 0, index = 0;
    for (unsigned length = 1; length <= 16; length++) {
        code = code << 1 | next_bit(b);
        if (b->at_end) {
            return -1;
        }
        unsigned count = table->count[length];
        if (code - first < count) {
            return table->symbol[index + code - first];
        }
        index += count;
        first = (first + count) << 1;
    }
    return -2;
}

enum afis_status wsq_read_block(struct wsq_reader *r, const struct wsq_huffman *table,
                                int16_t *coefficients, size_t cap, size_t *done)
{
    struct bits bits = {.r = r};
    size_t n = *done;
    for (int symbol; (symbol = next_symbol(&bits, table)) != -1;) {
        unsigned zeros = 0;
        int value = 0;
        switch (symbol) {
        case 101:
            value = (int)next_bits(&bits, 8);
            break;
        case 102:
            value = -(int)next_bits(&bits, 8);
            break;
        case 103:
            value = (int)next_bits(&bits, 16);
            break;
        case 104:
            value = -(int)next_bits(&bits, 16);
            break;
        case 105:
            zeros = next_bits(&bits, 8);
            break;
        case 106:
            zeros = next_bits(&bits, 16);
            break;
        default:
            if (symbol < 1 || symbol > 254) {
                return AFIS_BAD_FORMAT;
            }
            zeros = symbol <= 100 ? (unsigned)symbol : 0;
            value = symbol - 180;
            break;
        }
        bool run = symbol <= 100 || symbol == 105 || symbol == 106;
        if (bits.at_end || value > INT16_MAX || value < INT16_MIN || (run ? zeros : 1) > cap - n) {
            return AFIS_BAD_FORMAT;
        }
        if (run) {
            n += zeros; /* the array was zeroed */
        } else {
            coefficients[n++] = (int16_t)value;
        }
    }
    *done = n;
    return AFIS_OK;
}
