/* One fuzz body for every caller: libFuzzer, fuzz_driver.c's own mutator, and pytest through the latter.
 *
 * An input is 16 bytes of settings and then a sample. The settings say what the sample is taken for, whether its size
 * is lied about, which box to cut and to which size. Whatever the sample holds, the kernel must come back with a
 * status; where it decodes, plain C and the best vector code must agree on the status and on every byte; and a lossless
 * conversion that succeeds must give something that the kernel reads to the same pixels. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "jpeg/header.h"

enum { SETTINGS = 16, LARGEST_OUTPUT = 48, KINDS = 5 };
enum { KIND_JPG, KIND_RAW, KIND_DCT, KIND_TRANSCODE, KIND_UNPACK };

typedef struct settings {
    int kind, lie, flip;
    uint32_t height, width, out_height, out_width;
    dmae_box box;
} settings;

static uint32_t read16(const uint8_t *p) {
    return (uint32_t)p[0] << 8 | p[1];
}

/* A part of [0, length) from two bytes, fractional, and the whole length for zeros. */
static void part(const uint8_t *p, double length, double *start, double *extent) {
    *start = length * p[0] / 256;
    *extent = (length - *start) * (256 - p[1]) / 256;
}

static void fail(const char *what, int a, int b) {
    fprintf(stderr, "fuzz: %s: %d and %d\n", what, a, b);
    abort();
}

/* The size that the sample itself names, for its decoder to get past that check; else the settings' own. */
static void choose_size(settings *s, const uint8_t *control, const uint8_t *data, size_t size) {
    s->height = read16(control + 4);
    s->width = read16(control + 6);
    dmae_jpeg_header header;
    if (s->lie)
        return;
    if (s->kind != KIND_RAW && dmae_jpeg_read_header(data, size, &header) == DMAE_OK) {
        s->height = header.height;
        s->width = header.width;
    }
}

static int32_t decode(const settings *s, uint32_t mode, const uint8_t *data, size_t size, int32_t simd, uint8_t *out) {
    return dmae_crop_decode(data, size, mode, s->height, s->width, &s->box, s->flip, simd, out, s->out_height,
                            s->out_width);
}

static int32_t decode_twice(const settings *s, uint32_t mode, const uint8_t *data, size_t size, uint8_t *out) {
    static uint8_t again[3 * LARGEST_OUTPUT * LARGEST_OUTPUT];
    const int32_t plain = decode(s, mode, data, size, DMAE_SIMD_SCALAR, again);
    const int32_t best = decode(s, mode, data, size, DMAE_SIMD_AUTO, out);
    if (plain != best)
        fail("statuses of plain C and vector code", plain, best);
    if (plain == DMAE_OK && memcmp(out, again, (size_t)3 * s->out_height * s->out_width) != 0)
        fail("pixels of plain C and vector code differ at this output size", (int)s->out_height, (int)s->out_width);
    return plain;
}

typedef int32_t conversion(const uint8_t *, uint64_t, int32_t, uint8_t *, uint64_t, uint64_t *);

static int32_t pack(const uint8_t *src, uint64_t size, int32_t unused, uint8_t *dst, uint64_t capacity,
                    uint64_t *written) {
    uint64_t sums[6];
    (void)unused;
    return dmae_pack_jpeg(src, size, sums, dst, capacity, written);
}

static int32_t transcode(const uint8_t *src, uint64_t size, int32_t interval, uint8_t *dst, uint64_t capacity,
                         uint64_t *written) {
    return dmae_transcode_jpeg(src, size, interval, NULL, dst, capacity, written);
}

/* Converts into a buffer that is too small at first, as a caller may; *result is the caller's to free. */
static int32_t convert(conversion *f, const uint8_t *data, size_t size, int32_t interval, uint8_t **result,
                       uint64_t *written) {
    uint64_t capacity = size / 2 + 1;
    *result = malloc(capacity);
    int32_t status = f(data, size, interval, *result, capacity, written);
    if (status == DMAE_NO_SPACE) {
        if (*written <= capacity || *written > (64u << 20))
            fail("size asked for, and size there was", (int)*written, (int)capacity);
        free(*result);
        capacity = *written;
        *result = malloc(capacity);
        status = f(data, size, interval, *result, capacity, written);
        if (status == DMAE_NO_SPACE)
            fail("size asked for was not enough", (int)capacity, (int)*written);
    }
    if (status == DMAE_OK && *written > capacity)
        fail("more was written than there was room for", (int)*written, (int)capacity);
    return status;
}

/* A conversion's result must decode; both of one source must decode to the same pixels. */
static void convert_both(settings *s, const uint8_t *data, size_t size, int32_t interval) {
    static uint8_t first[3 * LARGEST_OUTPUT * LARGEST_OUTPUT], second[sizeof first];
    uint8_t *jpeg, *packed;
    uint64_t jpeg_size = 0, packed_size = 0;
    const int32_t a = convert(transcode, data, size, interval, &jpeg, &jpeg_size);
    const int32_t b = convert(pack, data, size, 0, &packed, &packed_size);
    dmae_jpeg_header header;
    if (a == DMAE_OK && b == DMAE_OK && dmae_jpeg_read_header(jpeg, jpeg_size, &header) == DMAE_OK) {
        s->height = header.height; /* a conversion turns the image upright */
        s->width = header.width;
        part((const uint8_t *)"\0\0", s->width, &s->box.left, &s->box.width);
        part((const uint8_t *)"\0\0", s->height, &s->box.top, &s->box.height);
        const int32_t c = decode_twice(s, DMAE_MODE_JPG, jpeg, jpeg_size, first);
        const int32_t d = decode_twice(s, DMAE_MODE_DCT, packed, packed_size, second);
        if (c != DMAE_OK || d != DMAE_OK)
            fail("statuses of decoding what was converted", c, d);
    }
    free(jpeg);
    free(packed);
}

static void unpack(const uint8_t *data, size_t size, int32_t interval) {
    uint8_t *jpeg;
    uint64_t written = 0;
    convert(dmae_unpack_to_jpeg, data, size, interval, &jpeg, &written);
    free(jpeg);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length) {
    static uint8_t out[3 * LARGEST_OUTPUT * LARGEST_OUTPUT];
    if (length < SETTINGS)
        return 0;
    const size_t size = length - SETTINGS;
    uint8_t *data = malloc(size ? size : 1); /* of just this size: the sanitizer sees the first byte read past it */
    memcpy(data, input + SETTINGS, size);
    settings s = {.kind = input[0] % KINDS, .lie = input[1] == 1, .flip = input[2] & 1};
    s.out_height = 1 + input[8] % LARGEST_OUTPUT;
    s.out_width = 1 + input[9] % LARGEST_OUTPUT;
    choose_size(&s, input, data, size);
    part(input + 10, s.width, &s.box.left, &s.box.width);
    part(input + 12, s.height, &s.box.top, &s.box.height);
    if (s.kind <= KIND_DCT) {
        const uint32_t mode[] = {DMAE_MODE_JPG, DMAE_MODE_RAW, DMAE_MODE_DCT};
        decode_twice(&s, mode[s.kind], data, size, out);
    } else if (s.kind == KIND_TRANSCODE) {
        convert_both(&s, data, size, input[3] % 16);
    } else {
        unpack(data, size, input[3] % 16);
    }
    free(data);
    return 0;
}
