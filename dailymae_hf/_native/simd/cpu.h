/* What processor and system offer, on x86-64; asked with cpuid itself. The compilers' __builtin_cpu_supports is
 * answered by their run-time library, and zig's, which the wheels are built with, answers no to everything. */
#ifndef DMAE_SIMD_CPU_H
#define DMAE_SIMD_CPU_H

#include <stdbool.h>

/* Each feature by the compilers' name for it: the word of cpuid that tells it (0: leaf 1, ecx; 1: leaf 7, ebx; 2: leaf
 * 7, ecx), times 32, and its bit there. */
enum {
    DMAE_CPU_ssse3 = 9,
    DMAE_CPU_popcnt = 23,
    DMAE_CPU_bmi = 32 + 3,
    DMAE_CPU_avx2 = 32 + 5,
    DMAE_CPU_bmi2 = 32 + 8,
    DMAE_CPU_avx512f = 32 + 16,
    DMAE_CPU_avx512dq = 32 + 17,
    DMAE_CPU_avx512bw = 32 + 30,
    DMAE_CPU_avx512vl = 32 + 31,
    DMAE_CPU_avx512vbmi = 64 + 1,
    DMAE_CPU_avx512vbmi2 = 64 + 6,
    DMAE_CPU_avx512vnni = 64 + 11,
};

/* Whether the processor has it and the system saves its registers. */
bool dmae_cpu_has(int feature);

#endif
