/* The pages of coming samples, asked for before a thread has to wait for them. */
#define _DEFAULT_SOURCE
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pool/sample.h"

void dmae_expect_no_order(const uint8_t *file, uint64_t size) {
    (void)madvise((void *)(uintptr_t)file, size, MADV_RANDOM);
}

void dmae_read_ahead(const dmae_table *table, const uint64_t *rows, uint32_t count) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (uint32_t i = 0; i < count; i++) {
        const dmae_sample sample = dmae_sample_of(table, rows[i]);
        const uintptr_t from = (uintptr_t)sample.data & ~(page - 1), to = (uintptr_t)sample.data + sample.size;
        (void)madvise((void *)from, to - from, MADV_WILLNEED); /* advice: where it is not taken, reading waits */
    }
}
