/* Walks a JPEG's markers up to its first scan (ITU-T T.81, annex B). */
#include "jpeg_header.h"

#include "kernel.h"

enum { SOF0 = 0xC0, SOF2 = 0xC2, DHT = 0xC4, SOF15 = 0xCF, JPG = 0xC8, DAC = 0xCC, RST0 = 0xD0, SOI = 0xD8, EOI = 0xD9, SOS = 0xDA };

static uint32_t read16(const uint8_t *p) {
    return (uint32_t)p[0] << 8 | p[1];
}

static int read_frame(int marker, const uint8_t *segment, uint32_t length, dmae_jpeg_header *header) {
    if (marker > SOF2)
        return DMAE_UNSUPPORTED; /* lossless, hierarchical or arithmetic-coded */
    if (length < 8)
        return DMAE_CORRUPT;
    if (segment[2] != 8)
        return DMAE_UNSUPPORTED;
    header->progressive = marker == SOF2;
    header->height = read16(segment + 3);
    header->width = read16(segment + 5);
    header->components = segment[7];
    if (length != 8 + 3 * (uint32_t)header->components)
        return DMAE_CORRUPT;
    return DMAE_OK;
}

int dmae_jpeg_read_header(const uint8_t *data, uint64_t size, dmae_jpeg_header *header) {
    *header = (dmae_jpeg_header){0};
    if (size < 4)
        return DMAE_TRUNCATED;
    if (data[0] != 0xFF || data[1] != SOI)
        return DMAE_CORRUPT;
    uint64_t at = 2;
    for (;;) {
        while (at < size && data[at] != 0xFF) /* bytes between segments are passed over, as libjpeg does */
            at++;
        while (at < size && data[at] == 0xFF)
            at++;
        if (at >= size)
            return DMAE_TRUNCATED;
        const int marker = data[at++];
        if (marker <= 0x01 || (marker >= RST0 && marker <= SOI))
            continue; /* no parameters */
        if (marker == EOI)
            return DMAE_CORRUPT; /* ends before any scan */
        if (size - at < 2)
            return DMAE_TRUNCATED;
        const uint32_t length = read16(data + at);
        if (length < 2)
            return DMAE_CORRUPT;
        if (size - at < length)
            return DMAE_TRUNCATED;
        if (marker == DAC)
            return DMAE_UNSUPPORTED;
        if (marker >= SOF0 && marker <= SOF15 && marker != DHT && marker != JPG) {
            const int status = read_frame(marker, data + at, length, header);
            if (status != DMAE_OK)
                return status;
        }
        if (marker == SOS)
            return header->components ? DMAE_OK : DMAE_CORRUPT;
        at += length;
    }
}
