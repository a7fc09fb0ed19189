/* Component planes -> finished crop: rows first, then columns and colour together, on output pixels only. */
#include "resize/resample.h"

#include <string.h>

#include "simd/dispatch.h"

/* Rows of centred samples are as long as the widest vector needs. */
#define ROW_ALIGN 64

typedef struct job {
    dmae_axis across[4], down[4];
    dmae_shuffle shuffle[4];
    int shuffled[4]; /* `shuffle` holds what `across` says */
    dmae_column column[4];
    int8_t *rows[4]; /* [plane.height + taps][stride], after the horizontal pass */
    int16_t *line[4];
    uint8_t *strip; /* working room of the plain C pass */
    uint8_t *tail;  /* room for a row of each channel, longer than the output's */
    ptrdiff_t stride;
} job;

static size_t aligned(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

/* Cb and Cr nearly always lie alike: then they share their tables. */
static int same_place(const dmae_plane *a, const dmae_plane *b) {
    return a->x0 == b->x0 && a->y0 == b->y0 && a->width == b->width && a->height == b->height &&
           a->scale_x == b->scale_x && a->scale_y == b->scale_y;
}

static int make_tables(job *j, const dmae_planes *planes, const dmae_box *box, int flip, const dmae_target *target,
                       dmae_scratch *scratch, int32_t out_height, int32_t out_width) {
    const dmae_resampler *vector = target->resampler;
    int32_t taps_x[4], taps_y[4];
    size_t total = 0;
    for (int c = 0; c < planes->count; c++) {
        const dmae_axis across = {.out = out_width,
                                  .taps = taps_x[c] = dmae_axis_taps(box->width * planes->plane[c].scale_x, out_width)};
        taps_y[c] = dmae_axis_taps(box->height * planes->plane[c].scale_y, out_height);
        total += aligned(dmae_axis_bytes(taps_x[c], out_width)) + aligned(dmae_axis_bytes(taps_y[c], out_height));
        total += vector ? aligned(dmae_shuffle_bytes(&vector->shape, &across)) : 0;
    }
    uint8_t *table = dmae_scratch_get(scratch, DMAE_SLOT_WEIGHTS, total);
    if (!table)
        return DMAE_OUT_OF_MEMORY;
    for (int c = 0; c < planes->count; c++) {
        const dmae_plane *plane = &planes->plane[c];
        if (c && same_place(plane, plane - 1)) {
            j->across[c] = j->across[c - 1];
            j->down[c] = j->down[c - 1];
            j->shuffle[c] = j->shuffle[c - 1];
            j->shuffled[c] = j->shuffled[c - 1];
            continue;
        }
        dmae_axis_fill(&j->across[c], table, taps_x[c], out_width, box->left * plane->scale_x - plane->x0,
                       box->width * plane->scale_x, plane->width, flip, target);
        table += aligned(dmae_axis_bytes(taps_x[c], out_width));
        dmae_axis_fill(&j->down[c], table, taps_y[c], out_height, box->top * plane->scale_y - plane->y0,
                       box->height * plane->scale_y, plane->height, 0, target);
        table += aligned(dmae_axis_bytes(taps_y[c], out_height));
        j->shuffled[c] = 0;
        if (vector && j->across[c].narrow) {
            j->shuffled[c] = dmae_shuffle_fill(&j->shuffle[c], table, &vector->shape, &j->across[c]);
            table += aligned(dmae_shuffle_bytes(&vector->shape, &j->across[c]));
        }
    }
    return DMAE_OK;
}

static int make_rows(job *j, const dmae_planes *planes, dmae_scratch *scratch, int32_t out_width) {
    const size_t stride = aligned((size_t)out_width);
    size_t total = 3 * stride, strip = 0;
    for (int c = 0; c < planes->count; c++) {
        const size_t need = aligned(dmae_across_strip(&j->across[c]));
        strip = need > strip ? need : strip;
        total += (size_t)(planes->plane[c].height + j->down[c].taps) * stride + 2 * stride;
    }
    total += strip;
    uint8_t *memory = dmae_scratch_get(scratch, DMAE_SLOT_ROWS, total);
    if (!memory)
        return DMAE_OUT_OF_MEMORY;
    j->stride = (ptrdiff_t)stride;
    j->strip = memory;
    memory += strip;
    j->tail = memory;
    memory += 3 * stride;
    for (int c = 0; c < planes->count; c++) {
        j->line[c] = (int16_t *)memory;
        memory += 2 * stride;
        j->rows[c] = (int8_t *)memory;
        memory += (size_t)(planes->plane[c].height + j->down[c].taps) * stride;
        j->column[c] = (dmae_column){j->rows[c], j->stride, &j->down[c]};
    }
    return DMAE_OK;
}

/* Vector code writes whole vectors: the next row then overwrites what went too far. At the end of a channel that
 * would be another channel, or no memory at all, so the last rows go through a row of their own. */
static void vector_rows(const job *j, const dmae_resampler *vector, int color, uint8_t *dst, int32_t height,
                        int32_t width) {
    const size_t area = (size_t)height * (size_t)width;
    const int32_t beyond = (int32_t)(j->stride - width), guarded = (beyond + width - 1) / width;
    for (int32_t y = 0; y < height; y++) {
        uint8_t *row = dst + (size_t)y * (size_t)width;
        uint8_t *const direct[3] = {row, row + area, row + 2 * area};
        uint8_t *const apart[3] = {j->tail, j->tail + j->stride, j->tail + 2 * j->stride};
        if (y < height - guarded) {
            vector->down(color, j->column, y, width, direct);
            continue;
        }
        vector->down(color, j->column, y, width, apart);
        for (int c = 0; c < 3; c++)
            memcpy(direct[c], apart[c], (size_t)width);
    }
}

int dmae_resample(const dmae_planes *planes, const dmae_box *box, int flip, const dmae_target *target,
                  dmae_scratch *scratch, uint8_t *dst, uint32_t out_height, uint32_t out_width) {
    job j;
    const int32_t height = (int32_t)out_height, width = (int32_t)out_width;
    const dmae_resampler *vector = target->resampler;
    int status = make_tables(&j, planes, box, flip, target, scratch, height, width);
    if (status == DMAE_OK)
        status = make_rows(&j, planes, scratch, width);
    if (status != DMAE_OK)
        return status;
    int narrow = planes->count != 4;
    for (int c = 0; c < planes->count; c++) {
        const dmae_plane *plane = &planes->plane[c];
        if (j.shuffled[c])
            vector->across(&j.shuffle[c], plane->data, plane->stride, plane->height, j.rows[c], j.stride);
        else
            dmae_across_plain(&j.across[c], plane->data, plane->stride, plane->height, j.rows[c], j.stride, j.strip);
        narrow &= j.down[c].narrow != NULL;
    }
    if (vector && narrow) {
        vector_rows(&j, vector, planes->color, dst, height, width);
        return DMAE_OK;
    }
    const size_t area = (size_t)out_height * out_width;
    for (int32_t y = 0; y < height; y++, dst += width) {
        uint8_t *const channel[3] = {dst, dst + area, dst + 2 * area};
        dmae_down_plain(planes->color, planes->count, j.column, y, width, j.line, channel);
    }
    return DMAE_OK;
}
