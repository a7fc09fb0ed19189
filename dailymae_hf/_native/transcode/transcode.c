/* What writers call: JPEG -> JPEG with restart markers, JPEG -> packed, packed -> JPEG, lossless; pixels -> packed. */
#include "transcode/transcode.h"

#include <stdlib.h>

#include "packed/packed.h"

/* The sums over a packed sample's pixels, as a crop of all of it at its own size has them. */
static int measure_packed(const uint8_t *packed, uint64_t size, const dmae_coefficients *image, uint64_t sums[6]) {
    const uint32_t height = (uint32_t)image->height, width = (uint32_t)image->width;
    const uint64_t count = (uint64_t)height * width;
    const dmae_box whole = {0, 0, image->width, image->height};
    uint8_t *planes = malloc(3 * count);
    if (!planes)
        return DMAE_OUT_OF_MEMORY;
    const int status =
        dmae_crop_decode(packed, size, DMAE_MODE_DCT, height, width, &whole, 0, DMAE_SIMD_AUTO, planes, height, width);
    if (status == DMAE_OK)
        dmae_plane_sums(planes, count, sums);
    free(planes);
    return status;
}

static int measure(const dmae_coefficients *image, uint64_t sums[6]) {
    uint64_t size;
    uint8_t *packed = NULL;
    dmae_coefficients_pack(image, DMAE_SIMD_AUTO, NULL, 0, &size);
    packed = malloc(size);
    if (!packed)
        return DMAE_OUT_OF_MEMORY;
    int status = dmae_coefficients_pack(image, DMAE_SIMD_AUTO, packed, size, &size);
    if (status == DMAE_OK)
        status = measure_packed(packed, size, image, sums);
    free(packed);
    return status;
}

int32_t dmae_transcode_jpeg(const uint8_t *src, uint64_t size, int32_t restart_mcus, uint64_t *sums, uint8_t *dst,
                            uint64_t capacity, uint64_t *written) {
    dmae_coefficients image;
    *written = 0;
    int status = dmae_coefficients_read(src, size, 1, &image);
    if (status != DMAE_OK)
        return status;
    status = dmae_coefficients_write(&image, restart_mcus, dst, capacity, written);
    if (status == DMAE_OK && sums)
        status = measure(&image, sums);
    dmae_coefficients_free(&image);
    return status;
}

int32_t dmae_pack_jpeg(const uint8_t *src, uint64_t size, uint64_t *sums, uint8_t *dst, uint64_t capacity,
                       uint64_t *written) {
    dmae_coefficients image;
    *written = 0;
    int status = dmae_coefficients_read(src, size, 1, &image);
    if (status != DMAE_OK)
        return status;
    status = dmae_coefficients_pack(&image, DMAE_SIMD_AUTO, dst, capacity, written);
    if (status == DMAE_OK && sums)
        status = measure_packed(dst, *written, &image, sums);
    dmae_coefficients_free(&image);
    return status;
}

int32_t dmae_unpack_to_jpeg(const uint8_t *src, uint64_t size, int32_t restart_mcus, uint8_t *dst, uint64_t capacity,
                            uint64_t *written) {
    dmae_coefficients image;
    *written = 0;
    int status = dmae_coefficients_unpack(src, size, &image);
    if (status != DMAE_OK)
        return status;
    status = dmae_coefficients_write(&image, restart_mcus, dst, capacity, written);
    dmae_coefficients_free(&image);
    return status;
}

int32_t dmae_pack_pixels(const uint8_t *rgbx, int32_t height, int32_t width, int32_t quality, int32_t simd,
                         uint8_t *dst, uint64_t capacity, uint64_t *written) {
    dmae_coefficients image;
    *written = 0;
    int status = dmae_coefficients_compress(rgbx, height, width, quality, simd, &image);
    if (status != DMAE_OK)
        return status;
    status = dmae_coefficients_pack(&image, simd, dst, capacity, written);
    dmae_coefficients_free(&image);
    return status;
}
