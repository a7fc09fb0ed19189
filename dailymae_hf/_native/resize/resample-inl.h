/* The resize of resample.h in a target's registers. */

DMAE_INLINE void resample_across_row(const dmae_shuffle *s, int pairs, int windows, const uint8_t *src, int8_t *dst) {
    const int lanes = V_BYTES / V_WINDOW;
    const uint8_t *weight = s->weight;
    const int32_t *base = s->base;
    for (int32_t v = 0; v < s->vectors; v++, base += lanes * windows) {
        const v_reg index = v_load(s->index + v * V_BYTES);
        v_reg sum = v_splat16(1 << (DMAE_WEIGHT_BITS - 1));
        for (int p = 0; p < pairs; p++, weight += V_BYTES) {
            const v_reg samples =
                windows == 1 ? v_window1(src + 2 * p, base, index) : v_window2(src + 2 * p, base, index);
            sum = v_add16(sum, v_madd8(v_load(weight), v_xor(samples, v_splat8(-128))));
        }
        v_store_low(dst + v * (V_BYTES / 2), v_narrow16(v_sra16(sum, DMAE_WEIGHT_BITS)));
    }
}

static void resample_across(const dmae_shuffle *s, const uint8_t *src, ptrdiff_t src_stride, int32_t rows, int8_t *dst,
                            ptrdiff_t dst_stride) {
    for (; rows > 0; rows--, src += src_stride, dst += dst_stride) {
        if (s->windows == 2)
            resample_across_row(s, s->pairs, 2, src, dst);
        else if (s->pairs == 1)
            resample_across_row(s, 1, 1, src, dst);
        else if (s->pairs == 2)
            resample_across_row(s, 2, 1, src, dst);
        else
            resample_across_row(s, s->pairs, 1, src, dst);
    }
}

/* Two registers of s16 sums per register of columns: as interleaving the bytes of two rows leaves them. */
typedef struct resample_sums {
    v_reg low, high;
} resample_sums;

DMAE_INLINE resample_sums resample_column_sums(const dmae_column *column, int pairs, int32_t y, int32_t x, v_reg from) {
    const uint8_t *weight = column->axis->narrow + (size_t)y * (size_t)column->axis->taps;
    const int8_t *p = column->rows + column->axis->start[y] * column->stride + x;
    resample_sums sum = {from, from};
    for (int i = 0; i < pairs; i++, p += 2 * column->stride) {
        const v_reg a = v_load(p), b = v_load(p + column->stride);
        const v_reg w = v_splat16((int16_t)(weight[2 * i] | weight[2 * i + 1] << 8));
        sum.low = v_add16(sum.low, v_madd8(w, v_zip_low8(a, b)));
        sum.high = v_add16(sum.high, v_madd8(w, v_zip_high8(a, b)));
    }
    return sum;
}

/* What sums of levels start from: a half to round by, and the 128 that samples were centred by. Sums that then leave
 * 16 bits are far beyond white or black: saturation makes them just that. */
DMAE_INLINE v_reg resample_half_and_centre(void) {
    return v_splat16((1 << (DMAE_WEIGHT_BITS - 1)) + (128 << DMAE_WEIGHT_BITS));
}

DMAE_INLINE void resample_finish(resample_sums sum, uint8_t *to) {
    v_store(to, v_packus16(v_sra16(sum.low, DMAE_WEIGHT_BITS), v_sra16(sum.high, DMAE_WEIGHT_BITS)));
}

DMAE_INLINE v_reg resample_red(v_reg y, v_reg cr) {
    return v_adds16(y, v_adds16(cr, v_mulhrs16(cr, v_splat16(DMAE_CR_TO_R))));
}

DMAE_INLINE v_reg resample_green(v_reg y, v_reg cb, v_reg cr) {
    return v_subs16(y, v_adds16(v_mulhrs16(cb, v_splat16(DMAE_CB_TO_G)), v_mulhrs16(cr, v_splat16(DMAE_CR_TO_G))));
}

DMAE_INLINE v_reg resample_blue(v_reg y, v_reg cb) {
    return v_adds16(y, v_adds16(cb, v_mulhrs16(cb, v_splat16(DMAE_CB_TO_B))));
}

DMAE_INLINE void resample_down_ycc(const dmae_column *column, int y_pairs, int cb_pairs, int cr_pairs, int32_t row,
                                   int32_t width, uint8_t *const channel[3]) {
    for (int32_t x = 0; x < width; x += V_BYTES) {
        const resample_sums y = resample_column_sums(&column[0], y_pairs, row, x, resample_half_and_centre());
        const resample_sums cb = resample_column_sums(&column[1], cb_pairs, row, x, v_zero());
        const resample_sums cr = resample_column_sums(&column[2], cr_pairs, row, x, v_zero());
        resample_finish((resample_sums){resample_red(y.low, cr.low), resample_red(y.high, cr.high)}, channel[0] + x);
        resample_finish(
            (resample_sums){resample_green(y.low, cb.low, cr.low), resample_green(y.high, cb.high, cr.high)},
            channel[1] + x);
        resample_finish((resample_sums){resample_blue(y.low, cb.low), resample_blue(y.high, cb.high)}, channel[2] + x);
    }
}

static void resample_down(int color, const dmae_column *column, int32_t y, int32_t width, uint8_t *const channel[3]) {
    const int pairs = column[0].axis->taps / 2;
    if (color != DMAE_COLOR_YCC) {
        for (int c = 0; c < 3; c++) {
            const int of = color == DMAE_COLOR_GRAY ? 0 : c;
            for (int32_t x = 0; x < width; x += V_BYTES)
                resample_finish(
                    resample_column_sums(&column[of], column[of].axis->taps / 2, y, x, resample_half_and_centre()),
                    channel[c] + x);
        }
        return;
    }
    const int cb_pairs = column[1].axis->taps / 2, cr_pairs = column[2].axis->taps / 2;
    if (pairs == 2 && cb_pairs == 2 && cr_pairs == 2)
        resample_down_ycc(column, 2, 2, 2, y, width, channel);
    else if (pairs == 2 && cb_pairs == 1 && cr_pairs == 1)
        resample_down_ycc(column, 2, 1, 1, y, width, channel);
    else if (pairs == 1 && cb_pairs == 1 && cr_pairs == 1)
        resample_down_ycc(column, 1, 1, 1, y, width, channel);
    else
        resample_down_ycc(column, pairs, cb_pairs, cr_pairs, y, width, channel);
}

static const dmae_resampler resample = {{V_BYTES, V_WINDOW, V_SECOND_WINDOW}, resample_across, resample_down};
