/* JPEG -> component planes of a region, through libjpeg-turbo's raw data output. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "internal.h"
#include "jpeg/color.h"
#include "jpeg/header.h"
#include "jpeg/segments.h"

/* Coefficients of a multi-scan image are held whole: 512 MiB are 170 megapixels of 4:2:0. */
#define MEMORY_LIMIT (512L << 20)
/* A scan can cost a full pass over the image for a few bytes; encoders write about ten. */
#define SCAN_LIMIT 100

typedef struct reader {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    int status;
    int in_scan;
    int tolerance; /* of warnings about missing data, where a short segment stands for a whole one */
} reader;

static void fail(reader *r, int status) {
    r->status = status;
    longjmp(r->escape, 1);
}

static int status_of_error(int code) {
    switch (code) {
    case JERR_OUT_OF_MEMORY:
    case JERR_NO_BACKING_STORE:
    case JERR_WIDTH_OVERFLOW:
        return DMAE_OUT_OF_MEMORY;
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_CCIR601_NOTIMPL:
    case JERR_COMPONENT_COUNT:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_SOF_UNSUPPORTED:
        return DMAE_UNSUPPORTED;
    case JERR_INPUT_EMPTY:
    case JERR_INPUT_EOF:
        return DMAE_TRUNCATED;
    default:
        return DMAE_CORRUPT;
    }
}

static void on_error(j_common_ptr cinfo) {
    fail((reader *)cinfo, status_of_error(cinfo->err->msg_code));
}

/* libjpeg warns and invents pixels; a training run wants to know. Warnings that lose no pixel pass. */
static void on_message(j_common_ptr cinfo, int level) {
    reader *r = (reader *)cinfo;
    if (level >= 0)
        return;
    switch (cinfo->err->msg_code) {
    case JWRN_JPEG_EOF:
        fail(r, DMAE_TRUNCATED);
        break;
    case JWRN_EXTRANEOUS_DATA:
        if (r->in_scan)
            fail(r, DMAE_CORRUPT);
        break;
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_MUST_RESYNC:
        if (r->tolerance-- <= 0)
            fail(r, DMAE_CORRUPT);
        break;
    default:
        break;
    }
}

static void on_progress(j_common_ptr cinfo) {
    reader *r = (reader *)cinfo;
    if (r->cinfo.input_scan_number > SCAN_LIMIT)
        fail(r, DMAE_CORRUPT);
}

static void be_silent(j_common_ptr cinfo) {
    (void)cinfo;
}

static void source_nothing(j_decompress_ptr cinfo) {
    (void)cinfo;
}

static boolean source_end(j_decompress_ptr cinfo) {
    fail((reader *)cinfo, DMAE_TRUNCATED);
    return FALSE;
}

static void source_skip(j_decompress_ptr cinfo, long count) {
    if (count <= 0)
        return;
    if ((unsigned long)count > cinfo->src->bytes_in_buffer)
        fail((reader *)cinfo, DMAE_TRUNCATED);
    cinfo->src->next_input_byte += count;
    cinfo->src->bytes_in_buffer -= (size_t)count;
}

static void open_stream(reader *r, const uint8_t *data, uint64_t size, int scale_num) {
    jpeg_create_decompress(&r->cinfo);
    r->cinfo.mem->max_memory_to_use = MEMORY_LIMIT;
    r->source = (struct jpeg_source_mgr){data,        (size_t)size,           source_nothing, source_end,
                                         source_skip, jpeg_resync_to_restart, source_nothing};
    r->progress.progress_monitor = on_progress;
    r->cinfo.src = &r->source;
    r->cinfo.progress = &r->progress;
    jpeg_read_header(&r->cinfo, TRUE);
    r->cinfo.raw_data_out = TRUE;
    r->cinfo.out_color_space = r->cinfo.jpeg_color_space;
    r->cinfo.dct_method = JDCT_ISLOW;
    r->cinfo.scale_num = (unsigned)scale_num;
    r->cinfo.scale_denom = 8;
    r->in_scan = 1;
    jpeg_start_decompress(&r->cinfo);
}

typedef struct layout {
    int skip, rows;   /* of MCUs: before the crop, and up to its end */
    size_t offset[4]; /* of each plane's first row in the scratch slot */
    int lines[4];     /* of each plane per row of MCUs */
    int samples[4];   /* of each plane per MCU and line */
} layout;

static int min_int(int a, int b) {
    return a < b ? a : b;
}

static int divide_up(int64_t a, int64_t b) {
    return (int)((a + b - 1) / b);
}

/* Describes the planes and returns the bytes that they take together. A line of a plane has room on its left for the
 * columns that a row of the stream begins earlier, and on its right for those that it ends later. */
static size_t lay_out(const struct jpeg_decompress_struct *cinfo, const dmae_jpeg_header *header,
                      const dmae_jpeg_stream *stream, dmae_region region, layout *l, dmae_planes *out) {
    const int mcu_height = cinfo->max_v_samp_factor * 8;
    size_t total = 0;
    l->skip = stream->interval ? 0 : region.y0 / mcu_height;
    l->rows = stream->interval ? (int)cinfo->total_iMCU_rows
                               : min_int(divide_up(region.y1, mcu_height), (int)cinfo->total_iMCU_rows);
    out->count = cinfo->num_components;
    for (int c = 0; c < out->count; c++) {
        const jpeg_component_info *info = &cinfo->comp_info[c];
        dmae_plane *plane = &out->plane[c];
        const int64_t across = info->h_samp_factor * info->DCT_scaled_size,
                      down = info->v_samp_factor * info->DCT_scaled_size;
        const int width = divide_up(header->width * across, cinfo->max_h_samp_factor * 8);
        const int height = divide_up(header->height * down, cinfo->max_v_samp_factor * 8);
        const size_t mcus = (size_t)(stream->margin + (stream->interval ? stream->mcus_per_row : stream->columns));
        const size_t stride = (mcus * (size_t)across + 63) & ~(size_t)63;
        plane->stride = (ptrdiff_t)stride;
        plane->x0 = stream->column * (int32_t)across;
        plane->y0 = (stream->first_row + l->skip) * (int32_t)down;
        plane->width = min_int((stream->column + stream->columns) * (int32_t)across, width) - plane->x0;
        plane->height = min_int((stream->first_row + l->rows) * (int32_t)down, height) - plane->y0;
        plane->scale_x = (double)across / (cinfo->max_h_samp_factor * 8.0);
        plane->scale_y = (double)down / (cinfo->max_v_samp_factor * 8.0);
        l->lines[c] = (int)down;
        l->samples[c] = (int)across;
        l->offset[c] = total + (size_t)stream->margin * (size_t)across;
        total += stride * (size_t)down * (size_t)(l->rows - l->skip);
    }
    return total;
}

static void read_rows(reader *r, const layout *l, const dmae_jpeg_stream *stream, uint8_t *base,
                      const dmae_planes *out) {
    struct jpeg_decompress_struct *cinfo = &r->cinfo;
    JSAMPROW rows[4][4 * DCTSIZE];
    JSAMPARRAY image[4] = {rows[0], rows[1], rows[2], rows[3]};
    for (int row = 0; row < l->rows; row++) {
        const int wanted = row >= l->skip;
        const int earlier = stream->column - dmae_jpeg_row_start(stream, row);
        for (int c = 0; c < out->count; c++) {
            uint8_t *line = base + l->offset[c] - earlier * l->samples[c];
            if (wanted)
                line += (ptrdiff_t)(row - l->skip) * l->lines[c] * out->plane[c].stride;
            for (int i = 0; i < l->lines[c]; i++, line += out->plane[c].stride)
                rows[c][i] = line;
            cinfo->comp_info[c].component_needed = wanted; /* no inverse DCT above the crop */
        }
        r->tolerance = dmae_jpeg_row_is_short(stream, row) ? 2 : 0;
        jpeg_read_raw_data(cinfo, image, (JDIMENSION)(cinfo->max_v_samp_factor * cinfo->min_DCT_scaled_size));
    }
}

/* Owns nothing, so that a longjmp back into it leaks nothing. */
static void decode(reader *r, const dmae_jpeg_header *header, dmae_jpeg_stream *stream, dmae_region region,
                   int scale_num, dmae_scratch *scratch, dmae_planes *out) {
    if (setjmp(r->escape))
        return;
    layout l;
    open_stream(r, stream->data, stream->size, scale_num);
    out->color = dmae_jpeg_color(r->cinfo.jpeg_color_space);
    if (!out->color)
        fail(r, DMAE_UNSUPPORTED);
    if (!stream->interval)
        stream->columns = divide_up(header->width, r->cinfo.max_h_samp_factor * 8);
    const size_t bytes = lay_out(&r->cinfo, header, stream, region, &l, out);
    uint8_t *base = bytes <= (size_t)MEMORY_LIMIT ? dmae_scratch_get(scratch, DMAE_SLOT_PLANES, bytes) : NULL;
    if (!base)
        fail(r, DMAE_OUT_OF_MEMORY);
    for (int c = 0; c < out->count; c++)
        out->plane[c].data = base + l.offset[c];
    read_rows(r, &l, stream, base, out);
}

/* Refuses sizes that the data cannot fill before memory is taken for them: a block costs two bits at least in a
 * sequential scan, and one in the first scan of a progressive image, which is held whole. */
static int could_fill(const dmae_jpeg_header *header, uint64_t size, dmae_region region) {
    uint64_t most_h = 1, most_v = 1, blocks = 0;
    for (int c = 0; c < header->components; c++) {
        most_h = header->h[c] > most_h ? header->h[c] : most_h;
        most_v = header->v[c] > most_v ? header->v[c] : most_v;
    }
    const int whole = header->progressive || header->scan_components != header->components;
    const uint64_t height = whole ? header->height : (uint64_t)(region.y1 - region.y0);
    const uint64_t width = whole || !header->restart_interval ? header->width : (uint64_t)(region.x1 - region.x0);
    for (int c = 0; c < header->components; c++)
        blocks += (height * header->v[c] / most_v) * (width * header->h[c] / most_h) / 64;
    return blocks * (whole ? 1 : 2) <= size * 8;
}

int dmae_jpeg_planes(const uint8_t *data, uint64_t size, uint32_t height, uint32_t width, dmae_region region,
                     int scale_num, dmae_scratch *scratch, dmae_planes *out) {
    dmae_jpeg_header header;
    int status = dmae_jpeg_read_header(data, size, &header);
    if (status != DMAE_OK)
        return status;
    if (header.height != height || header.width != width)
        return DMAE_SIZE_MISMATCH;
    if (!could_fill(&header, size, region))
        return DMAE_TRUNCATED;
    dmae_jpeg_stream stream = {0};
    status = dmae_jpeg_cut(data, size, &header, region, scratch, &stream);
    if (status == DMAE_UNSUPPORTED)
        stream = (dmae_jpeg_stream){.data = data, .size = size};
    else if (status != DMAE_OK)
        return status;

    reader r;
    memset(&r, 0, sizeof r);
    r.status = DMAE_OK;
    r.cinfo.err = jpeg_std_error(&r.errors);
    r.errors.error_exit = on_error;
    r.errors.emit_message = on_message;
    r.errors.output_message = be_silent;
    decode(&r, &header, &stream, region, scale_num, scratch, out);
    jpeg_destroy_decompress(&r.cinfo);
    return r.status;
}
