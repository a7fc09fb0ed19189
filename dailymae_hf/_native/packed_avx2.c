/* Unpacking with AVX2: values are spread over the bitmap eight positions at a time, by a table of shuffles. */
#include "packed.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,bmi,bmi2,popcnt")))

/* For each byte of a bitmap the shuffle that spreads the next values over its set bits; 0x80 makes a zero. */
#define LANE(b, i) ((uint64_t)((b) >> (i)&1 ? __builtin_popcount((b) & ((1 << (i)) - 1)) : 0x80) << (8 * (i)))
#define S1(b) LANE(b, 0) | LANE(b, 1) | LANE(b, 2) | LANE(b, 3) | LANE(b, 4) | LANE(b, 5) | LANE(b, 6) | LANE(b, 7)
#define S4(b) S1(b), S1((b) + 1), S1((b) + 2), S1((b) + 3)
#define S16(b) S4(b), S4((b) + 4), S4((b) + 8), S4((b) + 12)
#define S64(b) S16(b), S16((b) + 16), S16((b) + 32), S16((b) + 48)
static const uint64_t spread[256] = {S64(0), S64(64), S64(128), S64(192)};

/* Shuffles from the four 16-byte parts of a block in zigzag order to the four of the vector order (idct.h). */
#define Z(k, part) ((k) >> 4 == (part) ? (k)&15 : -128)
#define PART(p, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, q)                                                      \
    _mm_setr_epi8(Z(a, p), Z(b, p), Z(c, p), Z(d, p), Z(e, p), Z(f, p), Z(g, p), Z(h, p), Z(i, p), Z(j, p), Z(k, p), \
                  Z(l, p), Z(m, p), Z(n, p), Z(o, p), Z(q, p))
#define QUARTER0(p) PART(p, 0, 10, 5, 23, 1, 19, 6, 32, 3, 21, 12, 37, 8, 34, 17, 47)
#define QUARTER1(p) PART(p, 2, 9, 7, 18, 4, 11, 13, 24, 20, 35, 33, 48, 22, 36, 38, 49)
#define QUARTER2(p) PART(p, 14, 39, 27, 52, 15, 45, 28, 54, 25, 50, 41, 59, 30, 56, 43, 61)
#define QUARTER3(p) PART(p, 16, 31, 29, 44, 26, 40, 42, 53, 46, 57, 55, 62, 51, 58, 60, 63)

enum { ROOM = 64 + 64 + 8 }; /* long values, up to 64 nibble values after them, and what a spread reads beyond */

/* Both kinds of values as one array of bytes (of wide values the low bytes). */
TARGET static inline void join(const uint8_t *v, int longs, int wide, uint8_t *to) {
    const __m128i values = _mm_loadu_si128((const __m128i *)dmae_nibble_values);
    const __m128i mask = _mm_set1_epi8(15);
    const uint8_t *nibbles = v + ((size_t)longs << wide);
    _mm256_storeu_si256((__m256i *)to, _mm256_loadu_si256((const __m256i *)v));
    if (longs > 32)
        _mm256_storeu_si256((__m256i *)(to + 32), _mm256_loadu_si256((const __m256i *)(v + 32)));
    for (int half = 0; half < 2; half++) {
        __m128i pairs = _mm_loadu_si128((const __m128i *)(nibbles + 16 * half));
        __m128i low = _mm_shuffle_epi8(values, _mm_and_si128(pairs, mask));
        __m128i high = _mm_shuffle_epi8(values, _mm_and_si128(_mm_srli_epi16(pairs, 4), mask));
        _mm_storeu_si128((__m128i *)(to + longs + 32 * half), _mm_unpacklo_epi8(low, high));
        _mm_storeu_si128((__m128i *)(to + longs + 32 * half + 16), _mm_unpackhi_epi8(low, high));
    }
}

TARGET static inline __m128i spread16(const uint8_t *values, uint64_t bitmap, uint64_t before, int part) {
    unsigned shift = 16 * (unsigned)part;
    __m128i a = _mm_shuffle_epi8(_mm_loadl_epi64((const __m128i *)(values + (before >> shift & 0xff))),
                                 _mm_loadl_epi64((const __m128i *)&spread[bitmap >> shift & 0xff]));
    __m128i b = _mm_shuffle_epi8(_mm_loadl_epi64((const __m128i *)(values + (before >> (shift + 8) & 0xff))),
                                 _mm_loadl_epi64((const __m128i *)&spread[bitmap >> (shift + 8) & 0xff]));
    return _mm_unpacklo_epi64(a, b);
}

TARGET static inline void store16(int16_t *out, __m128i bytes) {
    _mm256_storeu_si256((__m256i *)out, _mm256_cvtepi8_epi16(bytes));
}

/* Values set before each byte of the bitmap, as bytes. */
TARGET static inline uint64_t counts_before(uint64_t b) {
    b = b - (b >> 1 & 0x5555555555555555u);
    b = (b & 0x3333333333333333u) + (b >> 2 & 0x3333333333333333u);
    b = (b + (b >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return b * 0x0101010101010101u << 8;
}

TARGET static inline void expand_block(const uint8_t *values, uint64_t bitmap, int16_t *out) {
    uint64_t before = counts_before(bitmap);
    __m128i z0 = spread16(values, bitmap, before, 0), z1 = spread16(values, bitmap, before, 1);
    __m128i q0 = _mm_or_si128(_mm_shuffle_epi8(z0, QUARTER0(0)), _mm_shuffle_epi8(z1, QUARTER0(1)));
    __m128i q1 = _mm_or_si128(_mm_shuffle_epi8(z0, QUARTER1(0)), _mm_shuffle_epi8(z1, QUARTER1(1)));
    __m128i q2 = _mm_or_si128(_mm_shuffle_epi8(z0, QUARTER2(0)), _mm_shuffle_epi8(z1, QUARTER2(1)));
    __m128i q3 = _mm_shuffle_epi8(z1, QUARTER3(1));
    if (bitmap >> 32) {
        __m128i z2 = spread16(values, bitmap, before, 2), z3 = spread16(values, bitmap, before, 3);
        q0 = _mm_or_si128(q0, _mm_shuffle_epi8(z2, QUARTER0(2)));
        q1 = _mm_or_si128(q1, _mm_or_si128(_mm_shuffle_epi8(z2, QUARTER1(2)), _mm_shuffle_epi8(z3, QUARTER1(3))));
        q2 = _mm_or_si128(q2, _mm_or_si128(_mm_shuffle_epi8(z2, QUARTER2(2)), _mm_shuffle_epi8(z3, QUARTER2(3))));
        q3 = _mm_or_si128(q3, _mm_or_si128(_mm_shuffle_epi8(z2, QUARTER3(2)), _mm_shuffle_epi8(z3, QUARTER3(3))));
    }
    store16(out, q0);
    store16(out + 16, q1);
    store16(out + 32, q2);
    store16(out + 48, q3);
}

/* Rare: the low bytes are in place, but those of the leading values were taken for the whole value. */
static void widen(const dmae_group *g, int i, int16_t *out) {
    uint64_t bits = g->bitmap[i];
    for (int k = 0; k < g->longs[i]; k++, bits &= bits - 1)
        out[dmae_zigzag_to_vector[__builtin_ctzll(bits)]] =
            (int16_t)((int8_t)g->values[i][g->longs[i] + k] * 256 + g->values[i][k]);
}

TARGET static inline void expand(const dmae_group *g, int first, int last, int16_t *out) {
    /* All joins before all spreads: a load that spans two recent stores would wait for them. */
    uint8_t values[DMAE_GROUP_BLOCKS][ROOM];
    for (int i = first; i < last; i++)
        join(g->values[i], g->longs[i], g->wide[i], values[i]);
    for (int i = first; i < last; i++, out += 64) {
        expand_block(values[i], g->bitmap[i], out);
        if (__builtin_expect(g->wide[i], 0))
            widen(g, i, out);
        out[0] = g->dc[i];
    }
}

TARGET static inline unsigned count_bits(uint64_t bits) {
    return (unsigned)_mm_popcnt_u64(bits);
}

TARGET int dmae_unpack_row_avx2(const dmae_packed_row *row, int32_t first, int32_t count, int16_t *out,
                                uint64_t *bitmaps) {
    return dmae_unpack_row_with(expand, count_bits, row, first, count, out, bitmaps);
}

#endif
