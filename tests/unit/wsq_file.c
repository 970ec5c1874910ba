#include "wsq_file.h"

#include <string.h>

struct bits {
    struct wsq_file *file;
    unsigned held, count;
};

static void put8(struct wsq_file *file, unsigned v)
{
    if (file->len < sizeof file->bytes) {
        file->bytes[file->len++] = (uint8_t)v;
    }
}

static void put16(struct wsq_file *file, unsigned v)
{
    put8(file, v >> 8 & 0xff);
    put8(file, v & 0xff);
}

static void put_tap(struct wsq_file *file, unsigned exponent, uint32_t mantissa, int negative)
{
    put8(file, (unsigned)negative);
    put8(file, exponent);
    put16(file, mantissa >> 16);
    put16(file, mantissa & 0xffff);
}

/* The biorthogonal 9/7 pair, each from its centre outwards. */
static void put_filters(struct wsq_file *file)
{
    put16(file, 0xffa4);
    put16(file, 2 + 2 + 6 * (5 + 4));
    put8(file, 9);
    put8(file, 7);
    put_tap(file, 9, 852698679, 0);
    put_tap(file, 10, 3774028556u, 0);
    put_tap(file, 10, 1106244044, 1);
    put_tap(file, 11, 2384946502u, 1);
    put_tap(file, 11, 3782845551u, 0);
    put_tap(file, 9, 788485616, 0);
    put_tap(file, 10, 4180922732u, 1);
    put_tap(file, 11, 4068941761u, 1);
    put_tap(file, 10, 645388826, 0);
}

static void put_bins(struct wsq_file *file)
{
    put16(file, 0xffa5);
    put16(file, 2 + 3 + 64 * 6);
    put8(file, 0);
    put16(file, 0); /* bin centre */
    for (int band = 0; band < 64; band++) {
        put8(file, 0);
        put16(file, 1);
        put8(file, 0);
        put16(file, 0);
    }
}

static void put_frame(struct wsq_file *file, unsigned width, unsigned height)
{
    put16(file, 0xffa2);
    put16(file, 17);
    put8(file, 0);
    put8(file, 255);
    put16(file, height);
    put16(file, width);
    put8(file, 0);
    put16(file, 128);
    put8(file, 0);
    put16(file, 1);
    put8(file, 0);
    put16(file, 0);
}

/* The symbols 1 to 254 as codes of eight bits, 0 to 253: no code is all ones. */
static void put_codes(struct wsq_file *file)
{
    put16(file, 0xffa6);
    put16(file, 2 + 1 + 16 + 254);
    put8(file, 0);
    for (int length = 1; length <= 16; length++) {
        put8(file, length == 8 ? 254 : 0);
    }
    for (unsigned symbol = 1; symbol <= 254; symbol++) {
        put8(file, symbol);
    }
}

static void put_bits(struct bits *bits, unsigned value, unsigned count)
{
    while (count-- > 0) {
        bits->held = bits->held << 1 | (value >> count & 1);
        if (++bits->count == 8) {
            put8(bits->file, bits->held);
            if (bits->held == 0xff) {
                put8(bits->file, 0);
            }
            bits->held = bits->count = 0;
        }
    }
}

static void put_symbol(struct bits *bits, unsigned symbol)
{
    put_bits(bits, symbol - 1, 8);
}

static void put_zeros(struct bits *bits, size_t run)
{
    while (run > 0) {
        unsigned part = run > 65535 ? 65535 : (unsigned)run;
        if (part <= 100) {
            put_symbol(bits, part);
        } else {
            put_symbol(bits, part <= 255 ? 105 : 106);
            put_bits(bits, part, part <= 255 ? 8 : 16);
        }
        run -= part;
    }
}

static void put_value(struct bits *bits, int value)
{
    unsigned size = (unsigned)(value < 0 ? -value : value);
    if (value >= -73 && value <= 74) {
        put_symbol(bits, (unsigned)(value + 180));
    } else {
        put_symbol(bits, (size <= 255 ? 101u : 103u) + (value < 0));
        put_bits(bits, size, size <= 255 ? 8 : 16);
    }
}

static void put_block(struct wsq_file *file, const int16_t *coefficients, size_t count)
{
    struct bits bits = {.file = file};
    size_t zeros = 0;
    put16(file, 0xffa3);
    put16(file, 3);
    put8(file, 0);
    for (size_t i = 0; i < count; i++) {
        if (coefficients[i] == 0) {
            zeros++;
            continue;
        }
        put_zeros(&bits, zeros);
        zeros = 0;
        put_value(&bits, coefficients[i]);
    }
    put_zeros(&bits, zeros);
    while (bits.count != 0) {
        put_bits(&bits, 1, 1);
    }
}

void wsq_file_make(struct wsq_file *file, unsigned width, unsigned height,
                   const int16_t *coefficients, size_t count)
{
    file->len = 0;
    put16(file, 0xffa0);
    put_filters(file);
    put_bins(file);
    put_frame(file, width, height);
    put_codes(file);
    put_block(file, coefficients, count);
    put16(file, 0xffa1);
}

unsigned wsq_file_lowest(unsigned side)
{
    for (int level = 0; level < 5; level++) {
        side = (side + 1) / 2;
    }
    return side;
}

size_t wsq_file_count(unsigned width, unsigned height)
{
    return (size_t)width * height - (size_t)(width / 2) * (height / 2);
}
