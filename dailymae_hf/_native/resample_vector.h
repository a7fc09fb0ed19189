/* The resize for one instruction set, written once. The including file defines
 *   vec                        a vector register;  VECTOR_BYTES, LANE_BYTES, SECOND_WINDOW as in dmae_shuffle_shape
 *   load, store                of a whole vector, unaligned;   store_half: of its lower half
 *   window1, window2           (src, base, index) -> the samples that the index names, from one or two windows per lane
 *   multiply_pairs             (u8 weights, s8 samples) -> sums of products of neighbours, s16
 *   add, add_sat, sub_sat      s16;   mulhrs: s16 a * b / 2^15 rounded;   shift: s16 >> DMAE_WEIGHT_BITS, arithmetic
 *   interleave_low, _high      bytes of two vectors;   pack: s16 -> u8 with saturation, the inverse of interleaving
 *   narrow                     one vector of s16 -> s8 with saturation, in order, in the lower half
 *   splat8, splat16, zero, exclusive_or
 * and must not be included twice. */

#define INLINE static inline __attribute__((always_inline))

INLINE void across_row(const dmae_shuffle *s, int pairs, int windows, const uint8_t *src, int8_t *dst) {
    const int lanes = VECTOR_BYTES / LANE_BYTES;
    const uint8_t *weight = s->weight;
    const int32_t *base = s->base;
    for (int32_t v = 0; v < s->vectors; v++, base += lanes * windows) {
        const vec index = load(s->index + v * VECTOR_BYTES);
        vec sum = splat16(1 << (DMAE_WEIGHT_BITS - 1));
        for (int p = 0; p < pairs; p++, weight += VECTOR_BYTES) {
            const vec samples = windows == 1 ? window1(src + 2 * p, base, index) : window2(src + 2 * p, base, index);
            sum = add(sum, multiply_pairs(load(weight), exclusive_or(samples, splat8(-128))));
        }
        store_half(dst + v * (VECTOR_BYTES / 2), narrow(shift(sum)));
    }
}

static void across(const dmae_shuffle *s, const uint8_t *src, ptrdiff_t src_stride, int32_t rows, int8_t *dst,
                   ptrdiff_t dst_stride) {
    for (; rows > 0; rows--, src += src_stride, dst += dst_stride) {
        if (s->windows == 2)
            across_row(s, s->pairs, 2, src, dst);
        else if (s->pairs == 1)
            across_row(s, 1, 1, src, dst);
        else if (s->pairs == 2)
            across_row(s, 2, 1, src, dst);
        else
            across_row(s, s->pairs, 1, src, dst);
    }
}

/* Two vectors of s16 sums per vector of columns: as interleaving the bytes of two rows leaves them. */
typedef struct sums {
    vec low, high;
} sums;

INLINE sums column_sums(const dmae_column *column, int pairs, int32_t y, int32_t x, vec from) {
    const uint8_t *weight = column->axis->narrow + (size_t)y * (size_t)column->axis->taps;
    const int8_t *p = column->rows + column->axis->start[y] * column->stride + x;
    sums sum = {from, from};
    for (int i = 0; i < pairs; i++, p += 2 * column->stride) {
        const vec a = load(p), b = load(p + column->stride);
        const vec w = splat16((int16_t)(weight[2 * i] | weight[2 * i + 1] << 8));
        sum.low = add(sum.low, multiply_pairs(w, interleave_low(a, b)));
        sum.high = add(sum.high, multiply_pairs(w, interleave_high(a, b)));
    }
    return sum;
}

/* What sums of levels start from: a half to round by, and the 128 that samples were centred by. Sums that then leave
 * 16 bits are far beyond white or black: saturation makes them just that. */
INLINE vec half_and_centre(void) {
    return splat16((1 << (DMAE_WEIGHT_BITS - 1)) + (128 << DMAE_WEIGHT_BITS));
}

INLINE void finish(sums sum, uint8_t *to) {
    store(to, pack(shift(sum.low), shift(sum.high)));
}

INLINE vec red(vec y, vec cr) {
    return add_sat(y, add_sat(cr, mulhrs(cr, splat16(DMAE_CR_TO_R))));
}

INLINE vec green(vec y, vec cb, vec cr) {
    return sub_sat(y, add_sat(mulhrs(cb, splat16(DMAE_CB_TO_G)), mulhrs(cr, splat16(DMAE_CR_TO_G))));
}

INLINE vec blue(vec y, vec cb) {
    return add_sat(y, add_sat(cb, mulhrs(cb, splat16(DMAE_CB_TO_B))));
}

INLINE void down_ycc(const dmae_column *column, int y_pairs, int cb_pairs, int cr_pairs, int32_t row, int32_t width,
                     uint8_t *const channel[3]) {
    for (int32_t x = 0; x < width; x += VECTOR_BYTES) {
        const sums y = column_sums(&column[0], y_pairs, row, x, half_and_centre());
        const sums cb = column_sums(&column[1], cb_pairs, row, x, zero());
        const sums cr = column_sums(&column[2], cr_pairs, row, x, zero());
        finish((sums){red(y.low, cr.low), red(y.high, cr.high)}, channel[0] + x);
        finish((sums){green(y.low, cb.low, cr.low), green(y.high, cb.high, cr.high)}, channel[1] + x);
        finish((sums){blue(y.low, cb.low), blue(y.high, cb.high)}, channel[2] + x);
    }
}

static void down(int color, const dmae_column *column, int32_t y, int32_t width, uint8_t *const channel[3]) {
    const int pairs = column[0].axis->taps / 2;
    if (color != DMAE_COLOR_YCC) {
        for (int c = 0; c < 3; c++) {
            const int of = color == DMAE_COLOR_GRAY ? 0 : c;
            for (int32_t x = 0; x < width; x += VECTOR_BYTES)
                finish(column_sums(&column[of], column[of].axis->taps / 2, y, x, half_and_centre()), channel[c] + x);
        }
        return;
    }
    const int cb_pairs = column[1].axis->taps / 2, cr_pairs = column[2].axis->taps / 2;
    if (pairs == 2 && cb_pairs == 2 && cr_pairs == 2)
        down_ycc(column, 2, 2, 2, y, width, channel);
    else if (pairs == 2 && cb_pairs == 1 && cr_pairs == 1)
        down_ycc(column, 2, 1, 1, y, width, channel);
    else if (pairs == 1 && cb_pairs == 1 && cr_pairs == 1)
        down_ycc(column, 1, 1, 1, y, width, channel);
    else
        down_ycc(column, pairs, cb_pairs, cr_pairs, y, width, channel);
}

static const dmae_resampler resampler = {{VECTOR_BYTES, LANE_BYTES, SECOND_WINDOW}, across, down};
