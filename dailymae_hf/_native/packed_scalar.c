/* Unpacking without vector instructions. */
#include "packed.h"

static void place(uint64_t *bits, int16_t *block, int value) {
    block[dmae_zigzag[__builtin_ctzll(*bits)]] = (int16_t)value;
    *bits &= *bits - 1;
}

static void expand(const dmae_group *g, int first, int last, int16_t *out) {
    for (int i = first; i < last; i++, out += 64) {
        uint64_t bits = g->bitmap[i];
        const uint8_t *v = g->values[i];
        int longs = g->longs[i];
        memset(out, 0, 64 * sizeof *out);
        out[0] = g->dc[i];
        if (g->wide[i]) {
            for (int k = 0; k < longs; k++)
                place(&bits, out, (int8_t)v[longs + k] * 256 + v[k]);
            v += 2 * longs;
        } else {
            for (int k = 0; k < longs; k++)
                place(&bits, out, (int8_t)v[k]);
            v += longs;
        }
        while (bits) {
            place(&bits, out, dmae_nibble_value(*v & 15));
            if (bits)
                place(&bits, out, dmae_nibble_value(*v >> 4));
            v++;
        }
    }
}

int dmae_unpack_row_scalar(const dmae_packed_row *row, int32_t first, int32_t count, int16_t *out, uint64_t *bitmaps) {
    return dmae_unpack_row_with(expand, row, first, count, out, bitmaps);
}
