/* The table of a target with registers, behind the algorithms that it names. */

static int is_supported(void) {
    return IS_SUPPORTED;
}

static const dmae_target target = {.level = LEVEL,
                                   .is_supported = is_supported,
                                   .unpack = unpack_row,
                                   .idct = {[8] = idct8, [4] = idct4, [2] = idct2},
                                   .coefficient_order = dmae_zigzag_to_vector,
                                   .blocks_side_by_side = 1,
                                   .resampler = &resample,
                                   .fill_weights = weights_fill,
                                   .bicubic_across = bicubic_across,
                                   .bicubic_down = bicubic_down,
                                   .sort_block = sort_block,
                                   .pack_group = pack_group,
                                   .compress = compress};
