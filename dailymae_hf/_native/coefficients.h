/* A JPEG's quantised coefficients in memory, between the ways of storing them: JPEG and packed. */
#ifndef DMAE_COEFFICIENTS_H
#define DMAE_COEFFICIENTS_H

#include "internal.h"

enum {
    DMAE_MAX_SIDE = 65500,    /* libjpeg's own limit */
    DMAE_MAX_PIXELS = 1 << 26 /* up to 400 MB as coefficients; larger images fit no training file's size limit */
};

typedef struct dmae_component {
    int h, v;                   /* sampling factors, 1..4 */
    int32_t blocks_w, blocks_h; /* blocks that hold a part of the image; padding of the last MCU is not kept */
    uint16_t quant[64];         /* natural order (row * 8 + column) */
    int16_t *blocks;            /* blocks_h * blocks_w * 64, natural order, not dequantised */
} dmae_component;

typedef struct dmae_coefficients {
    int32_t width, height;
    int count; /* 1 or 3 */
    int color; /* DMAE_COLOR_GRAY, DMAE_COLOR_YCC or DMAE_COLOR_RGB */
    dmae_component component[3];
} dmae_coefficients;

/* Blocks of a component along one axis: ceil(side * factor / (8 * largest factor)). */
static inline int32_t dmae_block_count(int32_t side, int factor, int largest) {
    return (int32_t)(((int64_t)side * factor + 8 * largest - 1) / (8 * largest));
}

extern const uint8_t dmae_zigzag[64]; /* zigzag position -> natural order */

/* The AC coefficients of a block that are not zero, as bits in zigzag order. */
static inline uint64_t dmae_nonzero(const int16_t *block) {
    uint64_t bits = 0;
    for (int k = 1; k < 64; k++)
        bits |= (uint64_t)(block[dmae_zigzag[k]] != 0) << k;
    return bits;
}

/* Fills in blocks_w and blocks_h and allocates blocks, not yet set, for the h, v that are. */
int dmae_coefficients_allocate(dmae_coefficients *image);
void dmae_coefficients_free(dmae_coefficients *image);

#endif
