/* What each instruction set unpacks and transforms blocks with. */
#include "packed_methods.h"

#define METHODS(set, coefficient_order, lanes)                                                      \
    {dmae_unpack_row_##set,                                                                             \
     {[8] = dmae_idct8_##set, [4] = dmae_idct4_##set, [2] = dmae_idct2_##set},                          \
     coefficient_order,                                                                                 \
     lanes}

static const dmae_methods methods_scalar = METHODS(scalar, dmae_zigzag, DMAE_LANES);
#if defined(__x86_64__)
static const dmae_methods methods_portable = METHODS(portable, dmae_zigzag_to_vector, 1);
static const dmae_methods methods_avx2 = METHODS(avx2, dmae_zigzag_to_vector, 1);
static const dmae_methods methods_avx512 = METHODS(avx512, dmae_zigzag_to_vector, 1);
#elif defined(__aarch64__) && defined(__ARM_NEON)
static const dmae_methods methods_portable = METHODS(portable, dmae_zigzag_to_vector, 1);
#endif

const dmae_methods *dmae_methods_for(int simd) {
    switch (dmae_simd_level(simd)) {
#if defined(__x86_64__)
    case DMAE_SIMD_AVX512:
        return &methods_avx512;
    case DMAE_SIMD_AVX2:
        return &methods_avx2;
#endif
#if defined(__x86_64__) || (defined(__aarch64__) && defined(__ARM_NEON))
    case DMAE_SIMD_PORTABLE:
        return &methods_portable;
#endif
    default:
        return &methods_scalar;
    }
}

void dmae_transform(const dmae_methods *methods, int side, int16_t *coefficients, uint64_t *bitmaps,
                    const int16_t *quant, int32_t count, uint8_t *dst, ptrdiff_t stride) {
    if (methods->lanes == 1) {
        memset(coefficients + 64 * count, 0, DMAE_IDCT_UNIT * 64 * sizeof *coefficients);
        memset(bitmaps + count, 0, DMAE_IDCT_UNIT * sizeof *bitmaps);
    }
    if (side > 1)
        methods->idct[side](coefficients, bitmaps, quant, count, dst, stride);
    else
        for (int32_t i = 0; i < count; i++)
            dst[i] = dmae_idct_mean(coefficients[methods->lanes == 1 ? 64 * i : dmae_lane_place(i, 0)] * quant[0]);
}
