/* Inverse DCTs that give libjpeg's bytes: `islow` at full size, its reduced ones at 4x4, 2x2 and 1x1.
 *
 * Each 1-D transform is a sum of products of 16-bit inputs and 13-bit constants; libjpeg factors the same sums to
 * multiply less, these pair them for multiply-add instructions. No rounding happens inside a sum, so the two agree.
 * Coefficients times quantisation wrap to 16 bits and the first pass saturates to 16 bits, in every instruction
 * set: no JPEG of an image comes near, and damaged samples then give the same bytes everywhere. */
#ifndef DMAE_IDCT_H
#define DMAE_IDCT_H

#include "internal.h"

enum {
    DMAE_IDCT_UNIT = 4, /* blocks a vector transform may take at once: buffers are rounded up to it */
    DMAE_LANES = 8      /* blocks that the plain C takes at once */
};

#define DMAE_EACH_LANE for (int lane = 0; lane < DMAE_LANES; lane++)

/* Where plain C keeps a coefficient: DMAE_LANES blocks have theirs of one place side by side. `natural`: row * 8 +
 * column. */
static inline int32_t dmae_lane_place(int32_t block, int natural) {
    return (block / DMAE_LANES * 64 + natural) * DMAE_LANES + block % DMAE_LANES;
}

/* Inverse DCT of `count` blocks side by side. `coefficients`: 64 each, padded with blocks up to a multiple of
 * DMAE_IDCT_UNIT; `bitmaps`: their non-zero AC coefficients in zigzag order (bit 0 ignored), padded alike.
 * `quant`: 64 factors in the order of the coefficients. Output: `side` rows of count * side bytes, with room up to
 * the padding. */
typedef void dmae_idct(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                       uint8_t *dst, ptrdiff_t stride);

/* Unpacked blocks -> pixels, `side` * `side` of each. The buffers have room for DMAE_IDCT_UNIT more blocks. */
void dmae_transform(const dmae_target *target, int side, int16_t *coefficients, uint64_t *bitmaps, const int16_t *quant,
                    int32_t count, uint8_t *dst, ptrdiff_t stride);

/* The mean of a block: what 1x1 output is, and what all pixels of a block without AC coefficients are. */
static inline uint8_t dmae_idct_mean(int dequantised_dc) {
    int value = (int16_t)dequantised_dc;
    value = value < -8192 ? -32768 : value > 8191 ? 32767 : value * 4;
    value = ((value * 8192 + (1 << 17)) >> 18) + 128;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* The vector code takes a block's coefficients as eight lanes of four columns by two rows (dmae_zigzag_to_vector):
 * rows (0,4), (2,6), (1,3), (5,7) of columns 0, 2, 1, 3, then the same rows of columns 4, 6, 5, 7. So the first pass
 * finds its factors paired, and its packed results are paired for the second. */

/* Columns 4..7 and rows 4..7 as bits in zigzag order. */
#define DMAE_HIGH_COLUMNS UINT64_C(0xfffc7f80fe01c000)
#define DMAE_HIGH_ROWS UINT64_C(0xffdfe0ff00f80400)

#endif
