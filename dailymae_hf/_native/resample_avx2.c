/* The resize with 256-bit vectors (x86-64, AVX2). */
#include "internal.h"
#include "resample.h"
#include "simd_target.h"

#if defined(__x86_64__)

DMAE_TARGET_BEGIN("avx2")

typedef __m256i vec;
#define VECTOR_BYTES 32
#define LANE_BYTES 16
#define SECOND_WINDOW 0x80 /* pshufb then gives 0 */

#define load(p) _mm256_loadu_si256((const __m256i *)(p))
#define store(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define store_half(p, v) _mm_storeu_si128((__m128i *)(p), _mm256_castsi256_si128(v))
#define multiply_pairs _mm256_maddubs_epi16
#define add _mm256_add_epi16
#define add_sat _mm256_adds_epi16
#define sub_sat _mm256_subs_epi16
#define mulhrs _mm256_mulhrs_epi16
#define shift(v) _mm256_srai_epi16(v, DMAE_WEIGHT_BITS)
#define interleave_low _mm256_unpacklo_epi8
#define interleave_high _mm256_unpackhi_epi8
#define pack _mm256_packus_epi16
#define narrow(v) _mm256_permute4x64_epi64(_mm256_packs_epi16(v, v), 0x08)
#define splat8(x) _mm256_set1_epi8(x)
#define splat16(x) _mm256_set1_epi16(x)
#define zero _mm256_setzero_si256
#define exclusive_or _mm256_xor_si256

static inline __attribute__((always_inline)) vec window1(const uint8_t *src, const int32_t *base, vec index) {
    return _mm256_shuffle_epi8(_mm256_loadu2_m128i((const __m128i *)(src + base[1]), (const __m128i *)(src + base[0])),
                               index);
}

static inline __attribute__((always_inline)) vec window2(const uint8_t *src, const int32_t *base, vec index) {
    const vec first = _mm256_loadu2_m128i((const __m128i *)(src + base[2]), (const __m128i *)(src + base[0]));
    const vec second = _mm256_loadu2_m128i((const __m128i *)(src + base[3]), (const __m128i *)(src + base[1]));
    return _mm256_or_si256(_mm256_shuffle_epi8(first, index),
                           _mm256_shuffle_epi8(second, exclusive_or(index, splat8(-128))));
}

#include "resample_vector.h"

DMAE_TARGET_END

const dmae_resampler *const dmae_resampler_avx2 = &resampler;

#else

const dmae_resampler *const dmae_resampler_avx2 = NULL;

#endif
