/* The inverse DCTs of idct.h without registers: libjpeg's sums for DMAE_LANES blocks side by side, as loops that
 * compilers vectorise with whatever every machine of the kind has. Coefficients come as dmae_lane_place says. */

/* Sums wrap at 32 bits, as the vector registers do. */
typedef uint32_t idct_sum;
typedef int16_t idct_lanes[DMAE_LANES];
typedef uint32_t idct_pixels[DMAE_LANES];

static inline idct_sum idct_times(int16_t value, int factor) {
    return (idct_sum)(value * factor);
}

static inline int16_t idct_dequantised(int16_t coefficient, int16_t quant) {
    return (int16_t)(coefficient * quant);
}

/* A sum scaled back, plus 2^15: larger than 16 bits where the vector code would saturate. */
static inline uint32_t idct_lifted(idct_sum value, int shift) {
    return (value + (UINT32_C(32768) << shift)) >> shift;
}

static inline int16_t idct_saturated(idct_sum value, int shift) {
    const int32_t v = (int32_t)value >> shift;
    return (int16_t)(v < -32768 ? -32768 : v > 32767 ? 32767 : v);
}

/* For each column, its rows 1..7 as bits in zigzag order. */
static const uint64_t idct_below_first_row[8] = {UINT64_C(0x80030060c),        UINT64_C(0x1400480910),
                                                 UINT64_C(0x1002200841080),    UINT64_C(0x2804101022000),
                                                 UINT64_C(0x204408082010000),  UINT64_C(0x508210044000000),
                                                 UINT64_C(0x4890120020000000), UINT64_C(0xb0600c0000000000)};

/* Sums for outputs k and 7 - k: even[k] +- odd[k]. `used`: inputs that are not all zero, 4 or 8. What libjpeg factors
 * is multiplied out, so that every product is one of two 16-bit numbers. */
DMAE_INLINE void idct_halves8(const int16_t in[8], int used, idct_sum round, idct_sum even[4], idct_sum odd[4]) {
    const int whole = used > 4;
    idct_sum a = ((idct_sum)in[0] << 13) + round, b = a, rise = idct_times(in[2], 10703),
             fall = idct_times(in[2], 4433);
    if (whole) {
        a += (idct_sum)in[4] << 13;
        b -= (idct_sum)in[4] << 13;
        rise += idct_times(in[6], 4433);
        fall -= idct_times(in[6], 10704);
    }
    even[0] = a + rise;
    even[1] = b + fall;
    even[2] = b - fall;
    even[3] = a - rise;
    odd[0] = idct_times(in[1], 11363) + idct_times(in[3], 9633);
    odd[1] = idct_times(in[1], 9633) - idct_times(in[3], 2259);
    odd[2] = idct_times(in[1], 6437) - idct_times(in[3], 11362);
    odd[3] = idct_times(in[1], 2260) - idct_times(in[3], 6436);
    if (whole) {
        odd[0] += idct_times(in[5], 6437) + idct_times(in[7], 2260);
        odd[1] -= idct_times(in[5], 11362) + idct_times(in[7], 6436);
        odd[2] += idct_times(in[5], 2261) + idct_times(in[7], 9633);
        odd[3] += idct_times(in[5], 9633) - idct_times(in[7], 11363);
    }
}

/* One column of all lanes; `rows` has eight columns. Returns more than 16 bits where a sum left 16 bits and `exact`
 * did not saturate it. */
DMAE_INLINE uint32_t idct_column8(const int16_t *coefficients, const int16_t *quant, int used, int exact,
                                  idct_lanes *restrict rows) {
    uint32_t above = 0;
    DMAE_EACH_LANE {
        int16_t in[8];
        idct_sum even[4], odd[4];
        for (int y = 0; y < used; y++)
            in[y] = idct_dequantised(coefficients[8 * DMAE_LANES * y + lane], quant[8 * y]);
        idct_halves8(in, used, 1 << 10, even, odd);
        for (int y = 0; y < 4; y++) {
            if (exact) {
                rows[8 * y][lane] = idct_saturated(even[y] + odd[y], 11);
                rows[8 * (7 - y)][lane] = idct_saturated(even[y] - odd[y], 11);
            } else {
                const uint32_t upper = idct_lifted(even[y] + odd[y], 11), lower = idct_lifted(even[y] - odd[y], 11);
                above |= upper | lower;
                rows[8 * y][lane] = (int16_t)(upper - 32768);
                rows[8 * (7 - y)][lane] = (int16_t)(lower - 32768);
            }
        }
    }
    return above;
}

/* A column whose rows 1..7 are zero in every lane. */
DMAE_INLINE void idct_level_column8(const int16_t *coefficients, int16_t quant, idct_lanes *rows) {
    idct_lanes level;
    DMAE_EACH_LANE level[lane] = idct_saturated((idct_sum)idct_dequantised(coefficients[lane], quant) << 2, 0);
    for (int y = 0; y < 8; y++)
        memcpy(rows[8 * y], level, sizeof level);
}

static void idct_column8_low(const int16_t *coefficients, const int16_t *quant, idct_lanes *rows) {
    if (idct_column8(coefficients, quant, 4, 0, rows) >> 16)
        idct_column8(coefficients, quant, 4, 1, rows);
}

static void idct_column8_whole(const int16_t *coefficients, const int16_t *quant, idct_lanes *rows) {
    if (idct_column8(coefficients, quant, 8, 0, rows) >> 16)
        idct_column8(coefficients, quant, 8, 1, rows);
}

/* Bytes of a row: four pixels in each word. */
DMAE_INLINE void idct_store_row(const idct_pixels *row, int side, int blocks, uint8_t *dst) {
    const int words = side > 4 ? 2 : 1;
    uint32_t packed[DMAE_LANES * 2];
    DMAE_EACH_LANE for (int w = 0; w < words; w++) packed[words * lane + w] =
        row[4 * w][lane] | row[4 * w + 1][lane] << 8 | row[4 * w + 2][lane] << 16 | row[4 * w + 3][lane] << 24;
    memcpy(dst, packed, (size_t)(blocks * side));
}

static void idct_clamp_row(idct_pixels *row, int side) {
    for (int x = 0; x < side; x++)
        DMAE_EACH_LANE {
            const int32_t v = (int32_t)row[x][lane];
            row[x][lane] = (uint32_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
}

DMAE_INLINE void idct_row8(const idct_lanes *in_lanes, int used, int blocks, uint8_t *dst) {
    idct_pixels out[8];
    uint32_t any = 0;
    DMAE_EACH_LANE {
        int16_t in[8];
        idct_sum even[4], odd[4];
        for (int x = 0; x < used; x++)
            in[x] = in_lanes[x][lane];
        idct_halves8(in, used, (128 << 18) + (1 << 17), even, odd);
        for (int x = 0; x < 4; x++) {
            out[x][lane] = (uint32_t)((int32_t)(even[x] + odd[x]) >> 18);
            out[7 - x][lane] = (uint32_t)((int32_t)(even[x] - odd[x]) >> 18);
            any |= out[x][lane] | out[7 - x][lane];
        }
    }
    if (any > 255)
        idct_clamp_row(out, 8);
    idct_store_row(out, 8, blocks, dst);
}

static void idct_rows8_low(const idct_lanes *rows, int blocks, uint8_t *dst, ptrdiff_t stride) {
    for (int y = 0; y < 8; y++)
        idct_row8(rows + 8 * y, 4, blocks, dst + y * stride);
}

static void idct_rows8_whole(const idct_lanes *rows, int blocks, uint8_t *dst, ptrdiff_t stride) {
    for (int y = 0; y < 8; y++)
        idct_row8(rows + 8 * y, 8, blocks, dst + y * stride);
}

static void idct_transform8(const int16_t *coefficients, uint64_t any, const int16_t *quant, int blocks, uint8_t *dst,
                            ptrdiff_t stride) {
    idct_lanes rows[64];
    const int used = any & DMAE_HIGH_COLUMNS ? 8 : 4;
    for (int c = 0; c < used; c++, coefficients += DMAE_LANES, quant++) {
        const uint64_t mine = any & idct_below_first_row[c];
        if (mine & DMAE_HIGH_ROWS)
            idct_column8_whole(coefficients, quant, rows + c);
        else if (mine)
            idct_column8_low(coefficients, quant, rows + c);
        else
            idct_level_column8(coefficients, *quant, rows + c);
    }
    (used > 4 ? idct_rows8_whole : idct_rows8_low)(rows, blocks, dst, stride);
}

/* The 4x4 idct_transform uses neither row 4 nor column 4. */
DMAE_INLINE void idct_quarter4(const int16_t in[8], idct_sum round, idct_sum out[4]) {
    const idct_sum mean = ((idct_sum)in[0] << 14) + round, rise = idct_times(in[2], 15137) - idct_times(in[6], 6270);
    const idct_sum outer =
        idct_times(in[1], 20995) + idct_times(in[3], 7373) - idct_times(in[5], 4926) - idct_times(in[7], 4176);
    const idct_sum inner =
        idct_times(in[1], 8697) - idct_times(in[3], 17799) + idct_times(in[5], 11893) - idct_times(in[7], 1730);
    out[0] = mean + rise + outer;
    out[1] = mean - rise + inner;
    out[2] = mean - rise - inner;
    out[3] = mean + rise - outer;
}

DMAE_INLINE void idct_eighth2(const int16_t in[8], idct_sum round, idct_sum out[2]) {
    const idct_sum mean = ((idct_sum)in[0] << 15) + round;
    const idct_sum odd =
        idct_times(in[1], 29692) - idct_times(in[3], 10426) + idct_times(in[5], 6967) - idct_times(in[7], 5906);
    out[0] = mean + odd;
    out[1] = mean - odd;
}

/* Both passes of a reduced idct_transform: `side` outputs, `first` and `second` bits to scale back by. */
DMAE_INLINE void idct_transform_reduced(int side, int first, int second, const int16_t *coefficients,
                                        const int16_t *quant, int blocks, uint8_t *dst, ptrdiff_t stride) {
    idct_lanes rows[4][8];
    idct_sum out[4];
    for (int c = 0; c < 8; c++)
        DMAE_EACH_LANE {
            int16_t in[8];
            for (int y = 0; y < 8; y++)
                in[y] = idct_dequantised(coefficients[DMAE_LANES * (8 * y + c) + lane], quant[8 * y + c]);
            if (side == 4)
                idct_quarter4(in, UINT32_C(1) << (first - 1), out);
            else
                idct_eighth2(in, UINT32_C(1) << (first - 1), out);
            for (int y = 0; y < side; y++)
                rows[y][c][lane] = idct_saturated(out[y], first);
        }
    for (int y = 0; y < side; y++, dst += stride) {
        idct_pixels row[4] = {{0}};
        DMAE_EACH_LANE {
            int16_t in[8];
            for (int x = 0; x < 8; x++)
                in[x] = rows[y][x][lane];
            const idct_sum round = (UINT32_C(128) << second) + (UINT32_C(1) << (second - 1));
            if (side == 4)
                idct_quarter4(in, round, out);
            else
                idct_eighth2(in, round, out);
            for (int x = 0; x < side; x++)
                row[x][lane] = (uint32_t)((int32_t)out[x] >> second);
        }
        idct_clamp_row(row, side);
        if (side == 4)
            idct_store_row(row, 4, blocks, dst);
        else
            for (int i = 0; i < blocks; i++) {
                dst[2 * i] = (uint8_t)row[0][i];
                dst[2 * i + 1] = (uint8_t)row[1][i];
            }
    }
}

static void idct_transform4(const int16_t *coefficients, uint64_t any, const int16_t *quant, int blocks, uint8_t *dst,
                            ptrdiff_t stride) {
    (void)any;
    idct_transform_reduced(4, 12, 19, coefficients, quant, blocks, dst, stride);
}

static void idct_transform2(const int16_t *coefficients, uint64_t any, const int16_t *quant, int blocks, uint8_t *dst,
                            ptrdiff_t stride) {
    (void)any;
    idct_transform_reduced(2, 13, 20, coefficients, quant, blocks, dst, stride);
}

typedef void idct_transform(const int16_t *coefficients, uint64_t any, const int16_t *quant, int blocks, uint8_t *dst,
                            ptrdiff_t stride);

DMAE_INLINE void idct_each_group(idct_transform *f, int side, const int16_t *coefficients, const uint64_t *bitmaps,
                                 const int16_t *quant, int32_t count, uint8_t *dst, ptrdiff_t stride) {
    for (; count > 0; count -= DMAE_LANES, coefficients += 64 * DMAE_LANES, bitmaps += DMAE_LANES) {
        const int blocks = count < DMAE_LANES ? count : DMAE_LANES;
        uint64_t any = 0;
        for (int i = 0; i < blocks; i++)
            any |= bitmaps[i] & ~(uint64_t)1;
        if (any)
            f(coefficients, any, quant, blocks, dst, stride);
        else
            for (int i = 0; i < blocks; i++)
                for (int y = 0; y < side; y++)
                    memset(dst + y * stride + i * side, dmae_idct_mean(coefficients[i] * quant[0]), (size_t)side);
        dst += DMAE_LANES * side;
    }
}

static void idct8(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                  uint8_t *dst, ptrdiff_t stride) {
    idct_each_group(idct_transform8, 8, coefficients, bitmaps, quant, count, dst, stride);
}

static void idct4(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                  uint8_t *dst, ptrdiff_t stride) {
    idct_each_group(idct_transform4, 4, coefficients, bitmaps, quant, count, dst, stride);
}

static void idct2(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                  uint8_t *dst, ptrdiff_t stride) {
    idct_each_group(idct_transform2, 2, coefficients, bitmaps, quant, count, dst, stride);
}
