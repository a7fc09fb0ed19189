/* Registers of one lane: SSSE3 on x86-64, NEON on 64-bit ARM. The vocabulary, which v256.h and v512.h have as well, is
 *   v_reg, V_BYTES, V_LANES              a register, its bytes, its lanes of 16 bytes
 *   v_load, v_store, v_store_low         unaligned; _low: the lower half
 *   v_zero, v_splat16, v_splat32, v_splat8;   v_repeat32(a, b, c, d), v_load_repeated(p): the same in every lane
 *   v_xor, v_and                         bits
 *   v_add16, v_add32, v_sub32            wrapping;   v_adds16, v_subs16: saturating
 *   v_sra16(v, n), v_sra32(v, n)         arithmetic shifts to the right, n a constant;   v_sll32: to the left
 *   v_srl16(v, n)                        logical shift to the right;   v_abs16
 *   v_mullo16                            the lower 16 bits;   v_mulhrs16: a * b / 2^15, rounded;
 *   v_mulhi_u16                          the upper 16 bits, unsigned
 *   v_madd8(u8, s8), v_madd16(a, b)      sums of products of neighbours, 16 and 32 bits wide;
 *   v_madd16_to(sum, a, b)               the latter added to a sum
 *   v_packs32, v_packus16                two registers to one, saturating, lane by lane: s32 -> s16, s16 -> u8
 *   v_narrow16                           s16 -> s8, saturating, in order, to the lower half
 *   v_zip_low8, v_zip_high8, v_zip_low16, v_zip_high16, v_zip_low64
 *                                        elements of two registers alternately, lane by lane
 *   v_widen_load_u8(p)                   half a register of bytes as 16 bits
 *   v_element32(v, k)                    element k of each lane, repeated in the lane
 * and for what depends on the width:
 *   v_in_order32, v_in_order64           what four, or two, registers became when packed lane by lane, in their order
 *   v_store_lanes(p, step, v)            each lane as eight 16-bit numbers, `step` numbers apart
 *   V_WINDOW, V_SECOND_WINDOW            bytes that an index chooses from, and the bit that says "from the second"
 *   v_window1, v_window2(src, base, index)   the bytes that the index names, of one or two windows per V_WINDOW bytes
 *   v_load_blocks(blocks, lane)          lanes 0 to 3 of V_LANES blocks of 64 coefficients
 *   v_store_rows8, v_store_rows4(rows, dst, stride)   pixels of V_LANES blocks side by side, as described there */
#include "simd/lane.h"

typedef v_lane v_reg;
#define V_BYTES 16
#define V_LANES 1
#define V_WINDOW 16
#define V_SECOND_WINDOW 0x80 /* look-ups then give 0 */

#define v_load v_lane_load
#define v_store v_lane_store
#define v_splat8 v_lane_splat8
#define v_zip_low8 v_lane_zip_low8
#define v_zip_high8 v_lane_zip_high8
#define v_zip_low64 v_lane_join_low
#define v_load_repeated v_lane_load
#define v_madd16_to(sum, a, b) v_add32(sum, v_madd16(a, b))
#define v_in_order32(v) (v)
#define v_in_order64(v) (v)
#define v_store_lanes(p, step, v) v_store(p, v)
#define v_widen_load_u8(p) v_zip_low8(v_lane_load8(p), v_zero())

#if defined(__x86_64__)

#define v_store_low(p, v) _mm_storel_epi64((__m128i *)(p), v)
#define v_zero _mm_setzero_si128
#define v_splat16(x) _mm_set1_epi16(x)
#define v_splat32(x) _mm_set1_epi32(x)
#define v_repeat32 _mm_setr_epi32
#define v_xor _mm_xor_si128
#define v_and _mm_and_si128
#define v_add16 _mm_add_epi16
#define v_adds16 _mm_adds_epi16
#define v_subs16 _mm_subs_epi16
#define v_add32 _mm_add_epi32
#define v_sub32 _mm_sub_epi32
#define v_sra16(v, n) _mm_srai_epi16(v, n)
#define v_sra32(v, n) _mm_srai_epi32(v, n)
#define v_sll32(v, n) _mm_slli_epi32(v, n)
#define v_srl16(v, n) _mm_srli_epi16(v, n)
#define v_abs16 _mm_abs_epi16
#define v_mullo16 _mm_mullo_epi16
#define v_mulhi_u16 _mm_mulhi_epu16
#define v_mulhrs16 _mm_mulhrs_epi16
#define v_madd8 _mm_maddubs_epi16
#define v_madd16 _mm_madd_epi16
#define v_packs32 _mm_packs_epi32
#define v_packus16 _mm_packus_epi16
#define v_narrow16(v) _mm_packs_epi16(v, v)
#define v_zip_low16 _mm_unpacklo_epi16
#define v_zip_high16 _mm_unpackhi_epi16
#define v_element32(v, k) _mm_shuffle_epi32(v, (k) * 0x55)

static inline void v_lane_store_wide(int16_t *out, v_lane v) {
    const v_lane sign = _mm_cmpgt_epi8(_mm_setzero_si128(), v);
    v_store(out, v_zip_low8(v, sign));
    v_store(out + 8, v_zip_high8(v, sign));
}

static inline void v_store_halves(v_reg v, uint8_t *lower, uint8_t *upper) {
    v_store_low(lower, v);
    v_store_low(upper, _mm_unpackhi_epi64(v, v));
}

#else

#define V_S16 vreinterpretq_s16_u8
#define V_S32 vreinterpretq_s32_u8
#define V_U16 vreinterpretq_u16_u8
#define V_OF_U16 vreinterpretq_u8_u16
#define V_OF_S8 vreinterpretq_u8_s8
#define V_OF_S16 vreinterpretq_u8_s16
#define V_OF_S32 vreinterpretq_u8_s32
#define v_store_low(p, v) vst1_u8((uint8_t *)(p), vget_low_u8(v))
#define v_zero() vdupq_n_u8(0)
#define v_splat16(x) V_OF_S16(vdupq_n_s16((int16_t)(x)))
#define v_splat32(x) V_OF_S32(vdupq_n_s32(x))
#define v_repeat32(a, b, c, d) V_OF_S32(((int32x4_t){a, b, c, d}))
#define v_xor veorq_u8
#define v_and vandq_u8
#define v_add16(a, b) V_OF_S16(vaddq_s16(V_S16(a), V_S16(b)))
#define v_adds16(a, b) V_OF_S16(vqaddq_s16(V_S16(a), V_S16(b)))
#define v_subs16(a, b) V_OF_S16(vqsubq_s16(V_S16(a), V_S16(b)))
#define v_add32(a, b) V_OF_S32(vaddq_s32(V_S32(a), V_S32(b)))
#define v_sub32(a, b) V_OF_S32(vsubq_s32(V_S32(a), V_S32(b)))
#define v_sra16(v, n) V_OF_S16(vshrq_n_s16(V_S16(v), n))
#define v_sra32(v, n) V_OF_S32(vshrq_n_s32(V_S32(v), n))
#define v_sll32(v, n) V_OF_S32(vshlq_n_s32(V_S32(v), n))
#define v_srl16(v, n) V_OF_U16(vshrq_n_u16(V_U16(v), n))
#define v_abs16(v) V_OF_S16(vabsq_s16(V_S16(v)))
#define v_mullo16(a, b) V_OF_S16(vmulq_s16(V_S16(a), V_S16(b)))
#define v_mulhrs16(a, b) V_OF_S16(vqrdmulhq_s16(V_S16(a), V_S16(b)))
#define v_packs32(a, b) V_OF_S16(vcombine_s16(vqmovn_s32(V_S32(a)), vqmovn_s32(V_S32(b))))
#define v_packus16(a, b) vcombine_u8(vqmovun_s16(V_S16(a)), vqmovun_s16(V_S16(b)))
#define v_narrow16(v) V_OF_S8(vcombine_s8(vqmovn_s16(V_S16(v)), vqmovn_s16(V_S16(v))))
#define v_zip_low16(a, b) V_OF_S16(vzip1q_s16(V_S16(a), V_S16(b)))
#define v_zip_high16(a, b) V_OF_S16(vzip2q_s16(V_S16(a), V_S16(b)))
#define v_element32(v, k) V_OF_S32(vdupq_laneq_s32(V_S32(v), k))

static inline v_reg v_madd8(v_reg weights, v_reg samples) {
    /* weights are at most 128, and 128 only beside a 0: as unsigned bytes, widened, they stay positive */
    const int8x16_t s = vreinterpretq_s8_u8(samples);
    const int16x8_t low = vmulq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(weights))), vmovl_s8(vget_low_s8(s)));
    const int16x8_t high = vmulq_s16(vreinterpretq_s16_u16(vmovl_high_u8(weights)), vmovl_high_s8(s));
    return V_OF_S16(vpaddq_s16(low, high));
}

static inline v_reg v_mulhi_u16(v_reg a, v_reg b) {
    const uint32x4_t low = vmull_u16(vget_low_u16(V_U16(a)), vget_low_u16(V_U16(b)));
    return V_OF_U16(vuzp2q_u16(vreinterpretq_u16_u32(low), vreinterpretq_u16_u32(vmull_high_u16(V_U16(a), V_U16(b)))));
}

static inline v_reg v_madd16(v_reg a, v_reg b) {
    const int32x4_t low = vmull_s16(vget_low_s16(V_S16(a)), vget_low_s16(V_S16(b)));
    return V_OF_S32(vpaddq_s32(low, vmull_high_s16(V_S16(a), V_S16(b))));
}

static inline void v_lane_store_wide(int16_t *out, v_lane v) {
    vst1q_s16(out, vmovl_s8(vget_low_s8(vreinterpretq_s8_u8(v))));
    vst1q_s16(out + 8, vmovl_high_s8(vreinterpretq_s8_u8(v)));
}

static inline void v_store_halves(v_reg v, uint8_t *lower, uint8_t *upper) {
    vst1_u8(lower, vget_low_u8(v));
    vst1_u8(upper, vget_high_u8(v));
}

#endif

#define v_count_bits dmae_count_bits
#define v_window1(src, base, index) v_lane_look_up(v_load((src) + (base)[0]), index)
#define v_window2(src, base, index)                                                                                    \
    v_lane_or(v_lane_look_up(v_load((src) + (base)[0]), index),                                                        \
              v_lane_look_up(v_load((src) + (base)[1]), v_xor(index, v_splat8(-128))))

static inline void v_load_blocks(const int16_t *block, v_reg lane[4]) {
    for (int k = 0; k < 4; k++)
        lane[k] = v_load(block + 8 * k);
}

/* Each lane: a row of a block, then the row below, both as pixels 0, 1, 2, 3, 7, 6, 5, 4. */
static inline void v_store_rows8(v_reg rows, uint8_t *dst, ptrdiff_t stride) {
    static const uint8_t in_order[16] = {0, 1, 2, 3, 7, 6, 5, 4, 8, 9, 10, 11, 15, 14, 13, 12};
    v_store_halves(v_lane_look_up(rows, v_load(in_order)), dst, dst + stride);
}

/* Each lane: four rows of four pixels. */
static inline void v_store_rows4(v_reg rows, uint8_t *dst, ptrdiff_t stride) {
    for (int y = 0; y < 4; y++)
        memcpy(dst + y * stride, (const uint8_t *)&rows + 4 * y, 4);
}
