/* libjpeg's forward transform and quantisation without registers, for DMAE_LANES blocks side by side, as loops that
 * compilers vectorise. */

/* The forward transform of one row or column: the sums that idct.h's are the transpose of. */
DMAE_INLINE void forward_forward8(const int16_t in[8], int32_t out[8]) {
    const int32_t a = in[0] + in[7], b = in[1] + in[6], c = in[2] + in[5], d = in[3] + in[4];
    const int16_t e = (int16_t)(in[0] - in[7]), f = (int16_t)(in[1] - in[6]), g = (int16_t)(in[2] - in[5]),
                  h = (int16_t)(in[3] - in[4]);
    const int16_t outer = (int16_t)(a - d), inner = (int16_t)(b - c);
    out[0] = (a + d + b + c) * 8192;
    out[4] = (a + d - b - c) * 8192;
    out[2] = outer * 10703 + inner * 4433;
    out[6] = outer * 4433 - inner * 10704;
    out[1] = e * 11363 + f * 9633 + g * 6437 + h * 2260;
    out[3] = e * 9633 - f * 2259 - g * 11362 - h * 6436;
    out[5] = e * 6437 - f * 11362 + g * 2261 + h * 9633;
    out[7] = e * 2260 - f * 6436 + g * 9633 - h * 11363;
}

DMAE_INLINE int16_t forward_descale(int32_t value, int bits) {
    return (int16_t)((value + (1 << (bits - 1))) >> bits);
}

DMAE_INLINE int16_t forward_divide(int16_t value, uint16_t add, uint16_t factor, uint16_t scale) {
    const uint16_t size = (uint16_t)((value < 0 ? -value : value) + add);
    const int16_t quotient = (int16_t)(((uint32_t)size * factor >> 16) * scale >> 16);
    return value < 0 ? (int16_t)-quotient : quotient;
}

/* DMAE_LANES blocks, beginning at `src`, whose first `count` become coefficients in natural order. */
DMAE_INLINE void forward_blocks(const uint8_t *src, size_t stride, const dmae_divisor *by, int count, int16_t *blocks) {
    int16_t rows[8][8][DMAE_LANES], quantised[64][DMAE_LANES];
    for (int y = 0; y < 8; y++, src += stride) {
        int16_t samples[8][DMAE_LANES];
        for (int x = 0; x < 8; x++)
            DMAE_EACH_LANE samples[x][lane] = (int16_t)(src[8 * lane + x] - 128);
        DMAE_EACH_LANE {
            int16_t in[8];
            int32_t out[8];
            for (int x = 0; x < 8; x++)
                in[x] = samples[x][lane];
            forward_forward8(in, out);
            for (int x = 0; x < 8; x++)
                rows[y][x][lane] = forward_descale(out[x], 11);
        }
    }
    for (int x = 0; x < 8; x++)
        DMAE_EACH_LANE {
            int16_t in[8];
            int32_t out[8];
            for (int y = 0; y < 8; y++)
                in[y] = rows[y][x][lane];
            forward_forward8(in, out);
            for (int y = 0; y < 8; y++)
                quantised[8 * y + x][lane] = forward_divide(forward_descale(out[y], 15), by->add[8 * y + x],
                                                            by->factor[8 * y + x], by->scale[8 * y + x]);
        }
    for (int i = 0; i < count; i++)
        for (int k = 0; k < 64; k++)
            blocks[64 * i + k] = quantised[k][i];
}

DMAE_INLINE void forward_row(const uint8_t *src, size_t stride, const dmae_divisor *by, int32_t count,
                             int16_t *blocks) {
    for (int32_t x = 0; x < count; x += DMAE_LANES)
        forward_blocks(src + 8 * x, stride, by, count - x < DMAE_LANES ? count - x : DMAE_LANES, blocks + 64 * x);
}
