/* Unpacking without vector instructions, for loops that take several blocks at once (idct.h). */
#include "idct.h"
#include "packed.h"

/* `bits`: places still to fill, as zigzag positions less one, below a sentinel: the one value too many that an odd
 * number of nibbles brings lands, through the table's last entry, where the DC coefficient is written afterwards. */
static const uint64_t sentinel = UINT64_C(1) << 63;
#define P(natural) (natural) * DMAE_LANES
static const uint16_t place_of[64] = {
    P(1),  P(8),  P(16), P(9),  P(2),  P(3),  P(10), P(17), P(24), P(32), P(25), P(18), P(11), P(4),  P(5),  P(12),
    P(19), P(26), P(33), P(40), P(48), P(41), P(34), P(27), P(20), P(13), P(6),  P(7),  P(14), P(21), P(28), P(35),
    P(42), P(49), P(56), P(57), P(50), P(43), P(36), P(29), P(22), P(15), P(23), P(30), P(37), P(44), P(51), P(58),
    P(59), P(52), P(45), P(38), P(31), P(39), P(46), P(53), P(60), P(61), P(54), P(47), P(55), P(62), P(63), P(0)};

#define PLACE(value)                                          \
    do {                                                      \
        to[place_of[__builtin_ctzll(bits)]] = (int16_t)(value); \
        bits &= bits - 1;                                     \
    } while (0)

static inline void expand(const dmae_group *g, int first, int last, int16_t *out, int32_t done) {
    for (int i = first; i < last; i++, done++) {
        int16_t *restrict to = out + dmae_lane_place(done, 0);
        uint64_t bits = g->bitmap[i] >> 1 | sentinel;
        const uint8_t *v = g->values[i], *const nibbles = v + ((size_t)g->longs[i] << g->wide[i]);
        if (g->wide[i])
            for (int k = 0; k < g->longs[i]; k++)
                PLACE((int8_t)v[g->longs[i] + k] * 256 + v[k]);
        else
            for (; v < nibbles; v++)
                PLACE((int8_t)*v);
        for (v = nibbles; bits << 1; v++) {
            const unsigned pair = *v;
            PLACE(dmae_nibble_values[pair & 15]);
            PLACE(dmae_nibble_values[pair >> 4]);
        }
        to[0] = g->dc[i];
    }
}

int dmae_unpack_row_scalar(const dmae_packed_row *row, int32_t first, int32_t count, int16_t *out, uint64_t *bitmaps) {
    const size_t groups = ((size_t)count + DMAE_LANES - 1) / DMAE_LANES;
    memset(out, 0, groups * DMAE_LANES * 64 * sizeof *out);
    return dmae_unpack_row_with(expand, dmae_count_bits_in_c, row, first, count, out, bitmaps);
}
