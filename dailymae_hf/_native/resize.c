/* Whole images scaled down for a writer: Pillow's BICUBIC with antialiasing, byte for byte (its Resample.c: the same
 * weights and fractions; rows first, as it does wherever both sides shrink alike), in loops that compilers vectorise.
 * Pixels have four bytes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "simd_target.h"

enum { FRACTION_BITS = 32 - 8 - 2, CHANNELS = 4, ROWS = 8 };

#define INLINE static inline __attribute__((always_inline))

/* Per output: its first sample, how many it takes, and `most` weights of 1 << FRACTION_BITS together. */
typedef struct weights {
    int32_t most, *start, *count, *weight;
} weights;

/* Keys' cubic with a = -1/2. */
static double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static void weigh(weights *w, int32_t in, int32_t out, int32_t i, double *share) {
    const double scale = (double)in / out, filter_scale = fmax(scale, 1), support = 2 * filter_scale;
    const double center = (i + 0.5) * scale, step = 1 / filter_scale;
    const int32_t from = (int32_t)fmax(center - support + 0.5, 0), to = (int32_t)fmin(center + support + 0.5, in);
    double total = 0;
    for (int32_t t = 0; t < to - from; t++)
        total += share[t] = cubic((t + from - center + 0.5) * step);
    for (int32_t t = 0; t < to - from; t++) {
        const double fixed = share[t] / total * (1 << FRACTION_BITS);
        w->weight[i * w->most + t] = (int32_t)(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    w->start[i] = from;
    w->count[i] = to - from;
}

static int weights_make(weights *w, int32_t in, int32_t out) {
    const double support = 2 * fmax((double)in / out, 1);
    w->most = 2 * (int32_t)ceil(support) + 1;
    w->start = malloc(((size_t)w->most + 2) * (size_t)out * sizeof *w->start);
    double *share = malloc((size_t)w->most * sizeof *share);
    if (w->start && share) {
        w->count = w->start + out;
        w->weight = w->count + out;
        for (int32_t i = 0; i < out; i++)
            weigh(w, in, out, i, share);
    }
    free(share);
    return w->start && share ? DMAE_OK : DMAE_OUT_OF_MEMORY;
}

INLINE uint8_t level(int32_t sum) {
    sum >>= FRACTION_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* The pixels of ROWS rows side by side, so that one weight serves them all. */
INLINE void fill_strip(const uint8_t *src, int32_t rows, int32_t width, uint8_t *restrict strip) {
    for (int32_t r = 0; r < ROWS; r++) { /* the last row again, where there is no eighth */
        const uint8_t *restrict row = src + (size_t)(r < rows ? r : rows - 1) * (size_t)width * CHANNELS;
        for (int32_t x = 0; x < width; x++)
            memcpy(strip + (size_t)(x * ROWS + r) * CHANNELS, row + (size_t)x * CHANNELS, CHANNELS);
    }
}

/* One output of ROWS rows. */
INLINE void across(const uint8_t *restrict strip, const int32_t *restrict weight, int32_t count,
                   uint8_t *restrict pixels) {
    int32_t sums[ROWS * CHANNELS];
    for (int k = 0; k < ROWS * CHANNELS; k++)
        sums[k] = 1 << (FRACTION_BITS - 1);
    for (int32_t t = 0; t < count; t++, strip += ROWS * CHANNELS)
        for (int k = 0; k < ROWS * CHANNELS; k++)
            sums[k] += strip[k] * weight[t];
    for (int k = 0; k < ROWS * CHANNELS; k++)
        pixels[k] = level(sums[k]);
}

/* One row of sums over rows. */
INLINE void down(const int32_t *weight, int32_t count, const uint8_t *src, size_t stride, int32_t *restrict sums,
                 uint8_t *restrict dst) {
    for (size_t x = 0; x < stride; x++)
        sums[x] = 1 << (FRACTION_BITS - 1);
    for (int32_t t = 0; t < count; t++, src += stride) {
        const uint8_t *restrict row = src;
        for (size_t x = 0; x < stride; x++)
            sums[x] += row[x] * weight[t];
    }
    for (size_t x = 0; x < stride; x++)
        dst[x] = level(sums[x]);
}

/* What both passes share: the narrowed rows, room for ROWS rows side by side, and for a row of sums. */
typedef struct job {
    weights x, y;
    int32_t out_width, out_height;
    uint8_t *rows, *strip;
    int32_t *sums;
} job;

INLINE void resize(const job *j, const uint8_t *src, int32_t height, int32_t width, uint8_t *dst) {
    const size_t stride = CHANNELS * (size_t)j->out_width;
    for (int32_t y = 0; y < height; y += ROWS) {
        const int32_t rows = height - y < ROWS ? height - y : ROWS;
        fill_strip(src + CHANNELS * (size_t)y * (size_t)width, rows, width, j->strip);
        for (int32_t i = 0; i < j->out_width; i++) {
            uint8_t pixels[ROWS * CHANNELS];
            across(j->strip + (size_t)j->x.start[i] * ROWS * CHANNELS, j->x.weight + (size_t)i * (size_t)j->x.most,
                   j->x.count[i], pixels);
            for (int32_t r = 0; r < rows; r++)
                memcpy(j->rows + (size_t)(y + r) * stride + CHANNELS * (size_t)i, pixels + CHANNELS * r, CHANNELS);
        }
    }
    for (int32_t y = 0; y < j->out_height; y++)
        down(j->y.weight + (size_t)y * (size_t)j->y.most, j->y.count[y], j->rows + (size_t)j->y.start[y] * stride,
             stride, j->sums, dst + (size_t)y * stride);
}

static void resize_plain(const job *j, const uint8_t *src, int32_t height, int32_t width, uint8_t *dst) {
    resize(j, src, height, width, dst);
}

#if defined(__x86_64__)
DMAE_TARGET_BEGIN("avx2")
static void resize_avx2(const job *j, const uint8_t *src, int32_t height, int32_t width, uint8_t *dst) {
    resize(j, src, height, width, dst);
}
DMAE_TARGET_END
#else
#define resize_avx2 resize_plain
#endif

int32_t dmae_resize_bicubic(const uint8_t *src, int32_t height, int32_t width, uint8_t *dst, int32_t out_height,
                            int32_t out_width) {
    job j = {.out_width = out_width, .out_height = out_height};
    if (!src || !dst || height < 1 || width < 1 || out_height < 1 || out_width < 1)
        return DMAE_BAD_ARGUMENT;
    int status = weights_make(&j.x, width, out_width);
    if (status == DMAE_OK)
        status = weights_make(&j.y, height, out_height);
    j.rows = malloc((size_t)height * (size_t)out_width * CHANNELS);
    j.sums = malloc((size_t)out_width * CHANNELS * sizeof *j.sums);
    j.strip = malloc((size_t)width * ROWS * CHANNELS);
    if (!j.rows || !j.sums || !j.strip)
        status = DMAE_OUT_OF_MEMORY;
    if (status == DMAE_OK)
        (dmae_simd_level(DMAE_SIMD_AUTO) >= DMAE_SIMD_AVX2 ? resize_avx2 : resize_plain)(&j, src, height, width, dst);
    free(j.strip);
    free(j.sums);
    free(j.rows);
    free(j.y.start);
    free(j.x.start);
    return status;
}
