/* A JPEG's quantised coefficients in memory, between the two ways of storing them: JPEG and packed.
 * read -> (orient) -> write or pack never touches a coefficient's value, so nothing is compressed twice. */
#ifndef DMAE_TRANSCODE_H
#define DMAE_TRANSCODE_H

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

/* Each of these leaves `image` freed when it fails. `oriented`: turn the image as its EXIF orientation asks. */
int dmae_coefficients_read(const uint8_t *src, uint64_t size, int oriented, dmae_coefficients *image);
int dmae_coefficients_orient(dmae_coefficients *image, int orientation);
int dmae_coefficients_unpack(const uint8_t *src, uint64_t size, dmae_coefficients *image);

/* Pixels (four bytes each: red, green, blue and one that says nothing) as libjpeg would compress them at `quality`, with 4:2:0 chroma. */
int dmae_coefficients_compress(const uint8_t *rgbx, int32_t height, int32_t width, int quality,
                               dmae_coefficients *image);
/* libjpeg's quantisation tables for a quality of 1 to 100, natural order, of luma and of chroma. */
int dmae_quality_tables(int quality, uint16_t luma[64], uint16_t chroma[64]);

/* Both set *written to the bytes that the result has or would need (DMAE_NO_SPACE when capacity is less). */
int dmae_coefficients_write(const dmae_coefficients *image, int restart_mcus, uint8_t *dst, uint64_t capacity,
                            uint64_t *written);
int dmae_coefficients_pack(const dmae_coefficients *image, uint8_t *dst, uint64_t capacity, uint64_t *written);

/* Adds a component's symbols to the counts of its two tables; DMAE_CORRUPT: 8-bit baseline has no code for one. */
int dmae_huffman_count(const dmae_component *c, uint32_t dc[256], uint32_t ac[256]);
/* The best table for these counts as DHT says it: codes per length (from 1), symbols in the order of their codes. */
void dmae_huffman_table(const uint32_t counts[256], uint8_t bits[17], uint8_t symbols[256]);

/* Whether turning an image upright mirrors its columns (axis 0) or its rows (axis 1). Where it does, that side must be
 * whole MCUs: the image would begin with what was its last, incomplete block. */
int dmae_mirrors(int orientation, int axis);

/* EXIF orientation of an APP1 payload (after the length), or 1. */
int dmae_exif_orientation(const uint8_t *app1, uint64_t size);

#endif
