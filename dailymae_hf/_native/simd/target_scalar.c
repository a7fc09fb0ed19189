/* Plain C, for every machine: loops that compilers vectorise with whatever all machines of the kind have. */
#include "simd/dispatch.h"

#define v_count_bits dmae_count_bits

#include "packed/idct_lanes-inl.h"
#include "packed/sort-inl.h"
#include "packed/unpack_lanes-inl.h"
#include "packed/pack_group-inl.h"
#include "resize/bicubic-inl.h"
#include "resize/weights-inl.h"
#include "transcode/forward_lanes-inl.h"
#include "transcode/compress-inl.h"

static int is_supported(void) {
    return 1;
}

static const dmae_target target = {.level = DMAE_SIMD_SCALAR,
                                   .is_supported = is_supported,
                                   .unpack = unpack_row,
                                   .idct = {[8] = idct8, [4] = idct4, [2] = idct2},
                                   .coefficient_order = dmae_zigzag,
                                   .blocks_side_by_side = DMAE_LANES,
                                   .resampler = NULL,
                                   .fill_weights = weights_fill,
                                   .bicubic_across = bicubic_across,
                                   .bicubic_down = bicubic_down,
                                   .sort_block = sort_block,
                                   .pack_group = pack_group,
                                   .compress = compress};
const dmae_target *const dmae_target_scalar = &target;
