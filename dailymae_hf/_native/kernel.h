/* The kernel's public face: plain C, no Python, no printing, status codes out.
 * Callers hand in the sample's bytes and the place in the batch buffer; nothing here allocates what a caller owns. */
#ifndef DMAE_KERNEL_H
#define DMAE_KERNEL_H

#include <stdint.h>

#define DMAE_API __attribute__((visibility("default")))

enum {
    DMAE_OK = 0,
    DMAE_TRUNCATED = 1,     /* the sample ends before its data does */
    DMAE_CORRUPT = 2,       /* the data contradicts itself */
    DMAE_UNSUPPORTED = 3,   /* legal, but not a kind this kernel reads (12-bit, arithmetic-coded, ...) */
    DMAE_SIZE_MISMATCH = 4, /* the sample's own size is not the one in the file's table */
    DMAE_OUT_OF_MEMORY = 5,
    DMAE_BAD_ARGUMENT = 6,
    DMAE_NO_SPACE = 7,   /* the caller's buffer is too small; the size needed is reported */
    DMAE_UNREADABLE = 8, /* the mapped file is shorter than it was, or its disk failed */
};

/* How a sample is stored; 0 and 1 are FFCV's own numbers for RGBImageField. */
enum { DMAE_MODE_JPG = 0, DMAE_MODE_RAW = 1, DMAE_MODE_DCT = 2 };

/* Instruction sets a caller may cap a call to; DMAE_SIMD_AUTO takes the best that the machine has. */
enum { DMAE_SIMD_AUTO = -1, DMAE_SIMD_SCALAR = 0, DMAE_SIMD_V128 = 1, DMAE_SIMD_AVX2 = 2, DMAE_SIMD_AVX512 = 3 };

enum { DMAE_CROP_RANDOM_RESIZED = 0, DMAE_CROP_CENTER = 1 };

/* A rectangle in continuous image coordinates: pixel (0, 0) covers [0, 1) x [0, 1). */
typedef struct dmae_box {
    double left, top, width, height;
} dmae_box;

/* What all samples of a loader share. `dailymae_hf._native.PARAMS_DTYPE` is its mirror: change both.
 * A running batch only reads the first part, and adds to the second with atomic operations. */
typedef struct dmae_params {
    uint64_t seed, epoch;
    double scale[2];     /* random resized crop: fraction of the image's area, low and high */
    double ratio[2];     /* random resized crop: width / height, low and high */
    double hflip;        /* probability of a horizontal flip */
    double center_ratio; /* center crop: crop side / side that the image's shorter side is resized to */
    int32_t kind;        /* DMAE_CROP_* */
    int32_t simd;        /* DMAE_SIMD_*: the most that may be used */

    uint64_t error_count;
    uint64_t first_error; /* smallest sample_index << 8 | status among the failures; all bits set: none */
} dmae_params;

/* Decode, crop, resize and flip one sample into dst, a contiguous uint8 (3, out_height, out_width).
 * The box and the flip are functions of (seed, epoch, sample_index). The size is an argument and not a
 * parameter, so that a batch still being filled cannot overrun its buffer when the resolution changes.
 * On failure dst is zero-filled, params counts it, and the status is returned. */
DMAE_API int32_t dmae_decode_sample(dmae_params *params, const uint8_t *data, uint64_t size, uint32_t mode,
                                    uint32_t height, uint32_t width, uint64_t sample_index, uint8_t *dst,
                                    uint32_t out_height, uint32_t out_width);

/* Makes a read of a mapped file that is no longer there the status DMAE_UNREADABLE of the functions that decode a whole
 * sample, instead of the process's end: takes over the handling of SIGBUS, unless it has it. Handlers that were there
 * before are called for all other reads. DMAE_BAD_ARGUMENT where the system refuses. */
DMAE_API int32_t dmae_guard_install(void);

/* The same for a given box (which may be fractional, and must lie inside the image). dst is undefined on failure. */
DMAE_API int32_t dmae_crop_decode(const uint8_t *data, uint64_t size, uint32_t mode, uint32_t height, uint32_t width,
                                  const dmae_box *box, int32_t flip, int32_t simd, uint8_t *dst, uint32_t out_height,
                                  uint32_t out_width);

/* The geometry alone: torchvision's random resized crop in whole pixels, its flip, and the evaluation crop. */
DMAE_API void dmae_random_resized_crop(const dmae_params *params, uint64_t sample_index, uint32_t height,
                                       uint32_t width, dmae_box *box, int32_t *flip);
DMAE_API void dmae_center_crop(const dmae_params *params, uint32_t height, uint32_t width, uint32_t out_height,
                               uint32_t out_width, dmae_box *box);

/* What a writer wants to know before it decides between a lossless conversion and compressing anew.
 * Mirrored field by field in codec.py. */
typedef struct dmae_jpeg_facts {
    int32_t width, height, components;
    int32_t color;      /* DMAE_COLOR_* of internal.h; 0: another */
    int32_t h[4], v[4]; /* sampling factors */
    int32_t precision;  /* bits per sample */
    int32_t progressive, arithmetic;
    int32_t orientation;      /* 1..8 as in EXIF; 1 where the file does not say */
    int32_t restart_interval; /* MCUs between restart markers, 0: none */
    int32_t lossless;         /* DMAE_OK, or DMAE_UNSUPPORTED where the image must be decoded and compressed anew */
} dmae_jpeg_facts;
DMAE_API int32_t dmae_jpeg_read_facts(const uint8_t *src, uint64_t size, dmae_jpeg_facts *facts);

/* Lossless conversions: the quantised coefficients of the result are those of `src`, turned upright as its EXIF
 * orientation asks. A JPEG result is baseline, with a restart marker after every `restart_mcus` MCUs (0: chosen for
 * the image) and Huffman tables made for it; quantisation tables and the meaning of the components stay; EXIF, ICC
 * and comments go. *written: size of the result, also when `capacity` is too small for it (DMAE_NO_SPACE).
 * DMAE_UNSUPPORTED: cannot be done without loss (dmae_jpeg_facts.lossless says so beforehand). `sums`: NULL, or where
 * dmae_pixel_sums of the decoded image go; it is set where the result fits. */
DMAE_API int32_t dmae_transcode_jpeg(const uint8_t *src, uint64_t size, int32_t restart_mcus, uint64_t *sums,
                                     uint8_t *dst, uint64_t capacity, uint64_t *written);
DMAE_API int32_t dmae_pack_jpeg(const uint8_t *src, uint64_t size, uint64_t *sums, uint8_t *dst, uint64_t capacity,
                                uint64_t *written);
DMAE_API int32_t dmae_unpack_to_jpeg(const uint8_t *src, uint64_t size, int32_t restart_mcus, uint8_t *dst,
                                     uint64_t capacity, uint64_t *written);

/* Contiguous pixels of four bytes (red, green, blue, padding) as the packed sample of the JPEG that libjpeg makes of
 * them at `quality` (1 to 100), with 4:2:0 chroma and its slow integer DCT: the same coefficients. */
DMAE_API int32_t dmae_pack_pixels(const uint8_t *rgbx, int32_t height, int32_t width, int32_t quality, int32_t simd,
                                  uint8_t *dst, uint64_t capacity, uint64_t *written);

/* Pillow's resize(BICUBIC) of contiguous pixels of four bytes, byte for byte. */
DMAE_API int32_t dmae_resize_bicubic(const uint8_t *src, int32_t height, int32_t width, uint8_t *dst,
                                     int32_t out_height, int32_t out_width);

/* A JPEG decoded as Pillow decodes it, by libjpeg at 1/denominator (1, 2, 4 or 8) of its size, and resized as
 * dmae_resize_bicubic does, without turning it upright. DMAE_UNSUPPORTED: of another colour than gray and YCbCr, or
 * libjpeg finds anything wrong with it; a caller then asks another decoder. */
DMAE_API int32_t dmae_jpeg_pixels(const uint8_t *src, uint64_t size, int32_t denominator, uint8_t *dst,
                                  int32_t out_height, int32_t out_width);

/* A PNG's inflated rows of 8-bit RGB, height * (1 + 3 * width) bytes, as pixels of four bytes. DMAE_CORRUPT: a row has
 * a filter that there is not. */
DMAE_API int32_t dmae_png_pixels(const uint8_t *rows, int32_t height, int32_t width, uint8_t *dst);

/* Sums of the values of `count` pixels of four bytes, then of their squares, each of red, green and blue. */
DMAE_API void dmae_pixel_sums(const uint8_t *rgbx, uint64_t count, uint64_t sums[6]);

/* The DMAE_SIMD_* level that this machine would use under `cap`. */
DMAE_API int32_t dmae_simd_level(int32_t cap);

#endif
