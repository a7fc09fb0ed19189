/* Unpacking without registers, for loops that take several blocks at once (idct.h). */

/* `bits`: places still to fill, as zigzag positions less one, below a unpack_sentinel: the one value too many that an
 * odd number of nibbles brings lands, through the table's last entry, where the DC coefficient is written afterwards.
 */
static const uint64_t unpack_sentinel = UINT64_C(1) << 63;
#define UNPACK_P(natural) ((natural) * DMAE_LANES)
static const uint16_t unpack_place_of[64] = {
    UNPACK_P(1),  UNPACK_P(8),  UNPACK_P(16), UNPACK_P(9),  UNPACK_P(2),  UNPACK_P(3),  UNPACK_P(10), UNPACK_P(17),
    UNPACK_P(24), UNPACK_P(32), UNPACK_P(25), UNPACK_P(18), UNPACK_P(11), UNPACK_P(4),  UNPACK_P(5),  UNPACK_P(12),
    UNPACK_P(19), UNPACK_P(26), UNPACK_P(33), UNPACK_P(40), UNPACK_P(48), UNPACK_P(41), UNPACK_P(34), UNPACK_P(27),
    UNPACK_P(20), UNPACK_P(13), UNPACK_P(6),  UNPACK_P(7),  UNPACK_P(14), UNPACK_P(21), UNPACK_P(28), UNPACK_P(35),
    UNPACK_P(42), UNPACK_P(49), UNPACK_P(56), UNPACK_P(57), UNPACK_P(50), UNPACK_P(43), UNPACK_P(36), UNPACK_P(29),
    UNPACK_P(22), UNPACK_P(15), UNPACK_P(23), UNPACK_P(30), UNPACK_P(37), UNPACK_P(44), UNPACK_P(51), UNPACK_P(58),
    UNPACK_P(59), UNPACK_P(52), UNPACK_P(45), UNPACK_P(38), UNPACK_P(31), UNPACK_P(39), UNPACK_P(46), UNPACK_P(53),
    UNPACK_P(60), UNPACK_P(61), UNPACK_P(54), UNPACK_P(47), UNPACK_P(55), UNPACK_P(62), UNPACK_P(63), UNPACK_P(0)};

#define UNPACK_PLACE(value)                                                                                            \
    do {                                                                                                               \
        to[unpack_place_of[__builtin_ctzll(bits)]] = (int16_t)(value);                                                 \
        bits &= bits - 1;                                                                                              \
    } while (0)

static inline void unpack_expand(const dmae_group *g, int first, int last, int16_t *out, int32_t done) {
    for (int i = first; i < last; i++, done++) {
        int16_t *restrict to = out + dmae_lane_place(done, 0);
        uint64_t bits = g->bitmap[i] >> 1 | unpack_sentinel;
        const uint8_t *v = g->values[i], *const nibbles = v + ((size_t)g->longs[i] << g->wide[i]);
        if (g->wide[i])
            for (int k = 0; k < g->longs[i]; k++)
                UNPACK_PLACE((int8_t)v[g->longs[i] + k] * 256 + v[k]);
        else
            for (; v < nibbles; v++)
                UNPACK_PLACE((int8_t)*v);
        for (v = nibbles; bits << 1; v++) {
            const unsigned pair = *v;
            UNPACK_PLACE(dmae_nibble_values[pair & 15]);
            UNPACK_PLACE(dmae_nibble_values[pair >> 4]);
        }
        to[0] = g->dc[i];
    }
}

static inline unsigned unpack_count(uint64_t b) {
    return dmae_count_bits(b);
}

static int unpack_row(const dmae_packed_row *row, int32_t first, int32_t count, int16_t *out, uint64_t *bitmaps) {
    const size_t groups = ((size_t)count + DMAE_LANES - 1) / DMAE_LANES;
    memset(out, 0, groups * DMAE_LANES * 64 * sizeof *out);
    return dmae_unpack_row_with(unpack_expand, unpack_count, row, first, count, out, bitmaps);
}
