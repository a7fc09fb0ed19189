/* What writers call: JPEG -> JPEG with restart markers, JPEG -> packed, packed -> JPEG, lossless; pixels -> packed. */
#include "transcode/transcode.h"

#include "packed/packed.h"

int32_t dmae_transcode_jpeg(const uint8_t *src, uint64_t size, int32_t restart_mcus, uint8_t *dst, uint64_t capacity,
                            uint64_t *written) {
    dmae_coefficients image;
    *written = 0;
    int status = dmae_coefficients_read(src, size, 1, &image);
    if (status != DMAE_OK)
        return status;
    status = dmae_coefficients_write(&image, restart_mcus, dst, capacity, written);
    dmae_coefficients_free(&image);
    return status;
}

int32_t dmae_pack_jpeg(const uint8_t *src, uint64_t size, uint8_t *dst, uint64_t capacity, uint64_t *written) {
    dmae_coefficients image;
    *written = 0;
    int status = dmae_coefficients_read(src, size, 1, &image);
    if (status != DMAE_OK)
        return status;
    status = dmae_coefficients_pack(&image, dst, capacity, written);
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

int32_t dmae_pack_pixels(const uint8_t *rgbx, int32_t height, int32_t width, int32_t quality, uint8_t *dst,
                         uint64_t capacity, uint64_t *written) {
    dmae_coefficients image;
    *written = 0;
    int status = dmae_coefficients_compress(rgbx, height, width, quality, &image);
    if (status != DMAE_OK)
        return status;
    status = dmae_coefficients_pack(&image, dst, capacity, written);
    dmae_coefficients_free(&image);
    return status;
}
