/* Unpacking without vector instructions. */
#include "packed.h"

/* `bits`: places still to fill, as zigzag positions less one, below a sentinel: the one value too many that an odd
 * number of nibbles brings lands, through the table's last entry, where the DC coefficient is written afterwards. */
static const uint64_t sentinel = UINT64_C(1) << 63;
static const uint8_t place_of[64] = {
    1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48, 41,
    34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30,
    37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63, 0};

#define PLACE(value)                                           \
    do {                                                       \
        out[place_of[__builtin_ctzll(bits)]] = (int16_t)(value); \
        bits &= bits - 1;                                      \
    } while (0)

static inline void expand(const dmae_group *g, int first, int last, int16_t *out) {
    for (int i = first; i < last; i++, out += 64) {
        uint64_t bits = g->bitmap[i] >> 1 | sentinel;
        const uint8_t *v = g->values[i];
        const int longs = g->longs[i];
        memset(out, 0, 64 * sizeof *out);
        if (g->wide[i]) {
            for (int k = 0; k < longs; k++)
                PLACE((int8_t)v[longs + k] * 256 + v[k]);
            v += longs;
        } else {
            for (int k = 0; k < longs; k++)
                PLACE((int8_t)v[k]);
        }
        for (v += longs; bits << 1; v++) {
            PLACE(dmae_nibble_values[*v & 15]);
            PLACE(dmae_nibble_values[*v >> 4]);
        }
        out[0] = g->dc[i];
    }
}

int dmae_unpack_row_scalar(const dmae_packed_row *row, int32_t first, int32_t count, int16_t *out, uint64_t *bitmaps) {
    return dmae_unpack_row_with(expand, dmae_count_bits_in_c, row, first, count, out, bitmaps);
}
