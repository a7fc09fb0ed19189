/* JPEG -> pixels of its own or of a smaller size, for a writer: decoded by libjpeg row by row, each row narrowed while
 * it is still in the cache. The pixels are those of Pillow's decoder and its bicubic resize. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "coefficients.h"
#include "resize/bicubic.h"
#include "simd/dispatch.h"

typedef struct reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    jmp_buf escape;
} reader;

/* What libjpeg has anything to say about is left to a decoder that knows how to go on. */
static void on_error(j_common_ptr info) {
    longjmp(((reader *)info)->escape, 1);
}

static void on_message(j_common_ptr info, int level) {
    if (level < 0)
        on_error(info);
}

static int read_header(reader *r, const uint8_t *src, uint64_t size, int denominator) {
    jpeg_mem_src(&r->jpeg, src, (unsigned long)size);
    jpeg_read_header(&r->jpeg, TRUE);
    if (r->jpeg.jpeg_color_space != JCS_GRAYSCALE && r->jpeg.jpeg_color_space != JCS_YCbCr)
        return DMAE_UNSUPPORTED;
    if ((int64_t)r->jpeg.image_width * r->jpeg.image_height > DMAE_MAX_PIXELS)
        return DMAE_UNSUPPORTED;
    r->jpeg.scale_num = 1;
    r->jpeg.scale_denom = (unsigned)denominator;
    r->jpeg.out_color_space = JCS_EXT_RGBX;
    return DMAE_OK;
}

static void read_rows(reader *r, const dmae_bicubic_job *job, uint8_t *strip, uint8_t *dst) {
    const dmae_target *target = dmae_target_for(DMAE_SIMD_AUTO);
    JSAMPROW rows[DMAE_BICUBIC_ROWS];
    for (int i = 0; i < DMAE_BICUBIC_ROWS; i++)
        rows[i] = strip + (size_t)i * (size_t)job->width * DMAE_BICUBIC_CHANNELS;
    for (int32_t y = 0; y < job->height;) {
        int32_t count = 0;
        while (count < DMAE_BICUBIC_ROWS && y + count < job->height)
            count += (int32_t)jpeg_read_scanlines(&r->jpeg, rows + count, (JDIMENSION)(DMAE_BICUBIC_ROWS - count));
        target->bicubic_across(job, strip, y, count);
        y += count;
    }
    jpeg_finish_decompress(&r->jpeg);
    target->bicubic_down(job, dst);
}

static void read_all(reader *r, uint8_t *dst) {
    const size_t stride = (size_t)r->jpeg.output_width * DMAE_BICUBIC_CHANNELS;
    while (r->jpeg.output_scanline < r->jpeg.output_height) {
        JSAMPROW rows[4];
        for (size_t i = 0; i < 4; i++)
            rows[i] = dst + (r->jpeg.output_scanline + i) * stride;
        jpeg_read_scanlines(&r->jpeg, rows, 4);
    }
    jpeg_finish_decompress(&r->jpeg);
}

/* The frame that calls setjmp owns nothing: what it fills in belongs to its caller. */
static int read_pixels(reader *r, const uint8_t *src, uint64_t size, int denominator, dmae_bicubic_job *job,
                       uint8_t **strip, uint8_t *dst) {
    if (setjmp(r->escape))
        return DMAE_UNSUPPORTED;
    jpeg_create_decompress(&r->jpeg);
    int status = read_header(r, src, size, denominator);
    if (status != DMAE_OK)
        return status;
    jpeg_start_decompress(&r->jpeg);
    if ((int32_t)r->jpeg.output_height == job->out_height && (int32_t)r->jpeg.output_width == job->out_width) {
        read_all(r, dst);
        return DMAE_OK;
    }
    status = dmae_bicubic_open(job, (int32_t)r->jpeg.output_height, (int32_t)r->jpeg.output_width, job->out_height,
                               job->out_width);
    if (status != DMAE_OK)
        return status;
    *strip = malloc((size_t)job->width * DMAE_BICUBIC_BLOCK);
    if (!*strip)
        return DMAE_OUT_OF_MEMORY;
    read_rows(r, job, *strip, dst);
    return DMAE_OK;
}

int32_t dmae_jpeg_pixels(const uint8_t *src, uint64_t size, int32_t denominator, uint8_t *dst, int32_t out_height,
                         int32_t out_width) {
    dmae_bicubic_job job = {.out_height = out_height, .out_width = out_width};
    uint8_t *strip = NULL;
    reader r;
    if (!src || !dst || size == 0 || out_height < 1 || out_width < 1)
        return DMAE_BAD_ARGUMENT;
    if (denominator != 1 && denominator != 2 && denominator != 4 && denominator != 8)
        return DMAE_BAD_ARGUMENT;
    memset(&r, 0, sizeof r);
    r.jpeg.err = jpeg_std_error(&r.errors);
    r.errors.error_exit = on_error;
    r.errors.emit_message = on_message;
    const int status = read_pixels(&r, src, size, denominator, &job, &strip, dst);
    jpeg_destroy_decompress(&r.jpeg);
    free(strip);
    dmae_bicubic_close(&job);
    return status;
}
