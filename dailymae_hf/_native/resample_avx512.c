/* The resize with 512-bit vectors (x86-64, AVX-512 with VBMI). */
#include "internal.h"
#include "resample.h"
#include "simd_target.h"

#if defined(__x86_64__)

DMAE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512vbmi")

typedef __m512i vec;
#define VECTOR_BYTES 64
#define LANE_BYTES 64
#define SECOND_WINDOW 0x40 /* vpermi2b's bit */

#define load(p) _mm512_loadu_si512(p)
#define store(p, v) _mm512_storeu_si512(p, v)
#define store_half(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define multiply_pairs _mm512_maddubs_epi16
#define add _mm512_add_epi16
#define add_sat _mm512_adds_epi16
#define sub_sat _mm512_subs_epi16
#define mulhrs _mm512_mulhrs_epi16
#define shift(v) _mm512_srai_epi16(v, DMAE_WEIGHT_BITS)
#define interleave_low _mm512_unpacklo_epi8
#define interleave_high _mm512_unpackhi_epi8
#define pack _mm512_packus_epi16
#define narrow(v) _mm512_cvtsepi16_epi8(v)
#define splat8(x) _mm512_set1_epi8(x)
#define splat16(x) _mm512_set1_epi16(x)
#define zero _mm512_setzero_si512
#define exclusive_or _mm512_xor_si512
#define window1(src, base, index) _mm512_permutexvar_epi8(index, load((src) + (base)[0]))
#define window2(src, base, index) _mm512_permutex2var_epi8(load((src) + (base)[0]), index, load((src) + (base)[1]))

#include "resample_vector.h"

DMAE_TARGET_END

const dmae_resampler *const dmae_resampler_avx512 = &resampler;

#else

const dmae_resampler *const dmae_resampler_avx512 = NULL;

#endif
