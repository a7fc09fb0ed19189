/* Inverse DCTs without vector instructions, from natural order: libjpeg's factored sums, one row or column at a time,
 * leaving out what the bitmap says is zero. */
#include <string.h>

#include "idct.h"

#define INLINE static inline __attribute__((always_inline))

/* GCC's vectoriser takes the 8x8 transform's short sums apart into shuffles: a third slower. */
#if defined(__GNUC__) && !defined(__clang__)
#define NOT_VECTORISED __attribute__((optimize("no-tree-vectorize", "no-tree-slp-vectorize")))
#else
#define NOT_VECTORISED
#endif

/* Sums wrap at 32 bits, as the vector registers do: factored or not, they are then the same. */
typedef uint32_t sum;

static inline int16_t saturated(sum value, int shift) {
    const int32_t v = (int32_t)value >> shift;
    return (int16_t)(v < -32768 ? -32768 : v > 32767 ? 32767 : v);
}

static inline uint8_t pixel(sum value, int shift) {
    const int32_t v = (int32_t)value >> shift;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* For each column, its rows 1..7 as bits in zigzag order. */
static const uint64_t below_first_row[8] = {
    UINT64_C(0x80030060c),        UINT64_C(0x1400480910),      UINT64_C(0x1002200841080),
    UINT64_C(0x2804101022000),    UINT64_C(0x204408082010000), UINT64_C(0x508210044000000),
    UINT64_C(0x4890120020000000), UINT64_C(0xb0600c0000000000)};

static inline sum dequantised(const int16_t *coefficients, const int16_t *quant, int k) {
    return (sum)(int32_t)(int16_t)((int32_t)coefficients[k] * quant[k]);
}

static void flat(int dc, int side, uint8_t *dst, ptrdiff_t stride) {
    for (int y = 0; y < side; y++)
        memset(dst + y * stride, dmae_idct_mean(dc), (size_t)side);
}

/* Sums for outputs k and 7 - k: even[k] +- odd[k]. `whole`: inputs 4..7 are not all zero. */
INLINE void halves8(const sum in[8], int whole, sum round, sum even[4], sum odd[4]) {
    sum z1 = (in[2] + (whole ? in[6] : 0)) * 4433;
    const sum rise = z1 + in[2] * 6270, fall = whole ? z1 - in[6] * 15137 : z1;
    const sum a = ((in[0] + (whole ? in[4] : 0)) << 13) + round, b = ((in[0] - (whole ? in[4] : 0)) << 13) + round;
    even[0] = a + rise;
    even[1] = b + fall;
    even[2] = b - fall;
    even[3] = a - rise;
    if (!whole) {
        odd[0] = in[1] * 11363 + in[3] * 9633;
        odd[1] = in[1] * 9633 - in[3] * 2259;
        odd[2] = in[1] * 6437 - in[3] * 11362;
        odd[3] = in[1] * 2260 - in[3] * 6436;
        return;
    }
    z1 = (in[7] + in[1]) * -(sum)7373;
    const sum z2 = (in[5] + in[3]) * -(sum)20995, z5 = (in[7] + in[3] + in[5] + in[1]) * 9633;
    const sum z3 = (in[7] + in[3]) * -(sum)16069 + z5, z4 = (in[5] + in[1]) * -(sum)3196 + z5;
    odd[0] = in[1] * 12299 + z1 + z4;
    odd[1] = in[3] * 25172 + z2 + z3;
    odd[2] = in[5] * 16819 + z2 + z4;
    odd[3] = in[7] * 2446 + z1 + z3;
}

/* Returns whether a sum left 16 bits: then the vector code's rows are saturated, and these are to be. */
INLINE int columns8(const int16_t *coefficients, uint64_t bitmap, const int16_t *quant, int32_t rows[8][8]) {
    uint32_t above = 0;
    for (int c = 0; c < 8; c++) {
        const uint64_t mine = bitmap & below_first_row[c];
        sum in[8], even[4], odd[4];
        in[0] = dequantised(coefficients, quant, c);
        if (!mine) {
            for (int y = 0; y < 8; y++)
                rows[y][c] = (int32_t)(in[0] << 2);
            above |= (in[0] << 2) + 32768;
            continue;
        }
        const int whole = (mine & DMAE_HIGH_ROWS) != 0;
        for (int y = 1; y < (whole ? 8 : 4); y++)
            in[y] = dequantised(coefficients, quant, 8 * y + c);
        if (whole)
            halves8(in, 1, 1 << 10, even, odd);
        else
            halves8(in, 0, 1 << 10, even, odd);
        for (int y = 0; y < 4; y++) {
            rows[y][c] = (int32_t)(even[y] + odd[y]) >> 11;
            rows[7 - y][c] = (int32_t)(even[y] - odd[y]) >> 11;
            above |= ((uint32_t)rows[y][c] + 32768) | ((uint32_t)rows[7 - y][c] + 32768);
        }
    }
    return above >> 16 != 0;
}

INLINE void rows8(const int32_t rows[8][8], int whole, uint8_t *dst, ptrdiff_t stride) {
    for (int y = 0; y < 8; y++, dst += stride) {
        sum in[8], even[4], odd[4];
        int32_t out[8];
        uint32_t any = 0;
        for (int x = 0; x < (whole ? 8 : 4); x++)
            in[x] = (sum)rows[y][x];
        halves8(in, whole, (128 << 18) + (1 << 17), even, odd);
        for (int x = 0; x < 4; x++) {
            out[x] = (int32_t)(even[x] + odd[x]) >> 18;
            out[7 - x] = (int32_t)(even[x] - odd[x]) >> 18;
            any |= (uint32_t)(out[x] | out[7 - x]);
        }
        if (any > 255)
            for (int x = 0; x < 8; x++)
                out[x] = out[x] < 0 ? 0 : out[x] > 255 ? 255 : out[x];
        for (int x = 0; x < 8; x++)
            dst[x] = (uint8_t)out[x];
    }
}

NOT_VECTORISED void dmae_idct8_scalar(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant,
                                      int32_t count, uint8_t *dst, ptrdiff_t stride) {
    for (int32_t i = 0; i < count; i++, coefficients += 64, dst += 8) {
        int32_t rows[8][8];
        if (!(bitmaps[i] & ~(uint64_t)1)) {
            flat(coefficients[0] * quant[0], 8, dst, stride);
            continue;
        }
        if (columns8(coefficients, bitmaps[i], quant, rows))
            for (int k = 0; k < 64; k++)
                rows[k / 8][k % 8] = saturated((sum)rows[k / 8][k % 8], 0);
        if (bitmaps[i] & DMAE_HIGH_COLUMNS)
            rows8(rows, 1, dst, stride);
        else
            rows8(rows, 0, dst, stride);
    }
}

/* The 4x4 transform uses neither row 4 nor column 4. `whole`: inputs 5..7 are not all zero. */
INLINE void quarter4(const sum in[8], int whole, sum round, sum out[4]) {
    const sum mean = (in[0] << 14) + round;
    sum rise = in[2] * 15137, outer = in[1] * 20995 + in[3] * 7373, inner = in[1] * 8697 - in[3] * 17799;
    if (whole) {
        rise -= in[6] * 6270;
        outer -= in[5] * 4926 + in[7] * 4176;
        inner += in[5] * 11893 - in[7] * 1730;
    }
    out[0] = mean + rise + outer;
    out[1] = mean - rise + inner;
    out[2] = mean - rise - inner;
    out[3] = mean + rise - outer;
}

INLINE void transform4(const int16_t *coefficients, const int16_t *quant, int high_columns, int high_rows,
                       uint8_t *dst, ptrdiff_t stride) {
    sum in[8], out[4];
    int16_t rows[4][8];
    for (int c = 0; c < (high_columns ? 8 : 4); c++) {
        for (int y = 0; y < (high_rows ? 8 : 4); y++)
            in[y] = dequantised(coefficients, quant, 8 * y + c);
        quarter4(in, high_rows, 1 << 11, out);
        for (int y = 0; y < 4; y++)
            rows[y][c] = saturated(out[y], 12);
    }
    for (int y = 0; y < 4; y++) {
        for (int x = 0; x < (high_columns ? 8 : 4); x++)
            in[x] = (sum)(int32_t)rows[y][x];
        quarter4(in, high_columns, (128 << 19) + (1 << 18), out);
        for (int x = 0; x < 4; x++)
            dst[y * stride + x] = pixel(out[x], 19);
    }
}

void dmae_idct4_scalar(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                       uint8_t *dst, ptrdiff_t stride) {
    for (int32_t i = 0; i < count; i++, coefficients += 64, dst += 4) {
        const uint64_t bitmap = bitmaps[i];
        if (!(bitmap & ~(uint64_t)1))
            flat(coefficients[0] * quant[0], 4, dst, stride);
        else if (!(bitmap & DMAE_HIGH_COLUMNS))
            transform4(coefficients, quant, 0, (bitmap & DMAE_HIGH_ROWS) != 0, dst, stride);
        else if (!(bitmap & DMAE_HIGH_ROWS))
            transform4(coefficients, quant, 1, 0, dst, stride);
        else
            transform4(coefficients, quant, 1, 1, dst, stride);
    }
}

INLINE void eighth2(const sum in[8], sum round, sum out[2]) {
    const sum mean = (in[0] << 15) + round;
    const sum odd = in[1] * 29692 - in[3] * 10426 + in[5] * 6967 - in[7] * 5906;
    out[0] = mean + odd;
    out[1] = mean - odd;
}

void dmae_idct2_scalar(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                       uint8_t *dst, ptrdiff_t stride) {
    for (int32_t i = 0; i < count; i++, coefficients += 64, dst += 2) {
        sum in[8], out[2];
        int16_t rows[2][8];
        if (!(bitmaps[i] & ~(uint64_t)1)) {
            flat(coefficients[0] * quant[0], 2, dst, stride);
            continue;
        }
        for (int c = 0; c < 8; c += 1 + (c > 0)) { /* columns 0, 1, 3, 5, 7 */
            for (int y = 0; y < 8; y++)
                in[y] = dequantised(coefficients, quant, 8 * y + c);
            eighth2(in, 1 << 12, out);
            rows[0][c] = saturated(out[0], 13);
            rows[1][c] = saturated(out[1], 13);
        }
        for (int y = 0; y < 2; y++) {
            for (int x = 0; x < 8; x += 1 + (x > 0))
                in[x] = (sum)(int32_t)rows[y][x];
            eighth2(in, (128 << 20) + (1 << 19), out);
            dst[y * stride] = pixel(out[0], 20);
            dst[y * stride + 1] = pixel(out[1], 20);
        }
    }
}
