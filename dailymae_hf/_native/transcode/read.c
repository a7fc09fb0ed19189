/* JPEG -> coefficients, and the facts a writer asks for first. */
#include "transcode/transcode.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "jpeg/color.h"

typedef struct reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    jmp_buf failed;
    int status; /* what a fatal error or the worst warning means */
} reader;

static int meaning_of(int code) {
    switch (code) {
    case JERR_OUT_OF_MEMORY:
        return DMAE_OUT_OF_MEMORY;
    case JERR_INPUT_EMPTY:
    case JERR_INPUT_EOF:
    case JWRN_HIT_MARKER:
        return DMAE_TRUNCATED;
    case JERR_SOF_UNSUPPORTED:
    case JERR_BAD_PRECISION:
    case JERR_ARITH_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_IMAGE_TOO_BIG:
    case JERR_COMPONENT_COUNT:
        return DMAE_UNSUPPORTED;
    case JWRN_JPEG_EOF:        /* no end-of-image marker; where image data is missing too, the next warning says so */
    case JWRN_EXTRANEOUS_DATA: /* padding between segments: common, and harmless */
    case JWRN_JFIF_MAJOR:
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_ICC:
        return DMAE_OK;
    default:
        return DMAE_CORRUPT;
    }
}

static void on_error(j_common_ptr info) {
    reader *r = (reader *)info->client_data;
    r->status = meaning_of(info->err->msg_code);
    if (r->status == DMAE_OK)
        r->status = DMAE_CORRUPT;
    longjmp(r->failed, 1);
}

static void on_message(j_common_ptr info, int level) {
    reader *r = (reader *)info->client_data;
    if (level < 0 && r->status == DMAE_OK)
        r->status = meaning_of(info->err->msg_code);
}

static void on_output(j_common_ptr info) {
    (void)info;
}

static void reader_open(reader *r) {
    memset(r, 0, sizeof *r);
    r->jpeg.err = jpeg_std_error(&r->errors);
    r->errors.error_exit = on_error;
    r->errors.emit_message = on_message;
    r->errors.output_message = on_output;
    r->jpeg.client_data = r;
}

static int orientation_of(const struct jpeg_decompress_struct *jpeg) {
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m; m = m->next) {
        int orientation = m->marker == JPEG_APP0 + 1 ? dmae_exif_orientation(m->data, m->data_length) : 1;
        if (orientation != 1)
            return orientation;
    }
    return 1;
}

/* Only what every reader of the result understands is converted: 8 bits, one or three components, and
 * sampling factors that divide the largest (libjpeg's own decoder refuses the others). */
static int components_stay(const struct jpeg_decompress_struct *jpeg, int largest_h, int largest_v) {
    int blocks = 0;
    for (int i = 0; i < jpeg->num_components; i++) {
        const jpeg_component_info *c = &jpeg->comp_info[i];
        if (largest_h % c->h_samp_factor != 0 || largest_v % c->v_samp_factor != 0)
            return 0;
        blocks += c->h_samp_factor * c->v_samp_factor;
    }
    return jpeg->num_components == 1 || blocks <= 10; /* no more fit into an MCU of a baseline scan */
}

static int can_be_lossless(const struct jpeg_decompress_struct *jpeg) {
    int color = dmae_jpeg_color(jpeg->jpeg_color_space), largest_h = 1, largest_v = 1,
        orientation = orientation_of(jpeg);
    if (jpeg->data_precision != 8 || (int64_t)jpeg->image_width * jpeg->image_height > DMAE_MAX_PIXELS)
        return DMAE_UNSUPPORTED;
    if (color != DMAE_COLOR_GRAY && color != DMAE_COLOR_YCC && color != DMAE_COLOR_RGB)
        return DMAE_UNSUPPORTED;
    for (int i = 0; i < jpeg->num_components && jpeg->num_components > 1; i++) {
        if (jpeg->comp_info[i].h_samp_factor > largest_h)
            largest_h = jpeg->comp_info[i].h_samp_factor;
        if (jpeg->comp_info[i].v_samp_factor > largest_v)
            largest_v = jpeg->comp_info[i].v_samp_factor;
    }
    if (jpeg->num_components > 1 && !components_stay(jpeg, largest_h, largest_v))
        return DMAE_UNSUPPORTED;
    if (dmae_mirrors(orientation, 0) && jpeg->image_width % (8 * (unsigned)largest_h) != 0)
        return DMAE_UNSUPPORTED;
    if (dmae_mirrors(orientation, 1) && jpeg->image_height % (8 * (unsigned)largest_v) != 0)
        return DMAE_UNSUPPORTED;
    return DMAE_OK;
}

static void read_header(reader *r, const uint8_t *src, uint64_t size) {
    jpeg_create_decompress(&r->jpeg);
    jpeg_mem_src(&r->jpeg, src, (unsigned long)size);
    jpeg_save_markers(&r->jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&r->jpeg, TRUE);
}

/* The frames that call setjmp own nothing: what they fill in belongs to their callers. */
static int read_facts(reader *r, const uint8_t *src, uint64_t size, dmae_jpeg_facts *facts) {
    if (setjmp(r->failed))
        return r->status;
    read_header(r, src, size);
    facts->width = (int32_t)r->jpeg.image_width;
    facts->height = (int32_t)r->jpeg.image_height;
    facts->components = r->jpeg.num_components;
    facts->color = dmae_jpeg_color(r->jpeg.jpeg_color_space);
    for (int i = 0; i < r->jpeg.num_components && i < 4; i++) {
        facts->h[i] = r->jpeg.comp_info[i].h_samp_factor;
        facts->v[i] = r->jpeg.comp_info[i].v_samp_factor;
    }
    facts->precision = r->jpeg.data_precision;
    facts->progressive = r->jpeg.progressive_mode;
    facts->arithmetic = r->jpeg.arith_code;
    facts->orientation = orientation_of(&r->jpeg);
    facts->restart_interval = (int32_t)r->jpeg.restart_interval;
    facts->lossless = can_be_lossless(&r->jpeg);
    return DMAE_OK;
}

int32_t dmae_jpeg_read_facts(const uint8_t *src, uint64_t size, dmae_jpeg_facts *facts) {
    reader r;
    memset(facts, 0, sizeof *facts);
    if (!src || size == 0)
        return DMAE_TRUNCATED;
    reader_open(&r);
    int status = read_facts(&r, src, size, facts);
    jpeg_destroy_decompress(&r.jpeg);
    return status;
}

static int copy_component(reader *r, int index, jvirt_barray_ptr array, dmae_component *to) {
    const jpeg_component_info *from = &r->jpeg.comp_info[index];
    if (!from->quant_table)
        return DMAE_CORRUPT;
    for (int k = 0; k < 64; k++)
        to->quant[k] = from->quant_table->quantval[k];
    size_t row = (size_t)to->blocks_w * 64;
    for (int32_t y = 0; y < to->blocks_h; y++) {
        JBLOCKARRAY blocks = r->jpeg.mem->access_virt_barray((j_common_ptr)&r->jpeg, array, (JDIMENSION)y, 1, FALSE);
        memcpy(to->blocks + (size_t)y * row, blocks[0], row * sizeof(int16_t));
    }
    return DMAE_OK;
}

static int read_image(reader *r, const uint8_t *src, uint64_t size, int *orientation, dmae_coefficients *image) {
    if (setjmp(r->failed))
        return r->status;
    read_header(r, src, size);
    if (can_be_lossless(&r->jpeg) != DMAE_OK)
        return DMAE_UNSUPPORTED;
    *orientation = orientation_of(&r->jpeg);
    jvirt_barray_ptr *arrays = jpeg_read_coefficients(&r->jpeg);
    if (r->status != DMAE_OK)
        return r->status;
    image->width = (int32_t)r->jpeg.image_width;
    image->height = (int32_t)r->jpeg.image_height;
    image->count = r->jpeg.num_components;
    image->color = dmae_jpeg_color(r->jpeg.jpeg_color_space);
    for (int i = 0; i < image->count; i++) {
        /* A single component is stored block by block: its factors say nothing and are dropped. */
        image->component[i].h = image->count == 1 ? 1 : r->jpeg.comp_info[i].h_samp_factor;
        image->component[i].v = image->count == 1 ? 1 : r->jpeg.comp_info[i].v_samp_factor;
    }
    int status = dmae_coefficients_allocate(image);
    for (int i = 0; i < image->count && status == DMAE_OK; i++)
        status = copy_component(r, i, arrays[i], &image->component[i]);
    return status;
}

int dmae_coefficients_read(const uint8_t *src, uint64_t size, int oriented, dmae_coefficients *image) {
    reader r;
    int orientation = 1;
    memset(image, 0, sizeof *image);
    if (!src || size == 0)
        return DMAE_TRUNCATED;
    reader_open(&r);
    int status = read_image(&r, src, size, &orientation, image);
    jpeg_destroy_decompress(&r.jpeg);
    if (status == DMAE_OK)
        return dmae_coefficients_orient(image, oriented ? orientation : 1);
    dmae_coefficients_free(image);
    return status;
}
