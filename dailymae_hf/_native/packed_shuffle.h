/* Unpacking with byte shuffles of 128 bits, written once: values are spread over the bitmap eight positions at a time,
 * by a table. The including file defines
 *   vec                   16 bytes;   load, store: unaligned;   load8: eight bytes to the lower half
 *   look_up               (table, index) -> bytes; an index with its highest bit set gives 0
 *   either, both          bits of one or of two;   upper_nibbles: of every byte, other bits undefined
 *   zip_low, zip_high     bytes of two vectors, alternately;   halves: the lower halves of two
 *   splat8, store_wide    one byte repeated; 16 signed bytes stored as 16-bit numbers
 *   COUNT_BITS, UNPACK    the count that dmae_group_open uses; the name of the reader
 * and must not be included twice. */

/* For each byte of a bitmap the shuffle that spreads the next values over its set bits. */
#define BIT(b, k, i) ((b) >> (k)&1 & ((k) < (i)))
#define BELOW(b, i) \
    (BIT(b, 0, i) + BIT(b, 1, i) + BIT(b, 2, i) + BIT(b, 3, i) + BIT(b, 4, i) + BIT(b, 5, i) + BIT(b, 6, i))
#define SPREAD1(b, i) ((b) >> (i)&1) ? BELOW(b, i) : 128
#define S1(b) {SPREAD1(b, 0), SPREAD1(b, 1), SPREAD1(b, 2), SPREAD1(b, 3), \
               SPREAD1(b, 4), SPREAD1(b, 5), SPREAD1(b, 6), SPREAD1(b, 7)}
#define S4(b) S1(b), S1((b) + 1), S1((b) + 2), S1((b) + 3)
#define S16(b) S4(b), S4((b) + 4), S4((b) + 8), S4((b) + 12)
#define S64(b) S16(b), S16((b) + 16), S16((b) + 32), S16((b) + 48)
static const uint8_t spread[256][8] = {S64(0), S64(64), S64(128), S64(192)};

/* Shuffles from the four 16-byte parts of a block in zigzag order (p) to the four of the vector order (idct.h). */
#define Z(k, p) ((k) / 16 == (p) ? (k) % 16 : 128)
#define PART(p, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, q)                                      \
    {Z(a, p), Z(b, p), Z(c, p), Z(d, p), Z(e, p), Z(f, p), Z(g, p), Z(h, p), Z(i, p), Z(j, p), Z(k, p), \
     Z(l, p), Z(m, p), Z(n, p), Z(o, p), Z(q, p)}
#define QUARTER(...) {PART(0, __VA_ARGS__), PART(1, __VA_ARGS__), PART(2, __VA_ARGS__), PART(3, __VA_ARGS__)}
static const uint8_t reorder[4][4][16] = {
    QUARTER(0, 10, 5, 23, 1, 19, 6, 32, 3, 21, 12, 37, 8, 34, 17, 47),
    QUARTER(2, 9, 7, 18, 4, 11, 13, 24, 20, 35, 33, 48, 22, 36, 38, 49),
    QUARTER(14, 39, 27, 52, 15, 45, 28, 54, 25, 50, 41, 59, 30, 56, 43, 61),
    QUARTER(16, 31, 29, 44, 26, 40, 42, 53, 46, 57, 55, 62, 51, 58, 60, 63)};

enum { ROOM = 64 + 64 + 8 }; /* long values, up to 64 nibbles' values after them, and what a spread reads beyond */

/* Both kinds of values as one array of bytes (of wide values the low bytes). */
static inline void join_values(const uint8_t *v, int longs, int wide, uint8_t *to) {
    const vec values = load(dmae_nibble_values), low_nibble = splat8(15);
    const uint8_t *nibbles = v + ((size_t)longs << wide);
    store(to, load(v));
    store(to + 16, load(v + 16));
    for (int at = 32; at < longs; at += 16) /* hardly ever */
        store(to + at, load(v + at));
    for (int half = 0; half < 2; half++) {
        const vec pairs = load(nibbles + 16 * half);
        const vec low = look_up(values, both(pairs, low_nibble));
        const vec high = look_up(values, both(upper_nibbles(pairs), low_nibble));
        store(to + longs + 32 * half, zip_low(low, high));
        store(to + longs + 32 * half + 16, zip_high(low, high));
    }
}

static inline vec spread_eight(const uint8_t *values, uint64_t bitmap, uint64_t before, int byte) {
    return look_up(load8(values + (before >> 8 * byte & 0xff)), load8(spread[bitmap >> 8 * byte & 0xff]));
}

static inline vec spread_part(const uint8_t *values, uint64_t bitmap, uint64_t before, int part) {
    return halves(spread_eight(values, bitmap, before, 2 * part), spread_eight(values, bitmap, before, 2 * part + 1));
}

/* How many values are set before each byte of the bitmap, as bytes. */
static inline uint64_t counts_before(uint64_t b) {
    b = b - (b >> 1 & 0x5555555555555555u);
    b = (b & 0x3333333333333333u) + (b >> 2 & 0x3333333333333333u);
    b = (b + (b >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return b * 0x0101010101010101u << 8;
}

#define PICK(z, quarter, part) look_up(z, load(reorder[quarter][part]))

static inline void expand_block(const uint8_t *values, uint64_t bitmap, int16_t *out) {
    const uint64_t before = counts_before(bitmap);
    const vec z0 = spread_part(values, bitmap, before, 0), z1 = spread_part(values, bitmap, before, 1);
    vec q0 = either(PICK(z0, 0, 0), PICK(z1, 0, 1)), q1 = either(PICK(z0, 1, 0), PICK(z1, 1, 1));
    vec q2 = either(PICK(z0, 2, 0), PICK(z1, 2, 1)), q3 = PICK(z1, 3, 1);
    if (bitmap >> 32) {
        const vec z2 = spread_part(values, bitmap, before, 2), z3 = spread_part(values, bitmap, before, 3);
        q0 = either(q0, PICK(z2, 0, 2));
        q1 = either(q1, either(PICK(z2, 1, 2), PICK(z3, 1, 3)));
        q2 = either(q2, either(PICK(z2, 2, 2), PICK(z3, 2, 3)));
        q3 = either(q3, either(PICK(z2, 3, 2), PICK(z3, 3, 3)));
    }
    store_wide(out, q0);
    store_wide(out + 16, q1);
    store_wide(out + 32, q2);
    store_wide(out + 48, q3);
}

/* Rare: the low bytes are in place, but those of the leading values were taken for the whole value. */
static void widen(const dmae_group *g, int i, int16_t *out) {
    uint64_t bits = g->bitmap[i];
    for (int k = 0; k < g->longs[i]; k++, bits &= bits - 1)
        out[dmae_zigzag_to_vector[__builtin_ctzll(bits)]] =
            (int16_t)((int8_t)g->values[i][g->longs[i] + k] * 256 + g->values[i][k]);
}

static inline void expand(const dmae_group *g, int first, int last, int16_t *out, int32_t done) {
    out += 64 * done;
    /* All joins before all spreads: a load that spans two recent stores would wait for them. */
    uint8_t values[DMAE_GROUP_BLOCKS][ROOM];
    for (int i = first; i < last; i++)
        join_values(g->values[i], g->longs[i], g->wide[i], values[i]);
    for (int i = first; i < last; i++, out += 64) {
        expand_block(values[i], g->bitmap[i], out);
        if (__builtin_expect(g->wide[i], 0))
            widen(g, i, out);
        out[0] = g->dc[i];
    }
}

int UNPACK(const dmae_packed_row *row, int32_t first, int32_t count, int16_t *out, uint64_t *bitmaps) {
    return dmae_unpack_row_with(expand, COUNT_BITS, row, first, count, out, bitmaps);
}
