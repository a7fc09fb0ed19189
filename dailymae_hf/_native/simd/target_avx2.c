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
#include "packed/sort-inl.h"
#include "packed/unpack_shuffle-inl.h"
#include "packed/pack_group-inl.h"
#include "resize/bicubic-inl.h"
#include "resize/resample-inl.h"
#include "resize/weights-inl.h"
#include "transcode/forward-inl.h"
#include "transcode/compress-inl.h"

DMAE_TARGET_END

#define IS_SUPPORTED DMAE_TARGET_IS_SUPPORTED(FEATURES)
#define LEVEL DMAE_SIMD_AVX2
#include "simd/target-inl.h"
const dmae_target *const dmae_target_avx2 = &target;

#else

const dmae_target *const dmae_target_avx2 = NULL;

#endif
