/* Unpacking with the shuffles of packed_shuffle.h: SSSE3 on x86-64, NEON on 64-bit ARM. */
#include "packed.h"
#include "simd_target.h"

#if defined(__x86_64__)

DMAE_TARGET_BEGIN("ssse3")

typedef __m128i vec;
#define load(p) _mm_loadu_si128((const __m128i *)(p))
#define load8(p) _mm_loadl_epi64((const __m128i *)(p))
#define store(p, v) _mm_storeu_si128((__m128i *)(p), v)
#define look_up _mm_shuffle_epi8
#define either _mm_or_si128
#define both _mm_and_si128
#define upper_nibbles(v) _mm_srli_epi16(v, 4)
#define zip_low _mm_unpacklo_epi8
#define zip_high _mm_unpackhi_epi8
#define halves _mm_unpacklo_epi64
#define splat8(x) _mm_set1_epi8(x)

static inline void store_wide(int16_t *out, vec v) {
    const vec sign = _mm_cmpgt_epi8(_mm_setzero_si128(), v);
    store(out, zip_low(v, sign));
    store(out + 8, zip_high(v, sign));
}

#elif defined(__aarch64__) && defined(__ARM_NEON)

typedef uint8x16_t vec;
#define load(p) vld1q_u8((const uint8_t *)(p))
#define load8(p) vcombine_u8(vld1_u8(p), vdup_n_u8(0))
#define store(p, v) vst1q_u8((uint8_t *)(p), v)
#define look_up vqtbl1q_u8
#define either vorrq_u8
#define both vandq_u8
#define upper_nibbles(v) vshrq_n_u8(v, 4)
#define zip_low vzip1q_u8
#define zip_high vzip2q_u8
#define halves(a, b) vcombine_u8(vget_low_u8(a), vget_low_u8(b))
#define splat8(x) vdupq_n_u8(x)

static inline void store_wide(int16_t *out, vec v) {
    vst1q_s16(out, vmovl_s8(vget_low_s8(vreinterpretq_s8_u8(v))));
    vst1q_s16(out + 8, vmovl_s8(vget_high_s8(vreinterpretq_s8_u8(v))));
}

#endif

#if defined(__x86_64__) || (defined(__aarch64__) && defined(__ARM_NEON))

#define UNPACK dmae_unpack_row_portable
#define COUNT_BITS dmae_count_bits_in_c

#include "packed_shuffle.h"

#if defined(__x86_64__)
DMAE_TARGET_END
#endif

#endif
