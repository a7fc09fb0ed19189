/* The resize in plain C: the reference for the vector code, and the only one for rare colours and great reductions. */
#include <string.h>

#include "resize/resample.h"

/* Sixteen rows at a time, their samples side by side, so that one weight serves sixteen sums and compilers vectorise
 * the loops with whatever every machine of the kind has. No sum leaves 16 bits: the weights of an output sum to 128. */
enum { ROWS = 16 };

size_t dmae_across_strip(const dmae_axis *axis) {
    return ((size_t)axis->available + (size_t)axis->taps + ROWS) * ROWS;
}

/* 16 x 16 bytes, rows become columns. */
static void turn(const uint8_t *src, ptrdiff_t stride, uint8_t *restrict out) {
    for (int x = 0; x < ROWS; x++)
        for (int r = 0; r < ROWS; r++)
            out[ROWS * x + r] = src[r * stride + x];
}

/* Samples [0, count) of sixteen rows side by side, and up to fifteen more: rows are followed by DMAE_SLACK bytes. */
static void fill_strip(const uint8_t *src, ptrdiff_t stride, int32_t rows, size_t count, uint8_t *strip) {
    if (rows < ROWS) {
        for (size_t x = 0; x < count; x++)
            for (int32_t r = 0; r < ROWS; r++)
                strip[ROWS * x + (size_t)r] = src[(r < rows ? r : rows - 1) * stride + (ptrdiff_t)x];
        return;
    }
    for (size_t x = 0; x < count; x += ROWS)
        turn(src + x, stride, strip + ROWS * x);
}

/* One output of sixteen rows, centred. `taps` is known to the compiler, for it to leave no loop inside another. */
DMAE_INLINE void sixteen_rows(const uint8_t *restrict strip, int taps, const uint8_t *restrict w,
                              uint8_t *restrict out) {
    for (int r = 0; r < ROWS; r++) {
        uint16_t sum = 1 << (DMAE_WEIGHT_BITS - 1);
        for (int t = 0; t < taps; t++)
            sum = (uint16_t)(sum + w[t] * strip[t * ROWS + r]);
        out[r] = (uint8_t)(sum >> DMAE_WEIGHT_BITS ^ 128);
    }
}

#define OUTPUT_OF(taps)                                                                                                \
    static __attribute__((noinline)) void output_of_##taps(const uint8_t *strip, const uint8_t *w, uint8_t *out) {     \
        sixteen_rows(strip, taps, w, out);                                                                             \
    }
OUTPUT_OF(2)
OUTPUT_OF(4)
OUTPUT_OF(6)
OUTPUT_OF(8)
OUTPUT_OF(10)
OUTPUT_OF(12)
OUTPUT_OF(14)
OUTPUT_OF(16)

typedef void output_of(const uint8_t *strip, const uint8_t *w, uint8_t *out);
static output_of *const output_of_taps[DMAE_NARROW_TAPS / 2 + 1] = {
    NULL, output_of_2, output_of_4, output_of_6, output_of_8, output_of_10, output_of_12, output_of_14, output_of_16};

/* The last strip reaches back to be a whole one; only a plane of fewer rows is filled up. */
static void across_narrow(const dmae_axis *axis, const uint8_t *src, ptrdiff_t src_stride, int32_t rows, int8_t *dst,
                          ptrdiff_t dst_stride, uint8_t *strip) {
    const int32_t a = axis->start[0], b = axis->start[axis->out - 1], first = a < b ? a : b;
    const size_t count = (size_t)((a < b ? b : a) - first + axis->taps);
    output_of *const output = output_of_taps[axis->taps / 2];
    for (int32_t done = 0; done < rows; done += ROWS) {
        const int32_t y = done + ROWS <= rows || rows < ROWS ? done : rows - ROWS;
        const int32_t high = rows < ROWS ? rows : ROWS;
        fill_strip(src + y * src_stride + first, src_stride, high, count, strip);
        for (int32_t i = 0; i < axis->out; i += ROWS) {
            uint8_t sums[ROWS * ROWS], turned[ROWS * ROWS];
            for (int32_t k = 0; k < ROWS; k++) {
                const int32_t at = i + k < axis->out ? i + k : axis->out - 1;
                output(strip + (axis->start[at] - first) * ROWS, axis->narrow + at * axis->taps, sums + k * ROWS);
            }
            turn(sums, ROWS, turned);
            for (int32_t r = 0; r < high; r++)
                memcpy(dst + (y + r) * dst_stride + i, turned + r * ROWS, ROWS);
        }
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

void dmae_across_plain(const dmae_axis *axis, const uint8_t *src, ptrdiff_t src_stride, int32_t rows, int8_t *dst,
                       ptrdiff_t dst_stride, uint8_t *strip) {
    if (axis->narrow)
        across_narrow(axis, src, src_stride, rows, dst, dst_stride, strip);
    else
        for (int32_t y = 0; y < rows; y++)
            across_wide(axis, src + y * src_stride, dst + y * dst_stride);
}

/* One row of one plane: sums with DMAE_WEIGHT_BITS fractional bits, still centred. Two taps at a time. */
static void down_narrow(const dmae_column *column, int32_t y, int32_t width, int16_t *restrict line) {
    const int32_t taps = column->axis->taps;
    const ptrdiff_t stride = column->stride;
    const uint8_t *w = column->axis->narrow + (size_t)y * (size_t)taps;
    const int8_t *restrict p = column->rows + column->axis->start[y] * stride;
    if (taps == 4) {
        const int16_t a = w[0], b = w[1], c = w[2], d = w[3];
        for (int32_t x = 0; x < width; x++)
            line[x] = (int16_t)(a * p[x] + b * p[x + stride] + c * p[x + 2 * stride] + d * p[x + 3 * stride]);
        return;
    }
    for (int32_t t = 0; t < taps; t += 2, p += 2 * stride) {
        const int16_t a = w[t], b = w[t + 1];
        if (t == 0)
            for (int32_t x = 0; x < width; x++)
                line[x] = (int16_t)(a * p[x] + b * p[x + stride]);
        else
            for (int32_t x = 0; x < width; x++)
                line[x] = (int16_t)(line[x] + a * p[x] + b * p[x + stride]);
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

/* a * b / 2^15, rounded: what pmulhrsw and sqrdmulh compute. Written in 16 bits, as baseline vectors want it. */
DMAE_INLINE int16_t multiply(int16_t a, int16_t b) {
    const uint16_t low = (uint16_t)((uint16_t)a * (uint32_t)(uint16_t)b);
    const int16_t high = (int16_t)((a * b) >> 16);
    return (int16_t)(2 * high + (((low >> 14) + 1) >> 1));
}

/* Where vector code saturates at 16 bits, this clamps at 8: what leaves the former leaves the latter. */
static inline uint8_t to_level(int32_t x) {
    return (uint8_t)clamp((x + (1 << (DMAE_WEIGHT_BITS - 1)) + (128 << DMAE_WEIGHT_BITS)) >> DMAE_WEIGHT_BITS, 0, 255);
}

/* to_level(luma + chroma) in 16 bits, for sums of at most 2^14 and less than 2^15 in size. */
DMAE_INLINE uint8_t mixed(int16_t luma, int16_t chroma) {
    const int16_t more = chroma > 0 ? chroma : 0, less = (int16_t)(more - chroma);
    const int16_t sum = (int16_t)(luma + (1 << (DMAE_WEIGHT_BITS - 1)) + (128 << DMAE_WEIGHT_BITS) + more);
    const int16_t cut = (int16_t)((sum | sum >> 15) & 32767); /* 2^15 and more look negative: the largest then */
    const int16_t left = (int16_t)(cut - less);
    return (uint8_t)((left > 0 ? left : 0) >> DMAE_WEIGHT_BITS);
}

/* JFIF's conversion: factors as 16-bit fractions, what exceeds 1 by an addition. */
static void convert_ycc(const int16_t *restrict luma, const int16_t *restrict blueness, const int16_t *restrict redness,
                        int32_t width, uint8_t *restrict r, uint8_t *restrict g, uint8_t *restrict b) {
    for (int32_t x = 0; x < width; x++) {
        const int16_t y = luma[x], cb = blueness[x], cr = redness[x];
        r[x] = mixed(y, (int16_t)(cr + multiply(cr, DMAE_CR_TO_R)));
        g[x] = mixed(y, (int16_t)-(multiply(cb, DMAE_CB_TO_G) + multiply(cr, DMAE_CR_TO_G)));
        b[x] = mixed(y, (int16_t)(cb + multiply(cb, DMAE_CB_TO_B)));
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

void dmae_down_plain(int color, int count, const dmae_column *column, int32_t y, int32_t width, int16_t *const *line,
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
