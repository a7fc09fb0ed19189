/* 256-bit registers: AVX2, with the bit instructions that come with it. */
#include "simd/dispatch.h"
#include "simd/target.h"

#if defined(__x86_64__)

/* clang-format off */
#define FEATURES(each, and) each(avx2) and each(bmi) and each(bmi2) and each(popcnt)
/* clang-format on */
DMAE_TARGET_BEGIN(FEATURES)

#include "simd/v256.h"

#include "packed/idct-inl.h"
#include "packed/unpack_shuffle-inl.h"
#include "resize/bicubic-inl.h"
#include "resize/resample-inl.h"
#include "resize/weights-inl.h"
#include "transcode/compress-inl.h"

DMAE_TARGET_END

static int is_supported(void) {
    return DMAE_TARGET_IS_SUPPORTED(FEATURES);
}

static const dmae_target target = {.level = DMAE_SIMD_AVX2,
                                   .is_supported = is_supported,
                                   .unpack = unpack_row,
                                   .idct = {[8] = idct8, [4] = idct4, [2] = idct2},
                                   .coefficient_order = dmae_zigzag_to_vector,
                                   .blocks_side_by_side = 1,
                                   .resampler = &resample,
                                   .fill_weights = weights_fill,
                                   .bicubic_across = bicubic_across,
                                   .bicubic_down = bicubic_down,
                                   .compress = compress};
const dmae_target *const dmae_target_avx2 = &target;

#else

const dmae_target *const dmae_target_avx2 = NULL;

#endif
