/* The packed sample (docs/packed-dct.md) as its readers see it. Every length in it is checked before it is used. */
#ifndef DMAE_PACKED_H
#define DMAE_PACKED_H

#include <string.h>

#include "coefficients.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bitmaps and headers are loaded as they are stored");

enum {
    DMAE_PACKED_VERSION = 1,
    DMAE_GROUP_BLOCKS = 8,
    DMAE_GROUP_MAX_BYTES = 8 + 16 + 8 * 8 + 8 * 63 * 2,
    DMAE_GROUP_WIDE_DC = 0x8000, /* flag beside the size of a group */
    DMAE_GROUP_SLACK = 64        /* bytes past a group's end that its readers may load, and ignore */
};

typedef struct dmae_packed_component {
    int h, v;
    int32_t blocks_w, blocks_h;
    const uint8_t *quant; /* 64 entries in zigzag order */
    int quant_bytes;      /* of one entry: 1 or 2 */
    const uint8_t *rows;  /* blocks_h offsets of 4 bytes */
} dmae_packed_component;

typedef struct dmae_packed {
    const uint8_t *data;
    uint64_t size;
    int32_t width, height;
    int count, color, largest_h, largest_v;
    dmae_packed_component component[3];
} dmae_packed;

int dmae_packed_open(const uint8_t *data, uint64_t size, dmae_packed *out);

/* One row of blocks: group sizes, then the groups. */
typedef struct dmae_packed_row {
    const uint8_t *sizes, *groups, *end; /* end: of the sample */
    int32_t blocks;
} dmae_packed_row;

int dmae_packed_row_open(const dmae_packed *p, const dmae_packed_component *c, int32_t row, dmae_packed_row *out);

extern const uint8_t dmae_zigzag_to_vector[64]; /* zigzag position -> the order of the vector code */

/* A group of up to eight blocks with every pointer and count found and checked. */
typedef struct dmae_group {
    const uint8_t *values[DMAE_GROUP_BLOCKS]; /* of each block: the long values, then the nibbles */
    uint64_t bitmap[DMAE_GROUP_BLOCKS];       /* non-zero AC coefficients in zigzag order; bit 0 is clear */
    int16_t dc[DMAE_GROUP_BLOCKS];
    uint8_t longs[DMAE_GROUP_BLOCKS]; /* leading values that are not nibbles */
    uint8_t wide[DMAE_GROUP_BLOCKS];  /* 1: those take two bytes each, all low bytes first */
} dmae_group;

static inline uint64_t dmae_load64(const uint8_t *p) {
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static inline uint32_t dmae_load16(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t dmae_load32(const uint8_t *p) {
    return dmae_load16(p) | dmae_load16(p + 2) << 16;
}

/* The value of a nibble (a stored coefficient is never zero). A table, since the sign is a coin's toss to a branch. */
static const int8_t dmae_nibble_values[16] = {1, 2, 3, 4, 5, 6, 7, 8, -8, -7, -6, -5, -4, -3, -2, -1};

/* Long values by the header's upper nibble. Not every count can be said: the next larger one is taken. */
static const uint8_t dmae_long_counts[16] = {0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 17, 20, 26, 36, 63};

typedef unsigned dmae_count(uint64_t bits);

/* For machines that may have no instruction for it; the compiler's own is then a call. */
static inline unsigned dmae_count_bits(uint64_t b) {
    b = b - (b >> 1 & 0x5555555555555555u);
    b = (b & 0x3333333333333333u) + (b >> 2 & 0x3333333333333333u);
    b = (b + (b >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (unsigned)(b * 0x0101010101010101u >> 56);
}

/* Finds the parts of a group of `blocks` blocks and `size` bytes; DMAE_GROUP_SLACK bytes after it are readable.
 * `count_bits`: the best way to count that the caller's instruction set has. */
DMAE_INLINE int dmae_group_open(dmae_count *count_bits, const uint8_t *p, uint32_t size, int blocks, int wide_dc,
                                dmae_group *g) {
    const uint64_t ones = 0x0101010101010101u;
    uint32_t dc_bytes = (uint32_t)(wide_dc ? 2 * blocks : 2 + blocks);
    if (size < (uint32_t)blocks + dc_bytes)
        return DMAE_CORRUPT;
    uint64_t headers = dmae_load64(p) & (~(uint64_t)0 >> (64 - 8 * blocks));
    uint64_t lengths = headers & 0x0f * ones;
    if ((lengths + 0x77 * ones) & 0x80 * ones) /* a bitmap has at most eight bytes */
        return DMAE_CORRUPT;
    uint64_t ends = lengths * ones; /* byte i: bitmap bytes of blocks 0..i */
    uint32_t before_values = (uint32_t)blocks + dc_bytes + (uint32_t)(ends >> 56);
    if (size < before_values)
        return DMAE_CORRUPT;
    const uint8_t *dc = p + blocks, *bitmaps = dc + dc_bytes, *values = p + before_values;
    uint32_t at = 0;
    int base = (int16_t)dmae_load16(dc);
    for (int i = 0; i < blocks; i++) {
        unsigned length = lengths >> 8 * i & 0xff;
        uint64_t bitmap = dmae_load64(bitmaps + (ends >> 8 * i & 0xff) - length);
        bitmap = length ? bitmap & ~(uint64_t)0 >> (64 - 8 * length) : 0;
        uint32_t wide = bitmap & 1;
        bitmap &= ~(uint64_t)1;
        uint32_t count = count_bits(bitmap), longs = dmae_long_counts[headers >> (8 * i + 4) & 15];
        longs = longs < count ? longs : count;
        g->values[i] = values + at;
        g->bitmap[i] = bitmap;
        g->longs[i] = (uint8_t)longs;
        g->wide[i] = (uint8_t)wide;
        g->dc[i] = (int16_t)(wide_dc ? (int)dmae_load16(dc + 2 * i) : base + dc[2 + i]);
        at += (longs << wide) + (count - longs + 1) / 2;
    }
    /* The pointers above may lie past the end: nothing was read through them yet. */
    return before_values + at == size ? DMAE_OK : DMAE_CORRUPT;
}

/* Spreads the values of a group's blocks [first, last), `done` blocks being in `out` already. */
typedef void dmae_expand(const dmae_group *g, int first, int last, int16_t *out, int32_t done);

/* Unpacks blocks [first, first + count) of a row: 64 coefficients each into `out`, in the order that `expand`
 * writes, and which AC coefficients are not zero into `bitmaps`. */
DMAE_INLINE int dmae_unpack_row_with(dmae_expand *expand, dmae_count *count_bits, const dmae_packed_row *row,
                                     int32_t first, int32_t count, int16_t *out, uint64_t *bitmaps) {
    const uint8_t *at = row->groups;
    int32_t last = first + count, index = 0, done = 0;
    uint8_t tail[DMAE_GROUP_MAX_BYTES + DMAE_GROUP_SLACK];
    dmae_group group;
    for (; index < first / DMAE_GROUP_BLOCKS; index++) {
        uint32_t size = dmae_load16(row->sizes + 2 * index) & ~(uint32_t)DMAE_GROUP_WIDE_DC;
        if (size > (uint64_t)(row->end - at))
            return DMAE_TRUNCATED;
        at += size;
    }
    for (int32_t start = index * DMAE_GROUP_BLOCKS; start < last; start += DMAE_GROUP_BLOCKS, index++) {
        uint32_t size = dmae_load16(row->sizes + 2 * index);
        int wide_dc = (size & DMAE_GROUP_WIDE_DC) != 0;
        int blocks = row->blocks - start < DMAE_GROUP_BLOCKS ? row->blocks - start : DMAE_GROUP_BLOCKS;
        int from = first > start ? first - start : 0, to = last - start < blocks ? last - start : blocks;
        size &= ~(uint32_t)DMAE_GROUP_WIDE_DC;
        uint64_t left = (uint64_t)(row->end - at);
        if (size > left)
            return DMAE_TRUNCATED;
        const uint8_t *bytes = at;
        if (left < size + DMAE_GROUP_SLACK) {
            if (size > DMAE_GROUP_MAX_BYTES)
                return DMAE_CORRUPT;
            memcpy(tail, at, size);
            memset(tail + size, 0, DMAE_GROUP_SLACK);
            bytes = tail;
        }
        if (dmae_group_open(count_bits, bytes, size, blocks, wide_dc, &group) != DMAE_OK)
            return DMAE_CORRUPT;
        expand(&group, from, to, out, done);
        for (int i = from; i < to; i++)
            bitmaps[done++] = group.bitmap[i];
        at += size;
    }
    return DMAE_OK;
}

/* A target's reader: the scalar one writes DMAE_LANES blocks side by side, the others one block after the other in
 * vector order. */
typedef int dmae_unpack_row(const dmae_packed_row *row, int32_t first, int32_t count, int16_t *out, uint64_t *bitmaps);

/* A block's AC coefficients that are not zero, in zigzag order. */
typedef struct dmae_sorted {
    uint64_t bitmap;    /* where they are; bit 0 is clear */
    int count, needed;  /* needed: values up to the last that is no nibble */
    int wide;           /* whether one of them takes two bytes */
    int16_t value[128]; /* those behind `count` mean nothing, and may be read */
} dmae_sorted;

typedef void dmae_sort_block(const int16_t *coefficients, dmae_sorted *out);

/* Writes a group of up to eight blocks to `to`, which has DMAE_GROUP_SLACK bytes more than it can take; returns what
 * stands in the row's table of group sizes. */
typedef uint32_t dmae_pack_group(const int16_t *coefficients, int blocks, uint8_t *to);

/* Whole images, for writers and converters. *written: the bytes that the result has or would need (DMAE_NO_SPACE when
 * `capacity` is less). `image` is freed where unpacking fails. */
int dmae_coefficients_pack(const dmae_coefficients *image, int simd, uint8_t *dst, uint64_t capacity,
                           uint64_t *written);
int dmae_coefficients_unpack(const uint8_t *src, uint64_t size, dmae_coefficients *image);

/* dmae_packed_planes for tests and measurements: region = x0, y0, x1, y1; the planes lie in this thread's scratch
 * memory until its next call. */
DMAE_API int32_t dmae_packed_read_planes(const uint8_t *data, uint64_t size, uint32_t height, uint32_t width,
                                         const int32_t region[4], int32_t scale_num, int32_t simd, dmae_planes *out);

#endif
