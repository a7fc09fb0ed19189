/* Pixels -> coefficients: what libjpeg's compressor makes of 8-bit RGB with 4:2:0 chroma and its slow integer DCT, bit
 * for bit, without the entropy coding that a packed sample does not have. */
#include <stdlib.h>
#include <string.h>

#include "simd/dispatch.h"
#include "transcode/transcode.h"

/* With b = log2(d) rounded down, the factor 2^(16 + b) / d rounded down or up is exact for 16-bit numerators: down with
 * one added to the numerator, up without, whichever has the smaller error. */
static void divide_by(const uint16_t quant[64], dmae_divisor *out) {
    for (int k = 0; k < 64; k++) {
        const uint32_t d = 8u * quant[k];
        int bits = 31 - __builtin_clz(d);
        uint32_t factor = (1u << (16 + bits)) / d, rest = (1u << (16 + bits)) % d, add = d / 2;
        if (rest == 0) {
            factor >>= 1;
            bits--;
        } else if (rest <= d / 2) {
            add++;
        } else {
            factor++;
        }
        out->add[k] = (uint16_t)add;
        out->factor[k] = (uint16_t)factor;
        out->scale[k] = (uint16_t)(1u << (16 - bits)); /* bits is 2 at least */
    }
}

int dmae_coefficients_compress(const uint8_t *rgbx, int32_t height, int32_t width, int quality, int simd,
                               dmae_coefficients *image) {
    /* Whole MCUs, and as many blocks as are transformed at once. */
    const size_t stride = ((size_t)width + 8 * DMAE_LANES - 1) / (8 * DMAE_LANES) * (8 * DMAE_LANES);
    dmae_strip s = {.stride = stride};
    dmae_divisor by[2];
    memset(image, 0, sizeof *image);
    if (height < 1 || width < 1 || height > DMAE_MAX_SIDE || width > DMAE_MAX_SIDE || quality < 1 || quality > 100)
        return DMAE_BAD_ARGUMENT;
    if ((int64_t)height * width > DMAE_MAX_PIXELS)
        return DMAE_UNSUPPORTED;
    image->height = height;
    image->width = width;
    image->count = 3;
    image->color = DMAE_COLOR_YCC;
    for (int i = 0; i < 3; i++)
        image->component[i].h = image->component[i].v = i ? 1 : 2;
    int status = dmae_quality_tables(quality, image->component[0].quant, image->component[1].quant);
    if (status == DMAE_OK)
        status = dmae_coefficients_allocate(image);
    if (status != DMAE_OK)
        return status;
    memcpy(image->component[2].quant, image->component[1].quant, sizeof image->component[1].quant);
    divide_by(image->component[0].quant, &by[0]);
    divide_by(image->component[1].quant, &by[1]);
    s.luma = malloc(3 * DMAE_MCU * stride + DMAE_SLACK);
    if (!s.luma) {
        dmae_coefficients_free(image);
        return DMAE_OUT_OF_MEMORY;
    }
    s.chroma[0] = s.luma + DMAE_MCU * stride;
    s.chroma[1] = s.chroma[0] + DMAE_MCU * stride;
    dmae_target_for(simd)->compress(rgbx, &s, by, image);
    free(s.luma);
    return DMAE_OK;
}
