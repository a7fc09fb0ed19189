/* The resize with 128-bit vectors: SSSE3 on x86-64, NEON on 64-bit ARM. */
#include "internal.h"
#include "resample.h"
#include "simd_target.h"

#define VECTOR_BYTES 16
#define LANE_BYTES 16
#define SECOND_WINDOW 0x80 /* pshufb and tbl then give 0 */

#if defined(__x86_64__)

DMAE_TARGET_BEGIN("ssse3")

typedef __m128i vec;
#define load(p) _mm_loadu_si128((const __m128i *)(p))
#define store(p, v) _mm_storeu_si128((__m128i *)(p), v)
#define store_half(p, v) _mm_storel_epi64((__m128i *)(p), v)
#define multiply_pairs _mm_maddubs_epi16
#define add _mm_add_epi16
#define add_sat _mm_adds_epi16
#define sub_sat _mm_subs_epi16
#define mulhrs _mm_mulhrs_epi16
#define shift(v) _mm_srai_epi16(v, DMAE_WEIGHT_BITS)
#define interleave_low _mm_unpacklo_epi8
#define interleave_high _mm_unpackhi_epi8
#define pack _mm_packus_epi16
#define narrow(v) _mm_packs_epi16(v, v)
#define splat8(x) _mm_set1_epi8(x)
#define splat16(x) _mm_set1_epi16(x)
#define zero _mm_setzero_si128
#define exclusive_or _mm_xor_si128
#define either _mm_or_si128
#define look_up _mm_shuffle_epi8

#elif defined(__aarch64__) && defined(__ARM_NEON)

typedef uint8x16_t vec;
#define S16 vreinterpretq_s16_u8
#define U8 vreinterpretq_u8_s16
#define load(p) vld1q_u8((const uint8_t *)(p))
#define store(p, v) vst1q_u8((uint8_t *)(p), v)
#define store_half(p, v) vst1_u8((uint8_t *)(p), vget_low_u8(v))
#define add(a, b) U8(vaddq_s16(S16(a), S16(b)))
#define add_sat(a, b) U8(vqaddq_s16(S16(a), S16(b)))
#define sub_sat(a, b) U8(vqsubq_s16(S16(a), S16(b)))
#define mulhrs(a, b) U8(vqrdmulhq_s16(S16(a), S16(b)))
#define shift(v) U8(vshrq_n_s16(S16(v), DMAE_WEIGHT_BITS))
#define interleave_low vzip1q_u8
#define interleave_high vzip2q_u8
#define pack(a, b) vcombine_u8(vqmovun_s16(S16(a)), vqmovun_s16(S16(b)))
#define narrow(v) vreinterpretq_u8_s8(vcombine_s8(vqmovn_s16(S16(v)), vqmovn_s16(S16(v))))
#define splat8(x) vreinterpretq_u8_s8(vdupq_n_s8((int8_t)(x)))
#define splat16(x) U8(vdupq_n_s16((int16_t)(x)))
#define zero() vdupq_n_u8(0)
#define exclusive_or veorq_u8
#define either vorrq_u8
#define look_up vqtbl1q_u8

static inline __attribute__((always_inline)) vec multiply_pairs(vec weights, vec samples) {
    /* weights are at most 128, and 128 only beside a 0: as unsigned bytes, widened, they stay positive */
    const int16x8_t low = vmulq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(weights))),
                                    vmovl_s8(vget_low_s8(vreinterpretq_s8_u8(samples))));
    const int16x8_t high = vmulq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(weights))),
                                     vmovl_s8(vget_high_s8(vreinterpretq_s8_u8(samples))));
    return U8(vpaddq_s16(low, high));
}

#endif

#if defined(__x86_64__) || (defined(__aarch64__) && defined(__ARM_NEON))

#define window1(src, base, index) look_up(load((src) + (base)[0]), index)
#define window2(src, base, index)                                                                                      \
    either(look_up(load((src) + (base)[0]), index), look_up(load((src) + (base)[1]), exclusive_or(index, splat8(-128))))

#include "resample_vector.h"

#if defined(__x86_64__)
DMAE_TARGET_END
#endif

const dmae_resampler *const dmae_resampler_portable = &resampler;

#else

const dmae_resampler *const dmae_resampler_portable = NULL;

#endif
