/* Inverse DCTs with AVX-512 (VBMI, VNNI): four blocks at once. */
#include <string.h>

#include "idct.h"
#include "simd_target.h"

#if defined(__x86_64__)
DMAE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")

typedef __m512i V;
#define BLOCKS 4
#define OP(name) _mm512_##name
#define ALL32(a) _mm512_set1_epi32(a)
#define LANE4(a, b, c, d) _mm512_broadcast_i32x4(_mm_setr_epi32(a, b, c, d))
#define MUL_ADD(sum, a, b) _mm512_dpwssd_epi32(sum, a, b)
#define LOAD_REPEATED(p) _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(p)))
#define IDCT8 dmae_idct8_avx512
#define IDCT4 dmae_idct4_avx512
#define IDCT2 dmae_idct2_avx512

static inline void LOAD_LANES(const int16_t *blocks, V lane[4]) {
    V a = _mm512_loadu_si512(blocks), b = _mm512_loadu_si512(blocks + 64);
    V c = _mm512_loadu_si512(blocks + 128), d = _mm512_loadu_si512(blocks + 192);
    V ab_low = _mm512_shuffle_i32x4(a, b, 0x44), ab_high = _mm512_shuffle_i32x4(a, b, 0xee);
    V cd_low = _mm512_shuffle_i32x4(c, d, 0x44), cd_high = _mm512_shuffle_i32x4(c, d, 0xee);
    lane[0] = _mm512_shuffle_i32x4(ab_low, cd_low, 0x88);
    lane[1] = _mm512_shuffle_i32x4(ab_low, cd_low, 0xdd);
    lane[2] = _mm512_shuffle_i32x4(ab_high, cd_high, 0x88);
    lane[3] = _mm512_shuffle_i32x4(ab_high, cd_high, 0xdd);
}

/* Each lane: a row of a block, then the row below, both as pixels 0, 1, 2, 3, 7, 6, 5, 4. */
#define BLOCK_ROW(at) at, at + 1, at + 2, at + 3, at + 7, at + 6, at + 5, at + 4
static const uint8_t row_order[64] __attribute__((aligned(64))) = {
    BLOCK_ROW(0), BLOCK_ROW(16), BLOCK_ROW(32), BLOCK_ROW(48),
    BLOCK_ROW(8), BLOCK_ROW(24), BLOCK_ROW(40), BLOCK_ROW(56)};

static inline void STORE_ROWS8(V rows, uint8_t *dst, ptrdiff_t stride) {
    rows = _mm512_permutexvar_epi8(_mm512_load_si512(row_order), rows);
    _mm256_storeu_si256((__m256i *)dst, _mm512_castsi512_si256(rows));
    _mm256_storeu_si256((__m256i *)(dst + stride), _mm512_extracti64x4_epi64(rows, 1));
}

/* Each lane: four rows of four pixels. */
static inline void STORE_ROWS4(V rows, uint8_t *dst, ptrdiff_t stride) {
    rows = _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), rows);
    _mm_storeu_si128((__m128i *)dst, _mm512_castsi512_si128(rows));
    _mm_storeu_si128((__m128i *)(dst + stride), _mm512_extracti32x4_epi32(rows, 1));
    _mm_storeu_si128((__m128i *)(dst + 2 * stride), _mm512_extracti32x4_epi32(rows, 2));
    _mm_storeu_si128((__m128i *)(dst + 3 * stride), _mm512_extracti32x4_epi32(rows, 3));
}

/* Each lane begins with two rows of two pixels. */
static inline void STORE_ROWS2(V rows, uint8_t *dst, ptrdiff_t stride) {
    uint8_t pixels[64];
    _mm512_storeu_si512(pixels, rows);
    for (int i = 0; i < BLOCKS; i++) {
        memcpy(dst + 2 * i, pixels + 16 * i, 2);
        memcpy(dst + stride + 2 * i, pixels + 16 * i + 2, 2);
    }
}

#include "idct_lanes.h"

DMAE_TARGET_END

#endif
