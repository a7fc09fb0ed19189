/* The vector inverse DCTs, written once for every width: a register holds the same 128-bit lane of several blocks.
 * The including file defines
 *   V                        a register;   BLOCKS: lanes in it
 *   OP(name)                 the operation that x86 calls so
 *   ALL32(a), LANE4(a, b, c, d), LOAD_REPEATED(p)   32-bit constants, and eight 16-bit ones in memory, for every lane
 *   MUL_ADD(sum, a, b)       sum + products of 16-bit pairs, added up
 *   LOAD_LANES(blocks, lane) lanes 0 to 3 of BLOCKS blocks
 *   STORE_ROWS8, _ROWS4, _ROWS2(rows, dst, stride)   see where they are called
 *   IDCT8, IDCT4, IDCT2      the names of the results
 * and must not be included twice. */

/* Two 16-bit factors for a pair of rows or columns. */
#define PAIR(low, high) ((int32_t)((uint32_t)(uint16_t)(low) | (uint32_t)(uint16_t)(high) << 16))
#define MADD(a, b) OP(madd_epi16)(a, b)
#define ADD(a, b) OP(add_epi32)(a, b)
#define SUB(a, b) OP(sub_epi32)(a, b)
#define SPREAD(v, k) OP(shuffle_epi32)(v, (k) * 0x55) /* one pair to its whole lane */

/* What libjpeg's factored multiplications come to for rows 1, 3 | 5, 7 in outputs 0..3. */
#define ODD_A0 PAIR(11363, 9633)
#define ODD_B0 PAIR(6437, 2260)
#define ODD_A1 PAIR(9633, -2259)
#define ODD_B1 PAIR(-11362, -6436)
#define ODD_A2 PAIR(6437, -11362)
#define ODD_B2 PAIR(2261, 9633)
#define ODD_A3 PAIR(2260, -6436)
#define ODD_B3 PAIR(9633, -11363)

static inline void load_half(const int16_t *blocks, const int16_t *quant, int half, V pair[4]) {
    LOAD_LANES(blocks + 32 * half, pair);
    for (int p = 0; p < 4; p++)
        pair[p] = OP(mullo_epi16)(pair[p], LOAD_REPEATED(quant + 32 * half + 8 * p));
}

/* First pass over four columns: eight rows of 32-bit sums, scaled back to two fraction bits. */
static inline void columns8(const V pair[4], int high_rows, V row[8]) {
    const V half = ALL32(1 << 10);
    V a = MUL_ADD(half, pair[0], ALL32(PAIR(8192, 8192))), b = MUL_ADD(half, pair[0], ALL32(PAIR(8192, -8192)));
    V c = MADD(pair[1], ALL32(PAIR(10703, 4433))), d = MADD(pair[1], ALL32(PAIR(4433, -10704)));
    V even[4] = {ADD(a, c), ADD(b, d), SUB(b, d), SUB(a, c)};
    V odd[4] = {MADD(pair[2], ALL32(ODD_A0)), MADD(pair[2], ALL32(ODD_A1)), MADD(pair[2], ALL32(ODD_A2)),
                MADD(pair[2], ALL32(ODD_A3))};
    if (high_rows) {
        odd[0] = MUL_ADD(odd[0], pair[3], ALL32(ODD_B0));
        odd[1] = MUL_ADD(odd[1], pair[3], ALL32(ODD_B1));
        odd[2] = MUL_ADD(odd[2], pair[3], ALL32(ODD_B2));
        odd[3] = MUL_ADD(odd[3], pair[3], ALL32(ODD_B3));
    }
    for (int k = 0; k < 4; k++) {
        row[k] = OP(srai_epi32)(ADD(even[k], odd[k]), 11);
        row[7 - k] = OP(srai_epi32)(SUB(even[k], odd[k]), 11);
    }
}

/* Second pass over one row: pixels 0, 1, 2, 3, 7, 6, 5, 4 of each block in 16 bits. */
static inline V row8(V row, int high_columns) {
    V even = MUL_ADD(ALL32((128 << 18) + (1 << 17)), SPREAD(row, 0),
                     LANE4(PAIR(8192, 10703), PAIR(8192, 4433), PAIR(8192, -4433), PAIR(8192, -10703)));
    V odd = MADD(SPREAD(row, 1), LANE4(ODD_A0, ODD_A1, ODD_A2, ODD_A3));
    if (high_columns) {
        even = MUL_ADD(even, SPREAD(row, 2),
                       LANE4(PAIR(8192, 4433), PAIR(-8192, -10704), PAIR(-8192, 10704), PAIR(8192, -4433)));
        odd = MUL_ADD(odd, SPREAD(row, 3), LANE4(ODD_B0, ODD_B1, ODD_B2, ODD_B3));
    }
    return OP(packs_epi32)(OP(srai_epi32)(ADD(even, odd), 18), OP(srai_epi32)(SUB(even, odd), 18));
}

static inline __attribute__((always_inline)) void transform8(const int16_t *blocks, const int16_t *quant,
                                                                    int high_columns, int high_rows, uint8_t *dst,
                                                                    ptrdiff_t stride) {
    V pair[4], left[8], right[8];
    load_half(blocks, quant, 0, pair);
    columns8(pair, high_rows, left);
    if (high_columns) {
        load_half(blocks, quant, 1, pair);
        columns8(pair, high_rows, right);
    }
    for (int y = 0; y < 8; y += 2) {
        V upper = OP(packs_epi32)(left[y], high_columns ? right[y] : left[y]);
        V lower = OP(packs_epi32)(left[y + 1], high_columns ? right[y + 1] : left[y + 1]);
        upper = row8(upper, high_columns);
        lower = row8(lower, high_columns);
        STORE_ROWS8(OP(packus_epi16)(upper, lower), dst + y * stride, stride);
    }
}

/* Pixels of blocks that have no AC coefficients. */
static inline void flat(const int16_t *blocks, int factor, int side, uint8_t *dst, ptrdiff_t stride) {
    for (int i = 0; i < BLOCKS; i++) {
        uint8_t mean = dmae_idct_mean(blocks[64 * i] * factor);
        for (int y = 0; y < side; y++)
            memset(dst + y * stride + i * side, mean, (size_t)side);
    }
}

static inline uint64_t any_of(const uint64_t *bitmaps) {
    uint64_t any = bitmaps[0];
    for (int i = 1; i < BLOCKS; i++)
        any |= bitmaps[i];
    return any & ~(uint64_t)1;
}

void IDCT8(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                  uint8_t *dst, ptrdiff_t stride) {
    for (int32_t i = 0; i < count; i += BLOCKS, coefficients += 64 * BLOCKS, dst += 8 * BLOCKS) {
        uint64_t any = any_of(bitmaps + i);
        if (any & DMAE_HIGH_COLUMNS)
            transform8(coefficients, quant, 1, 1, dst, stride);
        else if (any & DMAE_HIGH_ROWS)
            transform8(coefficients, quant, 0, 1, dst, stride);
        else if (any)
            transform8(coefficients, quant, 0, 0, dst, stride);
        else
            flat(coefficients, quant[0], 8, dst, stride);
    }
}

/* Four rows out of eight: libjpeg's 4x4 transform uses neither row 4 nor column 4. */
static inline void columns4(const V pair[4], V row[4]) {
    V mean = MUL_ADD(ALL32(1 << 11), pair[0], ALL32(PAIR(16384, 0)));
    V rise = MADD(pair[1], ALL32(PAIR(15137, -6270)));
    V outer = MUL_ADD(MADD(pair[2], ALL32(PAIR(20995, 7373))), pair[3], ALL32(PAIR(-4926, -4176)));
    V inner = MUL_ADD(MADD(pair[2], ALL32(PAIR(8697, -17799))), pair[3], ALL32(PAIR(11893, -1730)));
    V high = ADD(mean, rise), low = SUB(mean, rise);
    row[0] = OP(srai_epi32)(ADD(high, outer), 12);
    row[1] = OP(srai_epi32)(ADD(low, inner), 12);
    row[2] = OP(srai_epi32)(SUB(low, inner), 12);
    row[3] = OP(srai_epi32)(SUB(high, outer), 12);
}

static inline V row4(V row) {
    V sum = MUL_ADD(ALL32((128 << 19) + (1 << 18)), SPREAD(row, 0),
                    LANE4(PAIR(16384, 15137), PAIR(16384, -15137), PAIR(16384, -15137), PAIR(16384, 15137)));
    V odd = MADD(SPREAD(row, 1), LANE4(PAIR(20995, 7373), PAIR(8697, -17799), PAIR(-8697, 17799), PAIR(-20995, -7373)));
    sum = MUL_ADD(sum, SPREAD(row, 2), LANE4(PAIR(0, -6270), PAIR(0, 6270), PAIR(0, 6270), PAIR(0, -6270)));
    odd = MUL_ADD(odd, SPREAD(row, 3),
                  LANE4(PAIR(-4926, -4176), PAIR(11893, -1730), PAIR(-11893, 1730), PAIR(4926, 4176)));
    return OP(srai_epi32)(ADD(sum, odd), 19);
}

void IDCT4(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                  uint8_t *dst, ptrdiff_t stride) {
    for (int32_t i = 0; i < count; i += BLOCKS, coefficients += 64 * BLOCKS, dst += 4 * BLOCKS) {
        V pair[4], left[4], right[4], out[4];
        if (!any_of(bitmaps + i)) {
            flat(coefficients, quant[0], 4, dst, stride);
            continue;
        }
        load_half(coefficients, quant, 0, pair);
        columns4(pair, left);
        load_half(coefficients, quant, 1, pair);
        columns4(pair, right);
        for (int y = 0; y < 4; y++)
            out[y] = row4(OP(packs_epi32)(left[y], right[y]));
        STORE_ROWS4(OP(packus_epi16)(OP(packs_epi32)(out[0], out[1]), OP(packs_epi32)(out[2], out[3])), dst, stride);
    }
}

/* Two rows out of eight, from rows 0, 1, 3, 5, 7. The mean's factor is 2^15, one bit too many for a product. */
static inline void columns2(const V pair[4], V row[2]) {
    V mean = MADD(pair[0], ALL32(PAIR(16384, 0)));
    V odd = MUL_ADD(MADD(pair[2], ALL32(PAIR(29692, -10426))), pair[3], ALL32(PAIR(6967, -5906)));
    mean = ADD(ADD(mean, mean), ALL32(1 << 12));
    row[0] = OP(srai_epi32)(ADD(mean, odd), 13);
    row[1] = OP(srai_epi32)(SUB(mean, odd), 13);
}

void IDCT2(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                  uint8_t *dst, ptrdiff_t stride) {
    for (int32_t i = 0; i < count; i += BLOCKS, coefficients += 64 * BLOCKS, dst += 2 * BLOCKS) {
        V pair[4], left[2], right[2];
        if (!any_of(bitmaps + i)) {
            flat(coefficients, quant[0], 2, dst, stride);
            continue;
        }
        load_half(coefficients, quant, 0, pair);
        columns2(pair, left);
        load_half(coefficients, quant, 1, pair);
        columns2(pair, right);
        /* Both rows in one lane: pixels (0, 0), (0, 1), (1, 0), (1, 1). */
        V upper = OP(packs_epi32)(left[0], right[0]), lower = OP(packs_epi32)(left[1], right[1]);
        V first = OP(unpacklo_epi64)(SPREAD(upper, 0), SPREAD(lower, 0));
        V second = OP(unpacklo_epi64)(SPREAD(upper, 1), SPREAD(lower, 1));
        V fourth = OP(unpacklo_epi64)(SPREAD(upper, 3), SPREAD(lower, 3));
        V mean = MADD(first, ALL32(PAIR(16384, 0)));
        V odd = MADD(second, LANE4(PAIR(29692, -10426), PAIR(-29692, 10426), PAIR(29692, -10426), PAIR(-29692, 10426)));
        odd = MUL_ADD(odd, fourth, LANE4(PAIR(6967, -5906), PAIR(-6967, 5906), PAIR(6967, -5906), PAIR(-6967, 5906)));
        mean = ADD(ADD(mean, mean), ALL32((128 << 20) + (1 << 19)));
        V out = OP(srai_epi32)(ADD(mean, odd), 20);
        out = OP(packs_epi32)(out, out);
        STORE_ROWS2(OP(packus_epi16)(out, out), dst, stride);
    }
}
