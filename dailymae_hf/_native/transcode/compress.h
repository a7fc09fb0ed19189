/* Pixels -> coefficients: what its target-dependent part works on. */
#ifndef DMAE_COMPRESS_H
#define DMAE_COMPRESS_H

#include "coefficients.h"

enum { DMAE_MCU = 16 };

/* Division by 8 * the quantisation factor, rounded, as two multiplications: ((value + add) * factor >> 16) * scale
 * >> 16. */
typedef struct dmae_divisor {
    uint16_t add[64], factor[64], scale[64];
} dmae_divisor;

/* A row of 16 x 16 pixel MCUs: planes as wide as whole MCUs. `stride` is luma's; chroma, at full size until it is
 * averaged, has the same. */
typedef struct dmae_strip {
    uint8_t *luma, *chroma[2];
    size_t stride;
} dmae_strip;

typedef void dmae_compress(const uint8_t *rgbx, dmae_strip *s, const dmae_divisor by[2], dmae_coefficients *image);

#endif
