/* The restart segments that a crop touches, as a small JPEG of their own.
 *
 * Restart markers cut a scan into segments of `interval` MCUs that decode independently. Those that hold the crop's
 * MCUs are copied behind the image's own tables, with markers renumbered from 0 and the size patched. Each row of MCUs
 * gets the same number of segments; where the interval does not divide a row, rows begin at different columns. */
#ifndef DMAE_JPEG_SEGMENTS_H
#define DMAE_JPEG_SEGMENTS_H

#include "internal.h"
#include "jpeg/header.h"

typedef struct dmae_jpeg_stream {
    const uint8_t *data;
    uint64_t size;
    int32_t first_row;    /* row of MCUs of the image that the stream's first is */
    int32_t column;       /* column of MCUs of the image that the planes begin with */
    int32_t columns;      /* of MCUs that the planes hold */
    int32_t margin;       /* columns of MCUs that a row of the stream may begin before `column`, at most */
    int32_t mcus_per_row; /* of the stream */
    uint32_t interval;    /* 0: the stream is the whole image */
    uint32_t segments_per_row;
    uint64_t segments;  /* of the whole image */
    int32_t image_mcus; /* per row of the image */
    int32_t last_row;   /* of MCUs of the image */
    int short_end;      /* the image's last segment holds fewer MCUs than the others */
} dmae_jpeg_stream;

/* DMAE_UNSUPPORTED where there are no segments to choose from: decode the image itself. */
int dmae_jpeg_cut(const uint8_t *data, uint64_t size, const dmae_jpeg_header *header, dmae_region region,
                  dmae_scratch *scratch, dmae_jpeg_stream *stream);

/* The column of the image, in MCUs, that a row of the stream begins with; it may be negative. */
int32_t dmae_jpeg_row_start(const dmae_jpeg_stream *stream, int32_t row);

/* The row ends with the image's last segment, and that is short. */
int dmae_jpeg_row_is_short(const dmae_jpeg_stream *stream, int32_t row);

#endif
