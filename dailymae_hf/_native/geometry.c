/* Where to cut: boxes and flips as pure functions of (seed, epoch, sample index). */
#include <math.h>

#include "kernel.h"

enum { TRIES = 10, DRAW_LEFT = 2 * TRIES, DRAW_TOP, DRAW_FLIP };

/* The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every output bit depends on every input bit. */
static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t absorb(uint64_t state, uint64_t word) {
    return mix(state + UINT64_C(0x9e3779b97f4a7c15) * (word + 1));
}

static uint64_t sample_key(const dmae_params *params, uint64_t sample_index) {
    return absorb(absorb(absorb(0, params->seed), params->epoch), sample_index);
}

/* Draw number `counter` of a sample, uniform in [0, 1) with 53 bits. */
static double uniform(uint64_t key, uint64_t counter) {
    return (double)(absorb(key, counter) >> 11) * 0x1p-53;
}

static double between(double low, double high, double u) {
    return low + (high - low) * u;
}

/* torchvision.transforms.RandomResizedCrop.get_params: ten tries, then the largest central crop of a legal ratio.
 * rint() rounds halves to even, as Python's round() does. */
void dmae_random_resized_crop(const dmae_params *params, uint64_t sample_index, uint32_t height, uint32_t width,
                              dmae_box *box, int32_t *flip) {
    const uint64_t key = sample_key(params, sample_index);
    const double area = (double)height * width;
    const double low = log(params->ratio[0]), high = log(params->ratio[1]);
    *flip = uniform(key, DRAW_FLIP) < params->hflip;
    for (uint64_t attempt = 0; attempt < TRIES; attempt++) {
        const double target = area * between(params->scale[0], params->scale[1], uniform(key, 2 * attempt));
        const double aspect = exp(between(low, high, uniform(key, 2 * attempt + 1)));
        const double w = rint(sqrt(target * aspect)), h = rint(sqrt(target / aspect));
        if (w > 0 && w <= width && h > 0 && h <= height) {
            box->left = floor(uniform(key, DRAW_LEFT) * (width - w + 1));
            box->top = floor(uniform(key, DRAW_TOP) * (height - h + 1));
            box->width = w;
            box->height = h;
            return;
        }
    }
    const double in_ratio = (double)width / height;
    double w = width, h = height;
    if (in_ratio < params->ratio[0])
        h = fmin(height, fmax(1, rint(w / params->ratio[0])));
    else if (in_ratio > params->ratio[1])
        w = fmin(width, fmax(1, rint(h * params->ratio[1])));
    box->left = floor((width - w) / 2);
    box->top = floor((height - h) / 2);
    box->width = w;
    box->height = h;
}

/* One axis of "resize to `resized` pixels, then cut out the `out` in the middle", in source pixels. */
static void center_axis(double in, double resized, double out, double *start, double *length) {
    out = fmin(out, resized);
    *start = floor((resized - out) / 2) * in / resized;
    *length = fmin(out * in / resized, in - *start);
}

/* Resize the shorter side to out / ratio (224 / (224 / 256) = 256), then cut from the middle, as the image processors
 * of transformers do, down to how they round: a margin of 11.5 pixels is 11. One box says both, so nothing is resampled
 * twice. */
void dmae_center_crop(const dmae_params *params, uint32_t height, uint32_t width, uint32_t out_height,
                      uint32_t out_width, dmae_box *box) {
    const double shorter = fmin(height, width);
    const double side = fmax(1, rint(fmax(out_height, out_width) / params->center_ratio));
    center_axis(width, fmax(1, floor(side * width / shorter)), out_width, &box->left, &box->width);
    center_axis(height, fmax(1, floor(side * height / shorter)), out_height, &box->top, &box->height);
}
