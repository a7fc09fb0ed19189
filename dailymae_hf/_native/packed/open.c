/* Reading a packed sample's head: everything in it is checked here, once. */
#include "packed/packed.h"

const uint8_t dmae_zigzag_to_vector[64] = {0,  4,  16, 8,  20, 2,  6,  18, 12, 17, 1,  21, 10, 22, 32, 36,
                                           48, 14, 19, 5,  24, 9,  28, 3,  23, 40, 52, 34, 38, 50, 44, 49,
                                           7,  26, 13, 25, 29, 11, 30, 33, 53, 42, 54, 46, 51, 37, 56, 15,
                                           27, 31, 41, 60, 35, 55, 39, 58, 45, 57, 61, 43, 62, 47, 59, 63};

enum { HEAD_BYTES = 12 };

static int open_tables(dmae_packed *p, const uint8_t *table_of, int tables, uint64_t *at) {
    for (int t = 0; t < tables; t++) {
        if (*at + 1 > p->size)
            return DMAE_TRUNCATED;
        int bytes = p->data[*at];
        if (bytes != 1 && bytes != 2)
            return DMAE_CORRUPT;
        *at += 1;
        if (*at + 64 * (uint64_t)bytes > p->size)
            return DMAE_TRUNCATED;
        for (int i = 0; i < p->count; i++)
            if (table_of[2 * i + 1] == t) {
                p->component[i].quant = p->data + *at;
                p->component[i].quant_bytes = bytes;
            }
        *at += 64 * (uint64_t)bytes;
    }
    return DMAE_OK;
}

static int open_components(dmae_packed *p, const uint8_t *described) {
    p->largest_h = p->largest_v = 1;
    for (int i = 0; i < p->count; i++) {
        dmae_packed_component *c = &p->component[i];
        c->h = described[2 * i] >> 4;
        c->v = described[2 * i] & 15;
        if (c->h < 1 || c->h > 4 || c->v < 1 || c->v > 4)
            return DMAE_CORRUPT;
        p->largest_h = c->h > p->largest_h ? c->h : p->largest_h;
        p->largest_v = c->v > p->largest_v ? c->v : p->largest_v;
    }
    for (int i = 0; i < p->count; i++) {
        dmae_packed_component *c = &p->component[i];
        if (p->largest_h % c->h != 0 || p->largest_v % c->v != 0)
            return DMAE_CORRUPT;
        c->blocks_w = dmae_block_count(p->width, c->h, p->largest_h);
        c->blocks_h = dmae_block_count(p->height, c->v, p->largest_v);
    }
    return DMAE_OK;
}

int dmae_packed_open(const uint8_t *data, uint64_t size, dmae_packed *p) {
    memset(p, 0, sizeof *p);
    if (!data || size < HEAD_BYTES)
        return DMAE_TRUNCATED;
    if (memcmp(data, "DCT", 3) != 0)
        return DMAE_CORRUPT;
    if (data[3] != DMAE_PACKED_VERSION)
        return DMAE_UNSUPPORTED;
    p->data = data;
    p->size = size;
    p->width = (int32_t)dmae_load16(data + 4);
    p->height = (int32_t)dmae_load16(data + 6);
    p->color = data[8];
    p->count = data[9];
    int tables = data[10];
    if (p->width < 1 || p->width > DMAE_MAX_SIDE || p->height < 1 || p->height > DMAE_MAX_SIDE)
        return DMAE_CORRUPT;
    if (p->count != (p->color == DMAE_COLOR_GRAY ? 1 : 3) || p->color < DMAE_COLOR_GRAY || p->color > DMAE_COLOR_RGB)
        return DMAE_CORRUPT;
    if (tables < 1 || tables > p->count || data[11] != 0)
        return DMAE_CORRUPT;
    uint64_t at = HEAD_BYTES + 2 * (uint64_t)p->count;
    if (at > size)
        return DMAE_TRUNCATED;
    int status = open_components(p, data + HEAD_BYTES);
    if (status == DMAE_OK)
        status = open_tables(p, data + HEAD_BYTES, tables, &at);
    for (int i = 0; i < p->count && status == DMAE_OK; i++) {
        p->component[i].rows = data + at;
        at += 4 * (uint64_t)p->component[i].blocks_h;
        if (!p->component[i].quant)
            status = DMAE_CORRUPT;
        else if (at > size)
            status = DMAE_TRUNCATED;
    }
    return status;
}

int dmae_packed_row_open(const dmae_packed *p, const dmae_packed_component *c, int32_t row, dmae_packed_row *out) {
    uint64_t at = dmae_load32(c->rows + 4 * (size_t)row);
    uint64_t groups = (uint64_t)(c->blocks_w + DMAE_GROUP_BLOCKS - 1) / DMAE_GROUP_BLOCKS;
    if (at > p->size || 2 * groups > p->size - at)
        return DMAE_TRUNCATED;
    out->sizes = p->data + at;
    out->groups = out->sizes + 2 * groups;
    out->end = p->data + p->size;
    out->blocks = c->blocks_w;
    return DMAE_OK;
}
