/* One sample, found through a file's tables. */
#ifndef DMAE_SAMPLE_H
#define DMAE_SAMPLE_H

#include <string.h>

#include "pool/pool.h"

typedef struct dmae_sample {
    const uint8_t *data;
    uint64_t size;
    uint32_t mode, height, width;
} dmae_sample;

/* The record lies as FFCV packs it, little-endian and at any address. */
static inline dmae_sample dmae_sample_of(const dmae_table *table, uint64_t row) {
    const uint8_t *record = table->records + row * table->record_bytes;
    uint16_t width, height;
    uint64_t place;
    memcpy(&width, record + 1, sizeof width);
    memcpy(&height, record + 3, sizeof height);
    memcpy(&place, record + 5, sizeof place);
    return (dmae_sample){table->file + place, table->sizes[row], record[0], height, width};
}

#endif
