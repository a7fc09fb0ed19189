/* The triangle filter's weights, with the rules of Pillow's precompute_coeffs (Resample.c): the filter grows with the
 * reduction, is cut at the edges of what exists, and is normalised over what is left. */
#include <math.h>
#include <string.h>

#include "internal.h"
#include "resize/resample.h"
#include "simd/dispatch.h"

/* A filter of half width s covers fewer than 2 s + 1 sample centres with a weight above 0. */
int32_t dmae_axis_taps(double length, int32_t out) {
    const int32_t taps = (int32_t)ceil(2 * dmae_filter_support(length / out));
    return (taps + 1) & ~1;
}

static int is_wide(int32_t taps) {
    return taps > DMAE_NARROW_TAPS;
}

size_t dmae_axis_bytes(int32_t taps, int32_t out) {
    const size_t weights = (size_t)taps * (is_wide(taps) ? sizeof(int32_t) : 1);
    return (size_t)out * (sizeof(int32_t) + weights);
}

static void fill_wide(dmae_axis *axis, double from, double scale, int32_t available, int flip) {
    for (int32_t i = 0; i < axis->out; i++) {
        const int32_t at = flip ? axis->out - 1 - i : i;
        int32_t *out = axis->wide + (size_t)at * (size_t)axis->taps;
        const double center = from + (i + 0.5) * scale;
        const int32_t start = dmae_nearest_sample((int32_t)floor(center - scale + 0.5), available);
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
                    int32_t available, int flip, const dmae_target *target) {
    const double scale = length / out;
    int32_t *start = memory;
    *axis = (dmae_axis){out, taps, available, start, NULL, NULL};
    if (is_wide(taps)) {
        axis->wide = start + out;
        fill_wide(axis, from, scale, available, flip);
    } else {
        axis->narrow = (uint8_t *)(start + out);
        target->fill_weights(axis, from, scale, available, flip);
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
