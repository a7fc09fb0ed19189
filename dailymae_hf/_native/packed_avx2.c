/* Unpacking with the shuffles of packed_shuffle.h, in AVX2's three-operand encoding (x86-64). */
#include "packed.h"
#include "simd_target.h"

#if defined(__x86_64__)

DMAE_TARGET_BEGIN("avx2,bmi,bmi2,popcnt")

typedef __m128i vec;
#define load(p) _mm_loadu_si128((const __m128i *)(p))
#define load8(p) _mm_loadl_epi64((const __m128i *)(p))
#define store(p, v) _mm_storeu_si128((__m128i *)(p), v)
#define store_wide(p, v) _mm256_storeu_si256((__m256i *)(p), _mm256_cvtepi8_epi16(v))
#define look_up _mm_shuffle_epi8
#define either _mm_or_si128
#define both _mm_and_si128
#define upper_nibbles(v) _mm_srli_epi16(v, 4)
#define zip_low _mm_unpacklo_epi8
#define zip_high _mm_unpackhi_epi8
#define halves _mm_unpacklo_epi64
#define splat8(x) _mm_set1_epi8(x)
#define UNPACK dmae_unpack_row_avx2
#define COUNT_BITS count_bits

static inline unsigned count_bits(uint64_t bits) {
    return (unsigned)_mm_popcnt_u64(bits);
}

#include "packed_shuffle.h"

DMAE_TARGET_END

#endif
