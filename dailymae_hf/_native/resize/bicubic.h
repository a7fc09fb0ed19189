/* Pillow's bicubic resize of whole images: what both of its passes share, and a target's part. */
#ifndef DMAE_BICUBIC_H
#define DMAE_BICUBIC_H

#include "internal.h"

enum {
    DMAE_BICUBIC_BITS = 32 - 8 - 2,
    DMAE_BICUBIC_CHANNELS = 4,
    DMAE_BICUBIC_ROWS = 16,
    DMAE_BICUBIC_BLOCK = DMAE_BICUBIC_ROWS * DMAE_BICUBIC_CHANNELS, /* a whole number of any target's registers */
};

/* Per output: its first sample, how many it takes, and `most` weights of 1 << DMAE_BICUBIC_BITS together. */
typedef struct dmae_bicubic_weights {
    int32_t most, *start, *count, *weight;
} dmae_bicubic_weights;

/* What both passes share: the narrowed rows, and room for DMAE_BICUBIC_ROWS rows side by side. */
typedef struct dmae_bicubic_job {
    dmae_bicubic_weights x, y;
    int32_t height, width, out_height, out_width;
    uint8_t *rows, *strip;
} dmae_bicubic_job;

int dmae_bicubic_open(dmae_bicubic_job *job, int32_t height, int32_t width, int32_t out_height, int32_t out_width);
void dmae_bicubic_close(dmae_bicubic_job *job); /* after an open that failed, too */

/* The first pass on rows y to y + count (up to DMAE_BICUBIC_ROWS) of the image, which begin at `src`. */
typedef void dmae_bicubic_across(const dmae_bicubic_job *job, const uint8_t *src, int32_t y, int32_t count);
/* The second, once all rows went through the first. */
typedef void dmae_bicubic_down(const dmae_bicubic_job *job, uint8_t *dst);

#endif
