/* DMAE_TARGET_BEGIN("avx2") ... DMAE_TARGET_END: functions in between may use those instructions, whatever the
 * compiler's own flags are. Whoever calls them asks dmae_simd_level first. */
#ifndef DMAE_SIMD_TARGET_H
#define DMAE_SIMD_TARGET_H

#define DMAE_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define DMAE_TARGET_BEGIN(names) DMAE_PRAGMA(clang attribute push(__attribute__((target(names))), apply_to = function))
#define DMAE_TARGET_END DMAE_PRAGMA(clang attribute pop)
#else
#define DMAE_TARGET_BEGIN(names) DMAE_PRAGMA(GCC push_options) DMAE_PRAGMA(GCC target(names))
#define DMAE_TARGET_END DMAE_PRAGMA(GCC pop_options)
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#endif
