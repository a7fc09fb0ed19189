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
#include "packed/sort-inl.h"
#include "packed/unpack_shuffle-inl.h"
#include "packed/pack_group-inl.h"
#include "resize/bicubic-inl.h"
#include "resize/resample-inl.h"
#include "resize/weights-inl.h"
#include "transcode/forward-inl.h"
#include "transcode/compress-inl.h"

#if defined(__x86_64__)
DMAE_TARGET_END
#endif

#define LEVEL DMAE_SIMD_V128
#include "simd/target-inl.h"
const dmae_target *const dmae_target_v128 = &target;

#else

const dmae_target *const dmae_target_v128 = NULL;

#endif
