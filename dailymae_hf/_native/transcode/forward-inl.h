/* libjpeg's forward transform and quantisation in a target's registers: each holds the same row, or the same column, of
 * V_LANES blocks. The factors are idct-inl.h's: the one transform is the other's transpose. */

/* Columns of each lane become rows: three times the elements of two registers alternately. */
DMAE_INLINE void forward_turn(v_reg row[8]) {
    v_reg half[8], quarter[8];
    for (int k = 0; k < 4; k++) {
        half[2 * k] = v_zip_low16(row[k], row[k + 4]);
        half[2 * k + 1] = v_zip_high16(row[k], row[k + 4]);
    }
    for (int k = 0; k < 4; k++) {
        quarter[2 * k] = v_zip_low16(half[k], half[k + 4]);
        quarter[2 * k + 1] = v_zip_high16(half[k], half[k + 4]);
    }
    for (int k = 0; k < 4; k++) {
        row[2 * k] = v_zip_low16(quarter[k], quarter[k + 4]);
        row[2 * k + 1] = v_zip_high16(quarter[k], quarter[k + 4]);
    }
}

/* Elements of two registers as pairs, for instructions that multiply 16 bits and add pairs. */
typedef struct forward_pairs {
    v_reg low, high;
} forward_pairs;

DMAE_INLINE forward_pairs forward_pair(v_reg a, v_reg b) {
    return (forward_pairs){v_zip_low16(a, b), v_zip_high16(a, b)};
}

/* 32-bit sums with 13 fraction bits: the first pass leaves two of them, the second takes these away as well. */
DMAE_INLINE v_reg forward_descale(v_reg low, v_reg high, int second) {
    return second ? v_packs32(v_sra32(low, 15), v_sra32(high, 15)) : v_packs32(v_sra32(low, 11), v_sra32(high, 11));
}

DMAE_INLINE v_reg forward_even(forward_pairs p, int32_t factors, int second) {
    const v_reg half = v_splat32(second ? 1 << 14 : 1 << 10), by = v_splat32(factors);
    return forward_descale(v_madd16_to(half, p.low, by), v_madd16_to(half, p.high, by), second);
}

DMAE_INLINE v_reg forward_odd(forward_pairs p, int32_t first_factors, forward_pairs q, int32_t factors, int second) {
    const v_reg half = v_splat32(second ? 1 << 14 : 1 << 10), by = v_splat32(first_factors),
                and_by = v_splat32(factors);
    return forward_descale(v_madd16_to(v_madd16_to(half, p.low, by), q.low, and_by),
                           v_madd16_to(v_madd16_to(half, p.high, by), q.high, and_by), second);
}

/* A sum without factors: its fraction bits are all zero. */
DMAE_INLINE v_reg forward_plain(v_reg sum, int second) {
    const v_reg twice = v_add16(sum, sum);
    return second ? v_sra16(v_add16(sum, v_splat16(2)), 2) : v_add16(twice, twice);
}

DMAE_INLINE void forward_axis(v_reg r[8], int second) {
    const v_reg a = v_add16(r[0], r[7]), b = v_add16(r[1], r[6]), c = v_add16(r[2], r[5]), d = v_add16(r[3], r[4]);
    const forward_pairs ef = forward_pair(v_subs16(r[0], r[7]), v_subs16(r[1], r[6]));
    const forward_pairs gh = forward_pair(v_subs16(r[2], r[5]), v_subs16(r[3], r[4]));
    const forward_pairs even = forward_pair(v_subs16(a, d), v_subs16(b, c));
    const v_reg outer = v_add16(a, d), inner = v_add16(b, c);
    r[0] = forward_plain(v_add16(outer, inner), second);
    r[4] = forward_plain(v_subs16(outer, inner), second);
    r[2] = forward_even(even, IDCT_PAIR(10703, 4433), second);
    r[6] = forward_even(even, IDCT_PAIR(4433, -10704), second);
    r[1] = forward_odd(ef, IDCT_ODD_A0, gh, IDCT_ODD_B0, second);
    r[3] = forward_odd(ef, IDCT_ODD_A1, gh, IDCT_ODD_B1, second);
    r[5] = forward_odd(ef, IDCT_ODD_A2, gh, IDCT_ODD_B2, second);
    r[7] = forward_odd(ef, IDCT_ODD_A3, gh, IDCT_ODD_B3, second);
}

DMAE_INLINE v_reg forward_divide(v_reg value, const dmae_divisor *by, int row) {
    const v_reg size = v_add16(v_abs16(value), v_load_repeated(by->add + 8 * row)), negative = v_sra16(value, 15);
    const v_reg quotient =
        v_mulhi_u16(v_mulhi_u16(size, v_load_repeated(by->factor + 8 * row)), v_load_repeated(by->scale + 8 * row));
    return v_subs16(v_xor(quotient, negative), negative);
}

/* V_LANES blocks. */
DMAE_INLINE void forward_blocks(const uint8_t *src, size_t stride, const dmae_divisor *by, int16_t *blocks) {
    v_reg row[8];
    for (int y = 0; y < 8; y++)
        row[y] = v_add16(v_widen_load_u8(src + (size_t)y * stride), v_splat16(-128));
    forward_turn(row);
    forward_axis(row, 0);
    forward_turn(row);
    forward_axis(row, 1);
    for (int y = 0; y < 8; y++)
        v_store_lanes(blocks + 8 * y, 64, forward_divide(row[y], by, y));
}

/* `count` blocks side by side, from a plane that goes on to a whole number of V_LANES blocks. */
static void forward_row(const uint8_t *src, size_t stride, const dmae_divisor *by, int32_t count, int16_t *blocks) {
    int32_t x = 0;
    for (; x + V_LANES <= count; x += V_LANES)
        forward_blocks(src + 8 * x, stride, by, blocks + 64 * x);
    if (x < count) {
        int16_t last[64 * V_LANES];
        forward_blocks(src + 8 * x, stride, by, last);
        memcpy(blocks + 64 * x, last, (size_t)(count - x) * 64 * sizeof *last);
    }
}
