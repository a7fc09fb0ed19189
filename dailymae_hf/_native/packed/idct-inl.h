/* The inverse DCTs of idct.h in a target's registers: each holds the same 128-bit lane of V_LANES blocks. */

/* Two 16-bit factors for a pair of rows or columns. */
#define IDCT_PAIR(low, high) ((int32_t)((uint32_t)(uint16_t)(low) | (uint32_t)(uint16_t)(high) << 16))

/* What libjpeg's factored multiplications come to for rows 1, 3 | 5, 7 in outputs 0..3. */
#define IDCT_ODD_A0 IDCT_PAIR(11363, 9633)
#define IDCT_ODD_B0 IDCT_PAIR(6437, 2260)
#define IDCT_ODD_A1 IDCT_PAIR(9633, -2259)
#define IDCT_ODD_B1 IDCT_PAIR(-11362, -6436)
#define IDCT_ODD_A2 IDCT_PAIR(6437, -11362)
#define IDCT_ODD_B2 IDCT_PAIR(2261, 9633)
#define IDCT_ODD_A3 IDCT_PAIR(2260, -6436)
#define IDCT_ODD_B3 IDCT_PAIR(9633, -11363)

static inline void idct_load_half(const int16_t *blocks, const int16_t *quant, int half, v_reg pair[4]) {
    v_load_blocks(blocks + 32 * half, pair);
    for (int p = 0; p < 4; p++)
        pair[p] = v_mullo16(pair[p], v_load_repeated(quant + 32 * half + 8 * p));
}

/* First pass over four columns: eight rows of 32-bit sums, scaled back to two fraction bits. */
static inline void idct_columns8(const v_reg pair[4], int high_rows, v_reg row[8]) {
    const v_reg half = v_splat32(1 << 10);
    v_reg a = v_madd16_to(half, pair[0], v_splat32(IDCT_PAIR(8192, 8192))),
          b = v_madd16_to(half, pair[0], v_splat32(IDCT_PAIR(8192, -8192)));
    v_reg c = v_madd16(pair[1], v_splat32(IDCT_PAIR(10703, 4433))),
          d = v_madd16(pair[1], v_splat32(IDCT_PAIR(4433, -10704)));
    v_reg even[4] = {v_add32(a, c), v_add32(b, d), v_sub32(b, d), v_sub32(a, c)};
    v_reg odd[4] = {v_madd16(pair[2], v_splat32(IDCT_ODD_A0)), v_madd16(pair[2], v_splat32(IDCT_ODD_A1)),
                    v_madd16(pair[2], v_splat32(IDCT_ODD_A2)), v_madd16(pair[2], v_splat32(IDCT_ODD_A3))};
    if (high_rows) {
        odd[0] = v_madd16_to(odd[0], pair[3], v_splat32(IDCT_ODD_B0));
        odd[1] = v_madd16_to(odd[1], pair[3], v_splat32(IDCT_ODD_B1));
        odd[2] = v_madd16_to(odd[2], pair[3], v_splat32(IDCT_ODD_B2));
        odd[3] = v_madd16_to(odd[3], pair[3], v_splat32(IDCT_ODD_B3));
    }
    for (int k = 0; k < 4; k++) {
        row[k] = v_sra32(v_add32(even[k], odd[k]), 11);
        row[7 - k] = v_sra32(v_sub32(even[k], odd[k]), 11);
    }
}

/* Second pass over one row: pixels 0, 1, 2, 3, 7, 6, 5, 4 of each block in 16 bits. */
static inline v_reg idct_row8(v_reg row, int high_columns) {
    v_reg even = v_madd16_to(
        v_splat32((128 << 18) + (1 << 17)), v_element32(row, 0),
        v_repeat32(IDCT_PAIR(8192, 10703), IDCT_PAIR(8192, 4433), IDCT_PAIR(8192, -4433), IDCT_PAIR(8192, -10703)));
    v_reg odd = v_madd16(v_element32(row, 1), v_repeat32(IDCT_ODD_A0, IDCT_ODD_A1, IDCT_ODD_A2, IDCT_ODD_A3));
    if (high_columns) {
        even = v_madd16_to(even, v_element32(row, 2),
                           v_repeat32(IDCT_PAIR(8192, 4433), IDCT_PAIR(-8192, -10704), IDCT_PAIR(-8192, 10704),
                                      IDCT_PAIR(8192, -4433)));
        odd = v_madd16_to(odd, v_element32(row, 3), v_repeat32(IDCT_ODD_B0, IDCT_ODD_B1, IDCT_ODD_B2, IDCT_ODD_B3));
    }
    return v_packs32(v_sra32(v_add32(even, odd), 18), v_sra32(v_sub32(even, odd), 18));
}

static inline __attribute__((always_inline)) void idct_transform8(const int16_t *blocks, const int16_t *quant,
                                                                  int high_columns, int high_rows, uint8_t *dst,
                                                                  ptrdiff_t stride) {
    v_reg pair[4], left[8], right[8];
    idct_load_half(blocks, quant, 0, pair);
    idct_columns8(pair, high_rows, left);
    if (high_columns) {
        idct_load_half(blocks, quant, 1, pair);
        idct_columns8(pair, high_rows, right);
    }
    for (int y = 0; y < 8; y += 2) {
        v_reg upper = v_packs32(left[y], high_columns ? right[y] : left[y]);
        v_reg lower = v_packs32(left[y + 1], high_columns ? right[y + 1] : left[y + 1]);
        upper = idct_row8(upper, high_columns);
        lower = idct_row8(lower, high_columns);
        v_store_rows8(v_packus16(upper, lower), dst + y * stride, stride);
    }
}

/* Pixels of blocks that have no AC coefficients. */
static inline void idct_flat(const int16_t *blocks, int factor, int side, uint8_t *dst, ptrdiff_t stride) {
    for (int i = 0; i < V_LANES; i++) {
        uint8_t mean = dmae_idct_mean(blocks[64 * i] * factor);
        for (int y = 0; y < side; y++)
            memset(dst + y * stride + i * side, mean, (size_t)side);
    }
}

static inline uint64_t idct_any_of(const uint64_t *bitmaps) {
    uint64_t any = bitmaps[0];
    for (int i = 1; i < V_LANES; i++)
        any |= bitmaps[i];
    return any & ~(uint64_t)1;
}

static void idct8(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                  uint8_t *dst, ptrdiff_t stride) {
    for (int32_t i = 0; i < count; i += V_LANES, coefficients += 64 * V_LANES, dst += 8 * V_LANES) {
        uint64_t any = idct_any_of(bitmaps + i);
        if (any & DMAE_HIGH_COLUMNS)
            idct_transform8(coefficients, quant, 1, 1, dst, stride);
        else if (any & DMAE_HIGH_ROWS)
            idct_transform8(coefficients, quant, 0, 1, dst, stride);
        else if (any)
            idct_transform8(coefficients, quant, 0, 0, dst, stride);
        else
            idct_flat(coefficients, quant[0], 8, dst, stride);
    }
}

/* Four rows out of eight: libjpeg's 4x4 transform uses neither row 4 nor column 4. */
static inline void idct_columns4(const v_reg pair[4], v_reg row[4]) {
    v_reg mean = v_madd16_to(v_splat32(1 << 11), pair[0], v_splat32(IDCT_PAIR(16384, 0)));
    v_reg rise = v_madd16(pair[1], v_splat32(IDCT_PAIR(15137, -6270)));
    v_reg outer =
        v_madd16_to(v_madd16(pair[2], v_splat32(IDCT_PAIR(20995, 7373))), pair[3], v_splat32(IDCT_PAIR(-4926, -4176)));
    v_reg inner =
        v_madd16_to(v_madd16(pair[2], v_splat32(IDCT_PAIR(8697, -17799))), pair[3], v_splat32(IDCT_PAIR(11893, -1730)));
    v_reg high = v_add32(mean, rise), low = v_sub32(mean, rise);
    row[0] = v_sra32(v_add32(high, outer), 12);
    row[1] = v_sra32(v_add32(low, inner), 12);
    row[2] = v_sra32(v_sub32(low, inner), 12);
    row[3] = v_sra32(v_sub32(high, outer), 12);
}

static inline v_reg idct_row4(v_reg row) {
    v_reg sum = v_madd16_to(v_splat32((128 << 19) + (1 << 18)), v_element32(row, 0),
                            v_repeat32(IDCT_PAIR(16384, 15137), IDCT_PAIR(16384, -15137), IDCT_PAIR(16384, -15137),
                                       IDCT_PAIR(16384, 15137)));
    v_reg odd = v_madd16(v_element32(row, 1), v_repeat32(IDCT_PAIR(20995, 7373), IDCT_PAIR(8697, -17799),
                                                         IDCT_PAIR(-8697, 17799), IDCT_PAIR(-20995, -7373)));
    sum = v_madd16_to(sum, v_element32(row, 2),
                      v_repeat32(IDCT_PAIR(0, -6270), IDCT_PAIR(0, 6270), IDCT_PAIR(0, 6270), IDCT_PAIR(0, -6270)));
    odd = v_madd16_to(
        odd, v_element32(row, 3),
        v_repeat32(IDCT_PAIR(-4926, -4176), IDCT_PAIR(11893, -1730), IDCT_PAIR(-11893, 1730), IDCT_PAIR(4926, 4176)));
    return v_sra32(v_add32(sum, odd), 19);
}

static void idct4(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                  uint8_t *dst, ptrdiff_t stride) {
    for (int32_t i = 0; i < count; i += V_LANES, coefficients += 64 * V_LANES, dst += 4 * V_LANES) {
        v_reg pair[4], left[4], right[4], out[4];
        if (!idct_any_of(bitmaps + i)) {
            idct_flat(coefficients, quant[0], 4, dst, stride);
            continue;
        }
        idct_load_half(coefficients, quant, 0, pair);
        idct_columns4(pair, left);
        idct_load_half(coefficients, quant, 1, pair);
        idct_columns4(pair, right);
        for (int y = 0; y < 4; y++)
            out[y] = idct_row4(v_packs32(left[y], right[y]));
        v_store_rows4(v_packus16(v_packs32(out[0], out[1]), v_packs32(out[2], out[3])), dst, stride);
    }
}

/* Each lane begins with two rows of two pixels. */
static inline void idct_store_rows2(v_reg rows, uint8_t *dst, ptrdiff_t stride) {
    uint8_t pixels[V_BYTES];
    v_store(pixels, rows);
    for (int i = 0; i < V_LANES; i++) {
        memcpy(dst + 2 * i, pixels + 16 * i, 2);
        memcpy(dst + stride + 2 * i, pixels + 16 * i + 2, 2);
    }
}

/* Two rows out of eight, from rows 0, 1, 3, 5, 7. The mean's factor is 2^15, one bit too many for a product. */
static inline void idct_columns2(const v_reg pair[4], v_reg row[2]) {
    v_reg mean = v_madd16(pair[0], v_splat32(IDCT_PAIR(16384, 0)));
    v_reg odd =
        v_madd16_to(v_madd16(pair[2], v_splat32(IDCT_PAIR(29692, -10426))), pair[3], v_splat32(IDCT_PAIR(6967, -5906)));
    mean = v_add32(v_add32(mean, mean), v_splat32(1 << 12));
    row[0] = v_sra32(v_add32(mean, odd), 13);
    row[1] = v_sra32(v_sub32(mean, odd), 13);
}

static void idct2(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                  uint8_t *dst, ptrdiff_t stride) {
    for (int32_t i = 0; i < count; i += V_LANES, coefficients += 64 * V_LANES, dst += 2 * V_LANES) {
        v_reg pair[4], left[2], right[2];
        if (!idct_any_of(bitmaps + i)) {
            idct_flat(coefficients, quant[0], 2, dst, stride);
            continue;
        }
        idct_load_half(coefficients, quant, 0, pair);
        idct_columns2(pair, left);
        idct_load_half(coefficients, quant, 1, pair);
        idct_columns2(pair, right);
        /* Both rows in one lane: pixels (0, 0), (0, 1), (1, 0), (1, 1). */
        v_reg upper = v_packs32(left[0], right[0]), lower = v_packs32(left[1], right[1]);
        v_reg first = v_zip_low64(v_element32(upper, 0), v_element32(lower, 0));
        v_reg second = v_zip_low64(v_element32(upper, 1), v_element32(lower, 1));
        v_reg fourth = v_zip_low64(v_element32(upper, 3), v_element32(lower, 3));
        v_reg mean = v_madd16(first, v_splat32(IDCT_PAIR(16384, 0)));
        v_reg odd = v_madd16(second, v_repeat32(IDCT_PAIR(29692, -10426), IDCT_PAIR(-29692, 10426),
                                                IDCT_PAIR(29692, -10426), IDCT_PAIR(-29692, 10426)));
        odd = v_madd16_to(
            odd, fourth,
            v_repeat32(IDCT_PAIR(6967, -5906), IDCT_PAIR(-6967, 5906), IDCT_PAIR(6967, -5906), IDCT_PAIR(-6967, 5906)));
        mean = v_add32(v_add32(mean, mean), v_splat32((128 << 20) + (1 << 19)));
        v_reg out = v_sra32(v_add32(mean, odd), 20);
        out = v_packs32(out, out);
        idct_store_rows2(v_packus16(out, out), dst, stride);
    }
}
