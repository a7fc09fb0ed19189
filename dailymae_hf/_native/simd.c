/* Which instruction set to use. */
#include "internal.h"

int32_t dmae_simd_level(int32_t cap) {
    int32_t best = DMAE_SIMD_SCALAR;
    return cap >= 0 && cap < best ? cap : best;
}
