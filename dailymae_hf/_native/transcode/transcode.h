/* Coefficients from JPEGs and pixels, and back to JPEGs.
 * read -> (orient) -> write or pack never touches a coefficient's value, so nothing is compressed twice. */
#ifndef DMAE_TRANSCODE_H
#define DMAE_TRANSCODE_H

#include "coefficients.h"

/* Each of these leaves `image` freed when it fails. `oriented`: turn the image as its EXIF orientation asks. */
int dmae_coefficients_read(const uint8_t *src, uint64_t size, int oriented, dmae_coefficients *image);
int dmae_coefficients_orient(dmae_coefficients *image, int orientation);

/* Pixels of four bytes (red, green, blue, padding) as libjpeg would compress them at `quality`, with 4:2:0 chroma. */
int dmae_coefficients_compress(const uint8_t *rgbx, int32_t height, int32_t width, int quality, int simd,
                               dmae_coefficients *image);
/* libjpeg's quantisation tables for a quality of 1 to 100, natural order, of luma and of chroma. */
int dmae_quality_tables(int quality, uint16_t luma[64], uint16_t chroma[64]);

/* Sets *written to the bytes that the result has or would need (DMAE_NO_SPACE when capacity is less). */
int dmae_coefficients_write(const dmae_coefficients *image, int restart_mcus, uint8_t *dst, uint64_t capacity,
                            uint64_t *written);

/* dmae_pixel_sums of three planes of `count` values each, one behind the other. */
void dmae_plane_sums(const uint8_t *planes, uint64_t count, uint64_t sums[6]);

/* Adds a component's symbols to the counts of its two tables; DMAE_CORRUPT: 8-bit baseline has no code for one. */
int dmae_huffman_count(const dmae_component *c, uint32_t dc[256], uint32_t ac[256]);
/* The best table for these counts as DHT says it: codes per length (from 1), symbols in the order of their codes. */
void dmae_huffman_table(const uint32_t counts[256], uint8_t bits[17], uint8_t symbols[256]);

/* Whether turning an image upright mirrors its columns (axis 0) or its rows (axis 1). Where it does, that side must be
 * whole MCUs: the image would begin with what was its last, incomplete block. */
int dmae_mirrors(int orientation, int axis);

/* EXIF orientation of an APP1 payload (after the length), or 1. */
int dmae_exif_orientation(const uint8_t *app1, uint64_t size);

#endif
