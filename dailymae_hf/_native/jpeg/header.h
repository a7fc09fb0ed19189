/* What a JPEG says of itself before its first scan, read without libjpeg: small, bounded, and quick to refuse. */
#ifndef DMAE_JPEG_HEADER_H
#define DMAE_JPEG_HEADER_H

#include <stddef.h>
#include <stdint.h>

typedef struct dmae_jpeg_header {
    uint32_t height, width;
    int progressive;
    int components, scan_components;
    uint8_t h[4], v[4];        /* sampling factors */
    uint32_t restart_interval; /* in MCUs; 0: no restart markers */
    uint64_t scan;             /* offset of the first entropy-coded byte */
} dmae_jpeg_header;

/* A DMAE_* status; DMAE_UNSUPPORTED for anything but 8-bit Huffman-coded baseline, extended or progressive JPEG of
 * 1, 3 or 4 components. */
int dmae_jpeg_read_header(const uint8_t *data, uint64_t size, dmae_jpeg_header *header);

/* The segment whose marker comes next: *at is moved behind it. Bytes between segments are passed over, as libjpeg
 * does. `body` is NULL for markers without parameters, else where its `length` bytes begin (the length field first). */
typedef struct dmae_jpeg_segment {
    int marker;
    const uint8_t *body;
    uint32_t length;
} dmae_jpeg_segment;
int dmae_jpeg_next_segment(const uint8_t *data, uint64_t size, uint64_t *at, dmae_jpeg_segment *segment);

enum {
    DMAE_SOF0 = 0xC0,
    DMAE_SOF2 = 0xC2,
    DMAE_DHT = 0xC4,
    DMAE_JPG = 0xC8,
    DMAE_DAC = 0xCC,
    DMAE_SOF15 = 0xCF,
    DMAE_RST0 = 0xD0,
    DMAE_SOI = 0xD8,
    DMAE_EOI = 0xD9,
    DMAE_SOS = 0xDA,
    DMAE_DQT = 0xDB,
    DMAE_DRI = 0xDD,
    DMAE_APP0 = 0xE0,
    DMAE_APP14 = 0xEE,
};

#endif
