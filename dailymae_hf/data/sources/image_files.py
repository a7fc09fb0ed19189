"""Which files are images, and which are what hard disks collect beside them."""

import os

# What Pillow reads, and what it reads with a plugin: a file of these names is meant to be an image, broken or not.
_KINDS = """
apng avif avifs bmp cur dds dib gif heic heif hif ico j2c j2k jfif jp2 jpc jpe jpeg jpf jpg jpx jxl
pbm pcx pgm png pnm ppm qoi ras sgi tga tif tiff webp xbm xpm
"""
IMAGE_SUFFIXES = frozenset(f".{kind}" for kind in _KINDS.split())
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")


def has_image_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def starts_like_image(head: bytes) -> bool:
    """Whether the first 16 bytes of a file are those of a common image format."""
    return head.startswith(_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def is_image_file(path: str) -> bool:
    """By its name; a hidden file, or one of another name, by its first bytes. Files that cannot be opened are none."""
    name = os.path.basename(path)
    if has_image_suffix(name) and not name.startswith("."):
        return True
    try:
        with open(path, "rb") as stream:
            return starts_like_image(stream.read(16))
    except OSError:
        return False
