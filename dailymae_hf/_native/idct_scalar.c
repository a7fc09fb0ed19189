/* Inverse DCTs without vector instructions: libjpeg's sums for DMAE_LANES blocks side by side, as loops that compilers
 * vectorise with whatever every machine of the kind has. Coefficients come as dmae_lane_place says. */
#include <string.h>

#include "idct.h"

#define INLINE static inline __attribute__((always_inline))
#define EACH_LANE for (int lane = 0; lane < DMAE_LANES; lane++)

/* Sums wrap at 32 bits, as the vector registers do. */
typedef uint32_t sum;
typedef int16_t lanes[DMAE_LANES];
typedef uint32_t pixels[DMAE_LANES];

static inline sum times(int16_t value, int factor) {
    return (sum)(value * factor);
}

static inline int16_t dequantised(int16_t coefficient, int16_t quant) {
    return (int16_t)(coefficient * quant);
}

/* A sum scaled back, plus 2^15: larger than 16 bits where the vector code would saturate. */
static inline uint32_t lifted(sum value, int shift) {
    return (value + (UINT32_C(32768) << shift)) >> shift;
}

static inline int16_t saturated(sum value, int shift) {
    const int32_t v = (int32_t)value >> shift;
    return (int16_t)(v < -32768 ? -32768 : v > 32767 ? 32767 : v);
}

/* For each column, its rows 1..7 as bits in zigzag order. */
static const uint64_t below_first_row[8] = {
    UINT64_C(0x80030060c),        UINT64_C(0x1400480910),      UINT64_C(0x1002200841080),
    UINT64_C(0x2804101022000),    UINT64_C(0x204408082010000), UINT64_C(0x508210044000000),
    UINT64_C(0x4890120020000000), UINT64_C(0xb0600c0000000000)};

/* Sums for outputs k and 7 - k: even[k] +- odd[k]. `used`: inputs that are not all zero, 4 or 8. What libjpeg factors
 * is multiplied out, so that every product is one of two 16-bit numbers. */
INLINE void halves8(const int16_t in[8], int used, sum round, sum even[4], sum odd[4]) {
    const int whole = used > 4;
    sum a = ((sum)in[0] << 13) + round, b = a, rise = times(in[2], 10703), fall = times(in[2], 4433);
    if (whole) {
        a += (sum)in[4] << 13;
        b -= (sum)in[4] << 13;
        rise += times(in[6], 4433);
        fall -= times(in[6], 10704);
    }
    even[0] = a + rise;
    even[1] = b + fall;
    even[2] = b - fall;
    even[3] = a - rise;
    odd[0] = times(in[1], 11363) + times(in[3], 9633);
    odd[1] = times(in[1], 9633) - times(in[3], 2259);
    odd[2] = times(in[1], 6437) - times(in[3], 11362);
    odd[3] = times(in[1], 2260) - times(in[3], 6436);
    if (whole) {
        odd[0] += times(in[5], 6437) + times(in[7], 2260);
        odd[1] -= times(in[5], 11362) + times(in[7], 6436);
        odd[2] += times(in[5], 2261) + times(in[7], 9633);
        odd[3] += times(in[5], 9633) - times(in[7], 11363);
    }
}

/* One column of all lanes; `rows` has eight columns. Returns more than 16 bits where a sum left 16 bits and `exact` did not saturate it. */
INLINE uint32_t column8(const int16_t *coefficients, const int16_t *quant, int used, int exact, lanes *restrict rows) {
    uint32_t above = 0;
    EACH_LANE {
        int16_t in[8];
        sum even[4], odd[4];
        for (int y = 0; y < used; y++)
            in[y] = dequantised(coefficients[8 * DMAE_LANES * y + lane], quant[8 * y]);
        halves8(in, used, 1 << 10, even, odd);
        for (int y = 0; y < 4; y++) {
            if (exact) {
                rows[8 * y][lane] = saturated(even[y] + odd[y], 11);
                rows[8 * (7 - y)][lane] = saturated(even[y] - odd[y], 11);
            } else {
                const uint32_t upper = lifted(even[y] + odd[y], 11), lower = lifted(even[y] - odd[y], 11);
                above |= upper | lower;
                rows[8 * y][lane] = (int16_t)(upper - 32768);
                rows[8 * (7 - y)][lane] = (int16_t)(lower - 32768);
            }
        }
    }
    return above;
}

/* A column whose rows 1..7 are zero in every lane. */
INLINE void level_column8(const int16_t *coefficients, int16_t quant, lanes *rows) {
    lanes level;
    EACH_LANE level[lane] = saturated((sum)dequantised(coefficients[lane], quant) << 2, 0);
    for (int y = 0; y < 8; y++)
        memcpy(rows[8 * y], level, sizeof level);
}

static void column8_low(const int16_t *coefficients, const int16_t *quant, lanes *rows) {
    if (column8(coefficients, quant, 4, 0, rows) >> 16)
        column8(coefficients, quant, 4, 1, rows);
}

static void column8_whole(const int16_t *coefficients, const int16_t *quant, lanes *rows) {
    if (column8(coefficients, quant, 8, 0, rows) >> 16)
        column8(coefficients, quant, 8, 1, rows);
}

/* Bytes of a row: four pixels in each word. */
INLINE void store_row(const pixels *row, int side, int blocks, uint8_t *dst) {
    const int words = side > 4 ? 2 : 1;
    uint32_t packed[DMAE_LANES * 2];
    EACH_LANE for (int w = 0; w < words; w++)
        packed[words * lane + w] = row[4 * w][lane] | row[4 * w + 1][lane] << 8 | row[4 * w + 2][lane] << 16 |
                                   row[4 * w + 3][lane] << 24;
    memcpy(dst, packed, (size_t)(blocks * side));
}

static void clamp_row(pixels *row, int side) {
    for (int x = 0; x < side; x++)
        EACH_LANE {
            const int32_t v = (int32_t)row[x][lane];
            row[x][lane] = (uint32_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
}

INLINE void row8(const lanes *in_lanes, int used, int blocks, uint8_t *dst) {
    pixels out[8];
    uint32_t any = 0;
    EACH_LANE {
        int16_t in[8];
        sum even[4], odd[4];
        for (int x = 0; x < used; x++)
            in[x] = in_lanes[x][lane];
        halves8(in, used, (128 << 18) + (1 << 17), even, odd);
        for (int x = 0; x < 4; x++) {
            out[x][lane] = (uint32_t)((int32_t)(even[x] + odd[x]) >> 18);
            out[7 - x][lane] = (uint32_t)((int32_t)(even[x] - odd[x]) >> 18);
            any |= out[x][lane] | out[7 - x][lane];
        }
    }
    if (any > 255)
        clamp_row(out, 8);
    store_row(out, 8, blocks, dst);
}

static void rows8_low(const lanes *rows, int blocks, uint8_t *dst, ptrdiff_t stride) {
    for (int y = 0; y < 8; y++)
        row8(rows + 8 * y, 4, blocks, dst + y * stride);
}

static void rows8_whole(const lanes *rows, int blocks, uint8_t *dst, ptrdiff_t stride) {
    for (int y = 0; y < 8; y++)
        row8(rows + 8 * y, 8, blocks, dst + y * stride);
}

static void transform8(const int16_t *coefficients, uint64_t any, const int16_t *quant, int blocks, uint8_t *dst,
                       ptrdiff_t stride) {
    lanes rows[64];
    const int used = any & DMAE_HIGH_COLUMNS ? 8 : 4;
    for (int c = 0; c < used; c++, coefficients += DMAE_LANES, quant++) {
        const uint64_t mine = any & below_first_row[c];
        if (mine & DMAE_HIGH_ROWS)
            column8_whole(coefficients, quant, rows + c);
        else if (mine)
            column8_low(coefficients, quant, rows + c);
        else
            level_column8(coefficients, *quant, rows + c);
    }
    (used > 4 ? rows8_whole : rows8_low)(rows, blocks, dst, stride);
}

/* The 4x4 transform uses neither row 4 nor column 4. */
INLINE void quarter4(const int16_t in[8], sum round, sum out[4]) {
    const sum mean = ((sum)in[0] << 14) + round, rise = times(in[2], 15137) - times(in[6], 6270);
    const sum outer = times(in[1], 20995) + times(in[3], 7373) - times(in[5], 4926) - times(in[7], 4176);
    const sum inner = times(in[1], 8697) - times(in[3], 17799) + times(in[5], 11893) - times(in[7], 1730);
    out[0] = mean + rise + outer;
    out[1] = mean - rise + inner;
    out[2] = mean - rise - inner;
    out[3] = mean + rise - outer;
}

INLINE void eighth2(const int16_t in[8], sum round, sum out[2]) {
    const sum mean = ((sum)in[0] << 15) + round;
    const sum odd = times(in[1], 29692) - times(in[3], 10426) + times(in[5], 6967) - times(in[7], 5906);
    out[0] = mean + odd;
    out[1] = mean - odd;
}

/* Both passes of a reduced transform: `side` outputs, `first` and `second` bits to scale back by. */
INLINE void transform_reduced(int side, int first, int second, const int16_t *coefficients, const int16_t *quant,
                              int blocks, uint8_t *dst, ptrdiff_t stride) {
    lanes rows[4][8];
    sum out[4];
    for (int c = 0; c < 8; c++)
        EACH_LANE {
            int16_t in[8];
            for (int y = 0; y < 8; y++)
                in[y] = dequantised(coefficients[DMAE_LANES * (8 * y + c) + lane], quant[8 * y + c]);
            if (side == 4)
                quarter4(in, UINT32_C(1) << (first - 1), out);
            else
                eighth2(in, UINT32_C(1) << (first - 1), out);
            for (int y = 0; y < side; y++)
                rows[y][c][lane] = saturated(out[y], first);
        }
    for (int y = 0; y < side; y++, dst += stride) {
        pixels row[4] = {{0}};
        EACH_LANE {
            int16_t in[8];
            for (int x = 0; x < 8; x++)
                in[x] = rows[y][x][lane];
            const sum round = (UINT32_C(128) << second) + (UINT32_C(1) << (second - 1));
            if (side == 4)
                quarter4(in, round, out);
            else
                eighth2(in, round, out);
            for (int x = 0; x < side; x++)
                row[x][lane] = (uint32_t)((int32_t)out[x] >> second);
        }
        clamp_row(row, side);
        if (side == 4)
            store_row(row, 4, blocks, dst);
        else
            for (int i = 0; i < blocks; i++) {
                dst[2 * i] = (uint8_t)row[0][i];
                dst[2 * i + 1] = (uint8_t)row[1][i];
            }
    }
}

static void transform4(const int16_t *coefficients, uint64_t any, const int16_t *quant, int blocks, uint8_t *dst,
                       ptrdiff_t stride) {
    (void)any;
    transform_reduced(4, 12, 19, coefficients, quant, blocks, dst, stride);
}

static void transform2(const int16_t *coefficients, uint64_t any, const int16_t *quant, int blocks, uint8_t *dst,
                       ptrdiff_t stride) {
    (void)any;
    transform_reduced(2, 13, 20, coefficients, quant, blocks, dst, stride);
}

typedef void transform(const int16_t *coefficients, uint64_t any, const int16_t *quant, int blocks, uint8_t *dst,
                       ptrdiff_t stride);

INLINE void each_group(transform *f, int side, const int16_t *coefficients, const uint64_t *bitmaps,
                       const int16_t *quant, int32_t count, uint8_t *dst, ptrdiff_t stride) {
    for (; count > 0; count -= DMAE_LANES, coefficients += 64 * DMAE_LANES, bitmaps += DMAE_LANES) {
        const int blocks = count < DMAE_LANES ? count : DMAE_LANES;
        uint64_t any = 0;
        for (int i = 0; i < blocks; i++)
            any |= bitmaps[i] & ~(uint64_t)1;
        if (any)
            f(coefficients, any, quant, blocks, dst, stride);
        else
            for (int i = 0; i < blocks; i++)
                for (int y = 0; y < side; y++)
                    memset(dst + y * stride + i * side, dmae_idct_mean(coefficients[i] * quant[0]), (size_t)side);
        dst += DMAE_LANES * side;
    }
}

void dmae_idct8_scalar(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                       uint8_t *dst, ptrdiff_t stride) {
    each_group(transform8, 8, coefficients, bitmaps, quant, count, dst, stride);
}

void dmae_idct4_scalar(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                       uint8_t *dst, ptrdiff_t stride) {
    each_group(transform4, 4, coefficients, bitmaps, quant, count, dst, stride);
}

void dmae_idct2_scalar(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                       uint8_t *dst, ptrdiff_t stride) {
    each_group(transform2, 2, coefficients, bitmaps, quant, count, dst, stride);
}
