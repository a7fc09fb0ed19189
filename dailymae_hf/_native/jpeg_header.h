/* What a JPEG says of itself before its first scan, read without libjpeg: small, bounded, and quick to refuse. */
#ifndef DMAE_JPEG_HEADER_H
#define DMAE_JPEG_HEADER_H

#include <stddef.h>
#include <stdint.h>

typedef struct dmae_jpeg_header {
    uint32_t height, width;
    int progressive;
    int components;
} dmae_jpeg_header;

/* A DMAE_* status; DMAE_UNSUPPORTED for anything but 8-bit Huffman-coded baseline, extended or progressive JPEG. */
int dmae_jpeg_read_header(const uint8_t *data, uint64_t size, dmae_jpeg_header *header);

#endif
