/* Whole images scaled down for a writer: Pillow's BICUBIC with antialiasing, byte for byte (its Resample.c: the same
 * weights and fractions; rows first, as it does wherever both sides shrink alike). Pixels have four bytes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "simd/dispatch.h"

/* Keys' cubic with a = -1/2. */
static double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static void weigh(dmae_bicubic_weights *w, int32_t in, int32_t out, int32_t i, double *fraction) {
    const double scale = (double)in / out, filter_scale = fmax(scale, 1), support = 2 * filter_scale;
    const double center = (i + 0.5) * scale, step = 1 / filter_scale;
    const int32_t from = (int32_t)fmax(center - support + 0.5, 0), to = (int32_t)fmin(center + support + 0.5, in);
    double total = 0;
    for (int32_t t = 0; t < to - from; t++)
        total += fraction[t] = cubic((t + from - center + 0.5) * step);
    for (int32_t t = 0; t < to - from; t++) {
        const double fixed = fraction[t] / total * (1 << DMAE_BICUBIC_BITS);
        w->weight[i * w->most + t] = (int32_t)(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    w->start[i] = from;
    w->count[i] = to - from;
}

static int weights_make(dmae_bicubic_weights *w, int32_t in, int32_t out) {
    const double support = 2 * fmax((double)in / out, 1);
    w->most = 2 * (int32_t)ceil(support) + 1;
    w->start = malloc(((size_t)w->most + 2) * (size_t)out * sizeof *w->start);
    double *fraction = malloc((size_t)w->most * sizeof *fraction);
    if (w->start && fraction) {
        w->count = w->start + out;
        w->weight = w->count + out;
        for (int32_t i = 0; i < out; i++)
            weigh(w, in, out, i, fraction);
    }
    free(fraction);
    return w->start && fraction ? DMAE_OK : DMAE_OUT_OF_MEMORY;
}

int dmae_bicubic_open(dmae_bicubic_job *j, int32_t height, int32_t width, int32_t out_height, int32_t out_width) {
    *j = (dmae_bicubic_job){.height = height, .width = width, .out_height = out_height, .out_width = out_width};
    if (height < 1 || width < 1 || out_height < 1 || out_width < 1)
        return DMAE_BAD_ARGUMENT;
    int status = weights_make(&j->x, width, out_width);
    if (status == DMAE_OK)
        status = weights_make(&j->y, height, out_height);
    const size_t rows = ((size_t)height + DMAE_BICUBIC_ROWS - 1) / DMAE_BICUBIC_ROWS * DMAE_BICUBIC_ROWS;
    j->rows = malloc(rows * (size_t)out_width * DMAE_BICUBIC_CHANNELS + DMAE_BICUBIC_BLOCK);
    j->strip = malloc((size_t)width * DMAE_BICUBIC_BLOCK);
    return j->rows && j->strip ? status : DMAE_OUT_OF_MEMORY;
}

void dmae_bicubic_close(dmae_bicubic_job *j) {
    free(j->strip);
    free(j->rows);
    free(j->y.start);
    free(j->x.start);
}

int32_t dmae_resize_bicubic(const uint8_t *src, int32_t height, int32_t width, uint8_t *dst, int32_t out_height,
                            int32_t out_width) {
    const dmae_target *target = dmae_target_for(DMAE_SIMD_AUTO);
    dmae_bicubic_job j;
    if (!src || !dst)
        return DMAE_BAD_ARGUMENT;
    const int status = dmae_bicubic_open(&j, height, width, out_height, out_width);
    if (status == DMAE_OK) {
        for (int32_t y = 0; y < height; y += DMAE_BICUBIC_ROWS)
            target->bicubic_across(&j, src + DMAE_BICUBIC_CHANNELS * (size_t)y * (size_t)width, y,
                                   height - y < DMAE_BICUBIC_ROWS ? height - y : DMAE_BICUBIC_ROWS);
        target->bicubic_down(&j, dst);
    }
    dmae_bicubic_close(&j);
    return status;
}
