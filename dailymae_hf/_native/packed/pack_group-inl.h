/* One group of a packed row (docs/packed-dct.md). Loops have lengths that compilers know: what they write too much is
 * written over. */

DMAE_INLINE int pack_code(const dmae_sorted *b) {
    int code = 0;
    while (dmae_long_counts[code] < b->needed)
        code++;
    return code;
}

/* The low bytes of 64 values, and behind `count` of them their high bytes where one needs them. */
DMAE_INLINE uint8_t *pack_longs(uint8_t *restrict to, const dmae_sorted *b, int count) {
    for (int i = 0; i < 64; i++)
        to[i] = (uint8_t)b->value[i];
    to += count;
    for (int i = 0; i < count && b->wide; i++)
        *to++ = (uint8_t)((uint16_t)b->value[i] >> 8);
    return to;
}

/* The other values, two to a byte. */
DMAE_INLINE uint8_t *pack_nibbles(uint8_t *restrict to, const dmae_sorted *b, int first) {
    int16_t nibbles[64];
    uint32_t pairs[32];
    memcpy(nibbles, b->value + first, sizeof nibbles);
    for (int i = 0; i < 64; i++)
        nibbles[i] = (int16_t)((nibbles[i] + (nibbles[i] > 0 ? -1 : 0)) & 15);
    memcpy(pairs, nibbles, sizeof pairs);
    for (int i = 0; i < 32; i++)
        to[i] = (uint8_t)(pairs[i] | pairs[i] >> 12);
    return to + (b->count - first + 1) / 2;
}

DMAE_INLINE uint8_t *pack_dc(uint8_t *to, const int16_t *coefficients, int blocks, int *wide) {
    int low = INT16_MAX, high = INT16_MIN;
    for (int i = 0; i < blocks; i++) {
        const int dc = coefficients[64 * i];
        low = dc < low ? dc : low;
        high = dc > high ? dc : high;
    }
    *wide = high - low > 255;
    if (!*wide) {
        *to++ = (uint8_t)low;
        *to++ = (uint8_t)((uint16_t)low >> 8);
    }
    for (int i = 0; i < blocks; i++) {
        const int dc = coefficients[64 * i];
        *to++ = (uint8_t)(*wide ? dc : dc - low);
        if (*wide)
            *to++ = (uint8_t)((uint16_t)dc >> 8);
    }
    return to;
}

static uint32_t pack_group(const int16_t *coefficients, int blocks, uint8_t *to) {
    dmae_sorted b[DMAE_GROUP_BLOCKS] = {0};
    const uint8_t *start = to;
    int longs[DMAE_GROUP_BLOCKS], wide_dc;
    uint8_t lengths[DMAE_GROUP_BLOCKS];
    for (int i = 0; i < blocks; i++) {
        sort_block(coefficients + 64 * i, &b[i]);
        b[i].value[b[i].count] = 1; /* what the high half of an odd last nibble says: 0 */
        const int code = pack_code(&b[i]);
        longs[i] = dmae_long_counts[code] < b[i].count ? dmae_long_counts[code] : b[i].count;
        lengths[i] = b[i].bitmap ? (uint8_t)(8 - __builtin_clzll(b[i].bitmap) / 8) : 0;
        *to++ = (uint8_t)(code << 4 | lengths[i]);
    }
    to = pack_dc(to, coefficients, blocks, &wide_dc);
    for (int i = 0; i < blocks; i++) {
        const uint64_t bitmap = b[i].bitmap | (uint64_t)b[i].wide;
        memcpy(to, &bitmap, sizeof bitmap);
        to += lengths[i];
    }
    for (int i = 0; i < blocks; i++)
        to = pack_nibbles(pack_longs(to, &b[i], longs[i]), &b[i], longs[i]);
    return (uint32_t)(to - start) | (wide_dc ? DMAE_GROUP_WIDE_DC : 0);
}
