/* Coefficients -> baseline JPEG with restart markers. */
#include "transcode/transcode.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

typedef struct writer {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_destination_mgr out;
    jmp_buf failed;
    int status;
    uint64_t full; /* bytes of the buffers that were filled before the present one */
    size_t present;
    uint8_t overflow[4096]; /* what does not fit goes here, so that the needed size is known */
} writer;

static void on_error(j_common_ptr info) {
    writer *w = (writer *)info->client_data;
    w->status = info->err->msg_code == JERR_OUT_OF_MEMORY ? DMAE_OUT_OF_MEMORY : DMAE_CORRUPT;
    longjmp(w->failed, 1);
}

static void on_message(j_common_ptr info, int level) {
    (void)info;
    (void)level;
}

static void on_output(j_common_ptr info) {
    (void)info;
}

static void out_start(j_compress_ptr jpeg) {
    (void)jpeg;
}

static boolean out_full(j_compress_ptr jpeg) {
    writer *w = (writer *)jpeg->client_data;
    w->full += w->present;
    w->present = sizeof w->overflow;
    w->out.next_output_byte = w->overflow;
    w->out.free_in_buffer = sizeof w->overflow;
    return TRUE;
}

static void writer_open(writer *w, uint8_t *dst, uint64_t capacity) {
    memset(w, 0, sizeof *w);
    w->jpeg.err = jpeg_std_error(&w->errors);
    w->errors.error_exit = on_error;
    w->errors.emit_message = on_message;
    w->errors.output_message = on_output;
    w->jpeg.client_data = w;
    w->out.init_destination = out_start;
    w->out.empty_output_buffer = out_full;
    w->out.term_destination = out_start;
    w->present = capacity > 0 ? (size_t)capacity : sizeof w->overflow;
    w->out.next_output_byte = capacity > 0 ? dst : w->overflow;
    w->out.free_in_buffer = w->present;
}

/* Components that use the same table share a slot, as in the file they came from. */
static void set_tables(writer *w, const dmae_coefficients *image) {
    for (int i = 0; i < image->count; i++) {
        const uint16_t *quant = image->component[i].quant;
        int slot = 0;
        while (slot < i && memcmp(image->component[slot].quant, quant, sizeof image->component[i].quant) != 0)
            slot++;
        w->jpeg.comp_info[i].quant_tbl_no = slot;
        if (slot < i)
            continue;
        if (!w->jpeg.quant_tbl_ptrs[slot])
            w->jpeg.quant_tbl_ptrs[slot] = jpeg_alloc_quant_table((j_common_ptr)&w->jpeg);
        for (int k = 0; k < 64; k++)
            w->jpeg.quant_tbl_ptrs[slot]->quantval[k] = quant[k];
        w->jpeg.quant_tbl_ptrs[slot]->sent_table = FALSE;
    }
}

static void set_table(writer *w, JHUFF_TBL **table, const uint32_t counts[256]) {
    if (!*table)
        *table = jpeg_alloc_huff_table((j_common_ptr)&w->jpeg);
    dmae_huffman_table(counts, (*table)->bits, (*table)->huffval);
    (*table)->sent_table = FALSE;
}

static int set_codes(writer *w, const dmae_coefficients *image) {
    uint32_t dc[2][256] = {{0}}, ac[2][256] = {{0}};
    for (int i = 0; i < image->count; i++) {
        const int t = i > 0; /* one pair of tables for the first component, one for the others */
        w->jpeg.comp_info[i].dc_tbl_no = w->jpeg.comp_info[i].ac_tbl_no = t;
        if (dmae_huffman_count(&image->component[i], dc[t], ac[t]) != DMAE_OK)
            return DMAE_CORRUPT;
    }
    for (int t = 0; t < (image->count > 1 ? 2 : 1); t++) {
        set_table(w, &w->jpeg.dc_huff_tbl_ptrs[t], dc[t]);
        set_table(w, &w->jpeg.ac_huff_tbl_ptrs[t], ac[t]);
    }
    return DMAE_OK;
}

/* The reader copies out the segments that a crop touches. Twelve blocks (32 pixels of 4:2:0) are short enough for it
 * to copy little in vain, and long enough that the marker, the padding before it and the restarted DC prediction,
 * about five bytes, come to two or three percent of a photograph, which tables made for the image win back. */
static int choose_interval(const dmae_coefficients *image) {
    int blocks = 0;
    for (int i = 0; i < image->count; i++)
        blocks += image->component[i].h * image->component[i].v;
    return blocks < 12 ? 12 / blocks : 1;
}

static int set_up(writer *w, const dmae_coefficients *image, int restart_mcus) {
    static const J_COLOR_SPACE space[] = {
        [DMAE_COLOR_GRAY] = JCS_GRAYSCALE, [DMAE_COLOR_YCC] = JCS_YCbCr, [DMAE_COLOR_RGB] = JCS_RGB};
    struct jpeg_compress_struct *jpeg = &w->jpeg;
    jpeg_create_compress(jpeg);
    jpeg->dest = &w->out;
    jpeg->image_width = (JDIMENSION)image->width;
    jpeg->image_height = (JDIMENSION)image->height;
    jpeg->input_components = image->count;
    jpeg->in_color_space = space[image->color];
    jpeg_set_defaults(jpeg);
    jpeg_set_colorspace(jpeg, space[image->color]); /* also decides on JFIF or Adobe markers */
    set_tables(w, image);
    for (int i = 0; i < image->count; i++) {
        jpeg->comp_info[i].h_samp_factor = image->component[i].h;
        jpeg->comp_info[i].v_samp_factor = image->component[i].v;
    }
    jpeg->arith_code = FALSE;
    jpeg->optimize_coding = FALSE; /* the tables are made already; they pay for the markers */
    jpeg->restart_interval = (unsigned)(restart_mcus > 0 ? restart_mcus : choose_interval(image));
    return set_codes(w, image);
}

static void write_all(writer *w, const dmae_coefficients *image) {
    jvirt_barray_ptr arrays[3];
    struct jpeg_compress_struct *jpeg = &w->jpeg;
    for (int i = 0; i < image->count; i++) {
        const dmae_component *c = &image->component[i];
        JDIMENSION wide = (JDIMENSION)((c->blocks_w + c->h - 1) / c->h * c->h);
        JDIMENSION high = (JDIMENSION)((c->blocks_h + c->v - 1) / c->v * c->v);
        arrays[i] = jpeg->mem->request_virt_barray((j_common_ptr)jpeg, JPOOL_IMAGE, TRUE, wide, high, (JDIMENSION)c->v);
    }
    jpeg_write_coefficients(jpeg, arrays); /* makes the arrays; they are read only when it finishes */
    for (int i = 0; i < image->count; i++) {
        const dmae_component *c = &image->component[i];
        size_t row = (size_t)c->blocks_w * 64;
        for (int32_t y = 0; y < c->blocks_h; y++) {
            JBLOCKARRAY to = jpeg->mem->access_virt_barray((j_common_ptr)jpeg, arrays[i], (JDIMENSION)y, 1, TRUE);
            memcpy(to[0], c->blocks + (size_t)y * row, row * sizeof(int16_t));
        }
    }
    jpeg_finish_compress(jpeg);
}

static int write_image(writer *w, const dmae_coefficients *image, int restart_mcus) {
    if (setjmp(w->failed)) /* this frame owns nothing */
        return w->status;
    const int status = set_up(w, image, restart_mcus);
    if (status == DMAE_OK)
        write_all(w, image);
    return status;
}

int dmae_coefficients_write(const dmae_coefficients *image, int restart_mcus, uint8_t *dst, uint64_t capacity,
                            uint64_t *written) {
    writer w;
    *written = 0;
    if (restart_mcus < 0 || restart_mcus > 0xffff)
        return DMAE_BAD_ARGUMENT;
    writer_open(&w, dst, capacity);
    int status = write_image(&w, image, restart_mcus);
    jpeg_destroy_compress(&w.jpeg);
    if (status != DMAE_OK)
        return status;
    *written = w.full + (w.present - w.out.free_in_buffer);
    return *written <= capacity ? DMAE_OK : DMAE_NO_SPACE;
}

static int read_quality_tables(writer *w, int quality, uint16_t *const quant[2]) {
    if (setjmp(w->failed))
        return w->status;
    jpeg_create_compress(&w->jpeg);
    jpeg_set_quality(&w->jpeg, quality, TRUE);
    for (int t = 0; t < 2; t++)
        for (int k = 0; k < 64; k++)
            quant[t][k] = w->jpeg.quant_tbl_ptrs[t]->quantval[k];
    return DMAE_OK;
}

int dmae_quality_tables(int quality, uint16_t luma[64], uint16_t chroma[64]) {
    writer w;
    writer_open(&w, NULL, 0);
    const int status = read_quality_tables(&w, quality, (uint16_t *[2]){luma, chroma});
    jpeg_destroy_compress(&w.jpeg);
    return status;
}
