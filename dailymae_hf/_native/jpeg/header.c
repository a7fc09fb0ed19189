/* Walks a JPEG's markers up to its first scan (ITU-T T.81, annex B). */
#include "jpeg/header.h"

#include "kernel.h"

static uint32_t read16(const uint8_t *p) {
    return (uint32_t)p[0] << 8 | p[1];
}

int dmae_jpeg_next_segment(const uint8_t *data, uint64_t size, uint64_t *at, dmae_jpeg_segment *segment) {
    uint64_t p = *at;
    while (p < size && data[p] != 0xFF)
        p++;
    while (p < size && data[p] == 0xFF)
        p++;
    if (p >= size)
        return DMAE_TRUNCATED;
    *segment = (dmae_jpeg_segment){data[p++], NULL, 0};
    const int marker = segment->marker;
    if (marker > 0x01 && (marker < DMAE_RST0 || marker > DMAE_EOI)) {
        if (size - p < 2)
            return DMAE_TRUNCATED;
        segment->body = data + p;
        segment->length = read16(data + p);
        if (segment->length < 2)
            return DMAE_CORRUPT;
        if (size - p < segment->length)
            return DMAE_TRUNCATED;
        p += segment->length;
    }
    *at = p;
    return DMAE_OK;
}

static int read_frame(const dmae_jpeg_segment *segment, dmae_jpeg_header *header) {
    if (segment->marker > DMAE_SOF2)
        return DMAE_UNSUPPORTED; /* lossless, hierarchical or arithmetic-coded */
    if (header->components || segment->length < 8)
        return DMAE_CORRUPT;
    const uint8_t *body = segment->body;
    if (body[2] != 8)
        return DMAE_UNSUPPORTED;
    const uint32_t components = body[7];
    if (segment->length != 8 + 3 * components)
        return DMAE_CORRUPT;
    if (components != 1 && components != 3 && components != 4)
        return DMAE_UNSUPPORTED;
    header->progressive = segment->marker == DMAE_SOF2;
    header->height = read16(body + 3);
    header->width = read16(body + 5);
    header->components = (int)components;
    for (uint32_t c = 0; c < components; c++) {
        header->h[c] = body[9 + 3 * c] >> 4;
        header->v[c] = body[9 + 3 * c] & 15;
        if (header->h[c] < 1 || header->h[c] > 4 || header->v[c] < 1 || header->v[c] > 4)
            return DMAE_CORRUPT;
    }
    return DMAE_OK;
}

static int read_segment(const dmae_jpeg_segment *segment, dmae_jpeg_header *header) {
    const int marker = segment->marker;
    if (marker == DMAE_EOI)
        return DMAE_CORRUPT; /* ends before any scan */
    if (marker == DMAE_DAC)
        return DMAE_UNSUPPORTED;
    if (marker == DMAE_DRI) {
        if (segment->length != 4)
            return DMAE_CORRUPT;
        header->restart_interval = read16(segment->body + 2);
    }
    if (marker >= DMAE_SOF0 && marker <= DMAE_SOF15 && marker != DMAE_DHT && marker != DMAE_JPG)
        return read_frame(segment, header);
    return DMAE_OK;
}

int dmae_jpeg_read_header(const uint8_t *data, uint64_t size, dmae_jpeg_header *header) {
    *header = (dmae_jpeg_header){0};
    if (size < 4)
        return DMAE_TRUNCATED;
    if (data[0] != 0xFF || data[1] != DMAE_SOI)
        return DMAE_CORRUPT;
    uint64_t at = 2;
    for (;;) {
        dmae_jpeg_segment segment;
        int status = dmae_jpeg_next_segment(data, size, &at, &segment);
        if (status == DMAE_OK)
            status = read_segment(&segment, header);
        if (status != DMAE_OK)
            return status;
        if (segment.marker == DMAE_SOS) {
            if (!header->components || segment.length < 3)
                return DMAE_CORRUPT;
            header->scan_components = segment.body[2];
            header->scan = at;
            return DMAE_OK;
        }
    }
}
