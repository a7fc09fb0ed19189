/* Rows of a PNG with their filters undone (the PNG specification, section 9), for 8-bit RGB. */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

enum { CHANNELS = 3, STORED = 4 };

/* A pixel's channels side by side: a filter is a chain from pixel to pixel, in which they are all that runs at once. */
typedef int16_t lanes __attribute__((vector_size(8)));
typedef uint8_t bytes __attribute__((vector_size(4)));

static lanes load(const uint8_t *p) {
    return (lanes){p[0], p[1], p[2], 0};
}

static void store(uint8_t *p, lanes v) {
    const bytes narrow = __builtin_convertvector(v, bytes);
    memcpy(p, &narrow, STORED);
}

static lanes magnitude(lanes v) {
    const lanes sign = v >> 15;
    return (v ^ sign) - sign;
}

/* Of left, upper and upper left, the nearest to left + upper - upper left; the first of those equally near. */
static lanes paeth(lanes left, lanes upper, lanes corner) {
    const lanes from_left = magnitude(upper - corner), from_upper = magnitude(left - corner),
                from_corner = magnitude(left + upper - corner - corner);
    const lanes is_left = (from_left <= from_upper) & (from_left <= from_corner), is_upper = from_upper <= from_corner;
    return (is_left & left) | (~is_left & ((is_upper & upper) | (~is_upper & corner)));
}

/* `above`: the row above as pixels, zeros over the first. */
static int unfilter(const uint8_t *row, int32_t width, const uint8_t *above, uint8_t *dst) {
    const int filter = *row++;
    lanes left = {0, 0, 0, 0}, corner = {0, 0, 0, 0};
    if (filter > 4)
        return DMAE_CORRUPT;
    for (int32_t x = 0; x < width; x++, row += CHANNELS, above += STORED, dst += STORED) {
        const lanes value = load(row), upper = load(above);
        switch (filter) {
        case 0:
            left = value;
            break;
        case 1:
            left = value + left;
            break;
        case 2:
            left = value + upper;
            break;
        case 3:
            left = value + ((left + upper) >> 1);
            break;
        default:
            left = value + paeth(left, upper, corner);
        }
        left &= 255;
        corner = upper;
        store(dst, left);
    }
    return DMAE_OK;
}

int32_t dmae_png_pixels(const uint8_t *rows, int32_t height, int32_t width, uint8_t *dst) {
    if (!rows || !dst || height < 1 || width < 1)
        return DMAE_BAD_ARGUMENT;
    const size_t stride = (size_t)width * STORED;
    uint8_t *zeros = calloc(1, stride);
    int status = zeros ? DMAE_OK : DMAE_OUT_OF_MEMORY;
    const uint8_t *above = zeros;
    for (int32_t y = 0; y < height && status == DMAE_OK; y++, rows += 1 + (size_t)width * CHANNELS, dst += stride) {
        status = unfilter(rows, width, above, dst);
        above = dst;
    }
    free(zeros);
    return status;
}
