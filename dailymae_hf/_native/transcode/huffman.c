/* Huffman tables made for one image (ITU-T T.81, annex K.2). libjpeg can make them too, by coding the image twice;
 * counting the symbols here takes a third of that time. */
#include "transcode/transcode.h"

#include <stdlib.h>
#include <string.h>

#include "simd/dispatch.h"

enum { SYMBOLS = 256, LONGEST = 16, DEEPEST = 64 };

typedef struct leaf {
    uint32_t count;
    int symbol;
} leaf;

static int by_count(const void *a, const void *b) {
    const leaf *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? -1 : 1;
    return y->symbol - x->symbol;
}

/* Code lengths of an unlimited Huffman code, as how many codes there are of each length. Leaves come in order of
 * their counts, and so do the nodes made of them: the two smallest are always at the front of one of two queues. */
static void count_lengths(const leaf *leaves, int n, int of_length[DEEPEST + 1]) {
    uint32_t node_count[SYMBOLS];
    int parent[2 * SYMBOLS + 1], depth[2 * SYMBOLS + 1], next_leaf = 0, next_node = 0;
    for (int made = 0; made < n - 1; made++) {
        uint32_t sum = 0;
        for (int child = 0; child < 2; child++) {
            const int take_leaf =
                next_leaf < n && (next_node >= made || leaves[next_leaf].count <= node_count[next_node]);
            sum += take_leaf ? leaves[next_leaf].count : node_count[next_node];
            parent[take_leaf ? next_leaf++ : n + next_node++] = n + made;
        }
        node_count[made] = sum;
    }
    memset(of_length, 0, (DEEPEST + 1) * sizeof *of_length);
    depth[2 * n - 2] = 0;
    for (int i = 2 * n - 3; i >= 0; i--) {
        depth[i] = depth[parent[i]] + 1;
        if (i < n)
            of_length[depth[i]]++;
    }
}

/* Annex K.2's way to shorten codes: of two that are too long one takes their common prefix, and the other joins a
 * shorter code, which becomes one bit longer. */
static void limit_lengths(int of_length[DEEPEST + 1]) {
    for (int length = DEEPEST; length > LONGEST; length--)
        while (of_length[length] > 0) {
            int shorter = length - 2;
            while (of_length[shorter] == 0)
                shorter--;
            of_length[length] -= 2;
            of_length[length - 1]++;
            of_length[shorter + 1] += 2;
            of_length[shorter]--;
        }
}

void dmae_huffman_table(const uint32_t counts[SYMBOLS], uint8_t bits[LONGEST + 1], uint8_t symbols[SYMBOLS]) {
    leaf leaves[SYMBOLS + 1];
    int n = 0, of_length[DEEPEST + 1];
    leaves[n++] = (leaf){0, SYMBOLS}; /* the rarest: its code, all ones, is not to be used and is left out below */
    for (int s = 0; s < SYMBOLS; s++)
        if (counts[s])
            leaves[n++] = (leaf){counts[s], s};
    qsort(leaves, (size_t)n, sizeof *leaves, by_count);
    count_lengths(leaves, n, of_length);
    limit_lengths(of_length);
    int longest = LONGEST;
    while (of_length[longest] == 0)
        longest--;
    of_length[longest]--;
    memset(bits, 0, LONGEST + 1);
    for (int length = 1; length <= LONGEST; length++)
        bits[length] = (uint8_t)of_length[length];
    for (int i = 1; i < n; i++) /* the most frequent first, and so with the shortest codes */
        symbols[n - 1 - i] = (uint8_t)leaves[i].symbol;
}

static int size_of(int value) {
    const unsigned magnitude = (unsigned)(value < 0 ? -value : value);
    return magnitude ? 32 - __builtin_clz(magnitude) : 0;
}

/* Returns whether the block can be said in 8-bit baseline: AC coefficients have at most ten bits. */
static int count_block(const dmae_sorted *b, uint32_t counts[SYMBOLS]) {
    int last = 0, largest = 0, i = 0;
    for (uint64_t bits = b->bitmap; bits; bits &= bits - 1) {
        const int k = __builtin_ctzll(bits), size = size_of(b->value[i++]);
        int run = k - last - 1;
        for (; run > 15; run -= 16)
            counts[0xf0]++;
        counts[run << 4 | (size & 15)]++;
        largest = size > largest ? size : largest;
        last = k;
    }
    counts[0] += last != 63; /* end of block */
    return largest <= 10;
}

int dmae_huffman_count(const dmae_component *c, uint32_t dc[SYMBOLS], uint32_t ac[SYMBOLS]) {
    dmae_sort_block *sort = dmae_target_for(DMAE_SIMD_AUTO)->sort_block;
    dmae_sorted sorted;
    int low = 0, high = 0; /* prediction also starts from zero */
    for (int s = 0; s <= 11; s++)
        dc[s]++; /* segments and MCUs order blocks in another way: every difference must have a code */
    ac[0]++;     /* blocks that only fill up an MCU */
    for (int32_t y = 0; y < c->blocks_h; y++) {
        const int16_t *block = c->blocks + (size_t)y * (size_t)c->blocks_w * 64;
        int previous = 0;
        for (int32_t x = 0; x < c->blocks_w; x++, block += 64) {
            sort(block, &sorted);
            if (!count_block(&sorted, ac))
                return DMAE_CORRUPT;
            dc[size_of(block[0] - previous) & 15]++;
            previous = block[0];
            low = previous < low ? previous : low;
            high = previous > high ? previous : high;
        }
    }
    return high - low <= 2047 ? DMAE_OK : DMAE_CORRUPT; /* a difference has at most eleven bits */
}
