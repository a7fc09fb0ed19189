/* The kernel's public face: plain C, no Python, no printing, status codes out.
 * Callers hand in the sample's bytes and the place in the batch buffer; nothing here allocates what a caller owns. */
#ifndef DMAE_KERNEL_H
#define DMAE_KERNEL_H

#include <stdint.h>

#define DMAE_API __attribute__((visibility("default")))

enum {
    DMAE_OK = 0,
    DMAE_TRUNCATED = 1,     /* the sample ends before its data does */
    DMAE_CORRUPT = 2,       /* the data contradicts itself */
    DMAE_UNSUPPORTED = 3,   /* legal, but not a kind this kernel reads (12-bit, arithmetic-coded, ...) */
    DMAE_SIZE_MISMATCH = 4, /* the sample's own size is not the one in the file's table */
    DMAE_OUT_OF_MEMORY = 5,
    DMAE_BAD_ARGUMENT = 6,
};

/* How a sample is stored; 0 and 1 are FFCV's own numbers for RGBImageField. */
enum { DMAE_MODE_JPG = 0, DMAE_MODE_RAW = 1, DMAE_MODE_DCT = 2 };

#endif
