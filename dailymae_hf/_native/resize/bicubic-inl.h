/* The bicubic resize of bicubic.h as loops that compilers vectorise. */

DMAE_INLINE uint8_t bicubic_level(int32_t sum) {
    sum >>= DMAE_BICUBIC_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* The pixels of DMAE_BICUBIC_ROWS rows side by side, so that one weight serves them all. */
DMAE_INLINE void bicubic_fill_strip(const uint8_t *src, int32_t rows, int32_t width, uint8_t *restrict strip) {
    for (int32_t r = 0; r < DMAE_BICUBIC_ROWS; r++) { /* the last row again, where there is no eighth */
        const uint8_t *restrict row = src + (size_t)(r < rows ? r : rows - 1) * (size_t)width * DMAE_BICUBIC_CHANNELS;
        for (int32_t x = 0; x < width; x++)
            memcpy(strip + (size_t)(x * DMAE_BICUBIC_ROWS + r) * DMAE_BICUBIC_CHANNELS,
                   row + (size_t)x * DMAE_BICUBIC_CHANNELS, DMAE_BICUBIC_CHANNELS);
    }
}

/* One output of DMAE_BICUBIC_ROWS rows. */
DMAE_INLINE void bicubic_across(const uint8_t *restrict strip, const int32_t *restrict weight, int32_t count,
                                uint8_t *restrict pixels) {
    int32_t sums[DMAE_BICUBIC_ROWS * DMAE_BICUBIC_CHANNELS];
    for (int k = 0; k < DMAE_BICUBIC_ROWS * DMAE_BICUBIC_CHANNELS; k++)
        sums[k] = 1 << (DMAE_BICUBIC_BITS - 1);
    for (int32_t t = 0; t < count; t++, strip += DMAE_BICUBIC_ROWS * DMAE_BICUBIC_CHANNELS)
        for (int k = 0; k < DMAE_BICUBIC_ROWS * DMAE_BICUBIC_CHANNELS; k++)
            sums[k] += strip[k] * weight[t];
    for (int k = 0; k < DMAE_BICUBIC_ROWS * DMAE_BICUBIC_CHANNELS; k++)
        pixels[k] = bicubic_level(sums[k]);
}

/* One row of sums over rows. */
DMAE_INLINE void bicubic_down(const int32_t *weight, int32_t count, const uint8_t *src, size_t stride,
                              int32_t *restrict sums, uint8_t *restrict dst) {
    for (size_t x = 0; x < stride; x++)
        sums[x] = 1 << (DMAE_BICUBIC_BITS - 1);
    for (int32_t t = 0; t < count; t++, src += stride) {
        const uint8_t *restrict row = src;
        for (size_t x = 0; x < stride; x++)
            sums[x] += row[x] * weight[t];
    }
    for (size_t x = 0; x < stride; x++)
        dst[x] = bicubic_level(sums[x]);
}

static void bicubic(const dmae_bicubic_job *j, const uint8_t *src, int32_t height, int32_t width, uint8_t *dst) {
    const size_t stride = DMAE_BICUBIC_CHANNELS * (size_t)j->out_width;
    for (int32_t y = 0; y < height; y += DMAE_BICUBIC_ROWS) {
        const int32_t rows = height - y < DMAE_BICUBIC_ROWS ? height - y : DMAE_BICUBIC_ROWS;
        bicubic_fill_strip(src + DMAE_BICUBIC_CHANNELS * (size_t)y * (size_t)width, rows, width, j->strip);
        for (int32_t i = 0; i < j->out_width; i++) {
            uint8_t pixels[DMAE_BICUBIC_ROWS * DMAE_BICUBIC_CHANNELS];
            bicubic_across(j->strip + (size_t)j->x.start[i] * DMAE_BICUBIC_ROWS * DMAE_BICUBIC_CHANNELS,
                           j->x.weight + (size_t)i * (size_t)j->x.most, j->x.count[i], pixels);
            for (int32_t r = 0; r < rows; r++)
                memcpy(j->rows + (size_t)(y + r) * stride + DMAE_BICUBIC_CHANNELS * (size_t)i,
                       pixels + DMAE_BICUBIC_CHANNELS * r, DMAE_BICUBIC_CHANNELS);
        }
    }
    for (int32_t y = 0; y < j->out_height; y++)
        bicubic_down(j->y.weight + (size_t)y * (size_t)j->y.most, j->y.count[y],
                     j->rows + (size_t)j->y.start[y] * stride, stride, j->sums, dst + (size_t)y * stride);
}
