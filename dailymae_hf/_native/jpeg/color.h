/* libjpeg's colour spaces as the kernel names them. Include it after jpeglib.h. */
#ifndef DMAE_JPEG_COLOR_H
#define DMAE_JPEG_COLOR_H

#include "internal.h"

/* DMAE_COLOR_*, or 0 for a space that is not read. */
static inline int dmae_jpeg_color(J_COLOR_SPACE space) {
    switch (space) {
    case JCS_GRAYSCALE:
        return DMAE_COLOR_GRAY;
    case JCS_YCbCr:
        return DMAE_COLOR_YCC;
    case JCS_RGB:
        return DMAE_COLOR_RGB;
    case JCS_CMYK:
        return DMAE_COLOR_CMYK;
    case JCS_YCCK:
        return DMAE_COLOR_YCCK;
    default:
        return 0;
    }
}

#endif
