/* A lane: 128 bits, within which bytes move freely. SSSE3 on x86-64, NEON on 64-bit ARM. Registers of every width are
 * made of lanes; code whose unit is 16 bytes works on one lane in each of them.
 *   v_lane_load, v_lane_store      unaligned;   v_lane_load8: eight bytes to the lower half
 *   v_lane_look_up(table, index)   bytes; an index with its highest bit set gives 0
 *   v_lane_or, v_lane_and          bits;   v_lane_upper_nibbles: of every byte, other bits undefined
 *   v_lane_zip_low8, _high8        bytes of two, alternately;   v_lane_zip_low32, _high32: 32 bits
 *   v_lane_join_low, _high         the lower halves of two, the upper ones
 *   v_lane_splat8                  one byte repeated
 * The register's header adds
 *   v_lane_store_wide              16 signed bytes stored as 16-bit numbers
 *   v_count_bits                   of 64 */

#if defined(__x86_64__)

typedef __m128i v_lane;
#define v_lane_load(p) _mm_loadu_si128((const __m128i *)(p))
#define v_lane_load8(p) _mm_loadl_epi64((const __m128i *)(p))
#define v_lane_store(p, v) _mm_storeu_si128((__m128i *)(p), v)
#define v_lane_look_up _mm_shuffle_epi8
#define v_lane_or _mm_or_si128
#define v_lane_and _mm_and_si128
#define v_lane_upper_nibbles(v) _mm_srli_epi16(v, 4)
#define v_lane_zip_low8 _mm_unpacklo_epi8
#define v_lane_zip_high8 _mm_unpackhi_epi8
#define v_lane_zip_low32 _mm_unpacklo_epi32
#define v_lane_zip_high32 _mm_unpackhi_epi32
#define v_lane_join_low _mm_unpacklo_epi64
#define v_lane_join_high _mm_unpackhi_epi64
#define v_lane_splat8(x) _mm_set1_epi8(x)

#else

typedef uint8x16_t v_lane;
#define v_lane_load(p) vld1q_u8((const uint8_t *)(p))
#define v_lane_load8(p) vcombine_u8(vld1_u8(p), vdup_n_u8(0))
#define v_lane_store(p, v) vst1q_u8((uint8_t *)(p), v)
#define v_lane_look_up vqtbl1q_u8
#define v_lane_or vorrq_u8
#define v_lane_and vandq_u8
#define v_lane_upper_nibbles(v) vshrq_n_u8(v, 4)
#define v_lane_zip_low8 vzip1q_u8
#define v_lane_zip_high8 vzip2q_u8
#define v_lane_zip_low32(a, b) vreinterpretq_u8_u32(vzip1q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)))
#define v_lane_zip_high32(a, b) vreinterpretq_u8_u32(vzip2q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)))
#define v_lane_join_low(a, b) vcombine_u8(vget_low_u8(a), vget_low_u8(b))
#define v_lane_join_high(a, b) vcombine_u8(vget_high_u8(a), vget_high_u8(b))
#define v_lane_splat8(x) vreinterpretq_u8_s8(vdupq_n_s8((int8_t)(x)))

#endif
