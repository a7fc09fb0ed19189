/* What one instruction set gives, as the table that its target_*.c exports, and the choice of one. */
#ifndef DMAE_SIMD_DISPATCH_H
#define DMAE_SIMD_DISPATCH_H

#include <math.h>
#include <string.h>

#include "packed/idct.h"
#include "packed/packed.h"
#include "resize/bicubic.h"
#include "resize/resample.h"
#include "transcode/compress.h"

struct dmae_target {
    int32_t level; /* DMAE_SIMD_* */
    int (*is_supported)(void);
    /* Packed samples. Unpacking and inverse DCT agree on the order of the coefficients. */
    dmae_unpack_row *unpack;
    dmae_idct *idct[9];               /* by output side: 8, 4, 2 */
    const uint8_t *coefficient_order; /* by zigzag position */
    int blocks_side_by_side;          /* whose coefficients of one place lie side by side */
    /* Crops. */
    const dmae_resampler *resampler; /* NULL: plain C */
    dmae_fill_weights *fill_weights;
    /* Writers. */
    dmae_bicubic_across *bicubic_across;
    dmae_bicubic_down *bicubic_down;
    dmae_sort_block *sort_block;
    dmae_pack_group *pack_group;
    dmae_compress *compress;
};

/* The best target that this machine has, up to a DMAE_SIMD_* level; DMAE_SIMD_AUTO: no limit. */
const dmae_target *dmae_target_for(int simd);

#endif
