/* The resize in plain C: the reference for the vector code, and the only one for rare colours and great reductions. */
#include <string.h>

#include "internal.h"
#include "resample.h"

/* Four rows at a time, their samples side by side in the 16-bit lanes of a 64-bit word: one multiplication then serves
 * four outputs. No lane overflows, because the weights of an output sum to 128. */
enum { ROWS = 4 };
#define EVERY_LANE(x) (UINT64_C(0x0001000100010001) * (x))

size_t dmae_across_lanes(const dmae_axis *axis) {
    return ((size_t)axis->available + (size_t)axis->taps) * sizeof(uint64_t);
}

static void side_by_side(const uint8_t *const row[ROWS], size_t from, size_t to, uint64_t *restrict lanes) {
    const uint8_t *restrict a = row[0], *restrict b = row[1], *restrict c = row[2], *restrict d = row[3];
    for (size_t x = from; x < to; x++)
        lanes[x] = (uint64_t)a[x] | (uint64_t)b[x] << 16 | (uint64_t)c[x] << 32 | (uint64_t)d[x] << 48;
}

static inline __attribute__((always_inline)) void four_rows(const dmae_axis *axis, int32_t taps,
                                                            const uint64_t *restrict lanes, int8_t *const row[ROWS]) {
    const uint64_t half = EVERY_LANE(1 << (DMAE_WEIGHT_BITS - 1)), centre = EVERY_LANE(128);
    const uint8_t *restrict w = axis->narrow;
    const int32_t *restrict start = axis->start;
    int8_t *restrict a = row[0], *restrict b = row[1], *restrict c = row[2], *restrict d = row[3];
    for (size_t i = 0, out = (size_t)axis->out; i < out; i++, w += taps) {
        const uint64_t *p = lanes + start[i];
        uint64_t sum = half;
        for (int32_t t = 0; t < taps; t++)
            sum += w[t] * p[t];
        sum = sum >> DMAE_WEIGHT_BITS ^ centre;
        a[i] = (int8_t)sum;
        b[i] = (int8_t)(sum >> 16);
        c[i] = (int8_t)(sum >> 32);
        d[i] = (int8_t)(sum >> 48);
    }
}

static void across_narrow(const dmae_axis *axis, const uint8_t *src, ptrdiff_t src_stride, int32_t rows, int8_t *dst,
                          ptrdiff_t dst_stride, uint64_t *lanes) {
    const int32_t a = axis->start[0], b = axis->start[axis->out - 1];
    for (int32_t y = 0; y < rows; y += ROWS) {
        const uint8_t *from[ROWS];
        int8_t *to[ROWS];
        for (int32_t r = 0; r < ROWS; r++) { /* the last row again, where there is no fourth */
            from[r] = src + (y + r < rows ? y + r : rows - 1) * src_stride;
            to[r] = dst + (y + r) * dst_stride;
        }
        side_by_side(from, (size_t)(a < b ? a : b), (size_t)((a < b ? b : a) + axis->taps), lanes);
        if (axis->taps == 2)
            four_rows(axis, 2, lanes, to);
        else if (axis->taps == 4)
            four_rows(axis, 4, lanes, to);
        else
            four_rows(axis, axis->taps, lanes, to);
    }
}

/* Narrow taps may lie past the last sample, where there is room; there can be too many wide ones for that. */
static int32_t taps_within(const dmae_axis *axis, int32_t i) {
    const int32_t left = axis->available - axis->start[i];
    return left < axis->taps ? left : axis->taps;
}

static void across_wide(const dmae_axis *axis, const uint8_t *src, int8_t *dst) {
    const int32_t *w = axis->wide;
    for (int32_t i = 0; i < axis->out; i++, w += axis->taps) {
        const uint8_t *p = src + axis->start[i];
        int32_t sum = 1 << (DMAE_WIDE_BITS - 1);
        for (int32_t t = 0, taps = taps_within(axis, i); t < taps; t++)
            sum += w[t] * p[t];
        dst[i] = (int8_t)((sum >> DMAE_WIDE_BITS) - 128);
    }
}

void dmae_across_scalar(const dmae_axis *axis, const uint8_t *src, ptrdiff_t src_stride, int32_t rows, int8_t *dst,
                        ptrdiff_t dst_stride, uint64_t *lanes) {
    if (axis->narrow)
        across_narrow(axis, src, src_stride, rows, dst, dst_stride, lanes);
    else
        for (int32_t y = 0; y < rows; y++)
            across_wide(axis, src + y * src_stride, dst + y * dst_stride);
}

/* One row of one plane: sums with DMAE_WEIGHT_BITS fractional bits, still centred. */
static void down_narrow(const dmae_column *column, int32_t y, int32_t width, int16_t *restrict line) {
    const int32_t taps = column->axis->taps;
    const uint8_t *w = column->axis->narrow + (size_t)y * (size_t)taps;
    const int8_t *p = column->rows + column->axis->start[y] * column->stride;
    for (int32_t t = 0; t < taps; t += 2, p += 2 * column->stride) {
        const int16_t first = w[t], second = w[t + 1];
        const int8_t *restrict a = p, *restrict b = p + column->stride;
        if (t == 0)
            for (int32_t x = 0; x < width; x++)
                line[x] = (int16_t)(first * a[x] + second * b[x]);
        else
            for (int32_t x = 0; x < width; x++)
                line[x] = (int16_t)(line[x] + first * a[x] + second * b[x]);
    }
}

static void down_wide(const dmae_column *column, int32_t y, int32_t width, int16_t *line) {
    const int32_t shift = DMAE_WIDE_BITS - DMAE_WEIGHT_BITS, taps = taps_within(column->axis, y);
    const int32_t *w = column->axis->wide + (size_t)y * (size_t)column->axis->taps;
    const int8_t *p = column->rows + column->axis->start[y] * column->stride;
    for (int32_t x = 0; x < width; x++) {
        int32_t sum = 1 << (shift - 1);
        for (int32_t t = 0; t < taps; t++)
            sum += w[t] * p[t * column->stride + x];
        line[x] = (int16_t)(sum >> shift);
    }
}

static inline int32_t clamp(int32_t x, int32_t low, int32_t high) {
    return x < low ? low : x > high ? high : x;
}

/* a * b / 2^15, rounded: what pmulhrsw and sqrdmulh compute. */
static inline int32_t multiply(int16_t a, int16_t b) {
    return (a * b + (1 << 14)) >> 15;
}

/* Where vector code saturates at 16 bits, this clamps at 8: what leaves the former leaves the latter. */
static inline uint8_t to_level(int32_t x) {
    return (uint8_t)clamp((x + (1 << (DMAE_WEIGHT_BITS - 1)) + (128 << DMAE_WEIGHT_BITS)) >> DMAE_WEIGHT_BITS, 0, 255);
}

/* JFIF's conversion: factors as 16-bit fractions, what exceeds 1 by an addition. */
static void convert_ycc(const int16_t *restrict luma, const int16_t *restrict blueness, const int16_t *restrict redness,
                        int32_t width, uint8_t *restrict r, uint8_t *restrict g, uint8_t *restrict b) {
    for (int32_t x = 0; x < width; x++) {
        const int16_t y = luma[x], cb = blueness[x], cr = redness[x];
        r[x] = to_level(y + cr + multiply(cr, DMAE_CR_TO_R));
        g[x] = to_level(y - multiply(cb, DMAE_CB_TO_G) - multiply(cr, DMAE_CR_TO_G));
        b[x] = to_level(y + cb + multiply(cb, DMAE_CB_TO_B));
    }
}

static void convert_plain(const int16_t *restrict line, int32_t width, uint8_t *restrict to) {
    for (int32_t x = 0; x < width; x++)
        to[x] = to_level(line[x]);
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

void dmae_down_scalar(int color, int count, const dmae_column *column, int32_t y, int32_t width, int16_t *const *line,
                      uint8_t *const channel[3]) {
    for (int c = 0; c < count; c++)
        (column[c].axis->wide ? down_wide : down_narrow)(&column[c], y, width, line[c]);
    if (color == DMAE_COLOR_YCC || color == DMAE_COLOR_YCCK)
        convert_ycc(line[0], line[1], line[2], width, channel[0], channel[1], channel[2]);
    else
        for (int c = 0; c < 3; c++)
            convert_plain(line[color == DMAE_COLOR_GRAY ? 0 : c], width, channel[c]);
    if (count == 4)
        apply_black(color, line[3], width, channel);
}
