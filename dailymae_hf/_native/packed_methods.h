/* Unpacking and inverse DCT of one instruction set, chosen together: they agree on the order of the coefficients. */
#ifndef DMAE_PACKED_METHODS_H
#define DMAE_PACKED_METHODS_H

#include "idct.h"
#include "packed.h"

typedef struct dmae_methods {
    dmae_unpack_row *unpack;
    dmae_idct *idct[9]; /* by output side: 8, 4, 2 */
    const uint8_t *order; /* of the coefficients, by zigzag position */
    int lanes;            /* blocks whose coefficients lie side by side */
} dmae_methods;

const dmae_methods *dmae_methods_for(int simd);

/* Unpacked blocks -> pixels, `side` * `side` of each. The buffers have room for DMAE_IDCT_UNIT more blocks. */
void dmae_transform(const dmae_methods *methods, int side, int16_t *coefficients, uint64_t *bitmaps,
                    const int16_t *quant, int32_t count, uint8_t *dst, ptrdiff_t stride);

#endif
