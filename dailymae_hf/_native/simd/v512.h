/* Registers of four lanes: AVX-512 with VBMI, VBMI2 and VNNI. The vocabulary is described in v128.h. Here bytes move
 * freely in the whole register, and there is more:
 *   v_or;   v_sll16(v, n): shift to the left;   v_select(bits, a, b): bits of a where set, else of b
 *   v_look_up(table, index)            lane by lane;   v_permute8(index, v): bytes of the whole register
 *   v_expand8(mask, v)                 the first bytes of v at the set bits, else 0;   v_expand8_over(v0, mask, v):
 * else v0 v_widen_low_s8, v_widen_high_s8, v_widen_low_u8, v_widen_high_u8   a half's bytes as 16 bits;
 * v_sign8                            each byte's sign in all of its bits */
#include "simd/lane.h"

typedef __m512i v_reg;
#define V_BYTES 64
#define V_LANES 4
#define V_WINDOW 64
#define V_SECOND_WINDOW 0x40 /* vpermi2b's bit */

#define v_load(p) _mm512_loadu_si512(p)
#define v_store(p, v) _mm512_storeu_si512(p, v)
#define v_store_low(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define v_load_repeated(p) _mm512_broadcast_i32x4(v_lane_load(p))
#define v_zero _mm512_setzero_si512
#define v_splat8(x) _mm512_set1_epi8(x)
#define v_splat16(x) _mm512_set1_epi16(x)
#define v_splat32(x) _mm512_set1_epi32(x)
#define v_repeat32(a, b, c, d) _mm512_broadcast_i32x4(_mm_setr_epi32(a, b, c, d))
#define v_xor _mm512_xor_si512
#define v_or _mm512_or_si512
#define v_and _mm512_and_si512
#define v_select(bits, a, b) _mm512_ternarylogic_epi64(bits, a, b, 0xca)
#define v_add16 _mm512_add_epi16
#define v_adds16 _mm512_adds_epi16
#define v_subs16 _mm512_subs_epi16
#define v_add32 _mm512_add_epi32
#define v_sub32 _mm512_sub_epi32
#define v_sra16(v, n) _mm512_srai_epi16(v, n)
#define v_sra32(v, n) _mm512_srai_epi32(v, n)
#define v_sll32(v, n) _mm512_slli_epi32(v, n)
#define v_sll16(v, n) _mm512_slli_epi16(v, n)
#define v_srl16(v, n) _mm512_srli_epi16(v, n)
#define v_abs16 _mm512_abs_epi16
#define v_mulhi_u16 _mm512_mulhi_epu16
#define v_mullo16 _mm512_mullo_epi16
#define v_mulhrs16 _mm512_mulhrs_epi16
#define v_madd8 _mm512_maddubs_epi16
#define v_madd16 _mm512_madd_epi16
#define v_madd16_to _mm512_dpwssd_epi32
#define v_packs32 _mm512_packs_epi32
#define v_packus16 _mm512_packus_epi16
#define v_narrow16(v) _mm512_cvtsepi16_epi8(v)
#define v_zip_low8 _mm512_unpacklo_epi8
#define v_zip_high8 _mm512_unpackhi_epi8
#define v_zip_low16 _mm512_unpacklo_epi16
#define v_zip_high16 _mm512_unpackhi_epi16
#define v_in_order32(v)                                                                                                \
    _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), v)
#define v_in_order64(v) _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), v)
#define v_zip_low64 _mm512_unpacklo_epi64
#define v_element32(v, k) _mm512_shuffle_epi32(v, (k) * 0x55)
#define v_look_up _mm512_shuffle_epi8
#define v_permute8 _mm512_permutexvar_epi8
#define v_expand8 _mm512_maskz_expand_epi8
#define v_expand8_over _mm512_mask_expand_epi8
#define v_widen_low_s8(v) _mm512_cvtepi8_epi16(_mm512_castsi512_si256(v))
#define v_widen_high_s8(v) _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64(v, 1))
#define v_widen_low_u8(v) _mm512_cvtepu8_epi16(_mm512_castsi512_si256(v))
#define v_widen_high_u8(v) _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(v, 1))
#define v_widen_load_u8(p) _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(p)))
#define v_sign8(v) _mm512_movm_epi8(_mm512_movepi8_mask(v))
#define v_count_bits(bits) ((unsigned)_mm_popcnt_u64(bits))

#define v_window1(src, base, index) v_permute8(index, v_load((src) + (base)[0]))
#define v_window2(src, base, index)                                                                                    \
    _mm512_permutex2var_epi8(v_load((src) + (base)[0]), index, v_load((src) + (base)[1]))

static inline void v_load_blocks(const int16_t *blocks, v_reg lane[4]) {
    const v_reg a = v_load(blocks), b = v_load(blocks + 64), c = v_load(blocks + 128), d = v_load(blocks + 192);
    const v_reg ab_low = _mm512_shuffle_i32x4(a, b, 0x44), ab_high = _mm512_shuffle_i32x4(a, b, 0xee);
    const v_reg cd_low = _mm512_shuffle_i32x4(c, d, 0x44), cd_high = _mm512_shuffle_i32x4(c, d, 0xee);
    lane[0] = _mm512_shuffle_i32x4(ab_low, cd_low, 0x88);
    lane[1] = _mm512_shuffle_i32x4(ab_low, cd_low, 0xdd);
    lane[2] = _mm512_shuffle_i32x4(ab_high, cd_high, 0x88);
    lane[3] = _mm512_shuffle_i32x4(ab_high, cd_high, 0xdd);
}

static inline void v_store_lanes(int16_t *p, int step, v_reg v) {
    v_lane_store(p, _mm512_castsi512_si128(v));
    v_lane_store(p + step, _mm512_extracti32x4_epi32(v, 1));
    v_lane_store(p + 2 * step, _mm512_extracti32x4_epi32(v, 2));
    v_lane_store(p + 3 * step, _mm512_extracti32x4_epi32(v, 3));
}

/* Each lane: a row of a block, then the row below, both as pixels 0, 1, 2, 3, 7, 6, 5, 4. */
#define V_BLOCK_ROW(at) at, at + 1, at + 2, at + 3, at + 7, at + 6, at + 5, at + 4
static inline void v_store_rows8(v_reg rows, uint8_t *dst, ptrdiff_t stride) {
    static const uint8_t in_order[64]
        __attribute__((aligned(64))) = {V_BLOCK_ROW(0), V_BLOCK_ROW(16), V_BLOCK_ROW(32), V_BLOCK_ROW(48),
                                        V_BLOCK_ROW(8), V_BLOCK_ROW(24), V_BLOCK_ROW(40), V_BLOCK_ROW(56)};
    rows = v_permute8(_mm512_load_si512(in_order), rows);
    _mm256_storeu_si256((__m256i *)dst, _mm512_castsi512_si256(rows));
    _mm256_storeu_si256((__m256i *)(dst + stride), _mm512_extracti64x4_epi64(rows, 1));
}

/* Each lane: four rows of four pixels. */
static inline void v_store_rows4(v_reg rows, uint8_t *dst, ptrdiff_t stride) {
    rows = v_in_order32(rows);
    v_lane_store(dst, _mm512_castsi512_si128(rows));
    v_lane_store(dst + stride, _mm512_extracti32x4_epi32(rows, 1));
    v_lane_store(dst + 2 * stride, _mm512_extracti32x4_epi32(rows, 2));
    v_lane_store(dst + 3 * stride, _mm512_extracti32x4_epi32(rows, 3));
}
