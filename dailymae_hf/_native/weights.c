/* The triangle filter's weights, with the rules of Pillow's precompute_coeffs (Resample.c): the filter grows with the
 * reduction, is cut at the edges of what exists, and is normalised over what is left. */
#include <math.h>

#include "resample.h"

int32_t dmae_axis_taps(double length, int32_t out) {
    const double scale = length / out;
    const int32_t taps = 2 * (int32_t)ceil(scale < 1 ? 1 : scale) + 1;
    return (taps + 1) & ~1;
}

size_t dmae_axis_bytes(int32_t taps, int32_t out) {
    return (size_t)out * ((size_t)taps + 1) * sizeof(int32_t);
}

static double triangle(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static int32_t clamp(double x, int32_t low, int32_t high) {
    return x < low ? low : x > high ? high : (int32_t)x;
}

void dmae_axis_fill(dmae_axis *axis, double from, double length, int32_t available, int flip) {
    const double scale = length / axis->out;
    const double support = scale < 1 ? 1 : scale;
    const double unit = (double)(1 << axis->bits);
    for (int32_t i = 0; i < axis->out; i++) {
        const double center = from + (i + 0.5) * scale;
        const int32_t first = clamp(floor(center - support + 0.5), 0, available - 1);
        int32_t end = clamp(floor(center + support + 0.5), first + 1, available);
        if (end - first > axis->taps)
            end = first + axis->taps;
        double total = 0;
        for (int32_t x = first; x < end; x++)
            total += triangle((x - center + 0.5) / support);

        const int32_t at = flip ? axis->out - 1 - i : i;
        /* Late taps that reach past the end get weight 0 on a sample that exists. */
        const int32_t start = available >= axis->taps ? (first < available - axis->taps ? first : available - axis->taps) : 0;
        int32_t *weight = axis->weight + (size_t)at * (size_t)axis->taps;
        axis->start[at] = start;
        /* Rounding the running sum, not each weight, makes them add up to exactly one. */
        double sum = 0;
        int32_t given = 0;
        for (int32_t t = 0; t < axis->taps; t++) {
            const int32_t x = start + t;
            weight[t] = 0;
            if (x < first || x >= end)
                continue;
            sum += total > 0 ? triangle((x - center + 0.5) / support) / total : 1.0 / (end - first);
            const int32_t upto = x == end - 1 ? (int32_t)unit : (int32_t)lrint(sum * unit);
            weight[t] = upto - given;
            given = upto;
        }
    }
}
