/* Inverse DCTs with AVX2: two blocks at once. */
#include <string.h>

#include "idct.h"
#include "simd_target.h"

#if defined(__x86_64__)
DMAE_TARGET_BEGIN("avx2")

typedef __m256i V;
#define BLOCKS 2
#define OP(name) _mm256_##name
#define ALL32(a) _mm256_set1_epi32(a)
#define LANE4(a, b, c, d) _mm256_setr_epi32(a, b, c, d, a, b, c, d)
#define MUL_ADD(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#define LOAD_REPEATED(p) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(p)))
#define IDCT8 dmae_idct8_avx2
#define IDCT4 dmae_idct4_avx2
#define IDCT2 dmae_idct2_avx2

static inline void LOAD_LANES(const int16_t *blocks, V lane[4]) {
    for (int k = 0; k < 4; k++)
        lane[k] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(blocks + 8 * k))),
                                          _mm_loadu_si128((const __m128i *)(blocks + 64 + 8 * k)), 1);
}

/* Each lane: a row of a block, then the row below, both as pixels 0, 1, 2, 3, 7, 6, 5, 4. */
static inline void STORE_ROWS8(V rows, uint8_t *dst, ptrdiff_t stride) {
    const __m128i in_order = _mm_setr_epi8(0, 1, 2, 3, 7, 6, 5, 4, 8, 9, 10, 11, 15, 14, 13, 12);
    rows = _mm256_shuffle_epi8(rows, _mm256_broadcastsi128_si256(in_order));
    rows = _mm256_permute4x64_epi64(rows, 0xd8);
    _mm_storeu_si128((__m128i *)dst, _mm256_castsi256_si128(rows));
    _mm_storeu_si128((__m128i *)(dst + stride), _mm256_extracti128_si256(rows, 1));
}

/* Each lane: four rows of four pixels. */
static inline void STORE_ROWS4(V rows, uint8_t *dst, ptrdiff_t stride) {
    rows = _mm256_permutevar8x32_epi32(rows, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    __m128i upper = _mm256_castsi256_si128(rows), lower = _mm256_extracti128_si256(rows, 1);
    _mm_storel_epi64((__m128i *)dst, upper);
    _mm_storel_epi64((__m128i *)(dst + stride), _mm_unpackhi_epi64(upper, upper));
    _mm_storel_epi64((__m128i *)(dst + 2 * stride), lower);
    _mm_storel_epi64((__m128i *)(dst + 3 * stride), _mm_unpackhi_epi64(lower, lower));
}

/* Each lane begins with two rows of two pixels. */
static inline void STORE_ROWS2(V rows, uint8_t *dst, ptrdiff_t stride) {
    uint8_t pixels[32];
    _mm256_storeu_si256((__m256i *)pixels, rows);
    for (int i = 0; i < BLOCKS; i++) {
        memcpy(dst + 2 * i, pixels + 16 * i, 2);
        memcpy(dst + stride + 2 * i, pixels + 16 * i + 2, 2);
    }
}

#include "idct_lanes.h"

DMAE_TARGET_END

#endif
