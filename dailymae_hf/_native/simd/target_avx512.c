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
#include "packed/sort_compress-inl.h"
#include "packed/unpack_expand-inl.h"
#include "packed/pack_group-inl.h"
#include "resize/bicubic-inl.h"
#include "resize/resample-inl.h"
#include "resize/weights-inl.h"
#include "transcode/forward-inl.h"
#include "transcode/compress-inl.h"

DMAE_TARGET_END

#define IS_SUPPORTED DMAE_TARGET_IS_SUPPORTED(FEATURES)
#define LEVEL DMAE_SIMD_AVX512
#include "simd/target-inl.h"
const dmae_target *const dmae_target_avx512 = &target;

#else

const dmae_target *const dmae_target_avx512 = NULL;

#endif
