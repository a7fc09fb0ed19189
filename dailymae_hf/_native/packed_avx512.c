/* Unpacking with AVX-512 (VBMI2): one instruction spreads a block's values over its bitmap, one orders them. */
#include "packed.h"
#include "simd_target.h"

#if defined(__x86_64__)
DMAE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vbmi2,bmi,bmi2,popcnt")


/* For each position of the vector order (idct.h) the zigzag position that belongs there. */
static const uint8_t from_zigzag[64] __attribute__((aligned(64))) = {
    0,  10, 5,  23, 1,  19, 6,  32, 3,  21, 12, 37, 8,  34, 17, 47, 2,  9,  7,  18, 4,  11,
    13, 24, 20, 35, 33, 48, 22, 36, 38, 49, 14, 39, 27, 52, 15, 45, 28, 54, 25, 50, 41, 59,
    30, 56, 43, 61, 16, 31, 29, 44, 26, 40, 42, 53, 46, 57, 55, 62, 51, 58, 60, 63};

static inline __m512i nibble_values(const uint8_t *p) {
    const __m512i values = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)dmae_nibble_values));
    __m512i pairs = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)p));
    pairs = _mm512_or_si512(pairs, _mm512_slli_epi16(pairs, 4)); /* low nibble to the low byte, high to the high */
    return _mm512_shuffle_epi8(values, _mm512_and_si512(pairs, _mm512_set1_epi8(15)));
}

static inline void expand(const dmae_group *g, int first, int last, int16_t *out, int32_t done) {
    out += 64 * done;
    const __m512i order = _mm512_load_si512(from_zigzag);
    for (int i = first; i < last; i++, out += 64) {
        const uint8_t *v = g->values[i];
        __mmask64 bitmap = g->bitmap[i], rest = ~(uint64_t)0 << g->longs[i];
        __m512i nibbles = nibble_values(v + ((size_t)g->longs[i] << g->wide[i]));
        __m512i low = _mm512_mask_expand_epi8(_mm512_loadu_si512(v), rest, nibbles);
        low = _mm512_permutexvar_epi8(order, _mm512_maskz_expand_epi8(bitmap, low));
        __m512i upper = _mm512_cvtepi8_epi16(_mm512_castsi512_si256(low));
        __m512i lower = _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64(low, 1));
        if (__builtin_expect(g->wide[i], 0)) {
            __m512i high = _mm512_mask_expand_epi8(_mm512_loadu_si512(v + g->longs[i]), rest,
                                                   _mm512_movm_epi8(_mm512_movepi8_mask(nibbles)));
            high = _mm512_permutexvar_epi8(order, _mm512_maskz_expand_epi8(bitmap, high));
            /* 0xca: bits of the low byte from the first, the others from the second operand */
            const __m512i bytes = _mm512_set1_epi16(0xff);
            upper = _mm512_ternarylogic_epi64(
                bytes, upper, _mm512_slli_epi16(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(high)), 8), 0xca);
            lower = _mm512_ternarylogic_epi64(
                bytes, lower, _mm512_slli_epi16(_mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(high, 1)), 8), 0xca);
        }
        _mm512_storeu_si512(out, upper);
        _mm512_storeu_si512(out + 32, lower);
        out[0] = g->dc[i];
    }
}

static inline unsigned count_bits(uint64_t bits) {
    return (unsigned)_mm_popcnt_u64(bits);
}

int dmae_unpack_row_avx512(const dmae_packed_row *row, int32_t first, int32_t count, int16_t *out,
                                  uint64_t *bitmaps) {
    return dmae_unpack_row_with(expand, count_bits, row, first, count, out, bitmaps);
}

DMAE_TARGET_END

#endif
