/* The memory of coefficients. */
#include "coefficients.h"

#include <stdlib.h>

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
