/* Inverse DCTs in plain C, from natural order: the same sums as idct_lanes.h, one block at a time. Each step is a
 * loop over eight columns without branches, which compilers turn into the vectors that every machine has. */
#include <string.h>

#include "idct.h"

typedef uint32_t sum; /* wraps at 32 bits, as the vector registers do */

static inline sum product(int16_t a, int constant) {
    return (sum)((int32_t)a * constant);
}

static inline int16_t saturated(int32_t value) {
    return (int16_t)(value < -32768 ? -32768 : value > 32767 ? 32767 : value);
}

static inline uint8_t pixel(int32_t value) {
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void dequantise(const int16_t *coefficients, const int16_t *quant, int16_t out[8][8]) {
    for (int k = 0; k < 64; k++)
        out[k / 8][k % 8] = (int16_t)((int32_t)coefficients[k] * quant[k]);
}

static void transpose(int16_t block[8][8]) {
    int16_t copy[8][8];
    memcpy(copy, block, sizeof copy);
    for (int y = 0; y < 8; y++)
        for (int x = 0; x < 8; x++)
            block[y][x] = copy[x][y];
}

static void flat(int dc, int side, uint8_t *dst, ptrdiff_t stride) {
    for (int y = 0; y < side; y++)
        memset(dst + y * stride, dmae_idct_mean(dc), (size_t)side);
}

/* Outputs k and 7 - k are even[k] +- odd[k]. */
static inline void halves8(const int16_t in[8][8], int whole, sum round, sum even[4][8], sum odd[4][8]) {
    for (int c = 0; c < 8; c++) {
        sum mean = product(in[0][c], 8192) + round, rise = product(in[2][c], 10703), fall = product(in[2][c], 4433);
        even[0][c] = mean + rise;
        even[1][c] = mean + fall;
        even[2][c] = mean - fall;
        even[3][c] = mean - rise;
    }
    for (int c = 0; c < 8; c++) {
        odd[0][c] = product(in[1][c], 11363) + product(in[3][c], 9633);
        odd[1][c] = product(in[1][c], 9633) + product(in[3][c], -2259);
        odd[2][c] = product(in[1][c], 6437) + product(in[3][c], -11362);
        odd[3][c] = product(in[1][c], 2260) + product(in[3][c], -6436);
    }
    if (!whole)
        return;
    for (int c = 0; c < 8; c++) {
        sum mean = product(in[4][c], 8192), rise = product(in[6][c], 4433), fall = product(in[6][c], 10704);
        even[0][c] += mean + rise;
        even[1][c] -= mean + fall;
        even[2][c] -= mean - fall;
        even[3][c] += mean - rise;
    }
    for (int c = 0; c < 8; c++) {
        odd[0][c] += product(in[5][c], 6437) + product(in[7][c], 2260);
        odd[1][c] += product(in[5][c], -11362) + product(in[7][c], -6436);
        odd[2][c] += product(in[5][c], 2261) + product(in[7][c], 9633);
        odd[3][c] += product(in[5][c], 9633) + product(in[7][c], -11363);
    }
}

/* One pass over all columns; `whole`: rows 4..7 are not all zero. */
static void pass8(int16_t block[8][8], int whole, sum round, int shift) {
    sum even[4][8], odd[4][8];
    halves8(block, whole, round, even, odd);
    for (int k = 0; k < 4; k++)
        for (int c = 0; c < 8; c++) {
            block[k][c] = saturated((int32_t)(even[k][c] + odd[k][c]) >> shift);
            block[7 - k][c] = saturated((int32_t)(even[k][c] - odd[k][c]) >> shift);
        }
}

void dmae_idct8_scalar(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                       uint8_t *dst, ptrdiff_t stride) {
    for (int32_t i = 0; i < count; i++, coefficients += 64, dst += 8) {
        int16_t block[8][8];
        if (!(bitmaps[i] & ~(uint64_t)1)) {
            flat(coefficients[0] * quant[0], 8, dst, stride);
            continue;
        }
        dequantise(coefficients, quant, block);
        pass8(block, (bitmaps[i] & DMAE_HIGH_ROWS) != 0, 1 << 10, 11);
        transpose(block);
        pass8(block, (bitmaps[i] & DMAE_HIGH_COLUMNS) != 0, (128 << 18) + (1 << 17), 18);
        transpose(block);
        for (int y = 0; y < 8; y++)
            for (int x = 0; x < 8; x++)
                dst[y * stride + x] = pixel(block[y][x]);
    }
}

static void pass4(int16_t block[8][8], sum round, int shift) {
    for (int c = 0; c < 8; c++) {
        sum mean = product(block[0][c], 16384) + round;
        sum rise = product(block[2][c], 15137) + product(block[6][c], -6270);
        sum outer = product(block[1][c], 20995) + product(block[3][c], 7373) + product(block[5][c], -4926) +
                    product(block[7][c], -4176);
        sum inner = product(block[1][c], 8697) + product(block[3][c], -17799) + product(block[5][c], 11893) +
                    product(block[7][c], -1730);
        block[0][c] = saturated((int32_t)(mean + rise + outer) >> shift);
        block[1][c] = saturated((int32_t)(mean - rise + inner) >> shift);
        block[2][c] = saturated((int32_t)(mean - rise - inner) >> shift);
        block[3][c] = saturated((int32_t)(mean + rise - outer) >> shift);
    }
}

void dmae_idct4_scalar(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                       uint8_t *dst, ptrdiff_t stride) {
    for (int32_t i = 0; i < count; i++, coefficients += 64, dst += 4) {
        int16_t block[8][8];
        if (!(bitmaps[i] & ~(uint64_t)1)) {
            flat(coefficients[0] * quant[0], 4, dst, stride);
            continue;
        }
        dequantise(coefficients, quant, block);
        pass4(block, 1 << 11, 12);
        transpose(block);
        pass4(block, (128 << 19) + (1 << 18), 19);
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 4; x++)
                dst[y * stride + x] = pixel(block[x][y]);
    }
}

static void pass2(int16_t block[8][8], sum round, int shift) {
    for (int c = 0; c < 8; c++) {
        sum mean = 2 * product(block[0][c], 16384) + round;
        sum odd = product(block[1][c], 29692) + product(block[3][c], -10426) + product(block[5][c], 6967) +
                  product(block[7][c], -5906);
        block[0][c] = saturated((int32_t)(mean + odd) >> shift);
        block[1][c] = saturated((int32_t)(mean - odd) >> shift);
    }
}

void dmae_idct2_scalar(const int16_t *coefficients, const uint64_t *bitmaps, const int16_t *quant, int32_t count,
                       uint8_t *dst, ptrdiff_t stride) {
    for (int32_t i = 0; i < count; i++, coefficients += 64, dst += 2) {
        int16_t block[8][8];
        if (!(bitmaps[i] & ~(uint64_t)1)) {
            flat(coefficients[0] * quant[0], 2, dst, stride);
            continue;
        }
        dequantise(coefficients, quant, block);
        pass2(block, 1 << 12, 13);
        transpose(block);
        pass2(block, (128 << 20) + (1 << 19), 20);
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 2; x++)
                dst[y * stride + x] = pixel(block[x][y]);
    }
}
