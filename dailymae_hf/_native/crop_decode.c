/* One sample from its bytes to its finished crop. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <string.h>

#include "guard.h"
#include "simd/dispatch.h"

#define LARGEST_SIDE 65535

/* The inverse DCT may give 1/2, 1/4 or 1/8 of the size where the crop is at least that much larger than the output. */
static int choose_scale(const dmae_box *box, uint32_t out_height, uint32_t out_width) {
    const double reduction = fmin(box->width / out_width, box->height / out_height);
    return reduction >= 8 ? 1 : reduction >= 4 ? 2 : reduction >= 2 ? 4 : 8;
}

/* The samples that the filter of the first and of the last output reach, on one axis of the image. A filter is at least
 * one sample of the coarsest plane to each side; 4:2:0's chroma is twice as coarse as the inverse DCT's output. */
static void reach(double start, double length, uint32_t out, int scale_num, uint32_t size, int32_t *from, int32_t *to) {
    const double scale = length / out;
    const double beyond = fmax(scale, 16.0 / scale_num) - 0.5 * scale;
    *from = (int32_t)fmax(0, floor(start - beyond));
    *to = (int32_t)fmin(size, ceil(start + length + beyond));
}

static int raw_planes(const uint8_t *data, uint64_t size, uint32_t height, uint32_t width, dmae_region region,
                      dmae_scratch *scratch, dmae_planes *out) {
    const uint64_t need = (uint64_t)height * width * 3;
    if (size != need)
        return size < need ? DMAE_TRUNCATED : DMAE_SIZE_MISMATCH;
    const int32_t w = region.x1 - region.x0, h = region.y1 - region.y0;
    const size_t stride = ((size_t)w + 63) & ~(size_t)63, bytes = stride * (size_t)h;
    uint8_t *base = dmae_scratch_get(scratch, DMAE_SLOT_PLANES, 3 * bytes);
    if (!base)
        return DMAE_OUT_OF_MEMORY;
    for (int32_t y = 0; y < h; y++) {
        const uint8_t *src = data + ((uint64_t)(region.y0 + y) * width + (uint64_t)region.x0) * 3;
        uint8_t *r = base + (size_t)y * stride, *g = r + bytes, *b = g + bytes;
        for (int32_t x = 0; x < w; x++, src += 3) {
            r[x] = src[0];
            g[x] = src[1];
            b[x] = src[2];
        }
    }
    out->count = 3;
    out->color = DMAE_COLOR_RGB;
    for (int c = 0; c < 3; c++)
        out->plane[c] = (dmae_plane){base + (size_t)c * bytes, (ptrdiff_t)stride, region.x0, region.y0, w, h, 1, 1};
    return DMAE_OK;
}

static int is_inside(double start, double length, uint32_t size) {
    /* a rounding error of a caller's arithmetic is no reason to fail */
    return isfinite(start) && isfinite(length) && length > 0 && start >= 0 && start + length <= size + 1e-6;
}

int32_t dmae_crop_decode(const uint8_t *data, uint64_t size, uint32_t mode, uint32_t height, uint32_t width,
                         const dmae_box *box, int32_t flip, int32_t simd, uint8_t *dst, uint32_t out_height,
                         uint32_t out_width) {
    if (!data || !dst || !out_height || !out_width || out_height > LARGEST_SIDE || out_width > LARGEST_SIDE)
        return DMAE_BAD_ARGUMENT;
    if (!height || !width || height > LARGEST_SIDE || width > LARGEST_SIDE)
        return DMAE_SIZE_MISMATCH;
    if (!is_inside(box->left, box->width, width) || !is_inside(box->top, box->height, height))
        return DMAE_BAD_ARGUMENT;
    dmae_scratch *scratch = dmae_thread_scratch();
    if (!scratch)
        return DMAE_OUT_OF_MEMORY;

    const int scale_num = mode == DMAE_MODE_RAW ? 8 : choose_scale(box, out_height, out_width);
    dmae_region region;
    reach(box->left, box->width, out_width, scale_num, width, &region.x0, &region.x1);
    reach(box->top, box->height, out_height, scale_num, height, &region.y0, &region.y1);
    const dmae_target *target = dmae_target_for(simd);

    dmae_planes planes;
    int status = DMAE_UNSUPPORTED;
    if (mode == DMAE_MODE_JPG)
        status = dmae_jpeg_planes(data, size, height, width, region, scale_num, scratch, &planes);
    else if (mode == DMAE_MODE_RAW)
        status = raw_planes(data, size, height, width, region, scratch, &planes);
    else if (mode == DMAE_MODE_DCT)
        status = dmae_packed_planes(data, size, height, width, region, scale_num, target, scratch, &planes);
    if (status != DMAE_OK)
        return status;
    return dmae_resample(&planes, box, flip, target, scratch, dst, out_height, out_width);
}

static void record_failure(dmae_params *params, uint64_t sample_index, int32_t status) {
    const uint64_t mine = sample_index << 8 | (uint64_t)status;
    uint64_t seen = __atomic_load_n(&params->first_error, __ATOMIC_RELAXED);
    while (mine < seen &&
           !__atomic_compare_exchange_n(&params->first_error, &seen, mine, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    __atomic_fetch_add(&params->error_count, 1, __ATOMIC_RELEASE);
}

static int32_t decode_guarded(const uint8_t *data, uint64_t size, uint32_t mode, uint32_t height, uint32_t width,
                              const dmae_box *box, int32_t flip, int32_t simd, uint8_t *dst, uint32_t out_height,
                              uint32_t out_width) {
    dmae_guard guard;
    volatile int32_t status = DMAE_UNREADABLE;
    if (sigsetjmp(guard.escape, 0) == 0) {
        dmae_guard_enter(&guard, data, size);
        status = dmae_crop_decode(data, size, mode, height, width, box, flip, simd, dst, out_height, out_width);
    }
    dmae_guard_leave();
    return status;
}

int32_t dmae_decode_sample(dmae_params *params, const uint8_t *data, uint64_t size, uint32_t mode, uint32_t height,
                           uint32_t width, uint64_t sample_index, uint8_t *dst, uint32_t out_height,
                           uint32_t out_width) {
    dmae_box box = {0, 0, 0, 0};
    int32_t flip = 0;
    if (height && width) {
        if (params->kind == DMAE_CROP_CENTER)
            dmae_center_crop(params, height, width, out_height, out_width, &box);
        else
            dmae_random_resized_crop(params, sample_index, height, width, &box, &flip);
    }
    const int32_t status =
        decode_guarded(data, size, mode, height, width, &box, flip, params->simd, dst, out_height, out_width);
    if (status != DMAE_OK) {
        memset(dst, 0, (size_t)3 * out_height * out_width);
        record_failure(params, sample_index, status);
    }
    return status;
}
