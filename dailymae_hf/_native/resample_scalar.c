/* The resize in plain C: the reference for the vector code, and the only one for rare colours and great reductions. */
#include "internal.h"
#include "resample.h"

/* A constant number of taps lets the compiler unroll. */
static inline __attribute__((always_inline)) void across_narrow(const dmae_axis *axis, int32_t taps, const uint8_t *src, int8_t *dst) {
    const uint8_t *w = axis->narrow;
    for (int32_t i = 0; i < axis->out; i++, w += taps) {
        const uint8_t *p = src + axis->start[i];
        int32_t sum = 1 << (DMAE_WEIGHT_BITS - 1);
        for (int32_t t = 0; t < taps; t++)
            sum += w[t] * p[t];
        dst[i] = (int8_t)((sum >> DMAE_WEIGHT_BITS) - 128);
    }
}

static void across_wide(const dmae_axis *axis, const uint8_t *src, int8_t *dst) {
    const int32_t *w = axis->wide;
    for (int32_t i = 0; i < axis->out; i++, w += axis->taps) {
        const uint8_t *p = src + axis->start[i];
        int32_t sum = 1 << (DMAE_WIDE_BITS - 1);
        for (int32_t t = 0; t < axis->taps && w[t]; t++)
            sum += w[t] * p[t];
        dst[i] = (int8_t)((sum >> DMAE_WIDE_BITS) - 128);
    }
}

void dmae_across_scalar(const dmae_axis *axis, const uint8_t *src, ptrdiff_t src_stride, int32_t rows, int8_t *dst, ptrdiff_t dst_stride) {
    for (; rows > 0; rows--, src += src_stride, dst += dst_stride) {
        if (axis->wide)
            across_wide(axis, src, dst);
        else if (axis->taps == 2)
            across_narrow(axis, 2, src, dst);
        else if (axis->taps == 4)
            across_narrow(axis, 4, src, dst);
        else
            across_narrow(axis, axis->taps, src, dst);
    }
}

/* One row of one plane: sums with DMAE_WEIGHT_BITS fractional bits, still centred. */
static void down_narrow(const dmae_column *column, int32_t y, int32_t width, int16_t *line) {
    const int32_t taps = column->axis->taps;
    const uint8_t *w = column->axis->narrow + (size_t)y * (size_t)taps;
    const int8_t *p = column->rows + column->axis->start[y] * column->stride;
    for (int32_t x = 0; x < width; x++)
        line[x] = (int16_t)(w[0] * p[x] + w[1] * p[x + column->stride]);
    for (int32_t t = 2; t < taps; t += 2) {
        p += 2 * column->stride;
        for (int32_t x = 0; x < width; x++)
            line[x] = (int16_t)(line[x] + w[t] * p[x] + w[t + 1] * p[x + column->stride]);
    }
}

static void down_wide(const dmae_column *column, int32_t y, int32_t width, int16_t *line) {
    const int32_t shift = DMAE_WIDE_BITS - DMAE_WEIGHT_BITS;
    const int32_t *w = column->axis->wide + (size_t)y * (size_t)column->axis->taps;
    const int8_t *p = column->rows + column->axis->start[y] * column->stride;
    for (int32_t x = 0; x < width; x++) {
        int32_t sum = 1 << (shift - 1);
        for (int32_t t = 0; t < column->axis->taps && w[t]; t++)
            sum += w[t] * p[t * column->stride + x];
        line[x] = (int16_t)(sum >> shift);
    }
}

static int32_t saturate(int32_t x) {
    return x < INT16_MIN ? INT16_MIN : x > INT16_MAX ? INT16_MAX : x;
}

/* a * b / 2^15, rounded: what pmulhrsw and sqrdmulh compute. */
static int32_t multiply(int32_t a, int32_t b) {
    return (a * b + (1 << 14)) >> 15;
}

static uint8_t to_level(int32_t x) {
    const int32_t level = saturate(x + (1 << (DMAE_WEIGHT_BITS - 1))) >> DMAE_WEIGHT_BITS;
    return (uint8_t)((level < -128 ? -128 : level > 127 ? 127 : level) + 128);
}

/* JFIF's conversion (ITU-T T.871, section 7): factors as 16-bit fractions, what exceeds 1 by an addition. */
static void convert_ycc(const int16_t *const *line, int32_t width, uint8_t *const channel[3]) {
    for (int32_t x = 0; x < width; x++) {
        const int32_t y = line[0][x], cb = line[1][x], cr = line[2][x];
        channel[0][x] = to_level(saturate(y + saturate(cr + multiply(cr, DMAE_CR_TO_R))));
        channel[1][x] = to_level(saturate(y - saturate(multiply(cb, DMAE_CB_TO_G) + multiply(cr, DMAE_CR_TO_G))));
        channel[2][x] = to_level(saturate(y + saturate(cb + multiply(cb, DMAE_CB_TO_B))));
    }
}

static uint8_t product(uint32_t a, uint32_t b) {
    const uint32_t t = a * b + 128;
    return (uint8_t)((t + (t >> 8)) >> 8);
}

/* Adobe stores ink inverted, 255 is none, and everyone reads CMYK that way. YCCK is the YCbCr of the true ink. */
static void apply_black(int color, const int16_t *black, int32_t width, uint8_t *const channel[3]) {
    const uint8_t invert = color == DMAE_COLOR_YCCK ? 255 : 0;
    for (int32_t x = 0; x < width; x++) {
        const uint8_t k = to_level(black[x]);
        for (int c = 0; c < 3; c++)
            channel[c][x] = product(channel[c][x] ^ invert, k);
    }
}

void dmae_down_scalar(int color, int count, const dmae_column *column, int32_t y, int32_t width, int16_t *const *line, uint8_t *const channel[3]) {
    for (int c = 0; c < count; c++)
        (column[c].axis->wide ? down_wide : down_narrow)(&column[c], y, width, line[c]);
    if (color == DMAE_COLOR_YCC || color == DMAE_COLOR_YCCK)
        convert_ycc((const int16_t *const *)line, width, channel);
    else
        for (int c = 0; c < 3; c++)
            for (int32_t x = 0; x < width; x++)
                channel[c][x] = to_level(line[color == DMAE_COLOR_GRAY ? 0 : c][x]);
    if (count == 4)
        apply_black(color, line[3], width, channel);
}
