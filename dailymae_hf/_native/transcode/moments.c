/* Sums over an image's pixels, for the mean and the standard deviation of a set. */
#include <string.h>

#include "transcode/transcode.h"

enum { SIDE_BY_SIDE = 16, MOST = 1 << 16 }; /* so many squares' sum fits 32 bits */

/* Of values with the same place in their sixteen, for compilers to vectorise. */
static void add(const uint8_t *values, uint64_t sixteens, uint64_t total[SIDE_BY_SIDE], uint64_t square[SIDE_BY_SIDE]) {
    uint32_t sum[SIDE_BY_SIDE] = {0}, of_squares[SIDE_BY_SIDE] = {0};
    for (uint64_t i = 0; i < sixteens; i++, values += SIDE_BY_SIDE)
        for (int k = 0; k < SIDE_BY_SIDE; k++) {
            sum[k] += values[k];
            of_squares[k] += (uint32_t)values[k] * values[k];
        }
    for (int k = 0; k < SIDE_BY_SIDE; k++) {
        total[k] += sum[k];
        square[k] += of_squares[k];
    }
}

static void add_all(const uint8_t *values, uint64_t count, uint64_t total[SIDE_BY_SIDE],
                    uint64_t square[SIDE_BY_SIDE]) {
    const uint64_t whole = count / SIDE_BY_SIDE;
    for (uint64_t at = 0; at < whole; at += MOST)
        add(values + SIDE_BY_SIDE * at, whole - at < MOST ? whole - at : MOST, total, square);
    uint8_t rest[SIDE_BY_SIDE] = {0};
    memcpy(rest, values + SIDE_BY_SIDE * whole, count % SIDE_BY_SIDE);
    add(rest, 1, total, square);
}

void dmae_pixel_sums(const uint8_t *rgbx, uint64_t count, uint64_t sums[6]) {
    uint64_t total[SIDE_BY_SIDE] = {0}, square[SIDE_BY_SIDE] = {0};
    add_all(rgbx, 4 * count, total, square);
    memset(sums, 0, 6 * sizeof *sums);
    for (int k = 0; k < SIDE_BY_SIDE; k++)
        if (k % 4 < 3) {
            sums[k % 4] += total[k];
            sums[3 + k % 4] += square[k];
        }
}

void dmae_plane_sums(const uint8_t *planes, uint64_t count, uint64_t sums[6]) {
    memset(sums, 0, 6 * sizeof *sums);
    for (int c = 0; c < 3; c++, planes += count) {
        uint64_t total[SIDE_BY_SIDE] = {0}, square[SIDE_BY_SIDE] = {0};
        add_all(planes, count, total, square);
        for (int k = 0; k < SIDE_BY_SIDE; k++) {
            sums[c] += total[k];
            sums[3 + c] += square[k];
        }
    }
}
