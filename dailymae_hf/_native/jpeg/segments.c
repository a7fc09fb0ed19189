/* Finds a crop's restart segments and copies them into a small legal JPEG. */
#include "jpeg/segments.h"

#include <string.h>

#define LARGEST_SIDE 65500

static uint64_t divide_up(uint64_t a, uint64_t b) {
    return (a + b - 1) / b;
}

static uint8_t largest(const uint8_t *factor, int count) {
    uint8_t most = 0;
    for (int c = 0; c < count; c++)
        most = factor[c] > most ? factor[c] : most;
    return most;
}

static uint64_t first_segment(const dmae_jpeg_stream *s, int32_t row) {
    const int32_t image_row = s->first_row + row;
    const uint64_t first = ((uint64_t)image_row * (uint64_t)s->image_mcus + (uint64_t)s->column) / s->interval;
    /* As many as every row has, where the scan ends too. A short segment lies in the image's last row, and behind it
     * libjpeg could not find its way: it must be the stream's last, so other rows keep away from it. */
    const uint64_t end = s->segments - (s->short_end && image_row < s->last_row);
    return first + s->segments_per_row > end ? end - s->segments_per_row : first;
}

int32_t dmae_jpeg_row_start(const dmae_jpeg_stream *s, int32_t row) {
    if (!s->interval)
        return 0;
    return (int32_t)((int64_t)(first_segment(s, row) * s->interval) - (int64_t)(s->first_row + row) * s->image_mcus);
}

int dmae_jpeg_row_is_short(const dmae_jpeg_stream *s, int32_t row) {
    return s->short_end && first_segment(s, row) + s->segments_per_row == s->segments;
}

/* Chooses the segments; 0 where they cannot be arranged as an image. */
static int arrange(const dmae_jpeg_header *header, dmae_region region, dmae_jpeg_stream *s, int32_t *rows,
                   uint32_t *height, uint32_t *width) {
    const int interleaved = header->components > 1; /* a single component's MCU is one block, whatever its factors */
    const uint32_t mcu_width = 8u * (interleaved ? largest(header->h, header->components) : 1);
    const uint32_t mcu_height = 8u * (interleaved ? largest(header->v, header->components) : 1);
    const uint64_t image_mcus = divide_up(header->width, mcu_width), image_rows = divide_up(header->height, mcu_height);
    s->interval = header->restart_interval;
    s->image_mcus = (int32_t)image_mcus;
    s->last_row = (int32_t)image_rows - 1;
    s->segments = divide_up(image_mcus * image_rows, s->interval);
    s->short_end = image_mcus * image_rows % s->interval != 0;
    s->first_row = region.y0 / (int32_t)mcu_height;
    *rows = (int32_t)divide_up((uint64_t)region.y1, mcu_height) - s->first_row;
    if (s->interval >= image_mcus) {
        /* whole rows of MCUs: rows of the stream must not share a segment */
        if (s->interval != image_mcus)
            return 0;
        s->column = 0;
        s->columns = (int32_t)image_mcus;
        s->segments_per_row = 1;
    } else {
        s->column = region.x0 / (int32_t)mcu_width;
        s->columns = (int32_t)divide_up((uint64_t)region.x1, mcu_width) - s->column;
        s->segments_per_row = 0;
        for (int32_t row = 0; row < *rows; row++) {
            const uint64_t from = (uint64_t)(s->first_row + row) * image_mcus + (uint64_t)s->column;
            const uint64_t count = (from + (uint64_t)s->columns - 1) / s->interval - from / s->interval + 1;
            s->segments_per_row = count > s->segments_per_row ? (uint32_t)count : s->segments_per_row;
        }
        if (s->segments_per_row > s->segments - (uint64_t)s->short_end)
            return 0;
    }
    const uint64_t per_row = (uint64_t)s->segments_per_row * s->interval;
    if (per_row * mcu_width > LARGEST_SIDE || (uint64_t)*rows * mcu_height > LARGEST_SIDE)
        return 0;
    s->mcus_per_row = (int32_t)per_row;
    s->margin = 0;
    for (int32_t row = 0; row < *rows; row++) {
        const int32_t before = s->column - dmae_jpeg_row_start(s, row);
        s->margin = before > s->margin ? before : s->margin;
    }
    *width = (uint32_t)(per_row * mcu_width);
    *height = (uint32_t)*rows * mcu_height;
    return 1;
}

/* Where the segments [0, count) begin, and as element `count` where the last one ends. Markers must come in turn. */
static int find_segments(const uint8_t *data, uint64_t size, uint64_t at, uint64_t count, uint64_t *begin) {
    const uint8_t *p = data + at, *end = data + size;
    begin[0] = at;
    for (uint64_t found = 0; found < count;) {
        p = p < end ? memchr(p, 0xFF, (size_t)(end - p)) : NULL;
        if (!p || end - p < 2)
            return DMAE_TRUNCATED;
        const uint8_t *const marker = p;
        while (p < end && *p == 0xFF) /* fill bytes may precede a marker */
            p++;
        if (p == end)
            return DMAE_TRUNCATED;
        const int code = *p++;
        if (code == 0)
            continue;
        if (code == DMAE_EOI && found + 1 == count) {
            begin[count] = (uint64_t)(marker - data);
            return DMAE_OK;
        }
        if (code != DMAE_RST0 + (int)(found & 7))
            return DMAE_CORRUPT;
        found++;
        begin[found] = (uint64_t)(p - data);
        if (found == count)
            begin[count] = (uint64_t)(marker - data);
    }
    return DMAE_OK;
}

static uint8_t *put(uint8_t *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
    return to + bytes;
}

/* The tables and the frame, with another size; whatever else the image carries stays behind. */
static uint8_t *copy_header(const uint8_t *data, uint64_t size, uint32_t height, uint32_t width, uint8_t *to) {
    uint64_t at = 2;
    dmae_jpeg_segment segment = {DMAE_SOI, NULL, 0};
    *to++ = 0xFF;
    *to++ = DMAE_SOI;
    while (segment.marker != DMAE_SOS) {
        (void)dmae_jpeg_next_segment(data, size, &at, &segment); /* went well when the header was read */
        const int m = segment.marker, is_frame = m >= DMAE_SOF0 && m <= DMAE_SOF2;
        if (!is_frame && m != DMAE_DHT && m != DMAE_DQT && m != DMAE_DRI && m != DMAE_SOS && m != DMAE_APP0 &&
            m != DMAE_APP14)
            continue;
        *to++ = 0xFF;
        *to++ = (uint8_t)m;
        to = put(to, segment.body, segment.length);
        if (is_frame) {
            uint8_t *frame = to - segment.length;
            frame[3] = (uint8_t)(height >> 8);
            frame[4] = (uint8_t)height;
            frame[5] = (uint8_t)(width >> 8);
            frame[6] = (uint8_t)width;
            if (frame[7] == 1)
                frame[9] = 0x11; /* a lone component's MCU is one block: let its rows of MCUs be rows of blocks, too */
        }
    }
    return to;
}

int dmae_jpeg_cut(const uint8_t *data, uint64_t size, const dmae_jpeg_header *header, dmae_region region,
                  dmae_scratch *scratch, dmae_jpeg_stream *s) {
    int32_t rows;
    uint32_t height, width;
    if (!header->restart_interval || header->progressive || header->scan_components != header->components ||
        !arrange(header, region, s, &rows, &height, &width))
        return DMAE_UNSUPPORTED;
    const uint64_t needed = first_segment(s, rows - 1) + s->segments_per_row;
    if (needed > (size - header->scan) / 2 + 1) /* a marker is two bytes */
        return DMAE_TRUNCATED;
    uint64_t *begin = dmae_scratch_get(scratch, DMAE_SLOT_COEFFICIENTS, (size_t)(needed + 1) * sizeof *begin);
    if (!begin)
        return DMAE_OUT_OF_MEMORY;
    const int status = find_segments(data, size, header->scan, needed, begin);
    if (status != DMAE_OK)
        return status;

    uint64_t bytes = header->scan + 2;
    for (int32_t row = 0; row < rows; row++) {
        const uint64_t first = first_segment(s, row);
        bytes += begin[first + s->segments_per_row] - begin[first] + 2;
    }
    uint8_t *stream = dmae_scratch_get(scratch, DMAE_SLOT_STREAM, (size_t)bytes);
    if (!stream)
        return DMAE_OUT_OF_MEMORY;
    uint8_t *to = copy_header(data, size, height, width, stream);
    uint32_t number = 0;
    for (int32_t row = 0; row < rows; row++) {
        const uint64_t first = first_segment(s, row);
        for (uint64_t i = first; i < first + s->segments_per_row; i++) {
            /* a segment ends where its marker begins, two bytes before the next, or at the end of what was searched */
            uint64_t end = i + 1 == needed ? begin[needed] : begin[i + 1] - 2;
            while (end > begin[i] && data[end - 1] == 0xFF)
                end--; /* fill bytes */
            to = put(to, data + begin[i], (size_t)(end - begin[i]));
            *to++ = 0xFF;
            *to++ = (uint8_t)(DMAE_RST0 + (number++ & 7));
        }
    }
    to[-1] = DMAE_EOI;
    s->data = stream;
    s->size = (uint64_t)(to - stream);
    return DMAE_OK;
}
