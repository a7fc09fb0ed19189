/* Component planes -> finished crop: rows first, then columns and colour together, on output pixels only. */
#include "resample.h"

#include <string.h>

#include "internal.h"

/* Horizontal pass of one row. */
static void resample_row(const dmae_axis *axis, const uint8_t *src, int32_t available, uint8_t *dst) {
    const int32_t taps = axis->taps < available ? axis->taps : available;
    const int32_t half = 1 << (axis->bits - 1);
    for (int32_t i = 0; i < axis->out; i++) {
        const uint8_t *p = src + axis->start[i];
        const int32_t *w = axis->weight + (size_t)i * (size_t)axis->taps;
        int32_t sum = half;
        for (int32_t t = 0; t < taps; t++)
            sum += w[t] * p[t];
        dst[i] = (uint8_t)(sum >> axis->bits);
    }
}

/* Vertical pass of one output row: sums with DMAE_WEIGHT_BITS fractional bits. */
static void resample_column(const dmae_axis *axis, int32_t y, const uint8_t *rows, int32_t width, int32_t available, int16_t *dst) {
    const int32_t taps = axis->taps < available ? axis->taps : available;
    const int32_t *w = axis->weight + (size_t)y * (size_t)axis->taps;
    const uint8_t *p = rows + (size_t)axis->start[y] * (size_t)width;
    const int32_t shift = axis->bits - DMAE_WEIGHT_BITS, half = shift ? 1 << (shift - 1) : 0;
    for (int32_t x = 0; x < width; x++) {
        int32_t sum = half;
        for (int32_t t = 0; t < taps; t++)
            sum += w[t] * p[(size_t)t * (size_t)width + (size_t)x];
        dst[x] = (int16_t)(sum >> shift);
    }
}

static int16_t saturate(int32_t x) {
    return (int16_t)(x < INT16_MIN ? INT16_MIN : x > INT16_MAX ? INT16_MAX : x);
}

/* a * b / 2^15, rounded: what pmulhrsw and sqrdmulh compute. */
static int32_t multiply(int32_t a, int32_t b) {
    return (a * b + (1 << 14)) >> 15;
}

static uint8_t to_level(int32_t x) {
    const int32_t level = saturate(x + (1 << (DMAE_WEIGHT_BITS - 1))) >> DMAE_WEIGHT_BITS;
    return (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
}

/* JFIF's conversion (ITU-T T.871, section 7) in 16-bit fixed point. */
static void ycc_to_rgb(int32_t y, int32_t cb, int32_t cr, uint8_t *r, uint8_t *g, uint8_t *b) {
    cb -= 128 << DMAE_WEIGHT_BITS;
    cr -= 128 << DMAE_WEIGHT_BITS;
    *r = to_level(saturate(y + cr + multiply(cr, 13173)));                                 /* 1 + 0.402 */
    *g = to_level(saturate(y - (multiply(cb, 11277) + multiply(cr, 23401))));              /* 0.344136, 0.714136 */
    *b = to_level(saturate(y + cb + multiply(cb, 25297)));                                 /* 1 + 0.772 */
}

static uint8_t product(uint8_t a, uint8_t b) {
    const uint32_t t = (uint32_t)a * b + 128;
    return (uint8_t)((t + (t >> 8)) >> 8);
}

static void convert_row(int color, const int16_t *const *in, int32_t width, uint8_t *r, uint8_t *g, uint8_t *b) {
    for (int32_t x = 0; x < width; x++) {
        switch (color) {
        case DMAE_COLOR_GRAY:
            r[x] = g[x] = b[x] = to_level(in[0][x]);
            continue;
        case DMAE_COLOR_RGB:
        case DMAE_COLOR_CMYK:
            r[x] = to_level(in[0][x]);
            g[x] = to_level(in[1][x]);
            b[x] = to_level(in[2][x]);
            break;
        default:
            ycc_to_rgb(in[0][x], in[1][x], in[2][x], &r[x], &g[x], &b[x]);
            break;
        }
        if (color == DMAE_COLOR_YCCK || color == DMAE_COLOR_CMYK) {
            /* Adobe stores ink inverted: 255 is no ink. In YCCK, libjpeg's C is 255 - R, so R here is the ink. */
            const uint8_t k = to_level(in[3][x]);
            const uint8_t flip = color == DMAE_COLOR_YCCK ? 255 : 0;
            r[x] = product(r[x] ^ flip, k);
            g[x] = product(g[x] ^ flip, k);
            b[x] = product(b[x] ^ flip, k);
        }
    }
}

typedef struct job {
    dmae_axis across[4], down[4];
    uint8_t *rows[4]; /* [plane.height][out_width], after the horizontal pass */
    int16_t *line[4]; /* [out_width], after the vertical pass */
} job;

static int32_t bits_for(int32_t taps) {
    return taps <= DMAE_NARROW_TAPS ? DMAE_WEIGHT_BITS : DMAE_WIDE_BITS;
}

static size_t aligned(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

static void set_axis(dmae_axis *axis, uint8_t **memory, int32_t taps, int32_t out) {
    *axis = (dmae_axis){out, taps, bits_for(taps), (int32_t *)*memory, (int32_t *)*memory + out};
    *memory += aligned(dmae_axis_bytes(taps, out));
}

static int prepare(job *j, const dmae_planes *planes, const dmae_box *box, int flip, dmae_scratch *scratch,
                   int32_t out_height, int32_t out_width) {
    size_t tables = 0, rows = 0;
    int32_t taps_x[4], taps_y[4];
    for (int c = 0; c < planes->count; c++) {
        const dmae_plane *plane = &planes->plane[c];
        taps_x[c] = dmae_axis_taps(box->width * plane->scale_x, out_width);
        taps_y[c] = dmae_axis_taps(box->height * plane->scale_y, out_height);
        tables += aligned(dmae_axis_bytes(taps_x[c], out_width)) + aligned(dmae_axis_bytes(taps_y[c], out_height));
        rows += aligned((size_t)plane->height * (size_t)out_width) + aligned((size_t)out_width * sizeof(int16_t));
    }
    uint8_t *table = dmae_scratch_get(scratch, DMAE_SLOT_WEIGHTS, tables);
    uint8_t *row = dmae_scratch_get(scratch, DMAE_SLOT_ROWS, rows);
    if (!table || !row)
        return DMAE_OUT_OF_MEMORY;
    for (int c = 0; c < planes->count; c++) {
        const dmae_plane *plane = &planes->plane[c];
        set_axis(&j->across[c], &table, taps_x[c], out_width);
        set_axis(&j->down[c], &table, taps_y[c], out_height);
        dmae_axis_fill(&j->across[c], box->left * plane->scale_x - plane->x0, box->width * plane->scale_x, plane->width, flip);
        dmae_axis_fill(&j->down[c], box->top * plane->scale_y - plane->y0, box->height * plane->scale_y, plane->height, 0);
        j->rows[c] = row;
        row += aligned((size_t)plane->height * (size_t)out_width);
        j->line[c] = (int16_t *)row;
        row += aligned((size_t)out_width * sizeof(int16_t));
    }
    return DMAE_OK;
}

int dmae_resample(const dmae_planes *planes, const dmae_box *box, int flip, int simd, dmae_scratch *scratch,
                  uint8_t *dst, uint32_t out_height, uint32_t out_width) {
    (void)simd;
    job j;
    const int32_t width = (int32_t)out_width, height = (int32_t)out_height;
    const int status = prepare(&j, planes, box, flip, scratch, height, width);
    if (status != DMAE_OK)
        return status;
    for (int c = 0; c < planes->count; c++) {
        const dmae_plane *plane = &planes->plane[c];
        for (int32_t y = 0; y < plane->height; y++)
            resample_row(&j.across[c], plane->data + y * plane->stride, plane->width, j.rows[c] + (size_t)y * out_width);
    }
    const size_t area = (size_t)out_height * out_width;
    for (int32_t y = 0; y < height; y++, dst += out_width) {
        for (int c = 0; c < planes->count; c++)
            resample_column(&j.down[c], y, j.rows[c], width, planes->plane[c].height, j.line[c]);
        convert_row(planes->color, (const int16_t *const *)j.line, width, dst, dst + area, dst + 2 * area);
    }
    return DMAE_OK;
}
