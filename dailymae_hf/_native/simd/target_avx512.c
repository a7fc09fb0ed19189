/* 512-bit registers: AVX-512 as Ice Lake and Zen 4 have it. Bytes are permuted (VBMI) and expanded (VBMI2) freely,
 * 16-bit products are summed (VNNI). */
#include "simd/dispatch.h"
#include "simd/target.h"

#if defined(__x86_64__)

/* clang-format off */
#define FEATURES(each, and) \
    each(avx512f) and each(avx512bw) and each(avx512vl) and each(avx512dq) and each(avx512vbmi) and each(avx512vbmi2) \
    and each(avx512vnni) and each(bmi) and each(bmi2) and each(popcnt)
/* clang-format on */
DMAE_TARGET_BEGIN(FEATURES)

#include "simd/v512.h"

#include "packed/idct-inl.h"
#include "packed/unpack_expand-inl.h"
#include "resize/bicubic-inl.h"
#include "resize/resample-inl.h"
#include "resize/weights-inl.h"
#include "transcode/compress-inl.h"

DMAE_TARGET_END

static int is_supported(void) {
    return DMAE_TARGET_IS_SUPPORTED(FEATURES);
}

static const dmae_target target = {.level = DMAE_SIMD_AVX512,
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
const dmae_target *const dmae_target_avx512 = &target;

#else

const dmae_target *const dmae_target_avx512 = NULL;

#endif
