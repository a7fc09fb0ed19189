/* How a target_*.c is compiled: with exactly the features that it asks the machine for.
 *
 *     #define FEATURES(each, and) each(avx2) and each(bmi)
 *     DMAE_TARGET_BEGIN(FEATURES)
 *     ... functions that may use these instructions, whatever the compiler's own flags are ...
 *     DMAE_TARGET_END
 *     ... DMAE_TARGET_IS_SUPPORTED(FEATURES) ... */
#ifndef DMAE_SIMD_TARGET_H
#define DMAE_SIMD_TARGET_H

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "simd/cpu.h"

#define DMAE_QUOTED(name) #name
#define DMAE_COMMA ,
#define DMAE_PRAGMA(...) _Pragma(#__VA_ARGS__)
#define DMAE_PRAGMA_OF(...) DMAE_PRAGMA(__VA_ARGS__)
#if defined(__clang__)
#define DMAE_TARGET_BEGIN(features)                                                                                    \
    DMAE_PRAGMA_OF(clang attribute push(__attribute__((target(features(DMAE_QUOTED, ",")))), apply_to = function))
#define DMAE_TARGET_END DMAE_PRAGMA(clang attribute pop)
#else
#define DMAE_TARGET_BEGIN(features)                                                                                    \
    DMAE_PRAGMA(GCC push_options) DMAE_PRAGMA_OF(GCC target(features(DMAE_QUOTED, DMAE_COMMA)))
#define DMAE_TARGET_END DMAE_PRAGMA(GCC pop_options)
#endif

#define DMAE_SUPPORTS(name) dmae_cpu_has(DMAE_CPU_##name)
#define DMAE_TARGET_IS_SUPPORTED(features) (features(DMAE_SUPPORTS, &&))

#endif
