/* Pillow's bicubic resize of whole images: what both of its passes share, and a target's part. */
#ifndef DMAE_BICUBIC_H
#define DMAE_BICUBIC_H

#include "internal.h"

enum { DMAE_BICUBIC_BITS = 32 - 8 - 2, DMAE_BICUBIC_CHANNELS = 4, DMAE_BICUBIC_ROWS = 8 };

/* Per output: its first sample, how many it takes, and `most` weights of 1 << DMAE_BICUBIC_BITS together. */
typedef struct dmae_bicubic_weights {
    int32_t most, *start, *count, *weight;
} dmae_bicubic_weights;

/* What both passes share: the narrowed rows, room for DMAE_BICUBIC_ROWS rows side by side, and for a row of sums. */
typedef struct dmae_bicubic_job {
    dmae_bicubic_weights x, y;
    int32_t out_width, out_height;
    uint8_t *rows, *strip;
    int32_t *sums;
} dmae_bicubic_job;

typedef void dmae_bicubic(const dmae_bicubic_job *job, const uint8_t *src, int32_t height, int32_t width, uint8_t *dst);

#endif
