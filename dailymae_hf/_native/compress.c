/* Pixels -> coefficients: what libjpeg's compressor makes of 8-bit RGB with 4:2:0 chroma and its slow integer DCT, bit
 * for bit, without the entropy coding that a packed sample does not have. Loops run over blocks side by side, for
 * compilers to vectorise. */
#include <stdlib.h>
#include <string.h>

#include "idct.h"
#include "simd_target.h"
#include "transcode.h"

enum { MCU = 16, LANES = DMAE_LANES };

#define INLINE static inline __attribute__((always_inline))
#define EACH_LANE for (int lane = 0; lane < LANES; lane++)

/* Division by 8 * the quantisation factor, rounded, as a multiplication: (value + add) * factor >> shift. */
typedef struct divisor {
    uint16_t add[64], factor[64];
    uint8_t shift[64];
} divisor;

/* A row of 16 x 16 pixel MCUs: planes as wide as whole MCUs. `stride` is luma's; chroma, at full size until it is
 * averaged, has the same. */
typedef struct strip {
    uint8_t *luma, *chroma[2];
    size_t stride;
} strip;

/* With b = log2(d) rounded down, the factor 2^(16 + b) / d rounded down or up is exact for 16-bit numerators: down with
 * one added to the numerator, up without, whichever has the smaller error. */
static void divide_by(const uint16_t quant[64], divisor *out) {
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
        out->shift[k] = (uint8_t)(16 + bits);
    }
}

/* JFIF's conversion (ITU-T T.871, section 7) in libjpeg's 16-bit fractions, whose sums add up to one. */
INLINE void convert_row(const uint8_t *restrict rgbx, int32_t width, uint8_t *restrict luma,
                        uint8_t *restrict blueness, uint8_t *restrict redness) {
    for (int32_t x = 0; x < width; x++) {
        uint32_t pixel;
        memcpy(&pixel, rgbx + 4 * x, sizeof pixel);
        const int32_t r = pixel & 255, g = pixel >> 8 & 255, b = pixel >> 16 & 255;
        luma[x] = (uint8_t)((19595 * r + 38470 * g + 7471 * b + (1 << 15)) >> 16);
        blueness[x] = (uint8_t)((-11059 * r - 21709 * g + 32768 * b + (128 << 16) + (1 << 15) - 1) >> 16);
        redness[x] = (uint8_t)((32768 * r - 27439 * g - 5329 * b + (128 << 16) + (1 << 15) - 1) >> 16);
    }
}

/* Means of 2 x 2 samples, in place; halves are rounded down and up by turns. */
INLINE void halve(uint8_t *plane, size_t stride) {
    for (int y = 0; y < MCU / 2; y++) {
        const uint8_t *upper = plane + 2 * (size_t)y * stride, *lower = upper + stride;
        uint8_t *out = plane + (size_t)y * stride;
        for (size_t x = 0; x < stride / 2; x++)
            out[x] = (uint8_t)((upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1] + 1 + (x & 1)) >> 2);
    }
}

static void repeat_last(uint8_t *row, size_t width, size_t stride) {
    memset(row + width, row[width - 1], stride - width);
}

/* Rows past the image repeat the last: of luma as it is, of chroma after the averaging. */
INLINE void fill_strip(strip *s, const uint8_t *rgbx, int32_t rows, int32_t width) {
    const size_t stride = s->stride;
    for (int32_t y = 0; y < rows; y++, rgbx += 4 * (size_t)width) {
        uint8_t *const to[3] = {s->luma + (size_t)y * stride, s->chroma[0] + (size_t)y * stride,
                                s->chroma[1] + (size_t)y * stride};
        convert_row(rgbx, width, to[0], to[1], to[2]);
        for (int c = 0; c < 3; c++)
            repeat_last(to[c], (size_t)width, stride);
    }
    for (int32_t y = rows; y < MCU; y++)
        memcpy(s->luma + (size_t)y * stride, s->luma + (size_t)(rows - 1) * stride, stride);
    for (int c = 0; c < 2; c++) {
        uint8_t *plane = s->chroma[c];
        if (rows % 2)
            memcpy(plane + (size_t)rows * stride, plane + (size_t)(rows - 1) * stride, stride);
        halve(plane, stride);
        for (int32_t y = (rows + 1) / 2; y < MCU / 2; y++)
            memcpy(plane + (size_t)y * stride, plane + (size_t)((rows + 1) / 2 - 1) * stride, stride);
    }
}

/* The forward transform of one row or column: the sums that idct.h's are the transpose of. */
INLINE void forward8(const int16_t in[8], int32_t out[8]) {
    const int32_t a = in[0] + in[7], b = in[1] + in[6], c = in[2] + in[5], d = in[3] + in[4];
    const int16_t e = (int16_t)(in[0] - in[7]), f = (int16_t)(in[1] - in[6]), g = (int16_t)(in[2] - in[5]),
                  h = (int16_t)(in[3] - in[4]);
    const int16_t outer = (int16_t)(a - d), inner = (int16_t)(b - c);
    out[0] = (a + d + b + c) * 8192;
    out[4] = (a + d - b - c) * 8192;
    out[2] = outer * 10703 + inner * 4433;
    out[6] = outer * 4433 - inner * 10704;
    out[1] = e * 11363 + f * 9633 + g * 6437 + h * 2260;
    out[3] = e * 9633 - f * 2259 - g * 11362 - h * 6436;
    out[5] = e * 6437 - f * 11362 + g * 2261 + h * 9633;
    out[7] = e * 2260 - f * 6436 + g * 9633 - h * 11363;
}

INLINE int16_t descale(int32_t value, int bits) {
    return (int16_t)((value + (1 << (bits - 1))) >> bits);
}

INLINE int16_t divide(int16_t value, uint16_t add, uint16_t factor, int shift) {
    const uint16_t size = (uint16_t)((value < 0 ? -value : value) + add);
    const int16_t quotient = (int16_t)((uint32_t)size * factor >> shift);
    return value < 0 ? (int16_t)-quotient : quotient;
}

/* LANES blocks, beginning at `src`, whose first `count` become coefficients in natural order. */
INLINE void transform_blocks(const uint8_t *src, size_t stride, const divisor *by, int count, int16_t *blocks) {
    int16_t rows[8][8][LANES], quantised[64][LANES];
    for (int y = 0; y < 8; y++, src += stride) {
        int16_t samples[8][LANES];
        for (int x = 0; x < 8; x++)
            EACH_LANE samples[x][lane] = (int16_t)(src[8 * lane + x] - 128);
        EACH_LANE {
            int16_t in[8];
            int32_t out[8];
            for (int x = 0; x < 8; x++)
                in[x] = samples[x][lane];
            forward8(in, out);
            for (int x = 0; x < 8; x++)
                rows[y][x][lane] = descale(out[x], 11);
        }
    }
    for (int x = 0; x < 8; x++)
        EACH_LANE {
            int16_t in[8];
            int32_t out[8];
            for (int y = 0; y < 8; y++)
                in[y] = rows[y][x][lane];
            forward8(in, out);
            for (int y = 0; y < 8; y++)
                quantised[8 * y + x][lane] =
                    divide(descale(out[y], 15), by->add[8 * y + x], by->factor[8 * y + x], by->shift[8 * y + x]);
        }
    for (int i = 0; i < count; i++)
        for (int k = 0; k < 64; k++)
            blocks[64 * i + k] = quantised[k][i];
}

INLINE void transform_row(const uint8_t *src, size_t stride, const divisor *by, dmae_component *c, int32_t row) {
    int16_t *blocks = c->blocks + (size_t)row * (size_t)c->blocks_w * 64;
    for (int32_t x = 0; x < c->blocks_w; x += LANES)
        transform_blocks(src + 8 * x, stride, by, c->blocks_w - x < LANES ? c->blocks_w - x : LANES, blocks + 64 * x);
}

INLINE void compress(const uint8_t *rgbx, strip *s, const divisor by[2], dmae_coefficients *image) {
    for (int32_t y = 0; y < image->height; y += MCU) {
        const int32_t rows = image->height - y < MCU ? image->height - y : MCU, row = y / MCU;
        fill_strip(s, rgbx + 4 * (size_t)y * (size_t)image->width, rows, image->width);
        transform_row(s->luma, s->stride, &by[0], &image->component[0], 2 * row);
        if (2 * row + 1 < image->component[0].blocks_h)
            transform_row(s->luma + 8 * s->stride, s->stride, &by[0], &image->component[0], 2 * row + 1);
        for (int c = 0; c < 2; c++)
            transform_row(s->chroma[c], s->stride, &by[1], &image->component[c + 1], row);
    }
}

typedef void compressor(const uint8_t *rgbx, strip *s, const divisor by[2], dmae_coefficients *image);

static void compress_plain(const uint8_t *rgbx, strip *s, const divisor by[2], dmae_coefficients *image) {
    compress(rgbx, s, by, image);
}

#if defined(__x86_64__)
DMAE_TARGET_BEGIN("avx2")
static void compress_avx2(const uint8_t *rgbx, strip *s, const divisor by[2], dmae_coefficients *image) {
    compress(rgbx, s, by, image);
}
DMAE_TARGET_END
#else
#define compress_avx2 compress_plain
#endif

int dmae_coefficients_compress(const uint8_t *rgbx, int32_t height, int32_t width, int quality,
                               dmae_coefficients *image) {
    /* Whole MCUs, and as many blocks as are transformed at once. */
    const size_t stride = ((size_t)width + 8 * LANES - 1) / (8 * LANES) * (8 * LANES);
    strip s = {.stride = stride};
    divisor by[2];
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
    s.luma = malloc(3 * MCU * stride + 8 * LANES);
    if (!s.luma) {
        dmae_coefficients_free(image);
        return DMAE_OUT_OF_MEMORY;
    }
    s.chroma[0] = s.luma + MCU * stride;
    s.chroma[1] = s.chroma[0] + MCU * stride;
    (dmae_simd_level(DMAE_SIMD_AUTO) >= DMAE_SIMD_AVX2 ? compress_avx2 : compress_plain)(rgbx, &s, by, image);
    free(s.luma);
    return DMAE_OK;
}
