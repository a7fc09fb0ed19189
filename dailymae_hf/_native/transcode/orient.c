/* EXIF orientation, honoured on the coefficients: a mirrored block is its coefficients with the odd frequencies
 * negated, a transposed block is its coefficients transposed. Nothing is rounded. */
#include "transcode/transcode.h"

#include <stdlib.h>
#include <string.h>

static uint32_t number(const uint8_t *p, int bytes, int big_endian) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint32_t)p[i] << 8 * (big_endian ? bytes - 1 - i : i);
    return value;
}

int dmae_exif_orientation(const uint8_t *app1, uint64_t size) {
    if (size < 14 || memcmp(app1, "Exif\0\0", 6) != 0)
        return 1;
    const uint8_t *tiff = app1 + 6;
    size -= 6;
    int big_endian = tiff[0] == 'M';
    if (memcmp(tiff, big_endian ? "MM\0*" : "II*\0", 4) != 0)
        return 1;
    uint64_t at = number(tiff + 4, 4, big_endian);
    if (at + 2 > size)
        return 1;
    uint32_t entries = number(tiff + at, 2, big_endian);
    at += 2;
    for (uint32_t i = 0; i < entries && at + 12 <= size; i++, at += 12) {
        if (number(tiff + at, 2, big_endian) != 0x0112)
            continue;
        uint32_t value = number(tiff + at + 8, 2, big_endian);
        int is_short = number(tiff + at + 2, 2, big_endian) == 3;
        return is_short && value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

int dmae_mirrors(int orientation, int axis) {
    /* orientations whose steps (see below) mirror while this axis lies from left to right */
    return axis == 0 ? orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8
                     : orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
}

static void mirror_columns(dmae_component *c) {
    for (int64_t row = 0; row < c->blocks_h; row++) {
        int16_t *blocks = c->blocks + row * c->blocks_w * 64, swapped[64];
        for (int32_t left = 0, right = c->blocks_w - 1; left < right; left++, right--) {
            memcpy(swapped, blocks + left * 64, sizeof swapped);
            memcpy(blocks + left * 64, blocks + right * 64, sizeof swapped);
            memcpy(blocks + right * 64, swapped, sizeof swapped);
        }
        for (int64_t k = 1; k < (int64_t)c->blocks_w * 64; k += 2) /* odd horizontal frequencies */
            blocks[k] = (int16_t)-blocks[k];
    }
}

static int transpose(dmae_component *c) {
    int16_t *to = malloc((size_t)c->blocks_w * (size_t)c->blocks_h * 64 * sizeof(int16_t));
    uint16_t quant[64];
    if (!to)
        return DMAE_OUT_OF_MEMORY;
    for (int64_t y = 0; y < c->blocks_h; y++)
        for (int64_t x = 0; x < c->blocks_w; x++)
            for (int k = 0; k < 64; k++)
                to[(x * c->blocks_h + y) * 64 + (k % 8 * 8 + k / 8)] = c->blocks[(y * c->blocks_w + x) * 64 + k];
    free(c->blocks);
    c->blocks = to;
    memcpy(quant, c->quant, sizeof quant);
    for (int k = 0; k < 64; k++)
        c->quant[k % 8 * 8 + k / 8] = quant[k];
    int32_t wide = c->blocks_w;
    c->blocks_w = c->blocks_h;
    c->blocks_h = wide;
    int h = c->h;
    c->h = c->v;
    c->v = h;
    return DMAE_OK;
}

static int transpose_image(dmae_coefficients *image) {
    int32_t width = image->width;
    image->width = image->height;
    image->height = width;
    for (int i = 0; i < image->count; i++)
        if (transpose(&image->component[i]) != DMAE_OK)
            return DMAE_OUT_OF_MEMORY;
    return DMAE_OK;
}

static int mirror_image(dmae_coefficients *image) {
    for (int i = 0; i < image->count; i++)
        mirror_columns(&image->component[i]);
    return DMAE_OK;
}

int dmae_coefficients_orient(dmae_coefficients *image, int orientation) {
    /* What brings an image stored with orientation 1..8 upright, step by step: M mirror left-right,
     * T transpose. A mirror between two transpositions is one top-bottom. */
    static const char *const steps[9] = {"", "", "M", "MTMT", "TMT", "T", "TM", "MTM", "MT"};
    int status = orientation >= 1 && orientation <= 8 ? DMAE_OK : DMAE_BAD_ARGUMENT;
    for (const char *s = steps[status == DMAE_OK ? orientation : 1]; *s && status == DMAE_OK; s++)
        status = *s == 'T' ? transpose_image(image) : mirror_image(image);
    if (status != DMAE_OK)
        dmae_coefficients_free(image);
    return status;
}
