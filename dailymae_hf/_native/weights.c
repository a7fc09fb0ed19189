/* The triangle filter's weights, with the rules of Pillow's precompute_coeffs (Resample.c): the filter grows with the
 * reduction, is cut at the edges of what exists, and is normalised over what is left. */
#include <math.h>
#include <string.h>

#include "internal.h"
#include "resample.h"
#include "simd_target.h"

/* Outputs whose weights are computed side by side, so that compilers vectorise them. */
enum { BATCH = 16 };

static double support_of(double scale) {
    return scale < 1 ? 1 : scale;
}

/* A filter of half width s covers fewer than 2 s + 1 sample centres with a weight above 0. */
int32_t dmae_axis_taps(double length, int32_t out) {
    const int32_t taps = (int32_t)ceil(2 * support_of(length / out));
    return (taps + 1) & ~1;
}

static int is_wide(int32_t taps) {
    return taps > DMAE_NARROW_TAPS;
}

size_t dmae_axis_bytes(int32_t taps, int32_t out) {
    const size_t weights = (size_t)taps * (is_wide(taps) ? sizeof(int32_t) : 1);
    return (size_t)out * (sizeof(int32_t) + weights);
}

/* An output that no sample is near to takes the nearest one. */
static int32_t nearest(int32_t first, int32_t available) {
    return first < 0 ? 0 : first >= available ? available - 1 : first;
}

typedef struct batch {
    int32_t first[BATCH];                    /* first sample, before it is cut at 0 */
    float distance[BATCH];                   /* from the filter's centre to that sample's */
    uint8_t weight[DMAE_NARROW_TAPS][BATCH]; /* 0 outside the samples that exist */
    int32_t total[BATCH];                    /* sum of the weights: one, or 0 where no sample is near */
} batch;

/* `step` is -1 for mirrored outputs: `begin` is then the last. */
static inline __attribute__((always_inline)) void place_batch(batch *b, double from, double scale, double support,
                                                              int32_t begin, int32_t step) {
    for (int k = 0; k < BATCH; k++) {
        const double center = from + (begin + step * k + 0.5) * scale;
        const double low = center - support + 0.5;
        int32_t x = (int32_t)low;
        x -= x > low; /* floor */
        b->first[k] = x;
        b->distance[k] = (float)(x + 0.5 - center);
    }
}

/* Rounding the running sum, not each weight, makes the weights add up to exactly one. */
static inline __attribute__((always_inline)) void weigh_batch(batch *b, int32_t taps, float inverse,
                                                              int32_t available) {
    float total[BATCH] = {0}, sum[BATCH] = {0}, tap[DMAE_NARROW_TAPS][BATCH];
    for (int32_t t = 0; t < taps; t++)
        for (int k = 0; k < BATCH; k++) {
            const float share = 1 - fabsf(b->distance[k] + (float)t) * inverse;
            const int32_t x = b->first[k] + t;
            tap[t][k] = ((x >= 0) & (x < available) & (share > 0)) ? share : 0;
            total[k] += tap[t][k];
        }
    for (int k = 0; k < BATCH; k++) {
        total[k] = total[k] > 0 ? (1 << DMAE_WEIGHT_BITS) / total[k] : 0;
        b->total[k] = 0;
    }
    for (int32_t t = 0; t < taps; t++)
        for (int k = 0; k < BATCH; k++) {
            sum[k] += tap[t][k] * total[k];
            const int32_t upto = (int32_t)(sum[k] + 0.5f);
            b->weight[t][k] = (uint8_t)(upto - b->total[k]);
            b->total[k] = upto;
        }
}

/* Outputs at the first sample, where taps before it are dropped, and such that no sample is near to. */
static void store_carefully(const batch *b, int32_t count, int32_t taps, int32_t available, int32_t *start,
                            uint8_t *out) {
    for (int32_t k = 0; k < count; k++, out += taps) {
        const int32_t before = b->first[k] < 0 ? -b->first[k] : 0;
        start[k] = b->first[k] + before;
        for (int32_t t = 0; t < taps; t++)
            out[t] = t + before < taps ? b->weight[t + before][k] : 0;
        if (b->total[k] == 0) {
            start[k] = nearest(b->first[k], available);
            out[0] = 1 << DMAE_WEIGHT_BITS;
        }
    }
}

static inline __attribute__((always_inline)) void store_batch(const batch *b, int32_t taps, int32_t *restrict start,
                                                              uint8_t *restrict out) {
    memcpy(start, b->first, sizeof b->first);
    if (taps == 2)
        for (int k = 0; k < BATCH; k++) {
            out[2 * k] = b->weight[0][k];
            out[2 * k + 1] = b->weight[1][k];
        }
    else if (taps == 4)
        for (int k = 0; k < BATCH; k++) {
            out[4 * k] = b->weight[0][k];
            out[4 * k + 1] = b->weight[1][k];
            out[4 * k + 2] = b->weight[2][k];
            out[4 * k + 3] = b->weight[3][k];
        }
    else
        for (int k = 0; k < BATCH; k++)
            for (int32_t t = 0; t < taps; t++)
                out[k * taps + t] = b->weight[t][k];
}

static inline __attribute__((always_inline)) void fill_batches(dmae_axis *axis, double from, double scale,
                                                               int32_t available, int flip) {
    const double support = support_of(scale);
    const int32_t taps = axis->taps, out = axis->out;
    for (int32_t begin = 0; begin < out; begin += BATCH) {
        batch b;
        const int32_t count = out - begin < BATCH ? out - begin : BATCH;
        place_batch(&b, from, scale, support, flip ? out - 1 - begin : begin, flip ? -1 : 1);
        weigh_batch(&b, taps, (float)(1 / support), available);
        int plain = count == BATCH && b.first[0] >= 0 && b.first[BATCH - 1] >= 0;
        for (int k = 0; k < BATCH; k++)
            plain &= b.total[k] > 0;
        if (plain)
            store_batch(&b, taps, axis->start + begin, axis->narrow + (size_t)begin * (size_t)taps);
        else
            store_carefully(&b, count, taps, available, axis->start + begin,
                            axis->narrow + (size_t)begin * (size_t)taps);
    }
}

static void fill_narrow(dmae_axis *axis, double from, double scale, int32_t available, int flip) {
    fill_batches(axis, from, scale, available, flip);
}

#if defined(__x86_64__)
DMAE_TARGET_BEGIN("avx2") /* which has no fused multiply-add, so the numbers stay the same */
static void fill_narrow_avx2(dmae_axis *axis, double from, double scale, int32_t available, int flip) {
    fill_batches(axis, from, scale, available, flip);
}
DMAE_TARGET_END
#else
#define fill_narrow_avx2 fill_narrow
#endif

static void fill_wide(dmae_axis *axis, double from, double scale, int32_t available, int flip) {
    for (int32_t i = 0; i < axis->out; i++) {
        const int32_t at = flip ? axis->out - 1 - i : i;
        int32_t *out = axis->wide + (size_t)at * (size_t)axis->taps;
        const double center = from + (i + 0.5) * scale;
        const int32_t start = nearest((int32_t)floor(center - scale + 0.5), available);
        double total = 0, sum = 0;
        int32_t given = 0;
        for (int32_t x = start; x < start + axis->taps && x < available; x++)
            total += fmax(0, 1 - fabs(x + 0.5 - center) / scale);
        axis->start[at] = start;
        memset(out, 0, (size_t)axis->taps * sizeof *out);
        for (int32_t t = 0; t < axis->taps && start + t < available; t++) {
            sum += fmax(0, 1 - fabs(start + t + 0.5 - center) / scale);
            const int32_t upto = (int32_t)lrint(sum / total * (1 << DMAE_WIDE_BITS));
            out[t] = upto - given;
            given = upto;
        }
    }
}

void dmae_axis_fill(dmae_axis *axis, void *memory, int32_t taps, int32_t out, double from, double length,
                    int32_t available, int flip, int simd) {
    const double scale = length / out;
    int32_t *start = memory;
    *axis = (dmae_axis){out, taps, available, start, NULL, NULL};
    if (is_wide(taps)) {
        axis->wide = start + out;
        fill_wide(axis, from, scale, available, flip);
    } else {
        axis->narrow = (uint8_t *)(start + out);
        (simd >= DMAE_SIMD_AVX2 ? fill_narrow_avx2 : fill_narrow)(axis, from, scale, available, flip);
    }
}

static int32_t vectors_of(const dmae_shuffle_shape *shape, const dmae_axis *axis) {
    const int32_t outputs = shape->bytes / 2;
    return (axis->out + outputs - 1) / outputs;
}

/* Bases come last and at their most: two windows per lane. */
size_t dmae_shuffle_bytes(const dmae_shuffle_shape *shape, const dmae_axis *axis) {
    const size_t vectors = (size_t)vectors_of(shape, axis), lanes = (size_t)(shape->bytes / shape->lane);
    return vectors * (size_t)shape->bytes * (1 + (size_t)axis->taps / 2) + vectors * lanes * 2 * sizeof(int32_t);
}

/* Points the outputs [from, to) at one window, and says whether they fit. Starts rise, or fall where mirrored. */
static int fill_window(const dmae_axis *axis, int32_t from, int32_t to, int32_t lane, uint8_t mark, int32_t *base,
                       uint8_t *index) {
    const int32_t end = to < axis->out ? to : axis->out;
    *base = 0;
    if (from < end) {
        const int32_t a = axis->start[from], b = axis->start[end - 1];
        *base = a < b ? a : b;
        if ((a < b ? b : a) - *base + 1 >= lane)
            return 0;
    }
    for (int32_t i = from; i < end; i++) {
        index[2 * (i - from)] = (uint8_t)((axis->start[i] - *base) | mark);
        index[2 * (i - from) + 1] = (uint8_t)((axis->start[i] - *base + 1) | mark);
    }
    if (end < to)
        memset(index + 2 * (end > from ? end - from : 0), 0, 2 * (size_t)(to - (end > from ? end : from)));
    return 1;
}

static int fill_indices(dmae_shuffle *shuffle, const dmae_shuffle_shape *shape, const dmae_axis *axis) {
    const int32_t per_window = shape->lane / 2 / shuffle->windows;
    const int32_t count = shuffle->vectors * (shape->bytes / shape->lane) * shuffle->windows;
    for (int32_t w = 0; w < count; w++) {
        const int32_t from = w * per_window;
        const uint8_t mark = shuffle->windows == 2 && w % 2 ? shape->second : 0;
        if (!fill_window(axis, from, from + per_window, shape->lane, mark, &shuffle->base[w],
                         shuffle->index + 2 * from))
            return 0;
    }
    return 1;
}

int dmae_shuffle_fill(dmae_shuffle *shuffle, void *memory, const dmae_shuffle_shape *shape, const dmae_axis *axis) {
    const int32_t vectors = vectors_of(shape, axis), outputs = shape->bytes / 2, pairs = axis->taps / 2;
    const size_t bytes = (size_t)vectors * (size_t)shape->bytes;
    uint8_t *index = memory;
    *shuffle =
        (dmae_shuffle){vectors, pairs, 1, (int32_t *)(index + bytes * (size_t)(1 + pairs)), index, index + bytes};
    if (!fill_indices(shuffle, shape, axis)) {
        shuffle->windows = 2;
        if (!fill_indices(shuffle, shape, axis))
            return 0;
    }
    for (int32_t v = 0; v < vectors; v++) {
        const int32_t from = v * outputs, count = axis->out - from < outputs ? axis->out - from : outputs;
        const uint8_t *restrict weight = axis->narrow + (size_t)from * (size_t)axis->taps;
        for (int32_t p = 0; p < pairs; p++) {
            uint8_t *restrict to = shuffle->weight + ((size_t)v * (size_t)pairs + (size_t)p) * (size_t)shape->bytes;
            for (int32_t k = 0; k < count; k++)
                memcpy(to + 2 * k, weight + k * axis->taps + 2 * p, 2);
            memset(to + 2 * count, 0, 2 * (size_t)(outputs - count));
        }
    }
    return 1;
}
