/* Pixels -> coefficients, a row of MCUs at a time: colour, 2 x 2 means of chroma, and the forward transform of
 * forward-inl.h or forward_lanes-inl.h. */

/* JFIF's conversion (ITU-T T.871, section 7) in libjpeg's 16-bit fractions, whose sums add up to one. Chroma is rounded
 * down where it lies half-way. */
enum { COMPRESS_LUMA = 1 << 15, COMPRESS_CHROMA = (128 << 16) + (1 << 15) - 1 };

#ifdef V_BYTES

typedef struct compress_colors {
    v_reg luma[4], blueness[4], redness[4];
} compress_colors;

/* V_BYTES / 4 pixels: red and blue as pairs, green beside the padding, which no sum may contain. */
DMAE_INLINE void compress_convert(v_reg pixels, compress_colors *c, int k) {
    const v_reg rb = v_and(pixels, v_splat16(0xff)), g = v_srl16(pixels, 8);
    /* a factor of green that takes 17 bits: one of it is a shift, which loses the padding */
    const v_reg luma = v_madd16_to(v_madd16_to(v_splat32(COMPRESS_LUMA), rb, v_splat32(IDCT_PAIR(19595, 7471))), g,
                                   v_splat32(IDCT_PAIR(38470 - 65536, 0)));
    const v_reg blueness = v_madd16_to(v_madd16(rb, v_splat32(IDCT_PAIR(11059, -32768))), g, v_splat32(21709));
    const v_reg redness = v_madd16_to(v_madd16(rb, v_splat32(IDCT_PAIR(-32768, 5329))), g, v_splat32(27439));
    c->luma[k] = v_sra32(v_add32(luma, v_sll32(g, 16)), 16);
    c->blueness[k] = v_sra32(v_sub32(v_splat32(COMPRESS_CHROMA), blueness), 16);
    c->redness[k] = v_sra32(v_sub32(v_splat32(COMPRESS_CHROMA), redness), 16);
}

DMAE_INLINE v_reg compress_join(const v_reg level[4]) {
    return v_in_order32(v_packus16(v_packs32(level[0], level[1]), v_packs32(level[2], level[3])));
}

/* V_BYTES pixels at a time, the last of them a second time where they are no whole number. */
DMAE_INLINE int32_t compress_convert_most(const uint8_t *rgbx, int32_t width, uint8_t *luma, uint8_t *blueness,
                                          uint8_t *redness) {
    if (width < V_BYTES)
        return 0;
    for (int32_t at = 0; at < width; at += V_BYTES) {
        const int32_t x = at + V_BYTES > width ? width - V_BYTES : at;
        compress_colors c;
        for (int k = 0; k < 4; k++)
            compress_convert(v_load(rgbx + 4 * x + k * V_BYTES), &c, k);
        v_store(luma + x, compress_join(c.luma));
        v_store(blueness + x, compress_join(c.blueness));
        v_store(redness + x, compress_join(c.redness));
    }
    return width;
}

#else

DMAE_INLINE int32_t compress_convert_most(const uint8_t *rgbx, int32_t width, uint8_t *luma, uint8_t *blueness,
                                          uint8_t *redness) {
    (void)rgbx, (void)width, (void)luma, (void)blueness, (void)redness;
    return 0;
}

#endif

DMAE_INLINE void compress_convert_row(const uint8_t *restrict rgbx, int32_t width, uint8_t *restrict luma,
                                      uint8_t *restrict blueness, uint8_t *restrict redness) {
    for (int32_t x = compress_convert_most(rgbx, width, luma, blueness, redness); x < width; x++) {
        uint32_t pixel;
        memcpy(&pixel, rgbx + 4 * x, sizeof pixel);
        const int32_t r = pixel & 255, g = pixel >> 8 & 255, b = pixel >> 16 & 255;
        luma[x] = (uint8_t)((19595 * r + 38470 * g + 7471 * b + COMPRESS_LUMA) >> 16);
        blueness[x] = (uint8_t)((-11059 * r - 21709 * g + 32768 * b + COMPRESS_CHROMA) >> 16);
        redness[x] = (uint8_t)((32768 * r - 27439 * g - 5329 * b + COMPRESS_CHROMA) >> 16);
    }
}

/* Means of two rows' 2 x 2 samples into the first half of `out`, which may be the upper row; halves are rounded down
 * and up by turns. */
DMAE_INLINE void compress_halve_rows(const uint8_t *upper, const uint8_t *lower, uint8_t *out, size_t stride) {
#ifdef V_BYTES
    const v_reg one = v_splat8(1), half = v_splat32(IDCT_PAIR(1, 2));
    for (size_t x = 0; x < stride / 2; x += V_BYTES) { /* what it reads and writes too much is not needed any more */
        v_reg sum[2];
        for (int k = 0; k < 2; k++) {
            const size_t at = 2 * x + (size_t)k * V_BYTES;
            sum[k] = v_add16(v_madd8(v_load(upper + at), one), v_madd8(v_load(lower + at), one));
            sum[k] = v_sra16(v_add16(sum[k], half), 2);
        }
        v_store(out + x, v_in_order64(v_packus16(sum[0], sum[1])));
    }
#else
    for (size_t x = 0; x < stride / 2; x++)
        out[x] = (uint8_t)((upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1] + 1 + (x & 1)) >> 2);
#endif
}

DMAE_INLINE void compress_halve(uint8_t *plane, size_t stride) {
    for (size_t y = 0; y < DMAE_MCU / 2; y++)
        compress_halve_rows(plane + 2 * y * stride, plane + (2 * y + 1) * stride, plane + y * stride, stride);
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

DMAE_INLINE void compress_transform_row(const uint8_t *src, size_t stride, const dmae_divisor *by, dmae_component *c,
                                        int32_t row) {
    forward_row(src, stride, by, c->blocks_w, c->blocks + (size_t)row * (size_t)c->blocks_w * 64);
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
