/* cpuid and xgetbv, asked once when the library is loaded: under a hypervisor each call of cpuid costs microseconds. */
#include "simd/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>

enum { OSXSAVE = 1 << 27, XMM_AND_YMM = 0x06, ZMM = 0xe6 };
enum { AVX2 = 1u << 5, AVX512_OF_EBX = 1u << 16 | 1u << 17 | 1u << 30, AVX512_OF_ECX = 1u << 1 | 1u << 6 | 1u << 11 };
static const uint32_t avx512_vl = 1u << 31;

static uint32_t words[3];

/* The registers that the system saves when it switches threads; 0 where it does not say. */
static uint32_t saved_registers(void) {
    if (!(words[0] & OSXSAVE))
        return 0;
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

__attribute__((constructor)) static void ask_processor(void) {
    uint32_t a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d))
        words[0] = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        words[1] = b;
        words[2] = c;
    }
    const uint32_t saved = saved_registers();
    if ((saved & XMM_AND_YMM) != XMM_AND_YMM)
        words[1] &= ~(uint32_t)AVX2;
    if ((saved & ZMM) != ZMM) {
        words[1] &= ~(AVX512_OF_EBX | avx512_vl);
        words[2] &= ~(uint32_t)AVX512_OF_ECX;
    }
}

bool dmae_cpu_has(int feature) {
    return words[feature / 32] >> feature % 32 & 1;
}
#else
bool dmae_cpu_has(int feature) {
    (void)feature;
    return false;
}
#endif
