/* The memory of coefficients. */
#include "coefficients.h"

#include <stdlib.h>

const uint8_t dmae_zigzag[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
                                 41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
                                 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

int dmae_coefficients_allocate(dmae_coefficients *image) {
    int largest_h = 1, largest_v = 1;
    for (int i = 0; i < image->count; i++) {
        if (image->component[i].h > largest_h)
            largest_h = image->component[i].h;
        if (image->component[i].v > largest_v)
            largest_v = image->component[i].v;
    }
    for (int i = 0; i < image->count; i++) {
        dmae_component *c = &image->component[i];
        c->blocks_w = dmae_block_count(image->width, c->h, largest_h);
        c->blocks_h = dmae_block_count(image->height, c->v, largest_v);
        c->blocks = malloc((size_t)c->blocks_w * (size_t)c->blocks_h * 64 * sizeof(int16_t));
        if (!c->blocks) {
            dmae_coefficients_free(image);
            return DMAE_OUT_OF_MEMORY;
        }
    }
    return DMAE_OK;
}

void dmae_coefficients_free(dmae_coefficients *image) {
    for (int i = 0; i < 3; i++) {
        free(image->component[i].blocks);
        image->component[i].blocks = NULL;
    }
}
