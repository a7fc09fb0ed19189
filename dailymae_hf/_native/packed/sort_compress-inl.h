/* A block's AC coefficients that are not zero, all at once: permuted to zigzag order, and those that are zero left out.
 */

/* The zigzag positions 0 to 31 and 32 to 63 as vpermt2w takes them. */
static const uint16_t sort_zigzag[64] __attribute__((aligned(64))) = {DMAE_ZIGZAG};

static void sort_block(const int16_t *coefficients, dmae_sorted *out) {
    const __m512i low = _mm512_loadu_si512(coefficients), high = _mm512_loadu_si512(coefficients + 32);
    const __m512i first = _mm512_permutex2var_epi16(low, _mm512_load_si512(sort_zigzag), high);
    const __m512i second = _mm512_permutex2var_epi16(low, _mm512_load_si512(sort_zigzag + 32), high);
    const __mmask32 in_first = _mm512_test_epi16_mask(first, first) & ~1u;
    const __mmask32 in_second = _mm512_test_epi16_mask(second, second);
    _mm512_storeu_si512(out->value, _mm512_maskz_compress_epi16(in_first, first));
    _mm512_storeu_si512(out->value + _mm_popcnt_u32(in_first), _mm512_maskz_compress_epi16(in_second, second));
    out->bitmap = in_first | (uint64_t)in_second << 32;
    out->count = (int)_mm_popcnt_u64(out->bitmap);
    const __m512i eight = _mm512_set1_epi16(8), byte = _mm512_set1_epi16(255), half = _mm512_set1_epi16(128);
    const uint64_t large = _mm512_mask_cmpgt_epu16_mask(in_first, _mm512_abs_epi16(first), eight) |
                           (uint64_t)_mm512_cmpgt_epu16_mask(_mm512_abs_epi16(second), eight) << 32;
    out->needed = large ? (int)_mm_popcnt_u64(out->bitmap & ~UINT64_C(0) >> __builtin_clzll(large)) : 0;
    out->wide = _mm512_mask_cmpgt_epu16_mask(in_first, _mm512_add_epi16(first, half), byte) != 0 ||
                _mm512_cmpgt_epu16_mask(_mm512_add_epi16(second, half), byte) != 0;
}
