/* A packed sample -> planes that cover a region: unpack the region's blocks, inverse DCT, row by row. */
#include "simd/dispatch.h"

/* Blocks unpacked before they are transformed: together they stay in the first-level cache. */
enum { CHUNK = 64 };

/* libjpeg's rule: a subsampled component is reduced less, so that it does not need to be enlarged again. */
static int side_of(const dmae_packed *p, const dmae_packed_component *c, int scale_num) {
    int side = scale_num;
    while (side < 8 && p->largest_h * scale_num % (c->h * side * 2) == 0 &&
           p->largest_v * scale_num % (c->v * side * 2) == 0)
        side *= 2;
    return side;
}

typedef struct span {
    int32_t first, count; /* blocks */
    int32_t valid;        /* samples from the first block to the image's edge, at most count * side */
} span;

/* The blocks that hold image pixels [from, to) along one axis. */
static span span_of(int32_t from, int32_t to, int32_t pixels, int32_t blocks, int factor, int largest, int side) {
    span s;
    int64_t last = ((int64_t)to * factor - 1) / (8 * largest);
    s.first = (int32_t)((int64_t)from * factor / (8 * largest));
    s.count = (int32_t)(last < blocks ? last : blocks - 1) - s.first + 1;
    int64_t samples = ((int64_t)pixels * factor * side + 8 * largest - 1) / (8 * largest); /* of the component */
    int64_t left = samples - (int64_t)s.first * side;
    s.valid = (int32_t)(left < (int64_t)s.count * side ? left : (int64_t)s.count * side);
    return s;
}

static int fill_plane(const dmae_packed *p, const dmae_packed_component *c, const dmae_target *target, span x, span y,
                      int side, uint8_t *dst, ptrdiff_t stride) {
    int16_t quant[64], coefficients[(CHUNK + DMAE_IDCT_UNIT) * 64] __attribute__((aligned(64)));
    uint64_t bitmaps[CHUNK + DMAE_IDCT_UNIT];
    for (int k = 0; k < 64; k++)
        quant[target->coefficient_order[k]] =
            (int16_t)(c->quant_bytes == 1 ? c->quant[k] : dmae_load16(c->quant + 2 * k));
    for (int32_t row = 0; row < y.count; row++, dst += side * stride) {
        dmae_packed_row packed;
        int status = dmae_packed_row_open(p, c, y.first + row, &packed);
        if (status != DMAE_OK)
            return status;
        for (int32_t at = 0; at < x.count; at += CHUNK) {
            int32_t count = x.count - at < CHUNK ? x.count - at : CHUNK;
            status = target->unpack(&packed, x.first + at, count, coefficients, bitmaps);
            if (status != DMAE_OK)
                return status;
            dmae_transform(target, side, coefficients, bitmaps, quant, count, dst + (ptrdiff_t)at * side, stride);
        }
    }
    return DMAE_OK;
}

int dmae_packed_planes(const uint8_t *data, uint64_t size, uint32_t height, uint32_t width, dmae_region region,
                       int scale_num, const dmae_target *target, dmae_scratch *scratch, dmae_planes *out) {
    dmae_packed p;
    span xs[3], ys[3];
    int sides[3];
    size_t bytes = 0, offset[3];
    int status = dmae_packed_open(data, size, &p);
    if (status != DMAE_OK)
        return status;
    if ((uint32_t)p.width != width || (uint32_t)p.height != height)
        return DMAE_SIZE_MISMATCH;
    if (scale_num != 8 && scale_num != 4 && scale_num != 2 && scale_num != 1)
        return DMAE_BAD_ARGUMENT;
    if (region.x0 < 0 || region.y0 < 0 || region.x1 <= region.x0 || region.y1 <= region.y0 || region.x1 > p.width ||
        region.y1 > p.height)
        return DMAE_BAD_ARGUMENT;
    out->count = p.count;
    out->color = p.color;
    for (int i = 0; i < p.count; i++) {
        const dmae_packed_component *c = &p.component[i];
        int side = sides[i] = side_of(&p, c, scale_num);
        xs[i] = span_of(region.x0, region.x1, p.width, c->blocks_w, c->h, p.largest_h, side);
        ys[i] = span_of(region.y0, region.y1, p.height, c->blocks_h, c->v, p.largest_v, side);
        size_t stride = ((size_t)xs[i].count + DMAE_IDCT_UNIT - 1) / DMAE_IDCT_UNIT * DMAE_IDCT_UNIT * (size_t)side;
        stride = (stride + 63) & ~(size_t)63;
        out->plane[i] = (dmae_plane){NULL,
                                     (ptrdiff_t)stride,
                                     xs[i].first * side,
                                     ys[i].first * side,
                                     xs[i].valid,
                                     ys[i].valid,
                                     (double)(c->h * side) / (8 * p.largest_h),
                                     (double)(c->v * side) / (8 * p.largest_v)};
        offset[i] = bytes;
        bytes += stride * (size_t)ys[i].count * (size_t)side;
    }
    uint8_t *planes = dmae_scratch_get(scratch, DMAE_SLOT_PLANES, bytes);
    if (!planes)
        return DMAE_OUT_OF_MEMORY;
    for (int i = 0; i < p.count && status == DMAE_OK; i++) {
        out->plane[i].data = planes + offset[i];
        status =
            fill_plane(&p, &p.component[i], target, xs[i], ys[i], sides[i], planes + offset[i], out->plane[i].stride);
    }
    return status;
}

int32_t dmae_packed_read_planes(const uint8_t *data, uint64_t size, uint32_t height, uint32_t width,
                                const int32_t region[4], int32_t scale_num, int32_t simd, dmae_planes *out) {
    dmae_scratch *scratch = dmae_thread_scratch();
    const dmae_region r = {region[0], region[1], region[2], region[3]};
    return scratch ? dmae_packed_planes(data, size, height, width, r, scale_num, dmae_target_for(simd), scratch, out)
                   : DMAE_OUT_OF_MEMORY;
}
