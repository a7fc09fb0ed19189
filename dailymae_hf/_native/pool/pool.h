/* Threads that decode batches sample by sample. They live as long as their pool, and know nothing of Python. */
#ifndef DMAE_POOL_H
#define DMAE_POOL_H

#include "kernel.h"

/* Where a file's samples are: the mapped bytes, and the tables that are in memory already. */
typedef struct dmae_table {
    const uint8_t *file;
    const uint8_t *records; /* of the image field: mode (1 byte), width and height (2 each), place in the file (8) */
    uint64_t record_bytes;  /* from one sample's record to the next */
    const uint64_t *sizes;  /* bytes of each sample */
} dmae_table;

/* A batch on its way. Its owner fills in the first part and may look at params' errors once it has waited for it. */
typedef struct dmae_batch {
    dmae_params params; /* a copy: the next epoch's may be another while this one is still decoded */
    dmae_table table;
    const uint64_t *rows; /* the samples' indices, count of them */
    uint8_t *dst;         /* contiguous uint8 (count, 3, out_height, out_width) */
    uint32_t count, out_height, out_width;

    uint32_t given, done; /* the pool's own: samples handed to threads, and finished */
    struct dmae_batch *after;
} dmae_batch;

typedef struct dmae_pool dmae_pool;

/* NULL where the threads cannot be started. */
DMAE_API dmae_pool *dmae_pool_open(int32_t threads);
/* Ends the threads after the samples that they are at. Nobody may wait for a batch by then. In a forked child, which
 * has no such threads, it does nothing; the other functions must not be called there. */
DMAE_API void dmae_pool_close(dmae_pool *pool);

/* Batches are decoded in the order in which they come; the owner keeps everything they point at until it has waited. */
DMAE_API void dmae_pool_submit(dmae_pool *pool, dmae_batch *batch);
DMAE_API void dmae_pool_wait(dmae_pool *pool, dmae_batch *batch);
/* The same without what no thread has begun. */
DMAE_API void dmae_pool_cancel(dmae_pool *pool, dmae_batch *batch);

/* Tells the system that samples of a mapping are read in no order: a read then brings in its own page alone, and not
 * the many beside it (8 MiB on some disks) that would push out what was asked for. */
DMAE_API void dmae_expect_no_order(const uint8_t *file, uint64_t size);
/* Asks the system for the pages of samples that are wanted soon; returns before they are read. */
DMAE_API void dmae_read_ahead(const dmae_table *table, const uint64_t *rows, uint32_t count);

#endif
