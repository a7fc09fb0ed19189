/* What libjpeg itself says of a JPEG, for the tests: its coefficients, and its planes before upsampling and colour.
 * Written against libjpeg's documented interface alone; it shares no code with the kernel. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

static void open_jpeg(struct jpeg_decompress_struct *jpeg, struct jpeg_error_mgr *errors, const uint8_t *src,
                      long size) {
    jpeg->err = jpeg_std_error(errors);
    jpeg_create_decompress(jpeg);
    jpeg_mem_src(jpeg, src, (unsigned long)size);
    jpeg_read_header(jpeg, TRUE);
}

/* shape: blocks high, blocks wide per component. quant: 64 per component. out: blocks in natural order.
 * Returns the number of components. */
int reference_coefficients(const uint8_t *src, long size, int shape[8], uint16_t *quant, int16_t *out) {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    open_jpeg(&jpeg, &errors, src, size);
    jvirt_barray_ptr *arrays = jpeg_read_coefficients(&jpeg);
    for (int c = 0; c < jpeg.num_components; c++) {
        jpeg_component_info *info = &jpeg.comp_info[c];
        shape[2 * c] = (int)info->height_in_blocks;
        shape[2 * c + 1] = (int)info->width_in_blocks;
        for (int k = 0; k < 64; k++)
            *quant++ = info->quant_table->quantval[k];
        for (JDIMENSION y = 0; y < info->height_in_blocks; y++) {
            JBLOCKARRAY row = jpeg.mem->access_virt_barray((j_common_ptr)&jpeg, arrays[c], y, 1, FALSE);
            memcpy(out, row[0], info->width_in_blocks * sizeof(JBLOCK));
            out += info->width_in_blocks * DCTSIZE2;
        }
    }
    int components = jpeg.num_components;
    jpeg_destroy_decompress(&jpeg);
    return components;
}

/* The same coefficients, arithmetic-coded. Returns the bytes written to out, which must be large enough. */
long reference_arithmetic(const uint8_t *src, long size, uint8_t *out, long capacity) {
    struct jpeg_decompress_struct from;
    struct jpeg_compress_struct to;
    struct jpeg_error_mgr errors;
    unsigned long written = (unsigned long)capacity;
    open_jpeg(&from, &errors, src, size);
    jvirt_barray_ptr *arrays = jpeg_read_coefficients(&from);
    to.err = &errors;
    jpeg_create_compress(&to);
    jpeg_mem_dest(&to, &out, &written);
    jpeg_copy_critical_parameters(&from, &to);
    to.arith_code = TRUE;
    jpeg_write_coefficients(&to, arrays);
    jpeg_finish_compress(&to);
    jpeg_destroy_compress(&to);
    jpeg_destroy_decompress(&from);
    return (long)written;
}

/* shape: height, width of each component's plane at scale_num / 8. out: the planes, one after the other. */
int reference_planes(const uint8_t *src, long size, int scale_num, int shape[8], uint8_t *out) {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    size_t start[4] = {0};
    JSAMPARRAY rows[4];
    open_jpeg(&jpeg, &errors, src, size);
    jpeg.scale_num = (unsigned)scale_num;
    jpeg.scale_denom = 8;
    jpeg.raw_data_out = TRUE;
    jpeg.dct_method = JDCT_ISLOW;
    jpeg_start_decompress(&jpeg);
    for (int c = 0; c < jpeg.num_components; c++) {
        jpeg_component_info *info = &jpeg.comp_info[c];
        shape[2 * c] = (int)info->downsampled_height;
        shape[2 * c + 1] = (int)info->downsampled_width;
        if (c > 0)
            start[c] = start[c - 1] + (size_t)shape[2 * c - 2] * (size_t)shape[2 * c - 1];
        rows[c] = (*jpeg.mem->alloc_sarray)((j_common_ptr)&jpeg, JPOOL_IMAGE,
                                            (info->width_in_blocks + 8) * (JDIMENSION)info->DCT_scaled_size,
                                            (JDIMENSION)(info->v_samp_factor * info->DCT_scaled_size));
    }
    for (int group = 0; jpeg.output_scanline < jpeg.output_height; group++) {
        jpeg_read_raw_data(&jpeg, rows, (JDIMENSION)(jpeg.max_v_samp_factor * jpeg.min_DCT_scaled_size));
        for (int c = 0; c < jpeg.num_components; c++) {
            int high = jpeg.comp_info[c].v_samp_factor * jpeg.comp_info[c].DCT_scaled_size;
            size_t wide = (size_t)shape[2 * c + 1];
            for (int y = 0; y < high && group * high + y < shape[2 * c]; y++)
                memcpy(out + start[c] + (size_t)(group * high + y) * wide, rows[c][y], wide);
        }
    }
    int components = jpeg.num_components;
    jpeg_destroy_decompress(&jpeg);
    return components;
}
