/* Blocks through a target's inverse DCT. */
#include "packed/idct.h"

#include <string.h>

#include "simd/dispatch.h"

void dmae_transform(const dmae_target *target, int side, int16_t *coefficients, uint64_t *bitmaps, const int16_t *quant,
                    int32_t count, uint8_t *dst, ptrdiff_t stride) {
    const int apart = target->blocks_side_by_side == 1;
    if (apart) {
        memset(coefficients + 64 * count, 0, DMAE_IDCT_UNIT * 64 * sizeof *coefficients);
        memset(bitmaps + count, 0, DMAE_IDCT_UNIT * sizeof *bitmaps);
    }
    if (side > 1)
        target->idct[side](coefficients, bitmaps, quant, count, dst, stride);
    else
        for (int32_t i = 0; i < count; i++)
            dst[i] = dmae_idct_mean(coefficients[apart ? 64 * i : dmae_lane_place(i, 0)] * quant[0]);
}
