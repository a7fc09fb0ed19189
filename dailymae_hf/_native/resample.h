/* One axis of a resize as a table: which samples, and with which whole-number weights. */
#ifndef DMAE_RESAMPLE_H
#define DMAE_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

/* Weights of one output sum to 1 << DMAE_WEIGHT_BITS exactly: a sum of products then fits a signed 16-bit integer. */
#define DMAE_WEIGHT_BITS 7
/* With more taps than this, 7-bit weights get too coarse and the wide path takes over. */
#define DMAE_NARROW_TAPS 16
#define DMAE_WIDE_BITS 16

typedef struct dmae_axis {
    int32_t out;     /* outputs */
    int32_t taps;    /* per output, even */
    int32_t bits;    /* log2 of the weights' sum */
    int32_t *start;  /* [out] first sample */
    int32_t *weight; /* [out][taps] */
} dmae_axis;

/* The taps that outputs `length / out` samples wide need, and the bytes of their table. */
int32_t dmae_axis_taps(double length, int32_t out);
size_t dmae_axis_bytes(int32_t taps, int32_t out);

/* Fill `axis` (its memory given) for the samples [from, from + length) of `available`, mirrored where `flip`. */
void dmae_axis_fill(dmae_axis *axis, double from, double length, int32_t available, int flip);

#endif
