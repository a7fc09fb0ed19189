/* A block's AC coefficients that are not zero, without a branch: which ones they are is a coin's toss. */

/* Bytes of 0 and 1 as bits. */
DMAE_INLINE uint64_t sort_bits(const uint8_t flags[64]) {
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits |= (dmae_load64(flags + 8 * i) * UINT64_C(0x0102040810204080) >> 56) << 8 * i;
    return bits;
}

static void sort_block(const int16_t *coefficients, dmae_sorted *out) {
    int16_t ordered[64];
    uint8_t nonzero[64], large[64];
    int count = 0, wide = 0;
    ordered[0] = 0;
#pragma GCC unroll 63
    for (int k = 1; k < 64; k++) {
        ordered[k] = out->value[count] = coefficients[dmae_zigzag[k]];
        count += ordered[k] != 0; /* the next one goes over a zero */
    }
    for (int k = 0; k < 64; k++) {
        nonzero[k] = ordered[k] != 0;
        large[k] = (uint16_t)(ordered[k] + 8) > 16;
        wide |= (uint16_t)(ordered[k] + 128) > 255;
    }
    out->bitmap = sort_bits(nonzero);
    out->count = count;
    out->wide = wide;
    const uint64_t too_large = sort_bits(large);
    out->needed = too_large ? (int)v_count_bits(out->bitmap & ~UINT64_C(0) >> __builtin_clzll(too_large)) : 0;
}
