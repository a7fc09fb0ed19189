/* 128-bit registers: SSSE3 on x86-64, NEON, which all 64-bit ARM has. */
#include "simd/dispatch.h"
#include "simd/target.h"

#if defined(__x86_64__)
#define FEATURES(each, and) each(ssse3)
#define IS_SUPPORTED DMAE_TARGET_IS_SUPPORTED(FEATURES)
DMAE_TARGET_BEGIN(FEATURES)
#elif defined(__aarch64__) && defined(__ARM_NEON)
#define IS_SUPPORTED 1
#endif

#if defined(IS_SUPPORTED)

#include "simd/v128.h"

#include "packed/idct-inl.h"
#include "packed/unpack_shuffle-inl.h"
#include "resize/bicubic-inl.h"
#include "resize/resample-inl.h"
#include "resize/weights-inl.h"
#include "transcode/compress-inl.h"

#if defined(__x86_64__)
DMAE_TARGET_END
#endif

static int is_supported(void) {
    return IS_SUPPORTED;
}

static const dmae_target target = {.level = DMAE_SIMD_V128,
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
const dmae_target *const dmae_target_v128 = &target;

#else

const dmae_target *const dmae_target_v128 = NULL;

#endif
