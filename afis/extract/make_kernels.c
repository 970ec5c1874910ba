/* Prints the kernels that enhance.c filters with, as C: a program of the build, so that every
 * machine filters with the same ones. After Hong, Wan & Jain 1998: even Gabor functions under a
 * hill that scales with the ridge period. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels.h"

#define GAIN 16384.0f /* 1 << GAIN_BITS of pixels.c: taps are fixed-point numbers */
#define PI 3.14159265f

/* Standard deviations of the kernels' hill, in ridge periods. Short ones follow curved ridges; the
 * passes make up for it. */
#define ACROSS 0.28f
#define ALONG 0.46f
#define ALONG_LONG 0.70f
#define REACH 2.5f /* standard deviations that a kernel covers, unless RADIUS_MAX is less */

#define SPAN (2 * RADIUS_MAX + 1)

/* The lower half of a kernel, its middle row first: the upper one is the same turned by 180
 * degrees. Columns are those of the whole kernel, and some more: loops over all of them always take
 * as many, which compilers turn into few instructions. What lies outside a kernel is 0. */
#define COLUMNS 24
struct half {
    float tap[RADIUS_MAX + 1][COLUMNS];
};

struct rounded {
    int32_t tap[RADIUS_MAX + 1][COLUMNS];
};

/* cos and sin of a wave's phase at -radius..radius pixels along one axis. */
static void sample_phase(float *cosine, float *sine, int radius, float per_pixel)
{
    for (int i = 0; i <= radius; i++) {
        cosine[radius + i] = cosine[radius - i] = cosf(per_pixel * (float)i);
        sine[radius + i] = sinf(per_pixel * (float)i);
        sine[radius - i] = -sine[radius + i];
    }
}

/* The wave: a product of what x and y alone contribute. */
static void sample_wave(struct half *wave, int radius, float period, float phi)
{
    float cx[COLUMNS] = {0};
    float sx[COLUMNS] = {0};
    float cy[SPAN];
    float sy[SPAN];
    sample_phase(cx, sx, radius, 2 * PI * cosf(phi) / period);
    sample_phase(cy, sy, radius, 2 * PI * sinf(phi) / period);
    for (int y = 0; y <= radius; y++) {
        float c = cy[radius + y];
        float s = sy[radius + y];
        for (int i = 0; i < COLUMNS; i++) {
            wave->tap[y][i] = cx[i] * c - sx[i] * s;
        }
    }
}

/* The Gaussian hill, cut off at REACH: likewise, but for a mixed term, a power of y in a column. */
static void sample_hill(struct half *hill, int radius, float across, float along, float phi)
{
    float c = cosf(phi);
    float s = sinf(phi);
    float u2 = 1 / (2 * across * across);
    float v2 = 1 / (2 * along * along);
    float mixed[COLUMNS] = {0};
    float factor[COLUMNS] = {0};
    const float least = expf(-REACH * REACH / 2);
    for (int i = 0; i <= 2 * radius; i++) {
        float x = (float)(i - radius);
        mixed[i] = expf(-x * x * (u2 * c * c + v2 * s * s));
        factor[i] = expf(-2 * x * c * s * (u2 - v2));
    }
    for (int y = 0; y <= radius; y++) {
        float down = expf(-(float)(y * y) * (u2 * s * s + v2 * c * c));
        for (int i = 0; i < COLUMNS; i++) {
            float h = mixed[i] * down;
            hill->tap[y][i] = h < least ? 0 : h;
            mixed[i] *= factor[i];
        }
    }
}

/* Sums over a kernel's columns: of the hill, hill * wave, hill * wave * wave. */
struct kernel_sums {
    float hill, wave, square;
};

static struct kernel_sums sum_kernel(const struct half *hill, const struct half *wave, int radius)
{
    float h_sums[COLUMNS] = {0};
    float w_sums[COLUMNS] = {0};
    float s_sums[COLUMNS] = {0};
    for (int y = 0; y <= radius; y++) {
        float times = y == 0 ? 1 : 2;
        for (int i = 0; i < COLUMNS; i++) {
            float h = times * hill->tap[y][i];
            float w = h * wave->tap[y][i];
            h_sums[i] += h;
            w_sums[i] += w;
            s_sums[i] += w * wave->tap[y][i];
        }
    }
    struct kernel_sums sums = {0};
    for (int i = 0; i <= 2 * radius; i++) {
        sums.hill += h_sums[i];
        sums.wave += w_sums[i];
        sums.square += s_sums[i];
    }
    return sums;
}

/* An even Gabor function without response to a constant and with unit response to its wave. */
static void sample_kernel(struct rounded *kernel, int radius, float period, float along, float phi)
{
    struct half wave;
    struct half hill;
    sample_wave(&wave, radius, period, phi);
    sample_hill(&hill, radius, ACROSS * period, along * period, phi);
    struct kernel_sums sums = sum_kernel(&hill, &wave, radius);
    float mean = sums.wave / sums.hill;
    float gain = GAIN / (sums.square - mean * sums.wave);
    for (int y = 0; y <= radius; y++) {
        for (int i = 0; i < COLUMNS; i++) {
            float v = hill.tap[y][i] * (wave.tap[y][i] - mean) * gain;
            kernel->tap[y][i] = (int32_t)(v + (v < 0 ? -0.5f : 0.5f));
        }
    }
}

/* The taps dx to the right of the middle, from -radius on, and one of zero. */
static void copy_column(const struct rounded *kernel, int radius, int dx, int32_t *column)
{
    for (int dy = 1; dy <= radius; dy++) {
        column[radius - dy] = kernel->tap[dy][radius - dx];
    }
    for (int dy = 0; dy <= radius; dy++) {
        column[radius + dy] = kernel->tap[dy][radius + dx];
    }
    column[2 * radius + 1] = 0;
}

/* Prints a kernel as kernels.h says; returns how many words it takes. */
static unsigned print_kernel(const struct rounded *kernel, int radius)
{
    unsigned words = 1;
    printf("%d,", kernel->tap[0][radius] & 0xffff);
    for (int dx = 0; dx <= radius; dx++) {
        int32_t column[SPAN + 1];
        copy_column(kernel, radius, dx, column);
        int first = dx == 0 ? radius + 1 : 0;
        int end = 2 * radius + 1;
        while (first < end && column[first] == 0) {
            first++;
        }
        while (end > first && column[end - 1] == 0) {
            end--;
        }
        printf("%d,%d,", first - radius, (end - first + 1) / 2);
        words += 2;
        for (int i = first; i < end; i += 2) {
            uint32_t pair = (uint32_t)column[i + 1] << 16 | ((uint32_t)column[i] & 0xffff);
            printf("%d,", (int32_t)pair);
            words++;
        }
    }
    putchar('\n');
    return words;
}

struct set {
    int radius[PERIODS];
    unsigned at[PERIODS][ORIENTATIONS];
};

static void print_taps(struct set *set, float along, unsigned *at)
{
    for (int i = 0; i < PERIODS; i++) {
        float period = PERIOD_MIN * powf(PERIOD_MAX / PERIOD_MIN, ((float)i + 0.5f) / PERIODS);
        int radius = (int)ceilf(REACH * along * period);
        set->radius[i] = radius < RADIUS_MAX ? radius : RADIUS_MAX;
        for (int k = 0; k < ORIENTATIONS; k++) {
            struct rounded kernel = {0};
            sample_kernel(&kernel, set->radius[i], period, along, PI * (float)k / ORIENTATIONS);
            set->at[i][k] = *at;
            *at += print_kernel(&kernel, set->radius[i]);
        }
    }
}

static void print_set(const char *name, const struct set *set)
{
    printf("const struct kernels %s = {\n{", name);
    for (int i = 0; i < PERIODS; i++) {
        printf("%d,", set->radius[i]);
    }
    puts("},\n{");
    for (int i = 0; i < PERIODS; i++) {
        putchar('{');
        for (int k = 0; k < ORIENTATIONS; k++) {
            printf("%u,", set->at[i][k]);
        }
        puts("},");
    }
    puts("}};");
}

int main(void)
{
    struct set short_ones;
    struct set long_ones;
    unsigned at = 0;
    puts("#include \"extract/kernels.h\"\nconst int32_t afis_kernel_taps[] = {");
    print_taps(&short_ones, ALONG, &at);
    print_taps(&long_ones, ALONG_LONG, &at);
    puts("};");
    print_set("afis_kernels_short", &short_ones);
    print_set("afis_kernels_long", &long_ones);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
