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

/* Natural order by zigzag position. */
#define DMAE_ZIGZAG                                                                                                    \
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,  \
        28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60,    \
        61, 54, 47, 55, 62, 63
static const uint8_t dmae_zigzag[64] = {DMAE_ZIGZAG};

/* Fills in blocks_w and blocks_h and allocates blocks, not yet set, for the h, v that are. */
int dmae_coefficients_allocate(dmae_coefficients *image);
void dmae_coefficients_free(dmae_coefficients *image);

#endif
