/* Which instruction set to use. A new one is its target_*.c, its registers' v*.h, and its line here. */
#include "simd/dispatch.h"

/* NULL where this kind of machine has none. */
extern const dmae_target *const dmae_target_avx512, *const dmae_target_avx2;
extern const dmae_target *const dmae_target_v128, *const dmae_target_scalar;

/* Best first; the last is everywhere. */
static const dmae_target *const *const targets[] = {&dmae_target_avx512, &dmae_target_avx2, &dmae_target_v128,
                                                    &dmae_target_scalar};

const dmae_target *dmae_target_for(int simd) {
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        const dmae_target *target = *targets[i];
        if (target && (simd < 0 || target->level <= simd) && target->is_supported())
            return target;
    }
    return dmae_target_scalar;
}

int32_t dmae_simd_level(int32_t cap) {
    return dmae_target_for(cap)->level;
}
