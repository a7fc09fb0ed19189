/* What the rooms of the kernel share: planes, scratch memory, readers.
 * Nothing here is seen by a caller outside this folder; kernel.h is. */
#ifndef DMAE_INTERNAL_H
#define DMAE_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "kernel.h"

#define DMAE_INLINE static inline __attribute__((always_inline))

/* The functions of one instruction set (simd/dispatch.h). */
typedef struct dmae_target dmae_target;

/* Readable bytes behind what any scratch slot was asked for. */
#define DMAE_SLACK 256

/* One decoded component (Y, Cb, Cr, K, or R, G, B), cut to the blocks that a crop touches.
 * Continuous image coordinates (pixel edges at integers) map to plane coordinates by
 *     plane_x = image_x * scale_x - x0,   plane_y = image_y * scale_y - y0
 * where scale_x = plane samples per image pixel of the whole component (0.5 for 4:2:0 chroma at full
 * scale; halved again by each halving of the inverse DCT). Samples outside [0, width) x [0, height) do not
 * exist: a filter that reaches over the edge is cut and renormalised, as Pillow does at image borders. */
typedef struct dmae_plane {
    /* Vector code may read up to DMAE_SLACK bytes past a row's last sample: planes live in scratch memory. */
    const uint8_t *data;
    ptrdiff_t stride;
    int32_t x0, y0;        /* position of data[0] in the whole (scaled) component, in samples */
    int32_t width, height; /* samples that are valid here: never beyond the image's true edge */
    double scale_x, scale_y;
} dmae_plane;

enum { DMAE_COLOR_GRAY = 1, DMAE_COLOR_YCC = 2, DMAE_COLOR_RGB = 3, DMAE_COLOR_CMYK = 4, DMAE_COLOR_YCCK = 5 };

typedef struct dmae_planes {
    int32_t count; /* 1, 3 or 4 */
    int32_t color; /* DMAE_COLOR_* */
    dmae_plane plane[4];
} dmae_planes;

/* The part of the image a reader must deliver, in whole image pixels, end exclusive, filter support included. */
typedef struct dmae_region {
    int32_t x0, y0, x1, y1;
} dmae_region;

/* Memory of one thread, of the crop's size, reused from call to call and freed when the thread ends. */
typedef struct dmae_scratch dmae_scratch;
enum { DMAE_SLOT_PLANES, DMAE_SLOT_COEFFICIENTS, DMAE_SLOT_STREAM, DMAE_SLOT_ROWS, DMAE_SLOT_WEIGHTS, DMAE_SLOT_COUNT };
dmae_scratch *dmae_thread_scratch(void); /* NULL: out of memory */
/* 64-byte aligned, and DMAE_SLACK bytes longer than asked; NULL: out of memory. What a slot held is gone. */
void *dmae_scratch_get(dmae_scratch *s, int slot, size_t bytes);

/* Readers: bytes of one sample -> planes that cover `region`. `scale_num` in {8, 4, 2, 1}: side of the inverse
 * DCT's output per block. All return a DMAE_* status and bound every read by `size`. */
int dmae_jpeg_planes(const uint8_t *data, uint64_t size, uint32_t height, uint32_t width, dmae_region region,
                     int scale_num, dmae_scratch *scratch, dmae_planes *out);
int dmae_packed_planes(const uint8_t *data, uint64_t size, uint32_t height, uint32_t width, dmae_region region,
                       int scale_num, const dmae_target *target, dmae_scratch *scratch, dmae_planes *out);

/* Planes -> finished pixels: Pillow's antialiased BILINEAR resize(box=...) of each plane, then colour, and the flip. */
int dmae_resample(const dmae_planes *planes, const dmae_box *box, int flip, const dmae_target *target,
                  dmae_scratch *scratch, uint8_t *dst, uint32_t out_height, uint32_t out_width);

#endif
