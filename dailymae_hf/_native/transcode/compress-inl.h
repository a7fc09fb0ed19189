/* Pixels -> coefficients as loops over blocks side by side, for compilers to vectorise. */

/* JFIF's conversion (ITU-T T.871, section 7) in libjpeg's 16-bit fractions, whose sums add up to one. */
DMAE_INLINE void compress_convert_row(const uint8_t *restrict rgbx, int32_t width, uint8_t *restrict luma,
                                      uint8_t *restrict blueness, uint8_t *restrict redness) {
    for (int32_t x = 0; x < width; x++) {
        uint32_t pixel;
        memcpy(&pixel, rgbx + 4 * x, sizeof pixel);
        const int32_t r = pixel & 255, g = pixel >> 8 & 255, b = pixel >> 16 & 255;
        luma[x] = (uint8_t)((19595 * r + 38470 * g + 7471 * b + (1 << 15)) >> 16);
        blueness[x] = (uint8_t)((-11059 * r - 21709 * g + 32768 * b + (128 << 16) + (1 << 15) - 1) >> 16);
        redness[x] = (uint8_t)((32768 * r - 27439 * g - 5329 * b + (128 << 16) + (1 << 15) - 1) >> 16);
    }
}

/* Means of 2 x 2 samples, in place; halves are rounded down and up by turns. */
DMAE_INLINE void compress_halve(uint8_t *plane, size_t stride) {
    for (int y = 0; y < DMAE_MCU / 2; y++) {
        const uint8_t *upper = plane + 2 * (size_t)y * stride, *lower = upper + stride;
        uint8_t *out = plane + (size_t)y * stride;
        for (size_t x = 0; x < stride / 2; x++)
            out[x] = (uint8_t)((upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1] + 1 + (x & 1)) >> 2);
    }
}

static void compress_repeat_last(uint8_t *row, size_t width, size_t stride) {
    memset(row + width, row[width - 1], stride - width);
}

/* Rows past the image repeat the last: of luma as it is, of chroma after the averaging. */
DMAE_INLINE void compress_fill_strip(dmae_strip *s, const uint8_t *rgbx, int32_t rows, int32_t width) {
    const size_t stride = s->stride;
    for (int32_t y = 0; y < rows; y++, rgbx += 4 * (size_t)width) {
        uint8_t *const to[3] = {s->luma + (size_t)y * stride, s->chroma[0] + (size_t)y * stride,
                                s->chroma[1] + (size_t)y * stride};
        compress_convert_row(rgbx, width, to[0], to[1], to[2]);
        for (int c = 0; c < 3; c++)
            compress_repeat_last(to[c], (size_t)width, stride);
    }
    for (int32_t y = rows; y < DMAE_MCU; y++)
        memcpy(s->luma + (size_t)y * stride, s->luma + (size_t)(rows - 1) * stride, stride);
    for (int c = 0; c < 2; c++) {
        uint8_t *plane = s->chroma[c];
        if (rows % 2)
            memcpy(plane + (size_t)rows * stride, plane + (size_t)(rows - 1) * stride, stride);
        compress_halve(plane, stride);
        for (int32_t y = (rows + 1) / 2; y < DMAE_MCU / 2; y++)
            memcpy(plane + (size_t)y * stride, plane + (size_t)((rows + 1) / 2 - 1) * stride, stride);
    }
}

/* The forward transform of one row or column: the sums that idct.h's are the transpose of. */
DMAE_INLINE void compress_forward8(const int16_t in[8], int32_t out[8]) {
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

DMAE_INLINE int16_t compress_descale(int32_t value, int bits) {
    return (int16_t)((value + (1 << (bits - 1))) >> bits);
}

DMAE_INLINE int16_t compress_divide(int16_t value, uint16_t add, uint16_t factor, int shift) {
    const uint16_t size = (uint16_t)((value < 0 ? -value : value) + add);
    const int16_t quotient = (int16_t)((uint32_t)size * factor >> shift);
    return value < 0 ? (int16_t)-quotient : quotient;
}

/* DMAE_LANES blocks, beginning at `src`, whose first `count` become coefficients in natural order. */
DMAE_INLINE void compress_transform_blocks(const uint8_t *src, size_t stride, const dmae_divisor *by, int count,
                                           int16_t *blocks) {
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
            compress_forward8(in, out);
            for (int x = 0; x < 8; x++)
                rows[y][x][lane] = compress_descale(out[x], 11);
        }
    }
    for (int x = 0; x < 8; x++)
        DMAE_EACH_LANE {
            int16_t in[8];
            int32_t out[8];
            for (int y = 0; y < 8; y++)
                in[y] = rows[y][x][lane];
            compress_forward8(in, out);
            for (int y = 0; y < 8; y++)
                quantised[8 * y + x][lane] = compress_divide(compress_descale(out[y], 15), by->add[8 * y + x],
                                                             by->factor[8 * y + x], by->shift[8 * y + x]);
        }
    for (int i = 0; i < count; i++)
        for (int k = 0; k < 64; k++)
            blocks[64 * i + k] = quantised[k][i];
}

DMAE_INLINE void compress_transform_row(const uint8_t *src, size_t stride, const dmae_divisor *by, dmae_component *c,
                                        int32_t row) {
    int16_t *blocks = c->blocks + (size_t)row * (size_t)c->blocks_w * 64;
    for (int32_t x = 0; x < c->blocks_w; x += DMAE_LANES)
        compress_transform_blocks(src + 8 * x, stride, by, c->blocks_w - x < DMAE_LANES ? c->blocks_w - x : DMAE_LANES,
                                  blocks + 64 * x);
}

static void compress(const uint8_t *rgbx, dmae_strip *s, const dmae_divisor by[2], dmae_coefficients *image) {
    for (int32_t y = 0; y < image->height; y += DMAE_MCU) {
        const int32_t rows = image->height - y < DMAE_MCU ? image->height - y : DMAE_MCU, row = y / DMAE_MCU;
        compress_fill_strip(s, rgbx + 4 * (size_t)y * (size_t)image->width, rows, image->width);
        compress_transform_row(s->luma, s->stride, &by[0], &image->component[0], 2 * row);
        if (2 * row + 1 < image->component[0].blocks_h)
            compress_transform_row(s->luma + 8 * s->stride, s->stride, &by[0], &image->component[0], 2 * row + 1);
        for (int c = 0; c < 2; c++)
            compress_transform_row(s->chroma[c], s->stride, &by[1], &image->component[c + 1], row);
    }
}
