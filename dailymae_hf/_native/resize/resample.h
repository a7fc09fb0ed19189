/* The resize, as tables: which samples each output takes, and with which whole-number weights.
 *
 * Narrow weights are 7-bit: the weights of one output sum to 128, so a sum of products of samples in [-128, 127] fits
 * a signed 16-bit integer whatever the order of the additions, and every instruction set gives the same bytes.
 * Samples are therefore centred (minus 128) from the horizontal pass on. */
#ifndef DMAE_RESAMPLE_H
#define DMAE_RESAMPLE_H

#include "internal.h"

#define DMAE_WEIGHT_BITS 7
/* With more taps than this, 7-bit weights get too coarse, and the wide path takes over. */
#define DMAE_NARROW_TAPS 16
#define DMAE_WIDE_BITS 16

/* JFIF's YCbCr to RGB (ITU-T T.871, section 7) as 16-bit fractions of 2^15; 1.402 and 1.772 less the 1 that is added.
 */
#define DMAE_CR_TO_R 13173 /* 0.402 */
#define DMAE_CB_TO_G 11277 /* 0.344136 */
#define DMAE_CR_TO_G 23401 /* 0.714136 */
#define DMAE_CB_TO_B 25297 /* 0.772 */

/* One axis of one plane. Exactly one of the two weight tables is there. */
typedef struct dmae_axis {
    int32_t out;  /* outputs */
    int32_t taps; /* per output, even */
    int32_t available;
    int32_t *start;  /* [out] first sample, >= 0; late taps may lie past the last sample and then weigh nothing */
    uint8_t *narrow; /* [out][taps], sums of 1 << DMAE_WEIGHT_BITS */
    int32_t *wide;   /* [out][taps], sums of 1 << DMAE_WIDE_BITS */
} dmae_axis;

/* The taps that a reduction of `length` samples to `out` needs, the bytes of the table, and the table itself:
 * for the samples [from, from + length) out of `available`, in reverse order where `flip`. */
int32_t dmae_axis_taps(double length, int32_t out);
size_t dmae_axis_bytes(int32_t taps, int32_t out);
void dmae_axis_fill(dmae_axis *axis, void *memory, int32_t taps, int32_t out, double from, double length,
                    int32_t available, int flip, const dmae_target *target);

/* Half the width of the triangle filter, in samples: it grows with the reduction. */
static inline double dmae_filter_support(double scale) {
    return scale < 1 ? 1 : scale;
}

/* What an output takes that no sample is near to. */
static inline int32_t dmae_nearest_sample(int32_t first, int32_t available) {
    return first < 0 ? 0 : first >= available ? available - 1 : first;
}

/* A target's part of dmae_axis_fill: the narrow weights of an axis. `scale`: samples per output. */
typedef void dmae_fill_weights(dmae_axis *axis, double from, double scale, int32_t available, int flip);

/* A narrow horizontal axis in the form that byte shuffles want. A vector of `bytes` bytes computes bytes / 2 outputs;
 * it is made of lanes, within which bytes can be shuffled freely; a lane's samples come from one window as long as
 * the lane, or where outputs lie further apart from two, one per half of its outputs. */
typedef struct dmae_shuffle_shape {
    int32_t bytes, lane;
    uint8_t second; /* the bit of an index that says "from the second window" */
} dmae_shuffle_shape;

typedef struct dmae_shuffle {
    int32_t vectors, pairs, windows;
    int32_t *base;   /* [vectors][lanes][windows] first sample of the window for the first pair of taps */
    uint8_t *index;  /* [vectors][bytes] of a tap pair's samples in the window; pair p's window starts at base + 2 p */
    uint8_t *weight; /* [vectors][pairs][bytes] */
} dmae_shuffle;

size_t dmae_shuffle_bytes(const dmae_shuffle_shape *shape, const dmae_axis *axis);
/* 0 where the outputs lie too far apart for windows of this shape. */
int dmae_shuffle_fill(dmae_shuffle *shuffle, void *memory, const dmae_shuffle_shape *shape, const dmae_axis *axis);

/* After the horizontal pass: centred samples, and the vertical axis to take them by. */
typedef struct dmae_column {
    const int8_t *rows; /* [available + taps][stride] */
    ptrdiff_t stride;
    const dmae_axis *axis;
} dmae_column;

/* A target's passes. `down` makes one row of all three channels; it may write up to the next multiple of
 * the vector's bytes past `width` in `channel`, which the caller provides room for. */
typedef struct dmae_resampler {
    dmae_shuffle_shape shape;
    void (*across)(const dmae_shuffle *shuffle, const uint8_t *src, ptrdiff_t src_stride, int32_t rows, int8_t *dst,
                   ptrdiff_t dst_stride);
    void (*down)(int color, const dmae_column *column, int32_t y, int32_t width, uint8_t *const channel[3]);
} dmae_resampler;

/* The same in plain C: any number of taps, any colour. `strip`: room for dmae_across_strip bytes. `line` is room for
 * `width` sums of each plane. */
void dmae_across_plain(const dmae_axis *axis, const uint8_t *src, ptrdiff_t src_stride, int32_t rows, int8_t *dst,
                       ptrdiff_t dst_stride, uint8_t *strip);
size_t dmae_across_strip(const dmae_axis *axis);
void dmae_down_plain(int color, int count, const dmae_column *column, int32_t y, int32_t width, int16_t *const *line,
                     uint8_t *const channel[3]);

#endif
