/* Registers of two lanes: AVX2 with BMI and POPCNT. The vocabulary is described in v128.h. */
#include "simd/lane.h"

typedef __m256i v_reg;
#define V_BYTES 32
#define V_LANES 2
#define V_WINDOW 16
#define V_SECOND_WINDOW 0x80 /* look-ups then give 0 */

#define v_load(p) _mm256_loadu_si256((const __m256i *)(p))
#define v_store(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define v_store_low(p, v) _mm_storeu_si128((__m128i *)(p), _mm256_castsi256_si128(v))
#define v_load_repeated(p) _mm256_broadcastsi128_si256(v_lane_load(p))
#define v_zero _mm256_setzero_si256
#define v_splat8(x) _mm256_set1_epi8(x)
#define v_splat16(x) _mm256_set1_epi16(x)
#define v_splat32(x) _mm256_set1_epi32(x)
#define v_repeat32(a, b, c, d) _mm256_setr_epi32(a, b, c, d, a, b, c, d)
#define v_xor _mm256_xor_si256
#define v_and _mm256_and_si256
#define v_add16 _mm256_add_epi16
#define v_adds16 _mm256_adds_epi16
#define v_subs16 _mm256_subs_epi16
#define v_add32 _mm256_add_epi32
#define v_sub32 _mm256_sub_epi32
#define v_sra16(v, n) _mm256_srai_epi16(v, n)
#define v_sra32(v, n) _mm256_srai_epi32(v, n)
#define v_sll32(v, n) _mm256_slli_epi32(v, n)
#define v_srl16(v, n) _mm256_srli_epi16(v, n)
#define v_abs16 _mm256_abs_epi16
#define v_mulhi_u16 _mm256_mulhi_epu16
#define v_mullo16 _mm256_mullo_epi16
#define v_mulhrs16 _mm256_mulhrs_epi16
#define v_madd8 _mm256_maddubs_epi16
#define v_madd16 _mm256_madd_epi16
#define v_madd16_to(sum, a, b) v_add32(sum, v_madd16(a, b))
#define v_packs32 _mm256_packs_epi32
#define v_packus16 _mm256_packus_epi16
#define v_narrow16(v) _mm256_permute4x64_epi64(_mm256_packs_epi16(v, v), 0x08)
#define v_zip_low8 _mm256_unpacklo_epi8
#define v_zip_high8 _mm256_unpackhi_epi8
#define v_zip_low16 _mm256_unpacklo_epi16
#define v_zip_high16 _mm256_unpackhi_epi16
#define v_widen_load_u8(p) _mm256_cvtepu8_epi16(v_lane_load(p))
#define v_in_order32(v) _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
#define v_in_order64(v) _mm256_permute4x64_epi64(v, 0xd8)
#define v_zip_low64 _mm256_unpacklo_epi64
#define v_element32(v, k) _mm256_shuffle_epi32(v, (k) * 0x55)
#define v_lane_store_wide(p, v) v_store(p, _mm256_cvtepi8_epi16(v))
#define v_count_bits(bits) ((unsigned)_mm_popcnt_u64(bits))
#define v_load_two(low, high) _mm256_inserti128_si256(_mm256_castsi128_si256(v_lane_load(low)), v_lane_load(high), 1)

#define v_window1(src, base, index) _mm256_shuffle_epi8(v_load_two((src) + (base)[0], (src) + (base)[1]), index)
#define v_window2(src, base, index)                                                                                    \
    _mm256_or_si256(                                                                                                   \
        _mm256_shuffle_epi8(v_load_two((src) + (base)[0], (src) + (base)[2]), index),                                  \
        _mm256_shuffle_epi8(v_load_two((src) + (base)[1], (src) + (base)[3]), v_xor(index, v_splat8(-128))))

static inline void v_load_blocks(const int16_t *blocks, v_reg lane[4]) {
    for (int k = 0; k < 4; k++)
        lane[k] = v_load_two(blocks + 8 * k, blocks + 64 + 8 * k);
}

static inline void v_store_lanes(int16_t *p, int step, v_reg v) {
    v_lane_store(p, _mm256_castsi256_si128(v));
    v_lane_store(p + step, _mm256_extracti128_si256(v, 1));
}

/* Each lane: a row of a block, then the row below, both as pixels 0, 1, 2, 3, 7, 6, 5, 4. */
static inline void v_store_rows8(v_reg rows, uint8_t *dst, ptrdiff_t stride) {
    const v_lane in_order = _mm_setr_epi8(0, 1, 2, 3, 7, 6, 5, 4, 8, 9, 10, 11, 15, 14, 13, 12);
    rows = _mm256_shuffle_epi8(rows, _mm256_broadcastsi128_si256(in_order));
    rows = v_in_order64(rows);
    v_lane_store(dst, _mm256_castsi256_si128(rows));
    v_lane_store(dst + stride, _mm256_extracti128_si256(rows, 1));
}

/* Each lane: four rows of four pixels. */
static inline void v_store_rows4(v_reg rows, uint8_t *dst, ptrdiff_t stride) {
    rows = v_in_order32(rows);
    const v_lane upper = _mm256_castsi256_si128(rows), lower = _mm256_extracti128_si256(rows, 1);
    _mm_storel_epi64((__m128i *)dst, upper);
    _mm_storel_epi64((__m128i *)(dst + stride), _mm_unpackhi_epi64(upper, upper));
    _mm_storel_epi64((__m128i *)(dst + 2 * stride), lower);
    _mm_storel_epi64((__m128i *)(dst + 3 * stride), _mm_unpackhi_epi64(lower, lower));
}
