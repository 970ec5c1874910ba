/* The marker segments of a WSQ file (WSQ, 3.2): sizes, filters, quantization and Huffman tables. */
#include <math.h>
#include <string.h>

#include "afis/image.h"
#include "wsq/internal.h"

uint8_t wsq_u8(struct wsq_reader *r)
{
    if (r->at == r->end) {
        r->short_of = true;
        return 0;
    }
    return *r->at++;
}

uint16_t wsq_u16(struct wsq_reader *r)
{
    unsigned high = wsq_u8(r);
    return (uint16_t)(high << 8 | wsq_u8(r));
}

uint32_t wsq_u32(struct wsq_reader *r)
{
    uint32_t high = wsq_u16(r);
    return high << 16 | wsq_u16(r);
}

/* A number with its decimal exponent before it: value / 10^exponent. */
static float scaled(uint32_t value, unsigned exponent)
{
    return exponent > 30 ? 0.0f : (float)((double)value / pow(10.0, (double)exponent));
}

static float scaled_u16(struct wsq_reader *r)
{
    unsigned exponent = wsq_u8(r);
    return scaled(wsq_u16(r), exponent);
}

/* One half of an analysis filter, centre first. The synthesis filter of the other band is the same
 * with every second sign turned (WSQ, 2.1: the pair is biorthogonal). */
static void read_filter(struct wsq_reader *r, unsigned taps, struct wsq_filter *other)
{
    other->reach = taps / 2;
    for (unsigned k = 0; k <= other->reach; k++) {
        bool negative = wsq_u8(r) != 0;
        unsigned exponent = wsq_u8(r);
        float tap = scaled(wsq_u32(r), exponent);
        other->tap[k] = negative != (k % 2 == 1) ? -tap : tap;
    }
}

static enum afis_status read_transform(struct wsq_reader *r, struct wsq_tables *tables)
{
    unsigned low = wsq_u8(r), high = wsq_u8(r);
    if (low % 2 == 0 || high % 2 == 0) {
        return AFIS_UNSUPPORTED; /* half-sample symmetric filters: no certified encoder uses them */
    }
    if (low > WSQ_FILTER_MAX || high > WSQ_FILTER_MAX) {
        return AFIS_BAD_FORMAT;
    }
    read_filter(r, low, &tables->high);
    read_filter(r, high, &tables->low);
    tables->transform = true;
    return AFIS_OK;
}

static enum afis_status read_quantization(struct wsq_reader *r, struct wsq_tables *tables)
{
    tables->bin_center = scaled_u16(r);
    for (unsigned band = 0; band < WSQ_BANDS; band++) {
        tables->bin[band] = scaled_u16(r);
        tables->zero_bin[band] = scaled_u16(r);
    }
    tables->quantization = true;
    return AFIS_OK;
}

static enum afis_status read_huffman(struct wsq_reader *r, struct wsq_tables *tables)
{
    while (r->at < r->end) {
        unsigned id = wsq_u8(r);
        if (id >= WSQ_HUFFMAN_TABLES) {
            return AFIS_BAD_FORMAT;
        }
        struct wsq_huffman *table = &tables->huffman[id];
        *table = (struct wsq_huffman){0};
        size_t symbols = 0;
        uint32_t room = 1; /* codes of this length that no shorter code has taken */
        for (unsigned length = 1; length <= 16; length++) {
            table->count[length] = wsq_u8(r);
            symbols += table->count[length];
            room = 2 * room;
            if (table->count[length] > room) {
                return AFIS_BAD_FORMAT;
            }
            room -= table->count[length];
        }
        if (symbols == 0 || symbols > sizeof table->symbol) {
            return AFIS_BAD_FORMAT;
        }
        for (size_t i = 0; i < symbols; i++) {
            table->symbol[i] = wsq_u8(r);
        }
        table->defined = true;
    }
    return AFIS_OK;
}

static enum afis_status read_frame(struct wsq_reader *r, struct wsq_tables *tables)
{
    wsq_u16(r); /* black and white: what the scanner called them */
    tables->height = wsq_u16(r);
    tables->width = wsq_u16(r);
    tables->shift = scaled_u16(r);
    tables->scale = scaled_u16(r);
    wsq_u8(r);  /* encoder algorithm */
    wsq_u16(r); /* encoder software */
    if (tables->width > AFIS_IMAGE_MAX_SIDE || tables->height > AFIS_IMAGE_MAX_SIDE ||
        tables->width * tables->height > AFIS_IMAGE_MAX_PIXELS) {
        return AFIS_TOO_LARGE;
    }
    /* 32 pixels are what five levels of halving need to leave something in every band. */
    return tables->width < 32 || tables->height < 32 ? AFIS_TOO_SMALL : AFIS_OK;
}

enum afis_status wsq_read_table(struct wsq_reader *r, unsigned marker, struct wsq_tables *tables)
{
    size_t length = wsq_u16(r); /* counts itself */
    if (r->short_of || length < 2 || length - 2 > (size_t)(r->end - r->at)) {
        return AFIS_BAD_FORMAT;
    }
    struct wsq_reader segment = {.at = r->at, .end = r->at + length - 2};
    r->at = segment.end;
    enum afis_status status = AFIS_BAD_FORMAT;
    switch (marker) {
    case WSQ_SOF:
        status = tables->width ? AFIS_BAD_FORMAT : read_frame(&segment, tables);
        break;
    case WSQ_DTT:
        status = read_transform(&segment, tables);
        break;
    case WSQ_DQT:
        status = read_quantization(&segment, tables);
        break;
    case WSQ_DHT:
        status = read_huffman(&segment, tables);
        break;
    case WSQ_COM:
        status = AFIS_OK;
        break;
    default:
        break;
    }
    return status == AFIS_OK && segment.short_of ? AFIS_BAD_FORMAT : status;
}
