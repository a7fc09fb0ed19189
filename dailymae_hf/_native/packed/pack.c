/* Coefficients <-> packed sample (docs/packed-dct.md), whole images: the writer's and the converter's side. */
#include <stdlib.h>

#include "simd/dispatch.h"

/* Counts all bytes, keeps those that fit: so a caller with too small a buffer learns what is needed. */
typedef struct sink {
    uint8_t *data;
    uint64_t capacity, size;
} sink;

static void put_bytes(sink *s, const uint8_t *bytes, size_t count) {
    if (s->size + count <= s->capacity)
        memcpy(s->data + s->size, bytes, count);
    s->size += count;
}

static void put_at(sink *s, uint64_t at, uint32_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (at + i < s->capacity)
            s->data[at + i] = (uint8_t)(value >> 8 * i);
}

static void put(sink *s, uint32_t value, size_t bytes) {
    put_at(s, s->size, value, bytes);
    s->size += bytes;
}

static void put_rows(sink *s, const dmae_component *c, uint64_t offsets, int simd) {
    dmae_pack_group *pack = dmae_target_for(simd)->pack_group;
    uint8_t group[DMAE_GROUP_MAX_BYTES + DMAE_GROUP_SLACK];
    int32_t groups = (c->blocks_w + DMAE_GROUP_BLOCKS - 1) / DMAE_GROUP_BLOCKS;
    for (int32_t y = 0; y < c->blocks_h; y++) {
        const int16_t *row = c->blocks + (size_t)y * (size_t)c->blocks_w * 64;
        uint64_t sizes = s->size;
        put_at(s, offsets + 4 * (uint64_t)y, (uint32_t)s->size, 4);
        for (int32_t g = 0; g < groups; g++)
            put(s, 0, 2);
        for (int32_t g = 0; g < groups; g++) {
            int32_t first = g * DMAE_GROUP_BLOCKS, left = c->blocks_w - first;
            uint32_t size = pack(row + 64 * first, left < DMAE_GROUP_BLOCKS ? left : DMAE_GROUP_BLOCKS, group);
            put_bytes(s, group, size & ~(uint32_t)DMAE_GROUP_WIDE_DC);
            put_at(s, sizes + 2 * (uint64_t)g, size, 2);
        }
    }
}

static void put_tables(sink *s, const dmae_coefficients *image, const int table_of[3], int tables) {
    for (int t = 0; t < tables; t++) {
        int i = 0, bytes = 1;
        while (table_of[i] != t)
            i++;
        for (int k = 0; k < 64; k++)
            if (image->component[i].quant[k] > 255)
                bytes = 2;
        put(s, (uint32_t)bytes, 1);
        for (int k = 0; k < 64; k++)
            put(s, image->component[i].quant[dmae_zigzag[k]], bytes);
    }
}

int dmae_coefficients_pack(const dmae_coefficients *image, int simd, uint8_t *dst, uint64_t capacity,
                           uint64_t *written) {
    sink s = {dst, capacity, 0};
    int table_of[3], tables = 0;
    for (int i = 0; i < image->count; i++) {
        table_of[i] = tables;
        for (int j = 0; j < i; j++)
            if (!memcmp(image->component[j].quant, image->component[i].quant, sizeof image->component[i].quant))
                table_of[i] = table_of[j];
        tables += table_of[i] == tables;
    }
    for (const char *c = "DCT"; *c; c++)
        put(&s, (uint8_t)*c, 1);
    put(&s, DMAE_PACKED_VERSION, 1);
    put(&s, (uint32_t)image->width, 2);
    put(&s, (uint32_t)image->height, 2);
    put(&s, (uint32_t)image->color, 1);
    put(&s, (uint32_t)image->count, 1);
    put(&s, (uint32_t)tables, 1);
    put(&s, 0, 1);
    for (int i = 0; i < image->count; i++) {
        put(&s, (uint32_t)(image->component[i].h << 4 | image->component[i].v), 1);
        put(&s, (uint32_t)table_of[i], 1);
    }
    put_tables(&s, image, table_of, tables);
    uint64_t offsets[3];
    for (int i = 0; i < image->count; i++) {
        offsets[i] = s.size;
        for (int32_t y = 0; y < image->component[i].blocks_h; y++)
            put(&s, 0, 4);
    }
    for (int i = 0; i < image->count; i++)
        put_rows(&s, &image->component[i], offsets[i], simd);
    *written = s.size;
    if (s.size > UINT32_MAX)
        return DMAE_UNSUPPORTED; /* row offsets have 32 bits */
    return s.size <= capacity ? DMAE_OK : DMAE_NO_SPACE;
}

static int unpack_component(const dmae_packed *p, const dmae_packed_component *from, dmae_component *to) {
    int status = DMAE_OK;
    dmae_unpack_row *unpack = dmae_target_for(DMAE_SIMD_SCALAR)->unpack;
    const size_t row_blocks = (size_t)to->blocks_w, groups = (row_blocks + DMAE_LANES - 1) / DMAE_LANES;
    uint64_t *bitmaps = malloc(row_blocks * sizeof *bitmaps);
    int16_t *side_by_side = malloc(groups * DMAE_LANES * 64 * sizeof *side_by_side), *block = to->blocks;
    if (!bitmaps || !side_by_side)
        status = DMAE_OUT_OF_MEMORY;
    for (int k = 0; k < 64; k++)
        to->quant[dmae_zigzag[k]] =
            (uint16_t)(from->quant_bytes == 1 ? from->quant[k] : dmae_load16(from->quant + 2 * k));
    for (int32_t y = 0; y < to->blocks_h && status == DMAE_OK; y++) {
        dmae_packed_row row;
        status = dmae_packed_row_open(p, from, y, &row);
        if (status == DMAE_OK)
            status = unpack(&row, 0, to->blocks_w, side_by_side, bitmaps);
        for (int32_t x = 0; x < to->blocks_w && status == DMAE_OK; x++, block += 64)
            for (int k = 0; k < 64; k++)
                block[k] = side_by_side[dmae_lane_place(x, k)];
    }
    free(side_by_side);
    free(bitmaps);
    return status;
}

int dmae_coefficients_unpack(const uint8_t *src, uint64_t size, dmae_coefficients *image) {
    dmae_packed p;
    memset(image, 0, sizeof *image);
    int status = dmae_packed_open(src, size, &p);
    if (status != DMAE_OK)
        return status;
    if ((int64_t)p.width * p.height > DMAE_MAX_PIXELS)
        return DMAE_UNSUPPORTED;
    image->width = p.width;
    image->height = p.height;
    image->count = p.count;
    image->color = p.color;
    for (int i = 0; i < p.count; i++) {
        image->component[i].h = p.component[i].h;
        image->component[i].v = p.component[i].v;
    }
    status = dmae_coefficients_allocate(image);
    for (int i = 0; i < p.count && status == DMAE_OK; i++)
        status = unpack_component(&p, &p.component[i], &image->component[i]);
    if (status != DMAE_OK)
        dmae_coefficients_free(image);
    return status;
}
