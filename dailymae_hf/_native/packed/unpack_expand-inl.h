/* Unpacking where one instruction spreads a block's values over its bitmap and one orders them (AVX-512 VBMI2). */

/* For each position of the vector order (idct.h) the zigzag position that belongs there. */
static const uint8_t unpack_from_zigzag[64] __attribute__((aligned(64))) = {
    0,  10, 5,  23, 1,  19, 6,  32, 3,  21, 12, 37, 8,  34, 17, 47, 2,  9,  7,  18, 4,  11,
    13, 24, 20, 35, 33, 48, 22, 36, 38, 49, 14, 39, 27, 52, 15, 45, 28, 54, 25, 50, 41, 59,
    30, 56, 43, 61, 16, 31, 29, 44, 26, 40, 42, 53, 46, 57, 55, 62, 51, 58, 60, 63};

static inline v_reg unpack_nibbles(const uint8_t *p) {
    const v_reg values = v_load_repeated(dmae_nibble_values);
    v_reg pairs = v_widen_load_u8(p);
    pairs = v_or(pairs, v_sll16(pairs, 4)); /* low nibble to the low byte, high to the high */
    return v_look_up(values, v_and(pairs, v_splat8(15)));
}

static inline void unpack_expand(const dmae_group *g, int first, int last, int16_t *out, int32_t done) {
    out += 64 * done;
    const v_reg order = v_load(unpack_from_zigzag);
    for (int i = first; i < last; i++, out += 64) {
        const uint8_t *v = g->values[i];
        const uint64_t bitmap = g->bitmap[i], rest = ~(uint64_t)0 << g->longs[i];
        v_reg nibbles = unpack_nibbles(v + ((size_t)g->longs[i] << g->wide[i]));
        v_reg low = v_expand8_over(v_load(v), rest, nibbles);
        low = v_permute8(order, v_expand8(bitmap, low));
        v_reg upper = v_widen_low_s8(low);
        v_reg lower = v_widen_high_s8(low);
        if (__builtin_expect(g->wide[i], 0)) {
            v_reg high = v_expand8_over(v_load(v + g->longs[i]), rest, v_sign8(nibbles));
            high = v_permute8(order, v_expand8(bitmap, high));
            const v_reg low_bytes = v_splat16(0xff);
            upper = v_select(low_bytes, upper, v_sll16(v_widen_low_u8(high), 8));
            lower = v_select(low_bytes, lower, v_sll16(v_widen_high_u8(high), 8));
        }
        v_store(out, upper);
        v_store(out + 32, lower);
        out[0] = g->dc[i];
    }
}

static inline unsigned unpack_count(uint64_t bits) {
    return v_count_bits(bits);
}

static int unpack_row(const dmae_packed_row *row, int32_t first, int32_t count, int16_t *out, uint64_t *bitmaps) {
    return dmae_unpack_row_with(unpack_expand, unpack_count, row, first, count, out, bitmaps);
}
