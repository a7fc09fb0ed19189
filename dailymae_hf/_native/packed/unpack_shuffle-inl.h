/* Unpacking with byte shuffles, lane by lane: a table spreads values over the bitmap, eight positions at a time. */

/* For each byte of a bitmap the shuffle that spreads the next values over its set bits. */
#define UNPACK_BIT(b, k, i) ((b) >> (k) & 1 & ((k) < (i)))
#define UNPACK_BELOW(b, i)                                                                                             \
    (UNPACK_BIT(b, 0, i) + UNPACK_BIT(b, 1, i) + UNPACK_BIT(b, 2, i) + UNPACK_BIT(b, 3, i) + UNPACK_BIT(b, 4, i) +     \
     UNPACK_BIT(b, 5, i) + UNPACK_BIT(b, 6, i))
#define UNPACK_SPREAD(b, i) ((b) >> (i) & 1) ? UNPACK_BELOW(b, i) : 128
#define UNPACK_1(b)                                                                                                    \
    {UNPACK_SPREAD(b, 0), UNPACK_SPREAD(b, 1), UNPACK_SPREAD(b, 2), UNPACK_SPREAD(b, 3),                               \
     UNPACK_SPREAD(b, 4), UNPACK_SPREAD(b, 5), UNPACK_SPREAD(b, 6), UNPACK_SPREAD(b, 7)}
#define UNPACK_4(b) UNPACK_1(b), UNPACK_1((b) + 1), UNPACK_1((b) + 2), UNPACK_1((b) + 3)
#define UNPACK_16(b) UNPACK_4(b), UNPACK_4((b) + 4), UNPACK_4((b) + 8), UNPACK_4((b) + 12)
#define UNPACK_64(b) UNPACK_16(b), UNPACK_16((b) + 16), UNPACK_16((b) + 32), UNPACK_16((b) + 48)
static const uint8_t unpack_spread[256][8] = {UNPACK_64(0), UNPACK_64(64), UNPACK_64(128), UNPACK_64(192)};

/* Shuffles from the four 16-byte parts of a block in zigzag order (p) to the four of the vector order (idct.h). */
#define UNPACK_AT(k, p) ((k) / 16 == (p) ? (k) % 16 : 128)
#define UNPACK_PART(p, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, q)                                                 \
    {UNPACK_AT(a, p), UNPACK_AT(b, p), UNPACK_AT(c, p), UNPACK_AT(d, p), UNPACK_AT(e, p), UNPACK_AT(f, p),             \
     UNPACK_AT(g, p), UNPACK_AT(h, p), UNPACK_AT(i, p), UNPACK_AT(j, p), UNPACK_AT(k, p), UNPACK_AT(l, p),             \
     UNPACK_AT(m, p), UNPACK_AT(n, p), UNPACK_AT(o, p), UNPACK_AT(q, p)}
#define UNPACK_QUARTER(...)                                                                                            \
    {UNPACK_PART(0, __VA_ARGS__), UNPACK_PART(1, __VA_ARGS__), UNPACK_PART(2, __VA_ARGS__), UNPACK_PART(3, __VA_ARGS__)}
static const uint8_t unpack_reorder[4][4][16] = {
    UNPACK_QUARTER(0, 10, 5, 23, 1, 19, 6, 32, 3, 21, 12, 37, 8, 34, 17, 47),
    UNPACK_QUARTER(2, 9, 7, 18, 4, 11, 13, 24, 20, 35, 33, 48, 22, 36, 38, 49),
    UNPACK_QUARTER(14, 39, 27, 52, 15, 45, 28, 54, 25, 50, 41, 59, 30, 56, 43, 61),
    UNPACK_QUARTER(16, 31, 29, 44, 26, 40, 42, 53, 46, 57, 55, 62, 51, 58, 60, 63)};

/* Long values, up to 64 nibbles' values after them, and what a spread reads beyond. */
enum { UNPACK_ROOM = 64 + 64 + 8 };

/* Both kinds of values as one array of bytes (of wide values the low bytes). */
static inline void unpack_join_values(const uint8_t *v, int longs, int wide, uint8_t *to) {
    const v_lane values = v_lane_load(dmae_nibble_values), low_nibble = v_lane_splat8(15);
    const uint8_t *nibbles = v + ((size_t)longs << wide);
    v_lane_store(to, v_lane_load(v));
    v_lane_store(to + 16, v_lane_load(v + 16));
    for (int at = 32; at < longs; at += 16) /* hardly ever */
        v_lane_store(to + at, v_lane_load(v + at));
    for (int half = 0; half < 2; half++) {
        const v_lane pairs = v_lane_load(nibbles + 16 * half);
        const v_lane low = v_lane_look_up(values, v_lane_and(pairs, low_nibble));
        const v_lane high = v_lane_look_up(values, v_lane_and(v_lane_upper_nibbles(pairs), low_nibble));
        v_lane_store(to + longs + 32 * half, v_lane_zip_low8(low, high));
        v_lane_store(to + longs + 32 * half + 16, v_lane_zip_high8(low, high));
    }
}

static inline v_lane unpack_spread_eight(const uint8_t *values, uint64_t bitmap, uint64_t before, int byte) {
    return v_lane_look_up(v_lane_load8(values + (before >> 8 * byte & 0xff)),
                          v_lane_load8(unpack_spread[bitmap >> 8 * byte & 0xff]));
}

static inline v_lane unpack_spread_part(const uint8_t *values, uint64_t bitmap, uint64_t before, int part) {
    return v_lane_join_low(unpack_spread_eight(values, bitmap, before, 2 * part),
                           unpack_spread_eight(values, bitmap, before, 2 * part + 1));
}

/* How many values are set before each byte of the bitmap, as bytes. */
static inline uint64_t unpack_counts_before(uint64_t b) {
    b = b - (b >> 1 & 0x5555555555555555u);
    b = (b & 0x3333333333333333u) + (b >> 2 & 0x3333333333333333u);
    b = (b + (b >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return b * 0x0101010101010101u << 8;
}

#define UNPACK_PICK(z, quarter, part) v_lane_look_up(z, v_lane_load(unpack_reorder[quarter][part]))

static inline void unpack_expand_block(const uint8_t *values, uint64_t bitmap, int16_t *out) {
    const uint64_t before = unpack_counts_before(bitmap);
    const v_lane z0 = unpack_spread_part(values, bitmap, before, 0), z1 = unpack_spread_part(values, bitmap, before, 1);
    v_lane q0 = v_lane_or(UNPACK_PICK(z0, 0, 0), UNPACK_PICK(z1, 0, 1)),
           q1 = v_lane_or(UNPACK_PICK(z0, 1, 0), UNPACK_PICK(z1, 1, 1));
    v_lane q2 = v_lane_or(UNPACK_PICK(z0, 2, 0), UNPACK_PICK(z1, 2, 1)), q3 = UNPACK_PICK(z1, 3, 1);
    if (bitmap >> 32) {
        const v_lane z2 = unpack_spread_part(values, bitmap, before, 2),
                     z3 = unpack_spread_part(values, bitmap, before, 3);
        q0 = v_lane_or(q0, UNPACK_PICK(z2, 0, 2));
        q1 = v_lane_or(q1, v_lane_or(UNPACK_PICK(z2, 1, 2), UNPACK_PICK(z3, 1, 3)));
        q2 = v_lane_or(q2, v_lane_or(UNPACK_PICK(z2, 2, 2), UNPACK_PICK(z3, 2, 3)));
        q3 = v_lane_or(q3, v_lane_or(UNPACK_PICK(z2, 3, 2), UNPACK_PICK(z3, 3, 3)));
    }
    v_lane_store_wide(out, q0);
    v_lane_store_wide(out + 16, q1);
    v_lane_store_wide(out + 32, q2);
    v_lane_store_wide(out + 48, q3);
}

/* Rare: the low bytes are in place, but those of the leading values were taken for the whole value. */
static void unpack_widen(const dmae_group *g, int i, int16_t *out) {
    uint64_t bits = g->bitmap[i];
    for (int k = 0; k < g->longs[i]; k++, bits &= bits - 1)
        out[dmae_zigzag_to_vector[__builtin_ctzll(bits)]] =
            (int16_t)((int8_t)g->values[i][g->longs[i] + k] * 256 + g->values[i][k]);
}

static inline void unpack_expand(const dmae_group *g, int first, int last, int16_t *out, int32_t done) {
    out += 64 * done;
    /* All joins before all spreads: a load that spans two recent stores would wait for them. */
    uint8_t values[DMAE_GROUP_BLOCKS][UNPACK_ROOM];
    for (int i = first; i < last; i++)
        unpack_join_values(g->values[i], g->longs[i], g->wide[i], values[i]);
    for (int i = first; i < last; i++, out += 64) {
        unpack_expand_block(values[i], g->bitmap[i], out);
        if (__builtin_expect(g->wide[i], 0))
            unpack_widen(g, i, out);
        out[0] = g->dc[i];
    }
}

static inline unsigned unpack_count(uint64_t bits) {
    return v_count_bits(bits);
}

static int unpack_row(const dmae_packed_row *row, int32_t first, int32_t count, int16_t *out, uint64_t *bitmaps) {
    return dmae_unpack_row_with(unpack_expand, unpack_count, row, first, count, out, bitmaps);
}
