/* The narrow weights of resample.h, sixteen outputs side by side, for compilers to vectorise: no sum is ever fused with
 * a product, so every target gives the same numbers. */

enum { WEIGHTS_BATCH = 16 };

typedef struct weights_batch {
    int32_t first[WEIGHTS_BATCH];                    /* first sample, before it is cut at 0 */
    float distance[WEIGHTS_BATCH];                   /* from the filter's centre to that sample's */
    uint8_t weight[DMAE_NARROW_TAPS][WEIGHTS_BATCH]; /* 0 outside the samples that exist */
    int32_t total[WEIGHTS_BATCH];                    /* sum of the weights: one, or 0 where no sample is near */
} weights_batch;

/* `step` is -1 for mirrored outputs: `begin` is then the last. */
DMAE_INLINE void weights_place_batch(weights_batch *b, double from, double scale, double support, int32_t begin,
                                     int32_t step) {
    for (int k = 0; k < WEIGHTS_BATCH; k++) {
        const double center = from + (begin + step * k + 0.5) * scale;
        const double low = center - support + 0.5;
        int32_t x = (int32_t)low;
        x -= x > low; /* floor */
        b->first[k] = x;
        b->distance[k] = (float)(x + 0.5 - center);
    }
}

/* Rounding the running sum, not each weight, makes the weights add up to exactly one. */
DMAE_INLINE void weights_weigh_batch(weights_batch *b, int32_t taps, float inverse, int32_t available) {
    float total[WEIGHTS_BATCH] = {0}, sum[WEIGHTS_BATCH] = {0}, tap[DMAE_NARROW_TAPS][WEIGHTS_BATCH];
    for (int32_t t = 0; t < taps; t++)
        for (int k = 0; k < WEIGHTS_BATCH; k++) {
            const float fraction = 1 - fabsf(b->distance[k] + (float)t) * inverse;
            const int32_t x = b->first[k] + t;
            tap[t][k] = ((x >= 0) & (x < available) & (fraction > 0)) ? fraction : 0;
            total[k] += tap[t][k];
        }
    for (int k = 0; k < WEIGHTS_BATCH; k++) {
        total[k] = total[k] > 0 ? (1 << DMAE_WEIGHT_BITS) / total[k] : 0;
        b->total[k] = 0;
    }
    for (int32_t t = 0; t < taps; t++)
        for (int k = 0; k < WEIGHTS_BATCH; k++) {
            sum[k] += tap[t][k] * total[k];
            const int32_t upto = (int32_t)(sum[k] + 0.5f);
            b->weight[t][k] = (uint8_t)(upto - b->total[k]);
            b->total[k] = upto;
        }
}

/* Outputs at the first sample, where taps before it are dropped, and such that no sample is near to. */
static void weights_store_carefully(const weights_batch *b, int32_t count, int32_t taps, int32_t available,
                                    int32_t *start, uint8_t *out) {
    for (int32_t k = 0; k < count; k++, out += taps) {
        const int32_t before = b->first[k] < 0 ? -b->first[k] : 0;
        start[k] = b->first[k] + before;
        for (int32_t t = 0; t < taps; t++)
            out[t] = t + before < taps ? b->weight[t + before][k] : 0;
        if (b->total[k] == 0) {
            start[k] = dmae_nearest_sample(b->first[k], available);
            out[0] = 1 << DMAE_WEIGHT_BITS;
        }
    }
}

DMAE_INLINE void weights_store_batch(const weights_batch *b, int32_t taps, int32_t *restrict start,
                                     uint8_t *restrict out) {
    memcpy(start, b->first, sizeof b->first);
    if (taps == 2)
        for (int k = 0; k < WEIGHTS_BATCH; k++) {
            out[2 * k] = b->weight[0][k];
            out[2 * k + 1] = b->weight[1][k];
        }
    else if (taps == 4)
        for (int k = 0; k < WEIGHTS_BATCH; k++) {
            out[4 * k] = b->weight[0][k];
            out[4 * k + 1] = b->weight[1][k];
            out[4 * k + 2] = b->weight[2][k];
            out[4 * k + 3] = b->weight[3][k];
        }
    else
        for (int k = 0; k < WEIGHTS_BATCH; k++)
            for (int32_t t = 0; t < taps; t++)
                out[k * taps + t] = b->weight[t][k];
}

static void weights_fill(dmae_axis *axis, double from, double scale, int32_t available, int flip) {
    const double support = dmae_filter_support(scale);
    const int32_t taps = axis->taps, out = axis->out;
    for (int32_t begin = 0; begin < out; begin += WEIGHTS_BATCH) {
        weights_batch b;
        const int32_t count = out - begin < WEIGHTS_BATCH ? out - begin : WEIGHTS_BATCH;
        weights_place_batch(&b, from, scale, support, flip ? out - 1 - begin : begin, flip ? -1 : 1);
        weights_weigh_batch(&b, taps, (float)(1 / support), available);
        int plain = count == WEIGHTS_BATCH && b.first[0] >= 0 && b.first[WEIGHTS_BATCH - 1] >= 0;
        for (int k = 0; k < WEIGHTS_BATCH; k++)
            plain &= b.total[k] > 0;
        if (plain)
            weights_store_batch(&b, taps, axis->start + begin, axis->narrow + (size_t)begin * (size_t)taps);
        else
            weights_store_carefully(&b, count, taps, available, axis->start + begin,
                                    axis->narrow + (size_t)begin * (size_t)taps);
    }
}
