"""The fuzz corpus: small samples of every kind behind the settings that tests/native/fuzz_body.c reads.

python -m tests.native.fuzz_seeds FOLDER
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from dailymae_hf._native.codec import pack_jpeg

try:
    from .packed_reference import extreme_sample
    from .samples import jpeg, with_frame
except ImportError:  # run as a file
    from packed_reference import extreme_sample
    from samples import jpeg, with_frame

JPG, RAW, DCT, TRANSCODE, UNPACK = range(5)


def settings(
    kind: int, *, size: tuple[int, int] | None = None, out: tuple[int, int] = (23, 37), box: bytes = bytes(4)
) -> bytes:
    """The body's 16 bytes; `size` = (height, width) is claimed for the sample, else its own is used."""
    height, width = size or (0, 0)
    claimed = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes([kind, size is not None, 0, 3]) + claimed + bytes([out[0] - 1, out[1] - 1]) + box + bytes(2)


def picture(width: int, height: int) -> Image.Image:
    """Something with edges, gradients and colour; no file needed."""
    y, x = np.mgrid[0:height, 0:width]
    red = 128 + 90 * np.sin(x / 7) * np.cos(y / 5)
    green = 255 * x / max(width - 1, 1)
    blue = np.where((x // 9 + y // 6) % 2, 220, 30)
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def jpegs() -> Iterator[tuple[str, bytes]]:
    image = picture(70, 45)
    for layout in ("4:4:4", "4:2:2", "4:2:0"):
        yield f"plain-{layout[::2]}", jpeg(image, subsampling=layout)
        for interval in (1, 3, 5):
            yield f"restart{interval}-{layout[::2]}", jpeg(image, subsampling=layout, restart_marker_blocks=interval)
    yield "rows", jpeg(image, restart_marker_rows=1)
    yield "progressive", jpeg(image, progressive=True)
    yield "progressive-grey", jpeg(image.convert("L"), progressive=True)
    yield "grey", jpeg(image.convert("L"))
    yield "grey-restart", jpeg(image.convert("L"), restart_marker_blocks=2)
    yield "cmyk", jpeg(image.convert("CMYK"))
    yield "optimized", jpeg(image, optimize=True, quality=98)
    yield "coarse", jpeg(image, quality=5)
    yield "one-pixel", jpeg(picture(1, 1))
    yield "narrow", jpeg(picture(3, 130))
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "rotated", jpeg(picture(64, 48), exif=exif)  # whole MCUs, so that it turns without loss
    yield "12-bit", with_frame(jpeg(image), precision=12)
    yield "arithmetic", with_frame(jpeg(image), marker=0xC9)
    yield "huge", with_frame(jpeg(image), size=(65500, 65500))
    yield "wide", with_frame(jpeg(image, restart_marker_blocks=2), size=(45, 65500))


def seeds() -> Iterator[tuple[str, bytes]]:
    """(name, input) of the whole corpus."""
    boxes = {"whole": bytes(4), "inner": bytes([40, 60, 90, 30]), "tiny": bytes([128, 250, 200, 251])}
    for name, data in jpegs():
        for box, code in boxes.items():
            yield f"jpg-{name}-{box}", settings(JPG, box=code, out=(9, 11) if box == "whole" else (23, 37)) + data
        yield f"transcode-{name}", settings(TRANSCODE) + data
        if name in ("12-bit", "arithmetic", "huge", "wide", "cmyk"):
            continue
        sample = pack_jpeg(data)
        height, width = size_of(data)
        for box, code in boxes.items():
            yield f"dct-{name}-{box}", settings(DCT, size=(height, width), box=code, out=(9, 31)) + sample
        yield f"unpack-{name}", settings(UNPACK) + sample
    for seed in range(4):  # coefficients that no JPEG holds
        data, packed = extreme_sample(seed)
        yield f"dct-extreme-{seed}", settings(DCT, size=(packed.height, packed.width)) + data
        yield f"unpack-extreme-{seed}", settings(UNPACK) + data
    yield "jpg-lie", settings(JPG, size=(45, 71)) + jpeg(picture(70, 45))
    for width, height in ((30, 20), (1, 1), (40, 3)):
        yield f"raw-{width}", settings(RAW, size=(height, width)) + np.asarray(picture(width, height)).tobytes()
    yield "raw-lie", settings(RAW, size=(65500, 65500)) + bytes(300)


def size_of(data: bytes) -> tuple[int, int]:
    """(height, width) as a conversion leaves it: upright."""
    import io

    from PIL import ImageOps

    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return image.height, image.width


def write(folder: Path) -> int:
    """Write the corpus into `folder`; the number of inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, data in seeds():
        (folder / name).write_bytes(data)
        count += 1
    return count


if __name__ == "__main__":
    print(f"{write(Path(sys.argv[1]))} inputs in {sys.argv[1]}")
