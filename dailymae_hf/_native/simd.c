/* Which instruction set to use. */
#include "internal.h"
#include "resample.h"

/* AVX-512 stands for what Ice Lake and Zen 4 have: bytes are permuted (VBMI) and expanded (VBMI2) freely,
 * 16-bit products are summed (VNNI). */
static int best_level(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi") &&
        __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vnni"))
        return DMAE_SIMD_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
        return DMAE_SIMD_AVX2;
    return __builtin_cpu_supports("ssse3") ? DMAE_SIMD_PORTABLE : DMAE_SIMD_SCALAR;
#else
    return dmae_resampler_portable ? DMAE_SIMD_PORTABLE : DMAE_SIMD_SCALAR;
#endif
}

int32_t dmae_simd_level(int32_t cap) {
    const int best = best_level();
    return cap >= 0 && cap < best ? cap : best;
}
