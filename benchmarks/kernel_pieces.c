/* The kernel with a stop-watch around its pieces: bench_kernel.py compiles this with the kernel's other sources.
 *
 * The rooms whose calls are timed are included here with those calls renamed, so that what is measured is the very
 * code that ships. Asked not to transform, the packed reader leaves out the inverse DCT: what is left is unpacking. */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

#include "simd/dispatch.h"

static double read_seconds, resample_seconds;
static int transforming = 1;

/* Processor time of this thread: what other work does to the machine hardly shows. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void transform_or_not(const dmae_target *target, int side, int16_t *coefficients, uint64_t *bitmaps,
                             const int16_t *quant, int32_t count, uint8_t *dst, ptrdiff_t stride) {
    if (transforming)
        dmae_transform(target, side, coefficients, bitmaps, quant, count, dst, stride);
}

#define dmae_transform transform_or_not
#include "jpeg/planes.c"
#include "packed/planes.c"

static int timed_jpeg(const uint8_t *data, uint64_t size, uint32_t height, uint32_t width, dmae_region region,
                      int scale_num, dmae_scratch *scratch, dmae_planes *out) {
    const double start = now();
    const int status = dmae_jpeg_planes(data, size, height, width, region, scale_num, scratch, out);
    read_seconds += now() - start;
    return status;
}

static int timed_packed(const uint8_t *data, uint64_t size, uint32_t height, uint32_t width, dmae_region region,
                        int scale_num, const dmae_target *target, dmae_scratch *scratch, dmae_planes *out) {
    const double start = now();
    const int status = dmae_packed_planes(data, size, height, width, region, scale_num, target, scratch, out);
    read_seconds += now() - start;
    return status;
}

static int timed_resample(const dmae_planes *planes, const dmae_box *box, int flip, const dmae_target *target,
                          dmae_scratch *scratch, uint8_t *dst, uint32_t out_height, uint32_t out_width) {
    const double start = now();
    const int status = dmae_resample(planes, box, flip, target, scratch, dst, out_height, out_width);
    resample_seconds += now() - start;
    return status;
}

#define dmae_jpeg_planes timed_jpeg
#define dmae_packed_planes timed_packed
#define dmae_resample timed_resample
#include "crop_decode.c"

/* Decodes `count` samples, `first_index` being the first one's, and adds up seconds: of all, of reading, of resizing.
 * Returns how many failed. */
DMAE_API int32_t dmae_time_pieces(dmae_params *params, int32_t count, const uint8_t *const *data, const uint64_t *size,
                                  uint32_t mode, const uint32_t *height, const uint32_t *width, uint64_t first_index,
                                  uint8_t *dst, uint32_t side, int32_t transform, double seconds[3]) {
    int32_t failed = 0;
    transforming = transform;
    read_seconds = resample_seconds = 0;
    const double start = now();
    for (int32_t i = 0; i < count; i++)
        failed += dmae_decode_sample(params, data[i], size[i], mode, height[i], width[i], first_index + (uint64_t)i,
                                     dst, side, side) != DMAE_OK;
    seconds[0] = now() - start;
    seconds[1] = read_seconds;
    seconds[2] = resample_seconds;
    return failed;
}
