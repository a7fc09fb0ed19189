/* The bicubic resize of bicubic.h: sums of weighted rows, DMAE_BICUBIC_BLOCK bytes at a time. Both passes are that: the
 * first on the pixels of several rows side by side. */

#ifdef V_BYTES

/* A weight of 23 bits is two of 16, for instructions that multiply 16 bits and add pairs. */
enum { BICUBIC_LOW = 11 };

/* Two weights as the instruction has them; of their upper or lower bits. */
DMAE_INLINE int32_t bicubic_pair(int32_t first, int32_t second) {
    return (int32_t)((uint32_t)(uint16_t)first | (uint32_t)second << 16);
}

typedef struct bicubic_sums {
    v_reg high[4], low[4];
} bicubic_sums;

/* Samples of two rows, V_BYTES of each, with their weights. */
DMAE_INLINE void bicubic_add(bicubic_sums *s, v_reg a, v_reg b, int32_t first, int32_t second) {
    const v_reg zero = v_zero();
    const v_reg high = v_splat32(bicubic_pair(first >> BICUBIC_LOW, second >> BICUBIC_LOW));
    const v_reg low = v_splat32(bicubic_pair(first & ((1 << BICUBIC_LOW) - 1), second & ((1 << BICUBIC_LOW) - 1)));
    const v_reg halves[2] = {v_zip_low8(a, b), v_zip_high8(a, b)};
    for (int k = 0; k < 4; k++) {
        const v_reg pairs = k & 1 ? v_zip_high8(halves[k / 2], zero) : v_zip_low8(halves[k / 2], zero);
        s->high[k] = v_madd16_to(s->high[k], pairs, high);
        s->low[k] = v_madd16_to(s->low[k], pairs, low);
    }
}

DMAE_INLINE v_reg bicubic_levels(const bicubic_sums *s) {
    v_reg level[4];
    for (int k = 0; k < 4; k++)
        level[k] = v_sra32(v_add32(v_sll32(s->high[k], BICUBIC_LOW), s->low[k]), DMAE_BICUBIC_BITS);
    return v_packus16(v_packs32(level[0], level[1]), v_packs32(level[2], level[3]));
}

/* `count` rows of DMAE_BICUBIC_BLOCK samples, `step` bytes apart, times their weights. */
DMAE_INLINE void bicubic_block(const uint8_t *src, size_t step, const int32_t *weight, int32_t count, uint8_t *dst) {
    for (int at = 0; at < DMAE_BICUBIC_BLOCK; at += V_BYTES) {
        const uint8_t *row = src + at;
        bicubic_sums s;
        for (int k = 0; k < 4; k++) {
            s.high[k] = v_zero();
            s.low[k] = v_splat32(1 << (DMAE_BICUBIC_BITS - 1));
        }
        int32_t t = 0;
        for (; t + 1 < count; t += 2, row += 2 * step)
            bicubic_add(&s, v_load(row), v_load(row + step), weight[t], weight[t + 1]);
        if (t < count)
            bicubic_add(&s, v_load(row), v_zero(), weight[t], 0);
        v_store(dst + at, bicubic_levels(&s));
    }
}

#else

DMAE_INLINE uint8_t bicubic_level(int32_t sum) {
    sum >>= DMAE_BICUBIC_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

DMAE_INLINE void bicubic_block(const uint8_t *restrict src, size_t step, const int32_t *restrict weight, int32_t count,
                               uint8_t *restrict dst) {
    int32_t sums[DMAE_BICUBIC_BLOCK];
    for (int k = 0; k < DMAE_BICUBIC_BLOCK; k++)
        sums[k] = 1 << (DMAE_BICUBIC_BITS - 1);
    for (int32_t t = 0; t < count; t++, src += step)
        for (int k = 0; k < DMAE_BICUBIC_BLOCK; k++)
            sums[k] += src[k] * weight[t];
    for (int k = 0; k < DMAE_BICUBIC_BLOCK; k++)
        dst[k] = bicubic_level(sums[k]);
}

#endif

/* Four pixels of four rows: rows become columns. */
DMAE_INLINE void bicubic_turn(const uint8_t *src, size_t stride, uint8_t *dst, size_t dst_stride) {
#ifdef V_BYTES
    const v_lane a = v_lane_load(src), b = v_lane_load(src + stride), c = v_lane_load(src + 2 * stride),
                 d = v_lane_load(src + 3 * stride);
    const v_lane ab = v_lane_zip_low32(a, b), cd = v_lane_zip_low32(c, d);
    v_lane_store(dst, v_lane_join_low(ab, cd));
    v_lane_store(dst + dst_stride, v_lane_join_high(ab, cd));
    const v_lane ab_high = v_lane_zip_high32(a, b), cd_high = v_lane_zip_high32(c, d);
    v_lane_store(dst + 2 * dst_stride, v_lane_join_low(ab_high, cd_high));
    v_lane_store(dst + 3 * dst_stride, v_lane_join_high(ab_high, cd_high));
#else
    for (int x = 0; x < 4; x++)
        for (int r = 0; r < 4; r++)
            memcpy(dst + (size_t)x * dst_stride + 4 * r, src + (size_t)r * stride + 4 * x, 4);
#endif
}

/* The pixels of DMAE_BICUBIC_ROWS rows side by side, so that one weight serves them all. */
DMAE_INLINE void bicubic_fill_strip(const uint8_t *src, int32_t rows, int32_t width, uint8_t *restrict strip) {
    const size_t stride = DMAE_BICUBIC_CHANNELS * (size_t)width;
    int32_t turned = 0;
    for (; rows == DMAE_BICUBIC_ROWS && turned + 4 <= width; turned += 4)
        for (size_t r = 0; r < DMAE_BICUBIC_ROWS; r += 4)
            bicubic_turn(src + r * stride + DMAE_BICUBIC_CHANNELS * (size_t)turned, stride,
                         strip + (size_t)turned * DMAE_BICUBIC_BLOCK + DMAE_BICUBIC_CHANNELS * r, DMAE_BICUBIC_BLOCK);
    for (int32_t r = 0; r < DMAE_BICUBIC_ROWS; r++) { /* the last row again, where there are no more */
        const uint8_t *restrict row = src + (size_t)(r < rows ? r : rows - 1) * stride;
        for (int32_t x = turned; x < width; x++)
            memcpy(strip + (size_t)(x * DMAE_BICUBIC_ROWS + r) * DMAE_BICUBIC_CHANNELS,
                   row + (size_t)x * DMAE_BICUBIC_CHANNELS, DMAE_BICUBIC_CHANNELS);
    }
}

/* Rows past the image are written too: there is room for whole strips. */
static void bicubic_across(const dmae_bicubic_job *j, const uint8_t *src, int32_t y, int32_t rows) {
    const size_t stride = DMAE_BICUBIC_CHANNELS * (size_t)j->out_width;
    bicubic_fill_strip(src, rows, j->width, j->strip);
    for (int32_t i = 0; i < j->out_width; i += 4) {
        uint8_t pixels[4 * DMAE_BICUBIC_BLOCK];
        const int32_t count = j->out_width - i < 4 ? j->out_width - i : 4;
        for (int32_t k = 0; k < count; k++)
            bicubic_block(j->strip + (size_t)j->x.start[i + k] * DMAE_BICUBIC_BLOCK, DMAE_BICUBIC_BLOCK,
                          j->x.weight + (size_t)(i + k) * (size_t)j->x.most, j->x.count[i + k],
                          pixels + (size_t)k * DMAE_BICUBIC_BLOCK);
        uint8_t *dst = j->rows + (size_t)y * stride + DMAE_BICUBIC_CHANNELS * (size_t)i;
        for (size_t r = 0; count == 4 && r < DMAE_BICUBIC_ROWS; r += 4)
            bicubic_turn(pixels + DMAE_BICUBIC_CHANNELS * r, DMAE_BICUBIC_BLOCK, dst + r * stride, stride);
        for (size_t r = 0; count < 4 && r < DMAE_BICUBIC_ROWS; r++)
            for (int32_t k = 0; k < count; k++)
                memcpy(dst + r * stride + 4 * k, pixels + k * DMAE_BICUBIC_BLOCK + DMAE_BICUBIC_CHANNELS * r, 4);
    }
}

static void bicubic_down(const dmae_bicubic_job *j, uint8_t *dst) {
    const size_t stride = DMAE_BICUBIC_CHANNELS * (size_t)j->out_width;
    for (int32_t y = 0; y < j->out_height; y++, dst += stride) {
        const uint8_t *src = j->rows + (size_t)j->y.start[y] * stride;
        const int32_t *weight = j->y.weight + (size_t)y * (size_t)j->y.most;
        size_t x = 0;
        for (; x + DMAE_BICUBIC_BLOCK <= stride; x += DMAE_BICUBIC_BLOCK)
            bicubic_block(src + x, stride, weight, j->y.count[y], dst + x);
        if (x < stride) { /* `rows` goes on for a block behind its end */
            uint8_t pixels[DMAE_BICUBIC_BLOCK];
            bicubic_block(src + x, stride, weight, j->y.count[y], pixels);
            memcpy(dst + x, pixels, stride - x);
        }
    }
}
