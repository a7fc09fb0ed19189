/* Inverse DCTs with 128-bit vectors, one block at a time: SSSE3 on x86-64, NEON on 64-bit ARM. */
#include <string.h>

#include "idct.h"
#include "simd_target.h"

#define BLOCKS 1
#define IDCT8 dmae_idct8_portable
#define IDCT4 dmae_idct4_portable
#define IDCT2 dmae_idct2_portable
#define MUL_ADD(sum, a, b) OP(add_epi32)(sum, OP(madd_epi16)(a, b))

#if defined(__x86_64__)

DMAE_TARGET_BEGIN("ssse3")

typedef __m128i V;
#define OP(name) _mm_##name
#define ALL32(a) _mm_set1_epi32(a)
#define LANE4(a, b, c, d) _mm_setr_epi32(a, b, c, d)
#define LOAD_REPEATED(p) _mm_loadu_si128((const __m128i *)(p))

static inline void store_pair(V rows, uint8_t *dst, ptrdiff_t stride) {
    _mm_storel_epi64((__m128i *)dst, rows);
    _mm_storel_epi64((__m128i *)(dst + stride), _mm_unpackhi_epi64(rows, rows));
}

static inline void STORE_ROWS8(V rows, uint8_t *dst, ptrdiff_t stride) {
    const V in_order = _mm_setr_epi8(0, 1, 2, 3, 7, 6, 5, 4, 8, 9, 10, 11, 15, 14, 13, 12);
    store_pair(_mm_shuffle_epi8(rows, in_order), dst, stride);
}

#elif defined(__aarch64__) && defined(__ARM_NEON)

typedef int32x4_t V;
#define OP(name) neon_##name
#define ALL32(a) vdupq_n_s32(a)
#define LANE4(a, b, c, d) ((V){a, b, c, d})
#define LOAD_REPEATED(p) vreinterpretq_s32_s16(vld1q_s16(p))
#define S16(v) vreinterpretq_s16_s32(v)
#define neon_add_epi32 vaddq_s32
#define neon_sub_epi32 vsubq_s32
#define neon_srai_epi32(v, bits) vshrq_n_s32(v, bits)
#define neon_shuffle_epi32(v, all) vdupq_laneq_s32(v, (all)&3)
#define neon_mullo_epi16(a, b) vreinterpretq_s32_s16(vmulq_s16(S16(a), S16(b)))
#define neon_packs_epi32(a, b) vreinterpretq_s32_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)))
#define neon_packus_epi16(a, b) vreinterpretq_s32_u8(vcombine_u8(vqmovun_s16(S16(a)), vqmovun_s16(S16(b))))
#define neon_unpacklo_epi64(a, b) vcombine_s32(vget_low_s32(a), vget_low_s32(b))

static inline V neon_madd_epi16(V a, V b) {
    return vpaddq_s32(vmull_s16(vget_low_s16(S16(a)), vget_low_s16(S16(b))), vmull_high_s16(S16(a), S16(b)));
}

static inline void STORE_ROWS8(V rows, uint8_t *dst, ptrdiff_t stride) {
    static const uint8_t in_order[16] = {0, 1, 2, 3, 7, 6, 5, 4, 8, 9, 10, 11, 15, 14, 13, 12};
    const uint8x16_t ordered = vqtbl1q_u8(vreinterpretq_u8_s32(rows), vld1q_u8(in_order));
    vst1_u8(dst, vget_low_u8(ordered));
    vst1_u8(dst + stride, vget_high_u8(ordered));
}

#endif

#if defined(__x86_64__) || (defined(__aarch64__) && defined(__ARM_NEON))

static inline void LOAD_LANES(const int16_t *block, V lane[4]) {
    for (int k = 0; k < 4; k++)
        lane[k] = LOAD_REPEATED(block + 8 * k);
}

/* Four rows of four pixels. */
static inline void STORE_ROWS4(V rows, uint8_t *dst, ptrdiff_t stride) {
    for (int y = 0; y < 4; y++)
        memcpy(dst + y * stride, (const uint8_t *)&rows + 4 * y, 4);
}

/* Two rows of two pixels, repeated. */
static inline void STORE_ROWS2(V rows, uint8_t *dst, ptrdiff_t stride) {
    for (int y = 0; y < 2; y++)
        memcpy(dst + y * stride, (const uint8_t *)&rows + 2 * y, 2);
}

#include "idct_lanes.h"

#if defined(__x86_64__)
DMAE_TARGET_END
#endif

#endif
